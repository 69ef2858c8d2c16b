"""Was anything like this ever seen? Distance to a memory of normal, over all channels at once.

The memory is a random choice of the training's own windows; a plain nearest neighbour is hard to
beat (Paparrizos et al., "TSB-UAD", PVLDB 2022). Axes: B streams, C channels, D numbers a window,
K windows kept.
"""

import torch
from torch import Tensor, nn

from training.evidence.curves import held, log1p
from training.evidence.windows import BLOCKS, LONGEST, window
from training.networks.rows import total

SLOW = 2000.0  # readings over which a stream's own distance becomes normal for it
LEAST_DISTANCE = 0.1  # below, the difference of two large numbers is all rounding
HELD = 30.0  # readings: bursts with pauses are one thing


class Novelty(nn.Module):
    """How far the last readings are from all that was normal, beyond what is usual."""

    memory: Tensor  # [K, D]
    usual: Tensor  # [] median distance of held-out normal windows
    skill: Tensor  # [] part of their variance that the memory explains

    def __init__(self, channels: int, windows: int) -> None:
        """Take C and K."""
        super().__init__()
        self.channels = channels
        self.state_width = (LONGEST - 1) * channels + 2
        self.register_buffer("memory", torch.zeros(windows, len(BLOCKS) * channels))
        self.register_buffer("usual", torch.ones(()))
        self.register_buffer("skill", torch.ones(()))

    def step(self, u: Tensor, state: Tensor, new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look one reading of each stream up.

        Args:
            u: [B, C] compressed, standardised readings.
            state: [B, N].
            new: [B, 1] bool: the stream's first reading.

        Returns:
            Evidence [B, 1] in e-foldings, distance [B, 1], and the state for the next reading.
        """
        ring, slow, before = torch.split(state, [self.state_width - 2, 1, 1], 1)
        ring = torch.where(new, u.repeat(1, LONGEST - 1), ring)
        seen, ring = window(u, ring)
        distance = self.distance(seen)
        evidence, after = self.judge(distance, torch.cat([slow, before], 1))
        return evidence, distance, torch.cat([ring, after], 1)

    def distance(self, seen: Tensor) -> Tensor:
        """Return the distance to the nearest window of the memory, [..., D] -> [..., 1]."""
        own = (self.memory * self.memory).sum(-1)
        rest = (own - 2 * (seen @ self.memory.T)).amin(-1, keepdim=True)
        return (total(seen.square()) + rest).clamp(min=LEAST_DISTANCE**2).sqrt()

    def judge(self, distance: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Turn distances [B, 1] into evidence, given [B, 2] what is usual here and what is held."""
        slow, before = torch.split(state, 1, 1)
        excess = torch.relu(distance - self.usual)
        evidence = held(log1p(torch.relu(excess - slow) / self.usual), before, HELD)
        return self.skill * evidence, torch.cat([slow + (excess - slow) / SLOW, evidence], 1)
