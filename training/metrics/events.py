"""Stretches of labelled readings: which were found, how late, and what was opened beside them."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from detector.records import Bools

PER_READINGS = 1000  # openings are told per so many quiet readings


class Found(NamedTuple):
    """What alerts made of the labelled stretches, over all series.

    Attributes:
        events: Stretches of labelled readings.
        found: Those with a reading in alert.
        delays: Of each found stretch, readings from its first one to its first one in alert.
        openings: Alerts that opened on a quiet reading: one without label. An alert that opened
            on a labelled reading and lasts beyond the label is none.
        quiet: Readings without label.
    """

    events: int
    found: int
    delays: list[int]
    openings: int
    quiet: int

    @property
    def delay(self) -> float:
        """Median delay in readings; NaN where nothing was found."""
        return float(np.median(self.delays)) if self.delays else float("nan")

    @property
    def openings_per_1000(self) -> float:
        """Openings per 1,000 quiet readings; NaN where no reading is quiet."""
        return PER_READINGS * self.openings / self.quiet if self.quiet else float("nan")


def stretches(label: Bools) -> list[tuple[int, int]]:
    """Return the runs of true rows of [T] flags, as (first row, row after the last).

    >>> stretches(np.array([False, True, True, False, True]))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(label.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def find(series: Iterable[tuple[Bools, Bools]]) -> Found:
    """Hold alerts against labels; an alert that is open on a series' first row opened there.

    Args:
        series: Label and alarm of each series, [T] each.
    """
    events = openings = quiet = 0
    delays: list[int] = []
    for label, alarm in series:
        opens = np.diff(alarm.astype(np.int8), prepend=0) == 1
        openings += int((opens & ~label).sum())
        quiet += int((~label).sum())
        for start, stop in stretches(label):
            events += 1
            if alarm[start:stop].any():
                delays.append(int(alarm[start:stop].argmax()))
    return Found(events, len(delays), delays, openings, quiet)
