"""Readings become ticks."""

import numpy as np
import pytest

from detector.batch import WIDEST, ticks


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ([], []),
        ([0], [[0]]),
        ([2, 0, 1], [[0, 1, 2]]),
        ([0, 0, 0], [[0], [1], [2]]),
        ([0, 1, 0, 1], [[0, 1], [2, 3]]),
        ([1, 0, 0, 0, 1], [[0, 1], [2, 4], [3]]),
    ],
    ids=str,
)
def test_the_nth_tick_holds_the_nth_reading_of_every_stream(
    stream: list[int], expected: list[list[int]]
) -> None:
    made = ticks(np.array(stream, np.int64), len(set(stream)))
    assert [tick.tolist() for tick in made] == expected


def test_streams_beyond_sixteen_bits_are_told_apart() -> None:
    streams = (1 << 16) + 2
    stream = np.tile(np.arange(streams), 2)
    made = ticks(stream, streams)
    assert np.array_equal(np.concatenate(made), np.arange(2 * streams))
    assert all(len(set(stream[tick].tolist())) == len(tick) <= WIDEST for tick in made)
    assert {len(tick) for tick in made} == {WIDEST, streams % WIDEST}


def test_turns_beyond_sixteen_bits_are_told_apart() -> None:
    readings = (1 << 16) + 2
    made = ticks(np.zeros(readings, np.int64), 1)
    assert np.array_equal(np.concatenate(made), np.arange(readings))
    assert len(made) == readings
