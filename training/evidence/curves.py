"""Curves that flatten out, made of operations that give every row the same bits in any tick.

onnxruntime computes its own logarithm in another way for the last rows of a tick.
"""

import torch
from torch import Tensor

LINEAR = 3.0  # standard deviations; up to about here `compress` changes little


def log1p(x: Tensor) -> Tensor:
    """Return ln(1 + x) for 0 <= x <= 1e7, to 1e-4 of it: the series of artanh for the 16th root."""
    for _ in range(4):
        x = x / (1 + (1 + x).sqrt())  # (1 + x) ** 0.5 - 1, exact also for small x
    t = x / (x + 2)
    square = t * t
    series = 1 + square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square * (1 / 9))))
    return 32 * t * series


def compress(z: Tensor, linear: float = LINEAR) -> Tensor:
    """Return z, beyond some standard deviations its logarithm: L asinh(z / L), odd and rising.

    One wild reading of one channel must not drown all others in a distance.
    """
    a = z.abs() / linear
    # asinh(a) = ln(1 + (a + a^2 / (1 + sqrt(1 + a^2)))), exact also for small a.
    grown = log1p(a + a * a / (1 + (1 + a * a).sqrt()))
    return torch.sign(z) * linear * grown


def held(now: Tensor, before: Tensor, readings: float) -> Tensor:
    """Return evidence that rises at once and falls off over so many readings."""
    return torch.maximum(now, before * (1 - 1 / readings))
