"""Did something new begin? Levels that a channel never had, shapes that are rare in its life.

Nothing is frozen and nothing forgotten: what was seen once is known from then on, so that one
event is told once. Axes: B streams, C channels, L levels a channel.
"""

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
LEAST_VARIANCE = 1e-6


class Onset(nn.Module):
    """Surprise at the first of something, in e-foldings of what is usual for the stream."""

    def __init__(self, channels: int, levels: int) -> None:
        """Take C and L."""
        super().__init__()
        self.channels, self.levels = channels, levels
        # Levels, how many there are, mean and variance of surprise; of the window's; the bar.
        self._widths = [levels * channels, channels, channels, channels, 1, 1, 1]
        self.state_width = sum(self._widths)
        self.register_buffer("place", torch.arange(levels).to(torch.float32))

    place: Tensor  # [L]

    def step(
        self, u: Tensor, distance: Tensor, state: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compare one reading of each stream with its life so far.

        Args:
            u: [B, C] compressed, standardised readings.
            distance: [B, 1] of the window from the memory of normal.
            state: [B, N].
            seen: [B, 1] readings of the stream before this one.

        Returns:
            Evidence [B, 1], and the state for the next reading.
        """
        levels, used, mean, variance, *shape, bar = torch.split(state, self._widths, 1)
        new, levels, used = self._level(u, levels, used)
        count = (seen - YOUNG + 1).clamp(min=1)
        counts = seen >= YOUNG
        surprise, mean, variance = _standardise(new, mean, variance, count, counts)
        odd, *shape = _standardise(distance, shape[0], shape[1], count, counts)
        score = pooled(log1p(surprise)) + SHAPE * log1p(odd)
        score = torch.where(seen >= GROWN, score, 0.0)
        told = score - HABIT * bar
        bar = torch.maximum(bar * (1 - 1 / FADES), score)
        return told, torch.cat([levels, used, mean, variance, *shape, bar], 1)

    def _level(self, u: Tensor, levels: Tensor, used: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the distance to the nearest level [B, C], and the levels with this one."""
        known = levels.reshape(u.shape[0], self.channels, self.levels)
        wide = u.unsqueeze(-1)
        inside = self.place < used.unsqueeze(-1)
        apart = torch.where(inside, (wide - known).abs(), 1e9).amin(-1)
        none = used == 0
        add = none | (apart > APART)
        # The oldest level makes room where there are too many.
        turn = used - self.levels * torch.floor(used / self.levels)
        here = (self.place == turn.unsqueeze(-1)) & add.unsqueeze(-1)
        known = torch.where(here, wide, known)
        used = used + add.to(u.dtype)
        return torch.where(none, 0.0, apart), known.flatten(1), used


def _standardise(
    value: Tensor, mean: Tensor, variance: Tensor, count: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far a value exceeds its mean, in deviations, and both with it in them."""
    beyond = torch.relu(value - mean) / variance.clamp(min=LEAST_VARIANCE).sqrt()
    error = value - mean
    after = mean + error / count
    grown = variance + (error * error - variance) / count
    return beyond, torch.where(counts, after, mean), torch.where(counts, grown, variance)
