"""Rows of a state taken apart, and sums along them: the same bits in any place of any tick.

What a step of onnxruntime 1.32 costs is copies and small operations, so how they are written
matters: a Where costs as much as ten products; [B, C] with [C] or [B, 1] is taken row by row, and
[B, 1] with a number, number by number, where [C, B] with [1, B] and [B] with a number are one run.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


def total(x: Tensor) -> Tensor:
    """Return the sum of each row, [..., D] -> [..., 1].

    As a tree of element-wise additions: onnxruntime's own reductions add in another order where a
    row is not aligned to a vector register, and its product with a vector of ones does so for the
    last rows of a tick. Columns are runs of numbers while they are added: that is much cheaper.
    """
    while (size := x.shape[-1]) > 1:
        half = size // 2
        pairs = x.narrow(-1, 0, half) + x.narrow(-1, half, half)
        x = torch.cat([pairs, x.narrow(-1, size - 1, 1)], -1) if size % 2 else pairs
    return x


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
