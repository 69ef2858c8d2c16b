"""What numpy does slowly if it is asked plainly."""

from typing import Any

import numpy as np
import numpy.typing as npt

from detector.records import Ints


def raw(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return a view of structured rows as bytes, to copy or to write whole ones.

    Field by field, as numpy would, it takes up to twenty times as long.

    >>> rows = np.zeros(3, [("at", np.int64), ("late", np.bool_)])
    >>> raw(rows)[[0, 2]] = raw(np.ones(2, rows.dtype))
    >>> rows["at"].tolist()
    [1, 0, 1]
    """
    return rows.view(f"V{rows.dtype.itemsize}")


def stable_order(keys: Ints) -> Ints:
    """Return the indices that sort keys [N], not negative; equal ones stay in their order.

    numpy sorts keys of 16 bits by radix, ten times as fast.
    """
    narrow: npt.NDArray[Any] = keys.astype(np.uint16) if keys.max() < 1 << 16 else keys
    return np.argsort(narrow, kind="stable")
