"""What a model is told, carries and says. Axes as in `training.model`; D readings of delay."""

from typing import NamedTuple

from torch import Tensor


class Carry(NamedTuple):
    """What a stream leaves behind: [B, ...] each.

    Attributes:
        network: [B, N].
        forecast: [B, W] of the next reading, standardised; logits of the symbols.
        evidence: [B, ...] of `training.evidence`.
        past: [B, D (2W + C)] where the reconstruction lags by D readings: those readings, what was
            forecast for them, and 1 where they were not missing.
    """

    network: Tensor
    forecast: Tensor
    evidence: Tensor
    past: Tensor


class Read(NamedTuple):
    """What the network made of readings, [B, T, ...], or [B, ...] for one step.

    Where the network lags, all but the features are of the reading that they reconstruct.

    Attributes:
        z: [..., W] standardised readings, the forecast where one is missing; symbols one-hot.
        missing: [..., C] bool.
        features: [..., F].
        forecast: [..., W] what was forecast for each reading, standardised; logits of symbols.
    """

    z: Tensor
    missing: Tensor
    features: Tensor
    forecast: Tensor


class Scored(NamedTuple):
    """expected, residual [B, T, C], score [B, T, K]; without T from `step`."""

    expected: Tensor
    residual: Tensor
    score: Tensor
