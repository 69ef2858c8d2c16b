"""The Skoltech Anomaly Benchmark's figures (Katser and Kozitsin, 2020): of rows, of changepoints.

Rows are counted one by one, over all files. A changepoint has a window, the minute from it on,
and is detected by the earliest prediction in it, which earns by how early it is. 0 is to predict
nothing, 100 to predict each changepoint at its row and nothing else.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detector.records import US_PER_S, Bools, Ints

WINDOW_US = 60 * US_PER_S  # in which a changepoint can be detected
STEPS = 1000  # in which the scorer's curve falls; without them the second decimal may differ


class Profile(NamedTuple):
    """What a false prediction and a missed changepoint cost; one found at once earns 1."""

    false: float
    missed: float


PROFILES = {
    "Standard": Profile(0.11, 1.0),
    "LowFP": Profile(0.22, 1.0),
    "LowFN": Profile(0.11, 2.0),
}


@dataclass(frozen=True, slots=True)
class Series:
    """The rows of one file that count, [T] each."""

    ts_us: Ints
    label: Bools
    changepoint: Bools
    alarm: Bools


class Rows(NamedTuple):
    """Figures of rows.

    Attributes:
        f1: Harmonic mean of precision and recall.
        far: False alarm rate: part of the normal rows that were in alarm.
        mar: Missed alarm rate: part of the anomalous rows that were not.
    """

    f1: float
    far: float
    mar: float


def rows(series: Iterable[Series]) -> Rows:
    """Return the figures of counts that are summed over all files, without any adjustment."""
    hits = false = missed = quiet = 0
    for one in series:
        hits += int((one.alarm & one.label).sum())
        false += int((one.alarm & ~one.label).sum())
        missed += int((~one.alarm & one.label).sum())
        quiet += int((~one.alarm & ~one.label).sum())
    return Rows(
        f1=2 * hits / max(2 * hits + false + missed, 1),
        far=false / max(false + quiet, 1),
        mar=missed / max(hits + missed, 1),
    )


def changepoints(alarm: Bools) -> Bools:
    """Return where an alarm begins or ends, [T]; one that is there at once begins on row 0."""
    return np.diff(alarm, prepend=False)


def nab(series: Iterable[Series], profile: Profile) -> float:
    """Return the NAB figure of all changepoints, at most 100, as the benchmark's scorer gives it.

    A window that begins before the one before it has ended begins there instead. Both ends
    belong to a window, so a prediction on the seam counts for two. From a window's first moment
    to its last, what a detection earns falls from 1 to the cost of a false prediction, as tanh
    does; all predictions outside cost the same.

    Args:
        series: All files; predictions are where an alarm begins or ends.
        profile: One of PROFILES.

    Raises:
        ValueError: If there is no changepoint.
    """
    total = raw = 0.0
    for one in series:
        windows = _windows(one.ts_us[one.changepoint])
        predicted = one.ts_us[changepoints(one.alarm)]
        false = np.ones(len(predicted), np.bool_)
        for begin, end in windows:
            inside = (predicted >= begin) & (predicted <= end)
            false &= ~inside
            if inside.any():
                late = (predicted[inside][0] - begin) / (end - begin)
                raw += _earned(float(late), profile)
            else:
                raw -= profile.missed
        raw -= profile.false * float(false.sum())
        total += len(windows)
    if not total:
        msg = "expected changepoints, saw none; there is nothing to detect"
        raise ValueError(msg)
    return 100 * (raw + profile.missed * total) / (total * (1 + profile.missed))


def _windows(ts_us: Ints) -> list[tuple[int, int]]:
    """Return begin and end, both inside, of the window of each changepoint; times ascend."""
    windows: list[tuple[int, int]] = []
    for moment in ts_us.tolist():
        begin = max(moment, windows[-1][1]) if windows else moment
        windows.append((begin, moment + WINDOW_US))
    return windows


def _earned(late: float, profile: Profile) -> float:
    """Return what a detection earns: 1 at the window's begin (0), a false one's cost at 1."""
    place = min(int(late * STEPS), STEPS - 1) / (STEPS - 1)
    falling = 0.5 - math.tanh(math.pi * (place - 0.5)) / math.tanh(math.pi / 2) / 2
    return (1 + profile.false) * falling - profile.false
