"""Figures of a score without a threshold: average precision, and volume under the surface (VUS)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detector.records import Bools, Doubles, Floats, Ints
from training.metrics.events import stretches

THRESHOLDS = 250  # of the reference implementation; ranks of the score, evenly apart


class Volume(NamedTuple):
    """Mean areas over all windows from 0 to the widest; 1 is perfect."""

    vus_pr: float
    vus_roc: float


def average_precision(label: Bools, score: Floats | Doubles) -> float:
    """Return the sum over thresholds of precision times the recall gained, without interpolation.

    Args:
        label: [T] an anomaly.
        score: [T] higher = more anomalous; equal scores pass a threshold together.

    Raises:
        ValueError: If a score is NaN, lengths differ, or no row is labelled.
    """
    _refuse(label, score)
    order = np.argsort(-score, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(label[order])[last_of_ties]
    precision = hits / (last_of_ties + 1)
    return float(np.sum(np.diff(hits, prepend=0) * precision) / hits[-1])


def volume(label: Bools, score: Floats | Doubles, window: int) -> Volume:
    """Return VUS-PR and VUS-ROC (Paparrizos et al., PVLDB 2022, the optimised variant).

    For each window from 0 to the widest, labels are extended by half of it to both sides with
    falling weight; precision, recall and false positive rate are taken at 250 ranks of the
    score, recall times the part of the extended events that were touched at all; the areas
    below the curves are averaged.

    Rows are assigned once to the first threshold that they pass. What a threshold gathers is then
    a cumulative sum, and a window costs one pass over the rows.

    Args:
        label: [T] an anomaly.
        score: [T] higher = more anomalous.
        window: The widest window, rows.

    Raises:
        ValueError: If a score is NaN, lengths differ, or not both kinds of rows are there.
    """
    _refuse(label, score)
    if label.all():
        msg = "expected rows without label, saw none; VUS has no false positive rate there"
        raise ValueError(msg)
    ranks = np.linspace(0, len(score) - 1, THRESHOLDS).astype(np.int64)
    thresholds = np.sort(-score)[ranks]  # negated, so that they ascend
    first = np.searchsorted(thresholds, -score)
    events = stretches(label)
    areas = [_areas(label, first, events, width) for width in range(window + 1)]
    pr, roc = np.mean(areas, axis=0).tolist()
    return Volume(pr, roc)


def _areas(
    label: Bools, first: Ints, events: Sequence[tuple[int, int]], window: int
) -> tuple[float, float]:
    """Return the areas below the curves of one window: precision-recall and ROC."""
    weight = _extended(label, events, window)
    passed = _gathered(first, np.ones(len(first)))
    hits = _gathered(first, weight)
    positives = label.sum()
    # Half of what is gathered beside the labels counts as positive, too.
    positives = positives + (hits - _gathered(first, label.astype(np.float64))) / 2
    recall = np.minimum(hits / positives, 1) * _touched(first, events, window // 2)
    precision = hits / passed
    false = (passed - hits) / (len(label) - positives)
    pr = np.sum(np.diff(recall, prepend=0) * precision)
    roc = np.trapezoid(np.concatenate([[0], recall, [1]]), np.concatenate([[0], false, [1]]))
    return float(pr), float(roc)


def _extended(label: Bools, events: Sequence[tuple[int, int]], window: int) -> Doubles:
    """Return labels with slopes at both sides, [T]: sqrt(1 - distance / window), at most 1."""
    far = np.arange(1, window // 2 + 1)
    starts, stops = np.array(events).T
    before, after = starts[:, None] - far, stops[:, None] - 1 + far
    rows = np.concatenate([before.ravel(), after.ravel()])
    slope = np.tile(np.sqrt(1 - far / max(window, 1)), 2 * len(events))
    inside = (rows >= 0) & (rows < len(label))
    beside = np.bincount(rows[inside], slope[inside], len(label))
    extended: Doubles = np.minimum(label + beside, 1)
    return extended


def _touched(first: Ints, events: Sequence[tuple[int, int]], half: int) -> Doubles:
    """Return the part of extended events with a row that passes, a threshold [250]."""
    length = len(first)
    reached = [(max(start - half, 0), min(stop + half, length)) for start, stop in events]
    joined = [reached[0]]
    for start, stop in reached[1:]:
        if start < joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    # The row beyond the end closes the last event; no threshold is its first.
    padded = np.append(first, THRESHOLDS)
    earliest = np.minimum.reduceat(padded, np.ravel(joined))[::2]
    return _gathered(earliest, np.ones(len(earliest))) / len(joined)


def _gathered(first: Ints, weight: Doubles) -> Doubles:
    """Return the weight of all rows that pass each threshold, [250]."""
    gathered: Doubles = np.cumsum(np.bincount(first, weight, THRESHOLDS))
    return gathered


def _refuse(label: Bools, score: Floats | Doubles) -> None:
    if label.shape != score.shape or label.ndim != 1:
        msg = f"expected label and score [T] each, saw {label.shape} and {score.shape}"
        raise ValueError(msg)
    if np.isnan(score).any():
        msg = f"expected scores, saw {int(np.isnan(score).sum())} NaN"
        raise ValueError(msg)
    if not label.any():
        msg = "expected labelled rows, saw none; there is no recall without them"
        raise ValueError(msg)
