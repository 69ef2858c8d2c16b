"""Fitting: reproducible, it learns, it stops, and it does not look across gaps."""

import numpy as np
import pytest
import torch

from detector.records import Doubles
from training.channels import look
from training.config import Config
from training.data import History, Piece, Report, _sorted
from training.train import Fitted, fit, validate

ROWS = 600


def config(**options: object) -> Config:
    table = {
        "name": "toy",
        "data": {"files": ["h.csv"], "channels": ["sine", "cosine", "constant"]},
        "network": {"hidden": 8, "bottleneck": 2, "window": 3},
        "fit": {"epochs": 4, "lanes": 4, "chunk": 16, "learning_rate": 0.01} | options,
    }
    return Config.model_validate(table)


def toy(constant: float = 7e5) -> Doubles:
    """Two channels that follow each other, with some noise, and one that never moves."""
    phase = np.arange(ROWS) / 4 + np.random.default_rng(0).normal(0, 0.05, ROWS)
    return np.stack([3 + np.sin(phase), 40 * np.cos(phase), np.full(ROWS, constant)], 1)


def history(x: Doubles) -> History:
    rows = len(x)
    return _sorted(
        x.astype(np.float32), np.zeros(rows, np.int64), np.arange(rows) * 10**6, ["s"], Report()
    )


def fitted(x: Doubles, **options: object) -> Fitted:
    settings, told = config(**options), history(x)
    channels = look(settings.data.channels, told)
    return fit(settings, told, channels, [Piece(0, 400)], [Piece(400, 600)])


def test_the_seed_decides_every_weight() -> None:
    torch.rand(7)  # what else drew random numbers does not matter
    one, same, other = (fitted(toy(), seed=seed, epochs=2) for seed in (3, 3, 4))
    weights = [run.model.state_dict() for run in (one, same, other)]
    for name, weight in weights[0].items():
        assert weight.numpy().tobytes() == weights[1][name].numpy().tobytes(), name
    assert one.losses == same.losses != other.losses


def test_it_learns_what_can_be_learnt() -> None:
    run = fitted(toy(), epochs=25, noise=0.0, dropout=0.0)
    losses = [loss.valid for loss in run.losses]
    assert min(losses) < 0.1 * losses[0]
    assert min(loss.train for loss in run.losses) < 0.2 * run.losses[0].train


def test_it_ends_without_progress_and_keeps_the_best_pass() -> None:
    run = fitted(toy(), epochs=60, patience=3, learning_rate=0.3, noise=1.0)
    losses = [loss.valid for loss in run.losses]
    assert len(losses) < 60
    assert run.best == int(np.argmin(losses)) == len(losses) - 1 - 3
    seen = validate(run.model, history(toy()), [Piece(400, 600)], config().fit)
    assert seen == pytest.approx(losses[run.best], rel=1e-5)
    assert not run.model.training


@pytest.mark.parametrize("constant", [0.5, 7e5, -1e-3])
def test_a_constant_channel_is_named_and_not_shown_to_the_network(constant: float) -> None:
    run = fitted(toy(constant), epochs=1)
    assert run.model.moves.tolist() == [1, 1, 0]
    assert run.model.judged.tolist() == [0, 1, 2]
    assert float(run.model.scale[2]) == pytest.approx(abs(constant) / 100)
    assert look(config().data.channels, history(toy(constant))).roles[2] == "constant"
    assert np.isfinite([loss[:3] for loss in run.losses]).all()


def test_missing_values_do_not_move_mean_and_scale() -> None:
    x = toy()
    x[np.random.default_rng(1).random(x.shape) < 0.3] = np.nan
    x[0] = np.nan
    model = fitted(x, epochs=1).model
    np.testing.assert_allclose(model.mean, np.nanmean(x, 0), rtol=1e-5)
    np.testing.assert_allclose(model.scale[:2], np.nanstd(x[:, :2], 0), rtol=1e-4)


def test_nothing_is_carried_from_one_piece_into_the_next() -> None:
    run, told, pieces = fitted(toy(), epochs=2), history(toy()), [Piece(400, 480), Piece(480, 600)]
    options = config(lanes=1, chunk=40).fit

    def loss(*pieces: Piece) -> float:
        return validate(run.model, told, pieces, options)

    apart = (80 * loss(pieces[0]) + 120 * loss(pieces[1])) / 200
    assert loss(*pieces) == pytest.approx(apart, rel=1e-5)
    assert loss(Piece(400, 600)) != pytest.approx(apart, rel=1e-3)


def test_a_flag_informs_and_is_not_scored_unless_told_so() -> None:
    x = toy()
    x[:, 2] = np.arange(ROWS) % 7 == 0
    assert look(config().data.channels, history(x)).roles == ["telemetry", "telemetry", "status"]
    assert fitted(x, epochs=1).model.judged.tolist() == [0, 1]
    told = [c.model_copy(update={"role": "telemetry"}) for c in config().data.channels]
    assert look(told, history(x)).judged == [0, 1, 2]
    only = np.stack([x[:, 2]] * 3, 1)
    assert look(config().data.channels, history(only)).judged == [0, 1, 2]
