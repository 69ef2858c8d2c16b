"""What every network is to the rest of the training, whatever it is made of.

Axes: B streams, T readings, C channels, W window, N floats of state, F features.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """Reads standardised readings one by one; says what they were, and what comes next.

    It has two doors, `step` and `sequence`, that give the same numbers. Missing readings are no
    matter of its own: `training.model` fills them with the forecast before it sees them. It is
    evaluated in float32, and `step` is exported: pointwise operators and products only, nothing
    that gives a row other bits in a wider tick (no logarithm), nothing that depends on B.

    Attributes:
        channels: C.
        window: W, how many of the newest readings are reconstructed.
        state_width: N.
        delay: Readings by which the reconstruction lags behind; the forecast never does.
    """

    channels: int
    window: int
    state_width: int
    delay: int = 0

    def fresh(self, streams: int) -> Tensor:
        """Return what streams never seen leave behind: zeros [B, N]."""
        return torch.zeros(streams, self.state_width)

    @abstractmethod
    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream.

        Args:
            z: [B, C] standardised, bounded, nothing missing.
            state: [B, N] what the streams left behind.

        Returns:
            Features [B, F], and the state for the next reading [B, N].
        """

    @abstractmethod
    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences: [B, T, C] to features [B, T, F], and the state after the last."""

    @abstractmethod
    def newest(self, features: Tensor) -> Tensor:
        """Reconstruct the newest reading, or that of `delay` ago: [..., F] -> [..., C]."""

    @abstractmethod
    def windows(self, features: Tensor) -> Tensor:
        """Reconstruct W readings, the one of `newest` first: [..., F] -> [..., W, C]."""

    @abstractmethod
    def ahead(self, features: Tensor) -> Tensor:
        """Forecast the next reading: [..., F] -> [..., C]."""

    def penalty(self, features: Tensor) -> Tensor:
        """Return what training adds to the loss, a scalar: 0 but where a network says so."""
        return features.new_zeros(())
