"""The score's tail against known distributions, and the numbers that make the score."""

import numpy as np
import pytest
import torch
from scipy import stats

from detector.artifact import Calibration
from detector.records import Doubles
from training.calibrate import _expectation_of_missing, calibrate, score_rows, tail
from training.config import Fit, Network
from training.data import Piece, Report, _sorted
from training.model import Autoencoder

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


def ar1(rows: int, channels: int, keep: float, seed: int) -> Doubles:
    random = np.random.default_rng(seed)
    mix = np.eye(channels) + 0.3 * np.tri(channels, k=-1)
    x = random.normal(size=(rows, channels)) @ mix.T
    for t in range(1, rows):
        x[t] = keep * x[t - 1] + np.sqrt(1 - keep**2) * x[t]
    return x


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whitening_undoes_the_covariance_of_errors_on_held_out_rows(seed: int) -> None:
    torch.manual_seed(seed)
    rows, channels = 12_000, 3
    x = 3 * ar1(rows, channels, 0.5, seed=seed)
    model = Autoencoder(channels, Network(hidden=6, bottleneck=2, window=2), (1.0, 5.0)).eval()
    for weight in model.parameters():
        # A network that contracts: what it says does not hang on an operator's last bit.
        weight.data.normal_(0, 0.5)
    history = _sorted(
        x.astype(np.float32), np.zeros(rows, np.int64), np.arange(rows) * 10**6, ["s"], Report()
    )
    valid, held_out = [Piece(0, 6000)], [Piece(6000, rows)]
    calibration = calibrate(model, history, valid, held_out, Fit(lanes=4))

    later = torch.from_numpy(history.rows(6000, rows)).unsqueeze(0)
    with torch.no_grad():
        read, carry = model.unroll(later, model.fresh(1))
        smoothed, _ = model.smooth(model.errors(read), carry.memory)
        residual = model.sequence(later, model.fresh(1))[0].residual[0]
    # Of 6,000 correlated rows a moment is known to some hundredths; smoothed ones, to a tenth.
    for errors, whiten, tolerance in zip(smoothed, model.whiten, (0.12, 0.2), strict=True):
        seen = errors[0, 100:].double().numpy()
        seen = seen.T @ seen / len(seen)
        undone = np.linalg.inv((whiten.T @ whiten).double().numpy())
        level, aside = np.trace(undone) / len(undone), ~np.eye(len(undone), dtype=bool)
        kept = (undone[aside] @ seen[aside]) / (seen[aside] @ seen[aside])
        assert kept == pytest.approx(1, abs=0.1), "shrunk by a few hundredths, no more"
        shrunk = kept * seen + (1 - kept) * level * np.eye(len(seen))
        np.testing.assert_allclose(undone / level, shrunk / level, atol=tolerance)
    np.testing.assert_allclose(residual.std(0), np.ones(channels), atol=0.15)

    scores, row = score_rows(model, history, held_out, Fit(lanes=4))
    assert row.tolist() == list(range(6000, rows))
    above = (scores[:, 0] > calibration[0].level(1e-2)).mean()
    assert above == pytest.approx(1e-2, rel=0.3)


@pytest.mark.parametrize("channels", [2, 5])
def test_one_missing_channel_is_filled_with_its_conditional_expectation(channels: int) -> None:
    random = np.random.default_rng(channels)
    root = random.normal(size=(2 * channels, 2 * channels))
    covariance = root @ root.T + 0.1 * np.eye(2 * channels)
    fill = _expectation_of_missing(covariance)
    errors = random.normal(size=2 * channels)
    for c in range(channels):
        own, others = [c, c + channels], np.delete(np.arange(2 * channels), [c, c + channels])
        seen = np.where(np.isin(np.arange(2 * channels), own), 0, errors)
        across, among = covariance[np.ix_(own, others)], covariance[np.ix_(others, others)]
        expected = across @ np.linalg.solve(among, errors[others])
        np.testing.assert_allclose((fill @ seen)[own], expected, rtol=1e-8)
