"""Curves that flatten out, made of operations that give every row the same bits in any tick.

onnxruntime computes its own logarithm in another way for the last rows of a tick. Here it is an
area tangent of the argument's 16th root, which is small: a fraction fitted to it by least largest
error is exact to 1e-5 of it, up to an argument of 1e7.
"""

import torch
from torch import Tensor

HELD = 30.0  # readings over which evidence falls off: bursts with pauses are one thing
LINEAR = 3.0  # standard deviations; up to about here `compress` changes little
# artanh(t) / t = FLAT + PULL / (POLE - t^2) for 0 <= t^2 <= 0.2163
FLAT, PULL, POLE = 0.46773882, 0.85187559, 1.60045343


def log1p(x: Tensor) -> Tensor:
    """Return ln(1 + x) for 0 <= x <= 1e7, to 2e-5 of it, small x too."""
    # With w the 16th root of 1 + x: x = (w - 1) (w + 1) (w^2 + 1) (w^4 + 1) (w^8 + 1).
    root_2 = (1 + x).sqrt()
    root_4 = root_2.sqrt()
    root_8 = root_4.sqrt()
    once = 1 + root_8.sqrt()
    t = x / ((1 + root_2) * (1 + root_4) * (1 + root_8) * (once * once))
    return t * (32 * FLAT + 32 * PULL / (POLE - t * t))


def compress(z: Tensor, linear: float = LINEAR) -> Tensor:
    """Return z, beyond some standard deviations its logarithm: L asinh(z / L), odd and rising.

    One wild reading of one channel must not drown all others in a distance. To 2e-5 of it, for
    |z| <= 1e6.
    """
    # Twice the hyperbolic cosines of asinh(z / L), of its half, its quarter, and so on.
    whole = (4 + z * z * (4 / linear**2)).sqrt()
    half = (2 + whole).sqrt()
    quarter = (2 + half).sqrt()
    eighth = (2 + quarter).sqrt()
    sixteenth = (2 + eighth).sqrt()
    # 2 / L of it is the hyperbolic tangent of a 32nd.
    part = z / (half * quarter * eighth * sixteenth * (2 + sixteenth))
    narrow = linear * linear / 4
    return part * (64 * FLAT + 64 * PULL * narrow / (POLE * narrow - part * part))


def held(now: Tensor, before: Tensor, readings: float = HELD) -> Tensor:
    """Return evidence that rises at once and falls off over so many readings."""
    return torch.maximum(now, before * (1 - 1 / readings))
