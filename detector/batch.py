"""Readings to ticks: in a tick every stream has at most one reading."""

import numpy as np

from detector.arrays import stable_order
from detector.records import Ints

# What a step of this many rows makes still fits into a core's cache; wider ones are slower a row.
WIDEST = 1024


def ticks(stream: Ints, streams: int) -> list[Ints]:
    """Group readings so that every stream's n-th reading is in an earlier tick than its next.

    Order within a stream is kept. Linear in the readings while there are fewer than 65,536
    streams in a poll (numpy sorts 16-bit keys by radix), and n log n beyond.

    Args:
        stream: [N] int64, which stream each reading belongs to, 0 <= stream < streams; each
            of them occurs.
        streams: How many distinct streams there are.

    Returns:
        Index arrays into the readings, each of at most `WIDEST` distinct streams; together they
        name each reading once.

    >>> [t.tolist() for t in ticks(np.array([0, 1, 0, 0, 1]), 2)]
    [[0, 1], [2, 4], [3]]
    """
    readings = len(stream)
    if readings == 0:
        return []
    if readings == streams:
        return _narrow([np.arange(readings)])
    by_stream = stable_order(stream)  # positions, grouped by stream
    counts = np.bincount(stream, minlength=streams)
    starts = np.cumsum(counts) - counts
    turn = np.empty(readings, np.int64)  # a reading's place within its stream
    turn[by_stream] = np.arange(readings) - np.repeat(starts, counts)
    by_turn = stable_order(turn)
    return _narrow(np.split(by_turn, np.cumsum(np.bincount(turn))[:-1]))


def _narrow(turns: list[Ints]) -> list[Ints]:
    """Cut what is too wide into pieces."""
    return [turn[start : start + WIDEST] for turn in turns for start in range(0, len(turn), WIDEST)]
