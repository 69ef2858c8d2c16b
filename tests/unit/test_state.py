"""Rows of streams, kept in arrays that grow."""

import numpy as np
import pytest

from detector.records import US_PER_S
from detector.ring import RING_BYTES
from detector.silence import Silence
from detector.slab import MOST_SLAB_ROWS, STREAM_BYTES, Rows, slab_rows
from detector.state import NEVER_US, Arena, row_bytes

WIDTH, KINDS = 4, 2


def names(count: int, first: int = 0) -> list[bytes]:
    return [b"stream-%d" % n for n in range(first, first + count)]


def filled(arena: Arena, streams: list[bytes]) -> Rows:
    """Write something else into every row; return what is there now."""
    index = arena.rows(streams)
    rows = arena.take(index)
    rows.model[:] = index[:, None] + np.arange(WIDTH) / 10
    rows.pace["last_us"], rows.pace["seen"] = index + 7, index + 1
    rows.docket["open"][:, 0] = index % 2 == 0
    rows.docket["peak"] = index[:, None]
    arena.put(rows)
    return rows


def same(a: Rows, b: Rows) -> bool:
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in Rows.__slots__)


def test_a_stream_keeps_its_row() -> None:
    arena = Arena(WIDTH, KINDS)
    first = arena.rows([b"a", b"b", b"c"])
    assert sorted(first.tolist()) == [0, 1, 2]
    arena.rows(names(1000))
    assert arena.rows([b"c", b"a", b"b"]).tolist() == first[[2, 0, 1]].tolist()
    assert len(arena) == 1003


def test_no_streams_have_no_rows() -> None:
    arena = Arena(WIDTH, KINDS)
    assert (len(arena.rows([])), len(arena), arena.nbytes) == (0, 0, 0)
    assert arena.alerting.shape == (0, KINDS)


def test_a_new_row_is_of_a_stream_never_heard() -> None:
    arena = Arena(WIDTH, KINDS)
    filled(arena, names(MOST_SLAB_ROWS))
    new = arena.take(arena.rows(names(2 * MOST_SLAB_ROWS, first=MOST_SLAB_ROWS)))
    assert not new.model.any()
    assert (new.pace["last_us"] == NEVER_US).all()
    assert not new.pace["seen"].any()
    assert not np.frombuffer(new.docket.tobytes(), np.uint8).any()


def test_what_was_taken_is_a_copy() -> None:
    arena = Arena(WIDTH, KINDS)
    index = arena.rows(names(3))
    before = arena.take(index)
    taken = arena.take(index)
    taken.model[:], taken.pace["seen"], taken.docket["run"] = 1, 1, 1
    assert same(arena.take(index), before)


def test_what_was_put_is_there_and_nowhere_else() -> None:
    arena = Arena(WIDTH, KINDS)
    everything = filled(arena, names(5))
    changed = arena.take(np.array([3, 1]))
    changed.model[:] = -1
    arena.put(changed)
    assert same(arena.take(np.array([3, 1])), changed)
    others = np.array([0, 2, 4])
    assert np.array_equal(arena.take(others).model, everything.model[others])
    arena.put(everything)
    assert same(arena.take(everything.index), everything)


def test_growing_keeps_what_is_there() -> None:
    arena = Arena(WIDTH, KINDS)
    before = filled(arena, names(100))
    for count in range(MOST_SLAB_ROWS, 20 * MOST_SLAB_ROWS, 177):
        arena.rows(names(count))
    assert same(arena.take(before.index), before)


def test_streams_in_alert_give_their_dockets() -> None:
    arena = Arena(WIDTH, KINDS)
    filled(arena, names(5))
    assert arena.alerting["open"].tolist() == [[True, False]] * 3


def test_a_stream_costs_less_than_two_thousand_bytes() -> None:
    arena, streams = Arena(136, 1), 10_000
    for known in range(1000, streams + 1, 1000):
        arena.rows(names(known))
    assert 136 * 4 < arena.nbytes / streams < 2000


def test_a_forgotten_row_is_reused_and_clean() -> None:
    arena = Arena(WIDTH, KINDS)
    filled(arena, names(10))
    assert arena.evict(idle_since_us=7 + 4) == 2  # the even ones are in alert
    assert len(arena) == 8
    new = arena.take(arena.rows([b"new", b"newer"]))
    assert sorted(new.index.tolist()) == [1, 3]
    assert not new.model.any()
    assert (new.pace["last_us"] == NEVER_US).all()
    assert not np.frombuffer(new.docket.tobytes(), np.uint8).any()


def test_the_longest_idle_go_first_and_none_that_is_in_alert() -> None:
    arena = Arena(WIDTH, KINDS)
    filled(arena, names(10))
    assert arena.evict(idle_since_us=0, excess=3) == 3
    assert sorted(arena._row_of) == sorted(b"stream-%d" % n for n in (0, 2, 4, 6, 7, 8, 9))
    assert arena.evict(idle_since_us=0, excess=100) == 2
    assert len(arena) == 5


def test_only_slabs_that_were_touched_are_written() -> None:
    arena = Arena(WIDTH, KINDS)
    filled(arena, names(5 * MOST_SLAB_ROWS))
    arena.settle()
    assert list(arena.touched()) == []
    arena.put(arena.take(np.array([MOST_SLAB_ROWS, 3 * MOST_SLAB_ROWS + 1])))
    assert [slab.number for slab in arena.touched()] == [1, 3]


def test_what_was_written_can_be_loaded_in_any_order() -> None:
    arena = Arena(WIDTH, KINDS)
    filled(arena, names(3 * MOST_SLAB_ROWS + 5))
    arena.evict(idle_since_us=7 + 40)
    other = Arena(WIDTH, KINDS)
    for slab in reversed(list(arena.touched())):
        other.load(slab)
    other.loaded()
    assert other._row_of == arena._row_of
    index = arena.rows(sorted(arena._row_of))
    assert same(other.take(index), arena.take(index))
    assert list(other.touched()) == []
    assert other.newest_us == 7 + 3 * MOST_SLAB_ROWS + 4
    assert sorted(other._free) == sorted(arena._free)


@pytest.mark.parametrize(
    ("width", "rows"), [(4, 64), (136, 64), (1000, 64), (2000, 32), (10_000, 16)]
)
def test_a_slab_fits_into_a_message(width: int, rows: int) -> None:
    assert slab_rows(row_bytes(width, 2)) == rows
    assert rows * (row_bytes(width, 2) + RING_BYTES + STREAM_BYTES) <= 1 << 20


def test_who_was_heard_or_fell_silent_is_written() -> None:
    arena, silence = Arena(WIDTH, KINDS), Silence(1, 10**12, fewest=1)
    arena.rows(names(3 * MOST_SLAB_ROWS))
    seconds = US_PER_S * np.arange(20) * 10
    arena.listen(np.full(20, MOST_SLAB_ROWS), seconds[:1].repeat(20), silence)
    assert [slab.number for slab in arena.touched()] == [1]
    arena.settle()
    turns = arena.listen(np.zeros(20, np.int64), seconds, silence)
    assert [turn.row for turn in turns] == [MOST_SLAB_ROWS]
    assert [slab.number for slab in arena.touched()] == [0, 1]
    assert arena.silent == 1
