"""Rows of a state taken apart, and sums along them: the same bits in any place of any tick."""

from collections.abc import Iterable

import torch
from torch import Tensor


def total(x: Tensor) -> Tensor:
    """Return the sum of each row, [..., D] -> [..., 1].

    As a tree of element-wise additions: onnxruntime's own reductions add in another order where a
    row is not aligned to a vector register, and its product with a vector of ones does so for the
    last rows of a tick.
    """
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        pairs, odd = x[..., :half] + x[..., half : 2 * half], x[..., 2 * half :]
        x = torch.cat([pairs, odd], -1) if odd.shape[-1] else pairs
    return x


def apart(x: Tensor, widths: Iterable[int]) -> list[Tensor]:
    """Return neighbouring columns, [B, width] each: slices, which onnxruntime copies once."""
    parts, first = [], 0
    for width in widths:
        parts.append(x[:, first : first + width])
        first += width
    return parts
