"""When a stream has stopped: by its own rhythm, in its partition's time. Pure.

A partition's time goes on with its newest reading, from record to record. What counts is its
active time, in which no step is longer than `STEP_US`: nobody is silent because all were.
Streams are looked at where a minute of it begins, before the reading that begins it; so what is
said hangs on the order of the readings alone, not on how polls cut them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.arrays import raw, stable_order
from detector.records import US_PER_S, Doubles, Ints

MINUTE_US = 60 * US_PER_S
STEP_US = 15 * US_PER_S  # well below a minute: after an outage of all, each has time to come back
FADE = 16  # a gap is forgotten after so many times its length
FEWEST = 16  # readings, before a stream has a rhythm

# What is known of a stream's rhythm. Active time counts microseconds, too.
WATCH = np.dtype(
    [
        ("readings", np.int32),  # heard, as far as `FEWEST`
        ("silent", np.bool_),  # and told to be
        ("heard_us", np.int64),  # the partition's event time when it was last heard
        ("heard", np.int64),  # its active time then
        ("envelope", np.int64),  # the largest of FADE * gap + active time at its end
    ]
)

Watched = npt.NDArray[np.void]


class Clock(NamedTuple):
    """A partition's time: that of its newest reading, and how much of it was active."""

    now_us: int
    active: int


@dataclass(frozen=True, slots=True)
class Silence:
    """When to say that a stream is silent.

    Attributes:
        after: So many of its longest recent gaps, and no less than a minute; 0: never.
        gone_us: After so long (active time) it is silent for good, and no alert any more.
        fewest: Readings before a stream has a rhythm.
    """

    after: float
    gone_us: int
    fewest: int = FEWEST


class Turn(NamedTuple):
    """A stream that fell silent, or is silent no more.

    Attributes:
        reading: Index of the reading that made it known.
        row: Of the stream.
        opens: It fell silent.
        gone: It is an alert no more, because it was silent for too long.
        heard_us: When it was last heard, the partition's event time.
        at_us: The partition's event time now.
        idle_s: Active time since it was heard.
        bound_s: How much of it is nothing new.
    """

    reading: int
    row: int
    opens: bool
    gone: bool
    heard_us: int
    at_us: int
    idle_s: float
    bound_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """N readings of one partition, in its order.

    Attributes:
        row: [N] whose they are.
        now_us: [N] the partition's event time.
        active: [N] its active time.
    """

    row: Ints
    now_us: Ints
    active: Ints


def follow(
    watched: Watched, clock: Clock | None, rows: Ints, ts_us: Ints, silence: Silence
) -> tuple[Clock, list[Turn]]:
    """Note who was heard, and find who fell silent or is silent no more.

    Args:
        watched: [R] all streams of the partition; modified.
        clock: As the readings before left it; None where there were none.
        rows: [N] whose the readings are, at least one.
        ts_us: [N] their event times.
        silence: The rules.

    Returns:
        The partition's time, and turns in the order of the readings.
    """
    before = clock or Clock(int(ts_us[0]), 0)
    # [N + 1], from the reading before these.
    now_us = np.maximum.accumulate(np.concatenate([[before.now_us], ts_us]))
    steps = np.minimum(np.diff(now_us), STEP_US)
    active = np.cumsum(np.concatenate([[before.active], steps]))
    heard = Heard(rows, now_us[1:], active[1:])
    turns: list[Turn] = []
    start = 0
    for edge in np.flatnonzero(np.diff(active // MINUTE_US)).tolist():
        turns += _note(watched, heard, start, edge, silence)
        turns += _look(watched, heard, edge, silence)
        start = edge
    turns += _note(watched, heard, start, len(rows), silence)
    return Clock(int(now_us[-1]), int(active[-1])), turns


def _note(watched: Watched, heard: Heard, start: int, end: int, silence: Silence) -> list[Turn]:
    """Note that readings start to end (exclusive) were heard; return who is silent no more."""
    if start == end:
        return []
    order = start + stable_order(heard.row[start:end])  # side by side what is of one stream
    row, active = heard.row[order], heard.active[order]
    gap, begins = np.empty_like(active), np.ones(len(row), np.bool_)
    gap[1:], begins[1:] = np.diff(active), row[1:] != row[:-1]
    first = np.flatnonzero(begins)  # of each of D streams
    counts = np.diff(first, append=len(row))
    last = first + counts - 1
    streams = watched.take(row[first])  # [D]
    # A silence that was told is no part of the rhythm; nor is the time before the first reading.
    strange = streams["silent"] | (streams["readings"] == 0)
    gap[first] = np.where(strange, 0, active[first] - streams["heard"])
    back = np.sort(order[first[streams["silent"]]]).tolist()
    turns = [_turn(watched, heard, n, int(heard.row[n]), silence, opens=False) for n in back]
    streams["silent"] = False
    streams["readings"] = np.minimum(streams["readings"] + counts, FEWEST)
    longest = np.maximum.reduceat(FADE * gap + active, first)
    streams["envelope"] = np.maximum(streams["envelope"], longest)
    streams["heard_us"], streams["heard"] = heard.now_us[order[last]], active[last]
    raw(watched)[row[first]] = raw(streams)
    return turns


def _look(watched: Watched, heard: Heard, n: int, silence: Silence) -> list[Turn]:
    """Look at all streams before reading n: who fell silent, who is so for good?"""
    idle = heard.active[n] - watched["heard"]
    fell = (watched["readings"] >= silence.fewest) & ~watched["silent"] & (silence.after > 0)
    fell &= (idle > _bound(watched, silence)) & (idle <= silence.gone_us)
    fell[heard.row[n]] = False  # it speaks
    gone = watched["silent"] & (idle > silence.gone_us)
    turns = [
        _turn(watched, heard, n, row, silence, opens=bool(fell[row]))
        for row in np.flatnonzero(fell | gone).tolist()
    ]
    watched["silent"] = (watched["silent"] | fell) & ~gone
    watched["readings"][gone] = 0
    return turns


def _turn(
    watched: Watched, heard: Heard, n: int, row: int, silence: Silence, *, opens: bool
) -> Turn:
    one = watched[row : row + 1]
    idle = int(heard.active[n]) - int(one["heard"][0])
    gone = not opens and idle > silence.gone_us
    bound_s = float(_bound(one, silence)[0]) / US_PER_S
    now_us, heard_us = int(heard.now_us[n]), int(one["heard_us"][0])
    return Turn(n, row, opens, gone, heard_us, now_us, idle / US_PER_S, bound_s)


def _bound(watched: Watched, silence: Silence) -> Doubles:
    """Return how long streams may be silent, [R] microseconds of active time."""
    longest = (watched["envelope"] - watched["heard"]) / FADE
    return np.asarray(np.maximum(silence.after * longest, MINUTE_US))
