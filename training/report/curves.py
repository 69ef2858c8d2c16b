"""Curves out of many readings, small enough to draw, with nothing lost that a person would see."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from detector.records import Bools, Doubles, Floats, Ints
from training.metrics.ranges import average_precision

RAREST = 1e-15  # a probability below says no more than this
POINTS = 400  # of a curve; more than a picture has room for


class PrecisionRecall(NamedTuple):
    """Readings above each of P levels of a score, the highest level first.

    Attributes:
        recall: [P] part of the anomalous readings that are above.
        precision: [P] part of the readings above that are anomalous.
        average: Precision, averaged over what each level adds to the recall.
    """

    recall: Doubles
    precision: Doubles
    average: float


def surprise(probability: Doubles) -> Doubles:
    """Return -log10 of probabilities, same shape, at most 15: a millionth is 6."""
    return np.asarray(-np.log10(np.maximum(probability, RAREST)))


def envelope(y: Doubles | Floats, columns: int = POINTS) -> Ints:
    """Return the readings to draw of [T]: of each column's the lowest and the highest, rising.

    A spike of one reading is an extreme of its column, so it stays. None may be NaN.
    """
    if len(y) <= 2 * columns:
        return np.arange(len(y))
    edges = np.linspace(0, len(y), columns + 1).astype(np.int64)
    extremes = [
        start + pick(y[start:stop])
        for start, stop in pairwise(edges.tolist())
        for pick in (np.argmin, np.argmax)
    ]
    return np.unique(np.array([0, *extremes, len(y) - 1], np.int64))


def exceedance(values: Doubles | Floats) -> tuple[Doubles, Doubles]:
    """Return levels and the share of values at or above each, thinned evenly in its logarithm."""
    falling = np.sort(values.astype(np.float64))[::-1]
    if not len(falling):
        return np.zeros(0), np.zeros(0)
    count = np.unique(np.geomspace(1, len(falling), POINTS).round().astype(np.int64))
    return falling[count - 1], count / len(falling)


def precision_recall(label: Bools, score: Doubles | Floats) -> PrecisionRecall:
    """Return what every level of a score would find, readings counted one by one.

    Args:
        label: [N] anomalous; at least one is.
        score: [N] higher is more anomalous.
    """
    order = np.argsort(-score, kind="stable")
    hits, falling = np.cumsum(label[order]), score[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], [True]))  # of equal ones
    hits, above = hits[last], last + 1
    recall, precision = hits / hits[-1], hits / above
    kept = envelope(precision, POINTS // 2)
    return PrecisionRecall(recall[kept], precision[kept], average_precision(label, score))


def rate_limits(count: int, days: float, confidence: float = 0.9) -> tuple[float, float]:
    """Return the lowest and highest rate a day that such a count agrees with.

    Exact for a Poisson process (Garwood, "Fiducial limits for the Poisson distribution", 1936).

    Args:
        count: What happened.
        days: In how long; above 0.
        confidence: That the rate is within.
    """
    beyond = (1 - confidence) / 2
    low = stats.chi2.ppf(beyond, 2 * count) / 2 if count else 0.0
    return float(low) / days, float(stats.chi2.ppf(1 - beyond, 2 * count + 2)) / 2 / days
