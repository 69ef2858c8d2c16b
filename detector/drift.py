"""How far scores have drifted from those that the model was calibrated on. Pure."""

from collections.abc import Sequence

import numpy as np

from detector.artifact import Calibration
from detector.records import Doubles, Floats

# Bins begin at the median: how far below it a calm machine scores is chance and no harm. Scores
# that fewer than a tenth of normal readings exceed count as one: what breaks is for alerts, and
# one machine in twenty that does must not look as if all had changed.
COMMONEST, RAREST = 0.51, 0.09
MUCH = 0.25  # the rule DetectorScoreDrift has the same
HALF_LIFE_S = 6 * 3600.0
# So many readings as expected are thought to have come before: a few prove nothing.
PRIOR_READINGS = 2000.0


class Bins:
    """The scores of one kind of evidence in a few bins, with what each should hold.

    Example:
        >>> tail = Calibration(kind="state", levels=(0, 1, 2), exceedance=(1, 0.5, 0.1),
        ...                    scale=1, shape=0, extremal_index=1)
        >>> bins = Bins(tail)
        >>> bins.expected.tolist()
        [0.5, 0.4, 0.1]
        >>> bins.count(np.array([0.5, 0.7, 1.5, 9])).tolist()
        [2.0, 1.0, 1.0]
    """

    def __init__(self, calibration: Calibration) -> None:
        """Take the calibration's own levels: between them it is only interpolated."""
        kept = [
            (level, share)
            for level, share in zip(calibration.levels, calibration.exceedance, strict=True)
            if RAREST <= share <= COMMONEST
        ]
        self._edges = np.array([level for level, _ in kept])
        above = np.array([1.0, *(share for _, share in kept), 0.0])
        self.expected: Doubles = above[:-1] - above[1:]

    def count(self, score: Floats | Doubles) -> Doubles:
        """Return how many of [N] scores are in each bin."""
        place = np.searchsorted(self._edges, score)
        return np.bincount(place, minlength=len(self.expected)).astype(np.float64)

    def drift(self, counts: Doubles) -> float:
        """Return the population stability index of counts; below 0 where scores have fallen.

        The sum of (seen - expected) ln(seen / expected) over the bins' shares: Kullback and
        Leibler's divergence, both ways. By custom 0.1 is a little and 0.25 is much (Siddiqi,
        "Credit Risk Scorecards", 2006).
        """
        seen = (counts + PRIOR_READINGS * self.expected) / (counts.sum() + PRIOR_READINGS)
        more = seen - self.expected
        rising = np.arange(len(more)) @ more >= 0
        return float(np.sum(more * np.log(seen / self.expected))) * (1 if rising else -1)


class Drift:
    """Histograms of recent scores that fade: each six hours what came before counts half."""

    def __init__(self, calibration: Sequence[Calibration], now_s: float) -> None:
        """Start empty, with one for each kind of evidence."""
        self._bins = [Bins(tail) for tail in calibration]
        self._counts = [np.zeros(len(bins.expected)) for bins in self._bins]
        self._faded_s = now_s

    def add(self, score: Floats | Doubles, now_s: float) -> None:
        """Take scores of readings past warm-up, [N, K]."""
        left = 0.5 ** (max(now_s - self._faded_s, 0.0) / HALF_LIFE_S)
        self._faded_s = now_s
        for k, bins in enumerate(self._bins):
            self._counts[k] = self._counts[k] * left + bins.count(score[:, k])

    def now(self) -> list[float]:
        """Return the population stability index of each kind of evidence."""
        return [bins.drift(n) for bins, n in zip(self._bins, self._counts, strict=True)]
