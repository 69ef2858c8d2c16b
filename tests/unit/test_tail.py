"""The score's tail against known distributions."""

import numpy as np
import pytest
from scipy import stats

from detector.artifact import Calibration
from detector.records import Doubles
from training.tail import tail

N = 20_000
KNOWN = {
    "exponential": stats.expon(),
    "heavy": stats.genpareto(0.3),
    "very heavy": stats.genpareto(0.6),
    "normal": stats.norm(5, 1),
    "bounded": stats.uniform(),
}


def tail_of(scores: Doubles) -> Calibration:
    return tail("state", scores.astype(np.float32), np.arange(len(scores)))


@pytest.mark.parametrize(
    ("name", "factor"), [("exponential", 1.2), ("heavy", 1.6), ("normal", 1.1)]
)
def test_the_tail_finds_the_score_of_a_rate(name: str, factor: float) -> None:
    known = KNOWN[name]
    for p in (1e-2, 1e-3, 1e-4, 1e-5):
        levels = [tail_of(known.rvs(N, random_state=seed)).level(p) for seed in range(5)]
        assert 1 / factor < np.median(levels) / known.isf(p) < factor
        assert 1 / factor**3 < min(levels) / known.isf(p)
        assert max(levels) / known.isf(p) < factor**3


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("readings", [60, 500, N])
def test_no_tail_ends_and_probability_inverts_level(name: str, readings: int) -> None:
    for seed in range(3):
        calibration = tail_of(KNOWN[name].rvs(readings, random_state=seed))
        assert 0 <= calibration.shape <= 1
        assert (np.diff(calibration.levels) > 0).all()
        assert (np.diff(calibration.exceedance) < 0).all()
        for p in (0.3, 1e-2, 1e-6, 1e-9):
            level = calibration.level(p)
            assert calibration.probability(np.array(level)) == pytest.approx(p)


@pytest.mark.parametrize("together", [1, 2, 4])
def test_the_extremal_index_is_one_alarm_a_cluster(together: int) -> None:
    random = np.random.default_rng(0)
    scores = random.uniform(0, 1, N)
    places = np.arange(0, N, 50 * together)[:, np.newaxis] + 3 * np.arange(together)
    scores[places] = 2 + random.exponential(size=places.shape)
    assert tail_of(scores).extremal_index == pytest.approx(1 / together, rel=0.02)


def test_gaps_part_clusters() -> None:
    random = np.random.default_rng(0)
    scores = random.uniform(0, 1, N)
    scores[::50] = 2 + random.exponential(size=N // 50)
    apart = tail("state", scores.astype(np.float32), np.arange(N))
    closer = tail("state", scores.astype(np.float32), np.arange(N) // 2)
    assert apart.extremal_index == 1
    assert closer.extremal_index < 0.01


@pytest.mark.parametrize("readings", [0, 1, 49])
def test_too_few_readings_are_refused(readings: int) -> None:
    says = rf"expected at least 50 .* saw {readings}; give more history or a larger last share"
    with pytest.raises(ValueError, match=says):
        tail_of(np.arange(readings, dtype=np.float64))
