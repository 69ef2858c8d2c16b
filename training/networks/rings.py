"""The last few vectors of a stream in its state: rings for windows, lines for delays.

Both are shifted, not indexed: a copy of some kilobytes is cheaper than a gather, and every row
is treated alike. A ring holds all of a window but the newest vector, newest first; a line holds
what has not come out of it yet, oldest first.
"""

import torch
from torch import Tensor


def push(ring: Tensor, newest: Tensor) -> tuple[Tensor, Tensor]:
    """Put a vector in front of a ring.

    Args:
        ring: [B, (K - 1) D].
        newest: [B, D].

    Returns:
        The window [B, K D], newest first, and the ring for the next vector.
    """
    window = torch.cat([newest, ring], 1)
    return window, window[:, : ring.shape[1]]


def slide(ring: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Push T vectors, one after the other.

    Args:
        ring: [B, (K - 1) D].
        values: [B, T, D].

    Returns:
        The window after each, [B, T, K, D], newest first; and the ring after the last.
    """
    streams, readings, width = values.shape
    before = ring.reshape(streams, ring.shape[1] // width, width).flip(1)
    line = torch.cat([before, values], 1)  # oldest first: [B, K - 1 + T, D]
    windows = line.unfold(1, before.shape[1] + 1, 1).flip(-1).transpose(-1, -2)
    return windows, line[:, readings:].flip(1).reshape(streams, ring.shape[1])


def lag(line: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Delay vectors by D steps.

    Args:
        line: [B, D W].
        values: [B, T, W], or [B, W] for one step.

    Returns:
        The vectors of D steps ago, shaped as `values`, and the line for the next ones.
    """
    width = values.shape[-1]
    if values.dim() == 2:  # noqa: PLR2004 - one step
        both = torch.cat([line, values], 1)
        return both[:, :width], both[:, width:]
    streams, readings = values.shape[:2]
    both = torch.cat([line.reshape(streams, line.shape[1] // width, width), values], 1)
    return both[:, :readings], both[:, readings:].reshape(streams, line.shape[1])
