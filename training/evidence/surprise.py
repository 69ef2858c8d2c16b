"""Did the network expect this? Its errors over all channels together, now and over a while.

Channels that follow each other err together; a fault moves one without the others. Errors are
therefore whitened as on held-out rows. Axes: B streams, C channels, M horizons.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.evidence.whitened import Whitened

LIMIT = 10.0  # deviations; one wild reading must not fill the horizons


class Surprise(Whitened):
    """Size of whitened errors, in deviations of what it is on held-out rows."""

    skill: Tensor  # [] part of the variance that the network explains, and the last value does not

    def __init__(self, channels: int) -> None:
        """Take C."""
        super().__init__(channels)
        self.widths = [self.smooth_width]
        self.register_buffer("skill", torch.zeros(()))

    def step(self, error: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Judge one reading's errors of each stream.

        Args:
            error: [B, C] in deviations of held-out errors; 0 where missing.
            state: The smoothed errors, [B, (M - 1) C].

        Returns:
            Evidence [B, 1], 0 and more, and the state for the next reading.
        """
        smoothed = self.smooth(error.clamp(-LIMIT, LIMIT), state[0])
        evidence = self.skill * self.skill * self.excess(smoothed)
        return evidence.unsqueeze(1), [torch.cat(smoothed[1:], 1)]
