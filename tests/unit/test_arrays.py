"""Ways around what numpy does slowly do the same."""

import numpy as np
import pytest

from detector.arrays import raw, stable_order
from detector.silence import WATCH
from detector.state import DOCKET, PACE


@pytest.mark.parametrize("kind", [PACE, DOCKET, WATCH], ids=["pace", "docket", "watch"])
def test_whole_rows_are_written_as_field_by_field(kind: np.dtype[np.void]) -> None:
    random, row = np.random.default_rng(0), np.array([5, 0, 3])
    rows = np.frombuffer(random.bytes(6 * 2 * kind.itemsize), kind).reshape(6, 2)
    plain, fast = np.zeros((7, 2), kind), np.zeros((7, 2), kind)
    for name in kind.fields or ():
        plain[name][row] = rows[name][:3]
    raw(fast)[row] = raw(rows[:3])
    assert fast.tobytes() == plain.tobytes()
    assert raw(rows).copy().view(kind).tobytes() == rows.tobytes()


@pytest.mark.parametrize("most", [1, 300, (1 << 16) - 1, 1 << 16, 1 << 20])
def test_equal_keys_stay_in_their_order(most: int) -> None:
    keys = np.random.default_rng(0).integers(0, most, 2000)
    keys[[7, 1500, 1999]] = most
    assert stable_order(keys).tolist() == sorted(range(2000), key=lambda n: keys[n])
