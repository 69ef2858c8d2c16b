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

from detector.records import US_PER_S, Bools, Doubles, Ints

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
        gap: [N] since the stream's last reading.
    """

    row: Ints
    now_us: Ints
    active: Ints
    gap: Ints


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
    now_us = np.maximum.accumulate(np.maximum(ts_us, before.now_us))
    steps = np.minimum(np.diff(now_us, prepend=before.now_us), STEP_US)
    active = before.active + np.cumsum(steps)
    heard = Heard(rows, now_us, active, active - _heard_before(watched, rows, active))
    minutes = np.concatenate([[before.active], active]) // MINUTE_US
    turns: list[Turn] = []
    start = 0
    for edge in np.flatnonzero(np.diff(minutes)).tolist():
        turns += _note(watched, heard, start, edge, silence)
        turns += _look(watched, heard, edge, silence)
        start = edge
    turns += _note(watched, heard, start, len(rows), silence)
    return Clock(int(now_us[-1]), int(active[-1])), turns


def _heard_before(watched: Watched, rows: Ints, active: Ints) -> Ints:
    """Return when each reading's stream was heard before it, [N] active time."""
    order = np.argsort(rows, kind="stable")
    before = watched["heard"][rows]
    again = np.flatnonzero(np.diff(rows[order]) == 0) + 1
    before[order[again]] = active[order[again - 1]]
    return np.asarray(before)


def _note(watched: Watched, heard: Heard, start: int, end: int, silence: Silence) -> list[Turn]:
    """Note that readings start to end (exclusive) were heard; return who is silent no more."""
    rows, active = heard.row[start:end], heard.active[start:end]
    gap = heard.gap[start:end].copy()
    back = _first_of_each(rows, watched["silent"][rows])
    turns = [_turn(watched, heard, start + n, int(rows[n]), silence, opens=False) for n in back]
    # A silence that was told is no part of the rhythm; nor is the time before the first reading.
    gap[back] = gap[_first_of_each(rows, watched["readings"][rows] == 0)] = 0
    watched["silent"][rows[back]] = False
    np.maximum.at(watched["envelope"], rows, FADE * gap + active)
    watched["heard_us"][rows] = heard.now_us[start:end]  # of a stream's, the last
    watched["heard"][rows] = active
    np.add.at(watched["readings"], rows, 1)
    watched["readings"][rows] = np.minimum(watched["readings"][rows], FEWEST)
    return turns


def _first_of_each(rows: Ints, where: Bools) -> list[int]:
    """Return the index of each row's first reading, in order, of the rows that `where` names."""
    found = np.flatnonzero(where)
    _, first = np.unique(rows[found], return_index=True)
    return sorted(found[first].tolist())


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
