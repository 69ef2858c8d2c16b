"""Was anything like this ever seen? Distance to a memory of normal, over all channels at once.

The memory is a random choice of the training's own windows; a plain nearest neighbour is hard to
beat (Paparrizos et al., "TSB-UAD", PVLDB 2022). Axes: B streams, C channels, D numbers a window,
K windows kept.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.evidence.curves import held, log1p
from training.evidence.windows import BLOCKS, LONGEST, window
from training.networks.rows import total

SLOW = 2000.0  # readings over which a stream's own distance becomes normal for it
LEAST_DISTANCE = 0.1  # below, the difference of two large numbers is all rounding


class Novelty(nn.Module):
    """How far the last readings are from all that was normal, beyond what is usual."""

    memory: Tensor  # [K, D]
    usual: Tensor  # [] median distance of held-out normal windows
    skill: Tensor  # [] part of their variance that the memory explains

    def __init__(self, channels: int, windows: int) -> None:
        """Take C and K."""
        super().__init__()
        self.widths = [(LONGEST - 1) * channels, 1, 1]
        self.register_buffer("memory", torch.zeros(windows, len(BLOCKS) * channels))
        self.register_buffer("usual", torch.ones(()))
        self.register_buffer("skill", torch.ones(()))

    def step(self, u: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Look one reading of each stream up.

        Args:
            u: [B, C] compressed, standardised readings.
            state: The last readings [B, 31 C], what distance is usual for the stream beyond the
                usual one [B, 1], and evidence that is held [B, 1].

        Returns:
            Evidence [B, 1] in e-foldings, distance [B, 1], and the state for the next reading.
        """
        ring, slow, before = state
        seen, ring = window(u, ring)
        distance = self.distance(seen)
        # Without their axis of 1, by which onnxruntime would take number after number.
        flat, slow, before = (part.reshape(-1) for part in (distance, slow, before))
        excess = torch.relu(flat - self.usual)
        evidence = held(log1p(torch.relu(excess - slow) / self.usual), before)
        slow = slow + (excess - slow) / SLOW
        told, slow, evidence = (
            part.unsqueeze(1) for part in (self.skill * evidence, slow, evidence)
        )
        return told, distance, [ring, slow, evidence]

    def distance(self, seen: Tensor) -> Tensor:
        """Return the distance to the nearest window of the memory, [B, D] -> [B, 1]."""
        # |a - b|^2 = |a|^2 + (|b|^2 - 2 a b), the brackets as one product.
        own = (self.memory * self.memory).sum(-1, keepdim=True)
        bracket = torch.cat([-2 * self.memory, own], 1)
        rest = torch.cat([seen, torch.ones_like(seen[:, :1])], 1) @ bracket.T
        square = total(seen * seen) + rest.amin(-1, keepdim=True)
        return square.clamp(min=LEAST_DISTANCE**2).sqrt()
