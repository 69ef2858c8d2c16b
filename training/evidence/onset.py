"""Did something new begin? Levels that a channel never had, shapes that are rare in its life.

Nothing is frozen and nothing forgotten: what was seen once is known from then on, so that one
event is told once. Axes: B streams, C channels, L levels a channel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.evidence.curves import log1p
from training.evidence.shift import OFFSET, pooled
from training.networks.rows import apart

APART = 0.1  # standard deviations between levels that are remembered
YOUNG = 20.0  # readings before a stream's surprises are counted
GROWN = 100.0  # readings before they are told
SHAPE = 0.6  # weight of an unusual window beside a new level
HABIT = 0.6  # part of the last surprise that the next one must exceed
FADES = 100.0  # readings over which that is forgotten
LEAST_VARIANCE = 1e-6


class Onset(nn.Module):
    """Surprise at the first of something, in e-foldings of what is usual for the stream.

    As in `training.evidence.shift`, streams are the last axis of all but the levels.
    """

    starts: Tensor  # [2 C, 1] where each channel's places begin, twice

    def __init__(self, channels: int, levels: int) -> None:
        """Take C and L."""
        super().__init__()
        self.channels = channels
        self.places = levels + 1  # one is empty: the next level's
        # The empty place, mean and variance of surprise in each channel and in the window, the bar.
        self._sizes = [channels, channels + 1, channels + 1, 1]
        self.widths = [self.places * channels, sum(self._sizes)]
        starts = torch.arange(channels).float() * self.places
        self.register_buffer("starts", torch.cat([starts, starts]).unsqueeze(1), persistent=False)

    def step(
        self, u: Tensor, distance: Tensor, state: Sequence[Tensor], seen: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Compare one reading of each stream with its life so far.

        Args:
            u: [B, C] compressed, standardised readings.
            distance: [B, 1] of the window from the memory of normal.
            state: Levels, and the rest; [B, width] each.
            seen: [B, 1] readings of the stream before this one.

        Returns:
            Evidence [B, 1], and the state for the next reading.
        """
        place, mean, variance, bar = apart(state[1].T, self._sizes, 0)
        nearest, levels, place = self._level(u, state[0], place)
        age = seen.reshape(1, -1)
        new = nearest * age.clamp(max=1)  # the first level of all is no surprise
        off = torch.cat([new, distance.reshape(1, -1)]) - mean
        surprise = log1p(torch.relu(off) / variance.clamp(min=LEAST_VARIANCE).sqrt())
        score = pooled(surprise[:-1].T).T + SHAPE * surprise[-1:]
        score = score * (age >= GROWN).to(u.dtype)
        # Counts and, before they begin, nothing learnt.
        count = torch.relu(age + (1 - YOUNG))
        share = count.clamp(max=1) / count.clamp(min=1)
        after = [
            place,
            mean + off * share,
            variance + (off * off - variance) * share,
            torch.maximum(bar * (1 - 1 / FADES), score),
        ]
        return (score - HABIT * bar).reshape(-1, 1), [levels, torch.cat(after).T]

    def _level(self, u: Tensor, levels: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the distance to the nearest level [C, B], the levels with this one, and the place.

        Levels are kept with an offset, so that an empty place, 0, is far from all of them. A level
        takes the empty place, and the oldest leaves the place after it; where the level is known,
        0 is written to the empty place twice.
        """
        here = (u + OFFSET).clamp(min=OFFSET / 2)
        known = levels.reshape(-1, self.channels, self.places)
        nearest = (here.unsqueeze(-1) - known).abs().amin(-1)
        new = (nearest > APART).to(u.dtype)
        after = place + new.T
        after = after * (after < self.places).to(u.dtype)
        at = (torch.cat([place, after]) + self.starts).T.long()
        taken = here * new
        levels = levels.scatter(1, at, torch.cat([taken, torch.zeros_like(taken)], 1))
        return nearest.T, levels, after
