"""Laws of ticks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.batch import ticks
from detector.records import Ints


def dense(names: list[int]) -> Ints:
    return np.unique(np.array(names, np.int64), return_inverse=True)[1].astype(np.int64)


streams = st.lists(st.integers(0, 9), max_size=60).map(dense)


def made(stream: Ints) -> list[Ints]:
    return ticks(stream, len(set(stream.tolist())))


@given(streams)
def test_every_reading_is_in_exactly_one_tick(stream: Ints) -> None:
    assert sorted(n for tick in made(stream) for n in tick.tolist()) == list(range(len(stream)))


@given(streams)
def test_streams_are_distinct_within_a_tick(stream: Ints) -> None:
    assert all(len(set(stream[tick].tolist())) == len(tick) > 0 for tick in made(stream))


@given(streams)
def test_the_nth_tick_holds_the_nth_reading_of_each_stream_that_has_one(stream: Ints) -> None:
    place = [int(np.count_nonzero(stream[:n] == s)) for n, s in enumerate(stream)]
    for turn, tick in enumerate(made(stream)):
        assert tick.tolist() == [n for n, p in enumerate(place) if p == turn]
