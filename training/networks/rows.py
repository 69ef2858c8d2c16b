"""Rows of a state taken apart, and sums along them that do not depend on where they lie."""

from collections.abc import Iterable

from torch import Tensor


def total(x: Tensor) -> Tensor:
    """Return the sum of each row, [..., D] -> [..., 1].

    As a product: onnxruntime's own reductions add in another order where a row is not aligned to
    a vector register, that is in every other row or so unless D is a multiple of 4.
    """
    return x @ x.new_ones(x.shape[-1], 1)


def apart(x: Tensor, widths: Iterable[int]) -> list[Tensor]:
    """Return neighbouring columns, [B, width] each: slices, which onnxruntime copies once."""
    parts, first = [], 0
    for width in widths:
        parts.append(x[:, first : first + width])
        first += width
    return parts
