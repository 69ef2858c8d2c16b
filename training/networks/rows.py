"""Sums along a row that do not depend on where in memory the row lies."""

from torch import Tensor


def total(x: Tensor) -> Tensor:
    """Return the sum of each row, [..., D] -> [..., 1].

    As a product: onnxruntime's own reductions add in another order where a row is not aligned to
    a vector register, that is in every other row or so unless D is a multiple of 4.
    """
    return x @ x.new_ones(x.shape[-1], 1)
