"""Rows of a state taken apart, and sums along them: the same bits in any place of any tick."""

from collections.abc import Iterable

import torch
from torch import Tensor


def total(x: Tensor) -> Tensor:
    """Return the sum of each row, [..., D] -> [..., 1].

    As a tree of element-wise additions: onnxruntime's own reductions add in another order where a
    row is not aligned to a vector register, and its product with a vector of ones does so for the
    last rows of a tick. Columns are runs of numbers while they are added: that is much cheaper.
    """
    x = x.movedim(-1, 0)
    while x.shape[0] > 1:
        half = x.shape[0] // 2
        pairs, odd = x[:half] + x[half : 2 * half], x[2 * half :]
        x = torch.cat([pairs, odd]) if odd.shape[0] else pairs
    return x.movedim(0, -1)


def apart(x: Tensor, widths: Iterable[int], axis: int = 1) -> list[Tensor]:
    """Return neighbouring columns, [B, width] each: slices, which onnxruntime copies once.

    Along another axis they are neighbours there; `torch.split` becomes sequences, which it copies
    twice.
    """
    parts, first = [], 0
    for width in widths:
        parts.append(x.narrow(axis, first, width))
        first += width
    return parts
