"""How large is a vector, given how its channels usually vary together, now and over a while?

Axes: B streams, C channels, M horizons.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.evidence.curves import compress
from training.networks.rows import apart, total

HORIZONS = (1.0, 5.0, 20.0)  # readings; the first is not smoothed
LINEAR = 10.0  # deviations; beyond, evidence grows as their logarithm


class Whitened(nn.Module):
    """Size of whitened vectors beyond the usual one, in deviations of it, on held-out rows."""

    whiten: Tensor  # [M, C, C]
    usual: Tensor  # [] median size on held-out rows
    deviation: Tensor  # [] of it

    def __init__(self, channels: int) -> None:
        """Take C."""
        super().__init__()
        self.channels = channels
        self.smooth_width = (len(HORIZONS) - 1) * channels
        self.register_buffer("whiten", torch.eye(channels).repeat(len(HORIZONS), 1, 1))
        self.register_buffer("usual", torch.ones(()))
        self.register_buffer("deviation", torch.ones(()))

    def smooth(self, x: Tensor, before: Tensor) -> list[Tensor]:
        """Return a vector over each horizon, M times [B, C].

        Args:
            x: [B, C].
            before: [B, (M - 1) C] the smoothed ones of the reading before.
        """
        kept = apart(before, [self.channels] * (len(HORIZONS) - 1))
        rest = zip(HORIZONS[1:], kept, strict=True)
        return [x, *(old + (x - old) / horizon for horizon, old in rest)]

    def size(self, smoothed: Sequence[Tensor]) -> Tensor:
        """Return the mean length of whitened vectors over all horizons, [B, 1]."""
        # One product each: onnxruntime gives a lone row of a stack of products other bits.
        white = torch.stack([x @ self.whiten[m].T for m, x in enumerate(smoothed)])
        squares = total(white * white).squeeze(-1) / (self.channels * len(HORIZONS) ** 2)
        return total(squares.sqrt().T)

    def excess(self, smoothed: Sequence[Tensor]) -> Tensor:
        """Return the size beyond the usual one, [B], compressed."""
        size = self.size(smoothed).reshape(-1)  # onnxruntime takes a column number by number
        return compress(torch.relu(size - self.usual) / self.deviation, LINEAR)
