"""Did the network expect this? Its errors over all channels together, now and over a while.

Channels that follow each other err together; a fault moves one without the others. Errors are
therefore whitened as on held-out rows, and smoothed over several horizons, each of its own.
Axes: B streams, C channels, M horizons.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.evidence.curves import compress
from training.networks.rows import apart, total

HORIZONS = (1.0, 5.0, 20.0)  # readings; the first is not smoothed
LINEAR = 10.0  # deviations; beyond, evidence grows as their logarithm
LIMIT = 10.0  # deviations; one wild reading must not fill the horizons


class Surprise(nn.Module):
    """Size of whitened errors, in deviations of what it is on held-out rows."""

    whiten: Tensor  # [M, C, C]
    usual: Tensor  # [] median size on held-out rows
    deviation: Tensor  # [] of it
    skill: Tensor  # [] part of the readings' variance that the network explains there

    def __init__(self, channels: int) -> None:
        """Take C."""
        super().__init__()
        self.channels = channels
        self.widths = [(len(HORIZONS) - 1) * channels]
        self.register_buffer("whiten", torch.eye(channels).repeat(len(HORIZONS), 1, 1))
        self.register_buffer("usual", torch.ones(()))
        self.register_buffer("deviation", torch.ones(()))
        self.register_buffer("skill", torch.zeros(()))

    def step(self, error: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Judge one reading's errors of each stream.

        Args:
            error: [B, C] in deviations of held-out errors; 0 where missing.
            state: The smoothed errors, [B, (M - 1) C].

        Returns:
            Evidence [B, 1], 0 and more, and the state for the next reading.
        """
        smoothed = self.smooth(error, state[0])
        size = self.size(smoothed).reshape(-1)  # onnxruntime takes a column number by number
        excess = torch.relu(size - self.usual) / self.deviation
        weight = self.skill * self.skill
        evidence = weight * compress(excess, LINEAR)
        return evidence.unsqueeze(1), [torch.cat(smoothed[1:], 1)]

    def smooth(self, error: Tensor, before: Tensor) -> list[Tensor]:
        """Return the errors over each horizon, M times [B, C]."""
        error = error.clamp(-LIMIT, LIMIT)
        kept = apart(before, [self.channels] * (len(HORIZONS) - 1))
        rest = zip(HORIZONS[1:], kept, strict=True)
        return [error, *(old + (error - old) / horizon for horizon, old in rest)]

    def size(self, smoothed: Sequence[Tensor]) -> Tensor:
        """Return the mean length of whitened errors over all horizons, [B, 1]."""
        white = torch.stack(list(smoothed)) @ self.whiten.mT  # [M, B, C]
        squares = total(white * white).squeeze(-1) / (self.channels * len(HORIZONS) ** 2)
        return total(squares.sqrt().T)
