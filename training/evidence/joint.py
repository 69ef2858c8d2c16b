"""Do the channels still go together as they did? Their readings at once, whatever the time.

Hotelling's T^2 (1947), on readings and their means over some horizons: a fault that leaves every
channel within its own range breaks how they follow each other. A stream's own place is learnt
slowly, so that no two machines must be quite the same. Axes: B streams, C channels, M horizons.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.evidence.curves import held
from training.evidence.whitened import Whitened

SLOW = 4000.0  # readings over which a stream's own mean becomes its centre


class Joint(Whitened):
    """Size of whitened readings, in deviations of what it is on held-out rows."""

    skill: Tensor  # [] part of a channel's variance that the others explain on held-out rows

    def __init__(self, channels: int) -> None:
        """Take C."""
        super().__init__(channels)
        self.widths = [self.smooth_width, channels, 1]
        self.register_buffer("skill", torch.zeros(()))

    def step(self, u: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Judge one reading of each stream.

        Args:
            u: [B, C] compressed, standardised readings.
            state: The smoothed readings [B, (M - 1) C], the centre [B, C], and evidence that is
                held [B, 1].

        Returns:
            Evidence [B, 1], 0 and more, and the state for the next reading.
        """
        before, centre, told = state
        off = u - centre
        smoothed = self.smooth(off, before)
        evidence = held(self.excess(smoothed), told.reshape(-1)).unsqueeze(1)
        return evidence, [torch.cat(smoothed[1:], 1), centre + off / SLOW, evidence]
