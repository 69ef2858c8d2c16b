"""Did the network expect this? Its forecast's errors, as far as it can forecast at all.

Axes: B streams, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.evidence.curves import held, log1p
from training.evidence.novelty import HELD
from training.networks.rows import total

LIMIT = 100.0  # squared errors count as at most so many variances


class Surprise(nn.Module):
    """Errors of the forecast, weighed by what it is better at than guesses that need no network."""

    spread: Tensor  # [C] deviation of held-out errors, standardised units
    weight: Tensor  # [C] share of each channel in the error, as the network is better there
    skill: Tensor  # [] part of the best simple guess's error that it saves; 0 = silent
    usual: Tensor  # [] median of the weighed error on held-out rows

    def __init__(self, channels: int) -> None:
        """Take C."""
        super().__init__()
        self.widths = [1]
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("weight", torch.zeros(channels))
        self.register_buffer("skill", torch.zeros(()))
        self.register_buffer("usual", torch.ones(()))

    def size(self, error: Tensor) -> Tensor:
        """Return the weighed size of errors, [..., C] -> [..., 1]."""
        size = error / self.spread
        return total((size * size).clamp(max=LIMIT) * self.weight).sqrt()

    def step(self, error: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Judge the errors [B, C] of one reading each.

        Returns:
            Evidence [B, 1] in e-foldings, and the state for the next reading: what is held.
        """
        excess = torch.relu(self.size(error) - self.usual) / self.usual
        evidence = held(log1p(excess), state[0], HELD)
        return self.skill * evidence, [evidence]
