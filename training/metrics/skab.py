"""The Skoltech Anomaly Benchmark's figures (Katser and Kozitsin, 2020): of rows, of changepoints.

Rows are counted one by one, over all files. A changepoint is detected by the earliest predicted
one in the minute from it on; it earns by how early that is. 0 is to predict nothing, 100 to
predict each changepoint at its row and nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detector.records import US_PER_S, Bools, Ints

WINDOW_S = 60  # in which a changepoint counts as detected


class Profile(NamedTuple):
    """What a false changepoint and a missed one cost; one found at once earns 1."""

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
