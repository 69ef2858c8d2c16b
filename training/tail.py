"""How often normal readings score how high: quantiles, then a generalised Pareto tail."""

import numpy as np
from scipy import optimize  # type: ignore[import-untyped]

from detector.artifact import Calibration
from detector.records import Doubles, Floats, Ints

BODY = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99)
TAIL_SHARE = (0.02, 0.2)  # of the readings that make the tail: the first, or more if they are few
TAIL_READINGS = 50
RUN = 30  # readings below the tail that end a cluster of exceedances
FLOOR = 1e-3  # of a tail's scale
# What tails are like before any is seen, as in Martins and Stedinger, "Generalized
# maximum-likelihood generalized extreme-value quantile estimators" (2000): without it fifty
# readings decide. Scores are standardised evidence, whose logarithm falls evenly; their excess
# over a high level is about half a unit, give or take a factor of 1.6.
SHAPE_DEVIATION = 0.2
SCALE_PRIOR, SCALE_DEVIATION = 0.5, 0.3
SCALE_CLUSTERS = 4  # that it is worth where none was seen


def tail(kind: str, scores: Floats | Doubles, row: Ints) -> Calibration:
    """Fit the distribution of normal scores.

    Peaks over threshold, as in Siffer et al., "Anomaly Detection in Streams with Extreme Value
    Theory" (KDD 2017). Neighbours are alike: a cluster of exceedances counts as one.

    Args:
        kind: Of evidence.
        scores: [N] of held-out readings.
        row: [N] their rows, rising; neighbours in time differ by one.

    Raises:
        ValueError: If there are too few readings to speak of a tail.
    """
    if len(scores) < TAIL_READINGS:
        msg = (
            f"expected at least {TAIL_READINGS} held-out readings to calibrate on, saw "
            f"{len(scores)}; give more history or a larger last share"
        )
        raise ValueError(msg)
    values = scores.astype(np.float64)
    share = float(np.clip(TAIL_READINGS / len(values), *TAIL_SHARE))
    body = [q for q in BODY if q < 1 - share] + [1 - share]
    levels, first = np.unique(np.quantile(values, body), return_index=True)
    exceedance = 1 - np.array(body)[first]
    over = values > levels[-1]
    if not over.any():  # all of the highest are alike: any higher score is beyond the tail
        over = values == levels[-1]
    clusters = 1 + int((np.diff(row[over]) > RUN).sum())
    shape, scale = pareto(values[over] - levels[-1], clusters)
    return Calibration(
        kind=kind,
        levels=tuple(levels.tolist()),
        exceedance=tuple(exceedance.tolist()),
        scale=scale,
        shape=shape,
        extremal_index=clusters / int(over.sum()),
    )


def pareto(excess: Doubles, independent: int) -> tuple[float, float]:
    """Return shape and scale of the generalised Pareto distribution of excesses.

    Args:
        excess: [N] above a threshold, 0 and more.
        independent: How many of them tell something of their own.
    """
    mean = max(float(excess.mean()), FLOOR)
    weight = independent / len(excess)

    def loss(point: Doubles) -> float:
        shape, scale = abs(float(point[0])), mean * float(np.exp(np.clip(point[1], -9, 9)))
        grown = np.log1p(shape * excess / scale)
        fit = len(excess) * np.log(scale) + (1 + 1 / max(shape, 1e-6)) * grown.sum()
        off = shape / SHAPE_DEVIATION, np.log(scale / SCALE_PRIOR) / SCALE_DEVIATION
        return float(weight * fit + (off[0] ** 2 + off[1] ** 2) / 2)

    best = optimize.minimize(loss, np.array([SHAPE_DEVIATION, 0.0]), method="Nelder-Mead").x
    scale = mean * float(np.exp(np.clip(best[1], -9, 9)))
    # What n excesses foretell of the next one is heavier than their own tail: if that is
    # exponential, of shape 1 / n (the predictive distribution is Lomax's).
    shape = abs(float(best[0])) + 1 / (independent + SCALE_CLUSTERS)
    # A steeper tail than that is a matter of the few that were seen.
    return min(shape, 1.0), max(scale, SCALE_PRIOR / 2)
