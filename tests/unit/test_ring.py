"""The last readings of each stream."""

import numpy as np
import pytest

from detector.ring import RING_BYTES, Ring, reading_bytes, ring_depth


def noted(depth: int, readings: int, row: int = 1) -> Ring:
    """Write readings 1 to N of a row: [n, 10 n] at n."""
    ring = Ring(2, depth)
    ring.grow(3)
    for n in range(1, readings + 1):
        x = np.array([[n, 10 * n]], np.float32)
        ring.note(np.array([row]), np.array([n]), np.array([n]), x)
    return ring


@pytest.mark.parametrize("readings", [0, 1, 2, 3, 4, 7])
def test_the_last_readings_come_oldest_first(readings: int) -> None:
    before = noted(3, readings).before(1, readings + 1)
    expected = list(range(1, readings + 1))[-3:]
    assert before.at_us.tolist() == expected
    assert before.x.tolist() == [[n, 10 * n] for n in expected]


def test_what_was_before_a_restart_is_not_shown() -> None:
    ring = noted(3, 7)
    ring.note(np.array([1]), np.array([1]), np.array([99]), np.ones((1, 2), np.float32))
    assert ring.before(1, 1).at_us.tolist() == []
    assert ring.before(1, 2).at_us.tolist() == [99]


def test_a_ring_without_depth_costs_and_keeps_nothing() -> None:
    ring = noted(0, 5)
    assert (ring.nbytes, len(ring.before(1, 6).at_us)) == (0, 0)


def test_each_row_has_its_own_and_growing_keeps_them() -> None:
    ring = noted(2, 3)
    rows, seen = np.array([0, 2]), np.array([1, 1])
    ring.note(rows, seen, np.array([5, 6]), np.array([[5, 5], [6, 6]], np.float32))
    ring.grow(1000)
    assert [ring.before(row, 9 if row == 1 else 2).at_us.tolist() for row in (0, 2)] == [[5], [6]]
    assert ring.before(1, 4).at_us.tolist() == [2, 3]


def test_what_was_kept_comes_back_and_another_depth_begins_anew() -> None:
    ring, other, deeper = noted(3, 5), noted(3, 0), noted(4, 0)
    kept = ring.tobytes(slice(0, 3))
    other.load(slice(0, 3), kept)
    assert other.before(1, 6).x.tolist() == ring.before(1, 6).x.tolist()
    deeper.load(slice(0, 3), kept)
    assert deeper.before(1, 6).at_us.tolist() == []
    deeper.note(np.array([1]), np.array([6]), np.array([6]), np.ones((1, 2), np.float32))
    assert deeper.before(1, 7).at_us.tolist() == [6]


@pytest.mark.parametrize("channels", [1, 8, 38, 500, 2000])
def test_no_ring_is_larger_than_a_slab_has_room_for(channels: int) -> None:
    assert ring_depth(channels, 64) * reading_bytes(channels) <= RING_BYTES
    assert ring_depth(channels, 0) == 0
