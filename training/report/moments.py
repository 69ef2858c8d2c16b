"""The readings that the model was most surprised by: no two of them from one story."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from detector.records import Bools
from training.evaluate import Track

APART = 120  # readings; closer ones in a stream tell the same story


class Moment(NamedTuple):
    """One reading: its stream, and its place in the stream's track."""

    stream: str
    row: int


def worst(tracks: Mapping[str, Track], count: int, *, quiet: bool = False) -> list[Moment]:
    """Return the most surprising readings past warm-up, the most surprising first.

    Of an event of a stream (an alert, a labelled stretch, both where they touch) and of what is
    within `APART` readings of it, only the most surprising reading is told.

    Args:
        tracks: By stream.
        count: At most so many.
        quiet: Only readings that are farther than that from any label.
    """
    found: list[tuple[float, float, Moment]] = []
    for name, track in tracks.items():
        allowed = track.counts & track.warm
        if quiet:
            allowed = allowed & ~_near(track.label)
        rarity, score = track.probability.min(1), track.score.max(1)
        for _ in range(count):
            if not allowed.any():
                break
            least = rarity[allowed].min()
            row = int(np.where(allowed & (rarity == least), score, -np.inf).argmax())
            found.append((float(least), -float(score[row]), Moment(name, row)))
            allowed = allowed & ~_told(track, row)
    return [moment for _, _, moment in sorted(found)[:count]]


def story(track: Track, row: int) -> slice:
    """Return the rows around one that alerts and labels hold together; itself, if none does."""
    calm = np.flatnonzero(~(track.in_alert | track.label))
    at = int(np.searchsorted(calm, row))
    if at < len(calm) and calm[at] == row:
        return slice(row, row + 1)
    start = int(calm[at - 1]) + 1 if at else 0
    return slice(start, int(calm[at]) if at < len(calm) else len(track.label))


def _near(flags: Bools) -> Bools:
    """Return [T] within `APART` readings of one that is set."""
    total = np.concatenate([[0], np.cumsum(flags)])
    rows = np.arange(len(flags))
    high, low = np.minimum(rows + APART + 1, len(flags)), np.maximum(rows - APART, 0)
    return np.asarray(total[high] > total[low])


def _told(track: Track, row: int) -> Bools:
    """Return [T] the rows that need not be told once `row` is."""
    around, rows = story(track, row), np.arange(len(track.label))
    return np.asarray((rows >= around.start - APART) & (rows < around.stop + APART))
