"""The Numenta Anomaly Benchmark's scoring, v1.1 (Lavin and Ahmad, ICMLA 2015).

A corpus is scored with one threshold. A row whose score reaches it is a detection. The earliest
one in a window earns by how early it is; a window without one costs; a detection outside costs
by its distance from the window before it. 0 is to detect nothing, 100 to detect each window at
its first row and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detector.records import Bools, Doubles, Ints

PROBATION = 0.15  # of a file's rows, at its beginning, that are not scored
PROBATION_ROWS = 750  # at most
STEEPNESS = 5  # of the sigmoid
FAR = 3.0  # window widths after a window; from there on a false positive costs in full


class Profile(NamedTuple):
    """What a false positive and a missed window cost; a window found at once earns 1."""

    false: float
    missed: float


PROFILES = {
    "standard": Profile(0.11, 1.0),
    "reward_low_FP_rate": Profile(0.22, 1.0),
    "reward_low_FN_rate": Profile(0.11, 2.0),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One file, scored.

    Attributes:
        score: [T] float64, higher = more anomalous.
        windows: Its windows in order, as (first row, row after the last).
    """

    score: Doubles
    windows: Sequence[tuple[int, int]]


class Optimum(NamedTuple):
    """The best figure of a corpus and the threshold that reaches it; infinite: detect nothing."""

    figure: float
    threshold: float


class _Deeds(NamedTuple):
    """What rows earn when they are detections: [N] each, over the corpus."""

    score: Doubles
    earns: Doubles  # before weights: in a window 0 to 1, outside -1 to 0
    window: Ints  # number in the corpus, -1 outside


def probation(rows: int) -> int:
    """Return how many rows of a file come before those that are scored."""
    return min(int(PROBATION * rows), PROBATION_ROWS)


def window_rows(ts_us: Ints, windows_us: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return windows of time, both ends inside, as (first row, row after the last).

    Times may go back, as they do in some files when summer time ends: an end is the first row
    that is not before it.

    Raises:
        ValueError: If the times of a row do not reach as far as a window.
    """
    rows = []
    for begin, end in windows_us:
        reached = np.flatnonzero(ts_us >= end)
        if not len(reached):
            msg = f"expected rows until the window's end at {end} us, saw {ts_us.max()} at most"
            raise ValueError(msg)
        stop = int(reached[0]) + int(ts_us[reached[0]] == end)
        rows.append((int(np.argmax(ts_us >= begin)), stop))
    return rows


def figure_at(corpus: Sequence[Series], threshold: float, profile: Profile) -> float:
    """Return the corpus' figure, at most 100, with a threshold that was chosen elsewhere.

    Raises:
        ValueError: If the corpus has no window.
    """
    deeds, windows = _deeds(corpus), _count(corpus)
    hit = deeds.score >= threshold
    best = np.full(windows, -profile.missed)
    inside = hit & (deeds.window >= 0)
    np.maximum.at(best, deeds.window[inside], deeds.earns[inside])
    raw = best.sum() + profile.false * deeds.earns[hit & (deeds.window < 0)].sum()
    return _figure(float(raw), windows, profile)


def optimise(corpus: Sequence[Series], profile: Profile) -> Optimum:
    """Return the best figure that one threshold reaches over the corpus, as NAB reports it.

    Rows are taken from the highest score down; each changes the sum by what it adds.

    Raises:
        ValueError: If the corpus has no window, or a score is NaN.
    """
    deeds, windows = _deeds(corpus), _count(corpus)
    if np.isnan(deeds.score).any():
        msg = f"expected scores, saw {int(np.isnan(deeds.score).sum())} NaN"
        raise ValueError(msg)
    order = np.argsort(-deeds.score, kind="stable")
    score, earns, window = (part[order] for part in deeds)
    gains = np.where(window < 0, profile.false * earns, 0.0)
    by_window = np.argsort(window, kind="stable")
    edges = np.searchsorted(window[by_window], np.arange(windows + 1))
    for number in range(windows):
        rows = by_window[edges[number] : edges[number + 1]]
        gains[rows] = np.diff(np.maximum.accumulate(earns[rows]), prepend=-profile.missed)
    raw = np.append(-profile.missed * windows, -profile.missed * windows + np.cumsum(gains))
    # Equal scores pass together: a threshold stands only before the next lower score.
    stands = np.append(0, np.append(np.flatnonzero(np.diff(score)), len(score) - 1) + 1)
    best = int(stands[raw[stands].argmax()])
    threshold = float(score[best - 1]) if best else float("inf")
    return Optimum(_figure(float(raw[best]), windows, profile), threshold)


def _figure(raw: float, windows: int, profile: Profile) -> float:
    nothing = -profile.missed * windows
    return 100 * (raw - nothing) / (windows - nothing)


def _count(corpus: Sequence[Series]) -> int:
    windows = sum(len(series.windows) for series in corpus)
    if not windows:
        msg = "expected windows in the corpus, saw none; there is nothing to detect"
        raise ValueError(msg)
    return windows


def _deeds(corpus: Sequence[Series]) -> _Deeds:
    parts, before = [], 0
    for series in corpus:
        rows = len(series.score)
        earns, window = _earnings(rows, series.windows)
        scored: Bools = np.arange(rows) >= probation(rows)
        window = np.where(window < 0, -1, window + before)
        parts.append((series.score[scored], earns[scored], window[scored]))
        before += len(series.windows)
    score, earns, window = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Deeds(score, earns, window)


def _earnings(rows: int, windows: Sequence[tuple[int, int]]) -> tuple[Doubles, Ints]:
    """Return what each row of a file earns as a detection, [T], and its window, [T]."""
    earns, window = np.full(rows, -1.0), np.full(rows, -1, np.int64)
    after = [*(start for start, _ in windows), rows][1:]
    for number, ((start, stop), until) in enumerate(zip(windows, after, strict=True)):
        width = stop - start
        place = (np.arange(start, stop) - stop) / width  # -1 at the first row
        earns[start:stop] = _sigmoid(place) / _sigmoid(np.array(-1.0))
        window[start:stop] = number
        past = np.arange(1, until - stop + 1) / max(width - 1, 1)
        earns[stop:until] = np.where(past > FAR, -1.0, _sigmoid(past))
    return earns, window


def _sigmoid(place: Doubles) -> Doubles:
    """Return 1 far before a window's end (0), -1 far after it."""
    return 2 / (1 + np.exp(STEEPNESS * place)) - 1
