"""Did something new begin? Levels that a channel never had, shapes that are rare in its life.

Nothing is frozen and nothing forgotten: what was seen once is known from then on, so that one
event is told once. Axes: B streams, C channels, L levels a channel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.evidence.curves import log1p
from training.evidence.shift import pooled

APART = 0.1  # standard deviations between levels that are remembered
YOUNG = 20.0  # readings before a stream's surprises are counted
GROWN = 100.0  # readings before they are told
SHAPE = 0.6  # weight of an unusual window beside a new level
HABIT = 0.6  # part of the last surprise that the next one must exceed
FADES = 100.0  # readings over which that is forgotten
OFFSET = 1000.0  # more than any compressed reading
LEAST_VARIANCE = 1e-6


class Onset(nn.Module):
    """Surprise at the first of something, in e-foldings of what is usual for the stream."""

    def __init__(self, channels: int, levels: int) -> None:
        """Take C and L."""
        super().__init__()
        self.channels, self.levels = channels, levels
        # Levels, how many there were, mean and variance of surprise; of the window's; the bar.
        self.widths = [levels * channels, channels, channels, channels, 1, 1, 1]

    def step(
        self, u: Tensor, distance: Tensor, state: Sequence[Tensor], seen: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Compare one reading of each stream with its life so far.

        Args:
            u: [B, C] compressed, standardised readings.
            distance: [B, 1] of the window from the memory of normal.
            state: Parts of `widths`, [B, width] each.
            seen: [B, 1] readings of the stream before this one.

        Returns:
            Evidence [B, 1], and the state for the next reading.
        """
        levels, used, mean, variance, odd_mean, odd_variance, bar = state
        new, levels, used = self._level(u, levels, used)
        count = (seen - YOUNG + 1).clamp(min=1)
        counts = seen >= YOUNG
        surprise, mean, variance = _standardise(new, mean, variance, count, counts)
        odd, odd_mean, odd_variance = _standardise(distance, odd_mean, odd_variance, count, counts)
        both = log1p(torch.cat([surprise, odd], 1))
        score = pooled(both[:, :-1]) + SHAPE * both[:, -1:]
        score = torch.where(seen >= GROWN, score, 0.0)
        told = score - HABIT * bar
        bar = torch.maximum(bar * (1 - 1 / FADES), score)
        return told, [levels, used, mean, variance, odd_mean, odd_variance, bar]

    def _level(self, u: Tensor, levels: Tensor, used: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the distance to the nearest level [B, C], and the levels with this one.

        Levels are kept with an offset, so that an empty place, 0, is far from all of them.
        """
        known = levels.reshape(levels.shape[0], self.channels, self.levels)
        here = (u + OFFSET).unsqueeze(-1)
        apart = (here - known).abs().amin(-1)
        none = used == 0
        add = none | (apart > APART)
        # The oldest level makes room where there are too many.
        turn = (used - self.levels * torch.floor(used / self.levels)).long().unsqueeze(-1)
        kept = torch.where(add.unsqueeze(-1), here, known.gather(-1, turn))
        known = known.scatter(-1, turn, kept)
        return torch.where(none, 0.0, apart), known.flatten(1), used + add.to(u.dtype)


def _standardise(
    value: Tensor, mean: Tensor, variance: Tensor, count: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far a value exceeds its mean, in deviations, and both with it in them."""
    beyond = torch.relu(value - mean) / variance.clamp(min=LEAST_VARIANCE).sqrt()
    error = value - mean
    after = mean + error / count
    grown = variance + (error * error - variance) / count
    return beyond, torch.where(counts, after, mean), torch.where(counts, grown, variance)
