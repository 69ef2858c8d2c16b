"""Drift is about nothing while scores are as calibrated, and rises when most of them do."""

import numpy as np
import pytest
from fakes import manifest

from detector.artifact import Calibration
from detector.drift import HALF_LIFE_S, MUCH, PRIOR_READINGS, Bins, Drift

CALIBRATION = Calibration(
    kind="state",
    levels=(0.0, 0.05, 0.5, 1.0, 2.0, 3.0, 4.0),
    # As `1 - quantile` has it: a hair below 0.1.
    exceedance=(1.0, 0.95, 0.75, 0.5, 0.25, 1 - 0.9, 1 - 0.98),
    scale=0.5,
    shape=0.0,
    extremal_index=0.5,
)
RANDOM = np.random.default_rng(5)


def normal(n: int) -> np.ndarray:
    """Draw scores as the calibration has them."""
    p = RANDOM.uniform(0.001, 1, n)
    return np.array([CALIBRATION.level(float(one)) for one in p])[:, None]


def drift_of(*scores: np.ndarray) -> float:
    drift = Drift([CALIBRATION], 0.0)
    for score in scores:
        drift.add(score, 0.0)
    (now,) = drift.now()
    return now


def test_bins_are_the_calibrations_own_from_the_median_up() -> None:
    bins = Bins(CALIBRATION)
    np.testing.assert_allclose(bins.expected, [0.5, 0.25, 0.15, 0.1])
    assert bins.count(np.array([0.0, 1.0, 1.1, 2.5, 3.1, 99.0])).tolist() == [2, 1, 1, 2]
    coarse = Bins(manifest().calibration[0])
    np.testing.assert_allclose(coarse.expected, [0.9, 0.1])


def test_as_calibrated_there_is_none() -> None:
    assert abs(drift_of(normal(50_000))) < 0.01
    assert drift_of() == 0


def test_it_rises_with_the_scores_of_most_and_falls_below_0_where_they_fall() -> None:
    assert drift_of(normal(20_000) * 2) > MUCH
    assert drift_of(normal(20_000) / 3) < -MUCH


def test_one_machine_in_twenty_that_breaks_is_no_drift() -> None:
    score = normal(20_000)
    score[:1000] = 50
    assert abs(drift_of(score)) < 0.1 * MUCH


def test_a_few_readings_prove_nothing() -> None:
    assert drift_of(normal(int(PRIOR_READINGS / 20)) + 10) < MUCH


def test_what_was_fades() -> None:
    drift = Drift([CALIBRATION], 0.0)
    drift.add(normal(20_000) + 5, 0.0)
    (much,) = drift.now()
    for hours in range(1, 25):
        drift.add(normal(2000), hours * HALF_LIFE_S / 6)
    (later,) = drift.now()
    assert later < 0.2 * much
    drift.add(np.zeros((0, 1)), 1e9)
    assert drift.now() == [pytest.approx(0)]
