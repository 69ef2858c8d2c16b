"""One suite for every network of the family: what the wrapper, the exporter and the daemon need."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

import training.export
from detector.engine import Engine, Outcome
from detector.judge import rules
from detector.model import OnnxModel, load
from detector.records import Floats, Partition, Readings
from training.calibrate import calibrate
from training.channels import look
from training.config import Config, Kind
from training.config import Network as Sizes
from training.data import History, Report, _sorted
from training.export import export
from training.model import INPUT_LIMIT
from training.networks import Network, build
from training.train import Fitted, fit

B, T, C, W = 3, 30, 3, 4
STREAMS, ROWS = 4, 500
SIZES = {"hidden": 8, "bottleneck": 2, "window": W}
KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(params=KINDS)
def network(request: pytest.FixtureRequest) -> Network:
    return made(request.param)


def made(kind: Kind, window: int = W) -> Network:
    torch.manual_seed(0)
    return build(C, Sizes(kind=kind, hidden=6, bottleneck=2, window=window)).eval()


def readings(streams: int = B, length: int = T, seed: int = 1) -> Tensor:
    return torch.randn(streams, length, C, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def whole(network: Network, z: Tensor) -> tuple[Tensor, Tensor]:
    return network.sequence(z, network.fresh(len(z)))


@torch.no_grad()
def stepped(network: Network, z: Tensor) -> tuple[Tensor, Tensor]:
    state, features = network.fresh(len(z)), []
    for reading in z.unbind(1):
        now, state = network.step(reading, state)
        features.append(now)
    return torch.stack(features, 1), state


def assert_same(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(left[0], right[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(left[1], right[1], rtol=1e-5, atol=1e-5)


def test_a_new_stream_leaves_zeros_behind(network: Network) -> None:
    fresh = network.fresh(B)
    assert fresh.shape == (B, network.state_width)
    assert not fresh.any()


@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_has_the_shapes_that_were_promised(kind: Kind, window: int) -> None:
    network = made(kind, window)
    features, state = whole(network, readings())
    assert (network.channels, network.window) == (C, window)
    assert state.shape == (B, network.state_width)
    assert features.shape[:2] == (B, T)
    for said in (features, features[:, -1]):  # with an axis of time, and without
        axes = said.shape[:-1]
        assert network.newest(said).shape == network.ahead(said).shape == (*axes, C)
        windows = network.windows(said)
        assert windows.shape == (*axes, window, C)
        torch.testing.assert_close(windows[..., 0, :], network.newest(said))
    assert network.penalty(features).shape == ()


def test_stepping_gives_the_numbers_of_the_whole_sequence(network: Network) -> None:
    assert_same(stepped(network, readings()), whole(network, readings()))


@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_give_the_numbers_of_the_whole_sequence(network: Network, chunk: int) -> None:
    state, features = network.fresh(B), []
    with torch.no_grad():
        for part in torch.split(readings(), chunk, 1):
            now, state = network.sequence(part, state)
            features.append(now)
    assert_same((torch.cat(features, 1), state), whole(network, readings()))


def test_streams_do_not_change_each_other(network: Network) -> None:
    features, state = whole(network, readings())
    for b in range(B):
        alone = whole(network, readings()[b : b + 1])
        assert_same((features[b : b + 1], state[b : b + 1]), alone)


def test_what_comes_later_changes_nothing_before(network: Network) -> None:
    until, other = 20, readings()
    other[:, until:] += 1
    before, after = whole(network, readings())[0], whole(network, other)[0]
    torch.testing.assert_close(before[:, :until], after[:, :until], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(before[:, until:], after[:, until:])


def test_the_state_is_bounded(network: Network) -> None:
    z = (20 * readings(2, 10_000)).clamp(-INPUT_LIMIT, INPUT_LIMIT)
    z[0, 3000:4000] = INPUT_LIMIT
    state, largest = network.fresh(2), []
    with torch.no_grad():
        for part in torch.split(z, 500, 1):
            features, state = network.sequence(part, state)
            assert torch.isfinite(features).all()
            largest.append(float(state.abs().sum(1).max()) / max(network.state_width, 1))
    assert max(largest) < 1100, "even a cell that keeps everything gains 1 a reading at the most"
    assert max(largest[-4:]) <= 3 * max(largest[:4]), "what was extreme is forgotten"


@dataclass(frozen=True)
class Made:
    """A small fleet's model, fitted, calibrated and exported; `told` is what it is shown next."""

    kind: Kind
    fitted: Fitted
    exported: OnnxModel
    path: Path
    told: Floats


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    config = Config.model_validate(
        {
            "name": "sines",
            "data": {"files": ["h.csv"], "channels": [f"c{c}" for c in range(C)]},
            "network": {"kind": request.param, **SIZES},
            "fit": {"epochs": 4, "lanes": 4, "chunk": 16, "learning_rate": 0.01, "noise": 0.05},
            "score": {"warm_up": 20, "windows": 32, "levels": 8},
        }
    )
    x = np.stack([sines(seed) for seed in range(STREAMS)])
    history = as_history(x)
    shares = history.split(config.fit.shares, 60, 16)
    fitted = fit(config, history, look(config.data.channels, history), shares[0], shares[1])
    about = {
        "name": "sines",
        "channels": [{"name": f"c{c}"} for c in range(C)],
        "period_s": 1,
        "largest_gap_s": 60,
        "warm_up": 20,
        "calibration": [
            tail.model_dump()
            for tail in calibrate(
                fitted.model,
                history,
                shares[1],
                shares[2],
                history.split((1.0,), 60, 0)[0],
                config.fit,
            )[0]
        ],
        "training": {},
    }
    path = tmp_path_factory.mktemp("family") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        # The whole trace, and ticks of 5,000, are the golden tests' business.
        patch.setattr(training.export, "LONG_TRACE", 1000)
        patch.setattr(training.export, "WIDTHS", (1, 2, 3, 5, 8, 17, 33, 64, 257, 1000))
        exported = export(fitted.model, about, x[0], path)
    return Made(request.param, fitted, exported, path, sines(99)[:200])


def sines(seed: int) -> Floats:
    """[T, C]: a rhythm that all channels share, with some noise, and some values missing."""
    random = np.random.default_rng(seed)
    phase = np.arange(ROWS)[:, np.newaxis] / 4 + random.uniform(0, 6) + np.arange(C)
    x = np.sin(phase) * [1, 40, 0.1] + [0, 500, 3] + random.normal(0, [0.05, 2, 0.005], (ROWS, C))
    x[random.random(x.shape) < 0.002] = np.nan
    return x.astype(np.float32)


def as_history(x: Floats) -> History:
    stream = np.repeat(np.arange(STREAMS), ROWS)
    ts_us = np.tile(np.arange(ROWS) * 10**6, STREAMS)
    names = [f"s{s}" for s in range(STREAMS)]
    return _sorted(x.reshape(-1, C), stream, ts_us, names, Report())


def test_training_makes_the_loss_smaller(model: Made) -> None:
    losses = model.fitted.losses
    if model.kind == "persistence":
        assert len(losses) == 1, "there is nothing to train"
        return
    assert losses[model.fitted.best].valid < 0.8 * losses[0].valid
    assert losses[-1].train < 0.8 * losses[0].train


def test_the_file_was_proven_and_is_loaded_as_the_daemon_does(model: Made) -> None:
    manifest = load(model.path).manifest
    assert manifest == model.exported.manifest
    assert manifest.state_width == model.fitted.model.state_width
    assert manifest.delay == model.fitted.model.network.delay
    assert None in {cell for row in manifest.golden.x for cell in row}


@torch.no_grad()
def test_the_unchanged_daemon_says_what_torch_says(model: Made) -> None:
    x = np.stack([model.told, model.told])
    x[1, 100:, 0] += 300  # one of two streams goes off
    outcome = run(model.exported, x)
    torch_model = model.fitted.model
    said, _ = torch_model.sequence(torch.from_numpy(x), torch_model.fresh(2))
    assert outcome.trace is not None
    for name in ("expected", "residual", "score"):
        got = getattr(outcome.trace, name).reshape(*x.shape[:2], -1)
        np.testing.assert_allclose(got, getattr(said, name), rtol=1e-4, atol=1e-4, err_msg=name)
    assert {alert.stream for alert in outcome.alerts if alert.status == "open"} == {"s1"}
    assert outcome.alerts[0].at_us < 110 * 10**6


def run(model: OnnxModel, x: Floats) -> Outcome:
    """Feed streams [B, T, C] to the daemon's engine, one poll, and rarely allow an alert."""
    streams, length = x.shape[:2]
    engine = Engine(model, rules(model.manifest, 1e-3))
    fed = Readings(
        [b"s%d" % s for s in range(streams)],
        np.repeat(np.arange(streams), length),
        np.tile(np.arange(1, length + 1) * 10**6, streams),
        x.reshape(streams * length, -1),
        np.arange(streams * length),
    )
    return engine.run(engine.new_arena(), fed, Partition("readings", 0), keep_trace=True)


@torch.no_grad()
def test_a_missing_channel_is_filled_and_says_nothing(model: Made) -> None:
    autoencoder, x = model.fitted.model, torch.from_numpy(model.told[np.newaxis].copy())
    x[:, 50:60, 1] = torch.nan
    said, carry = autoencoder.sequence(x, autoencoder.fresh(1))
    late = autoencoder.network.delay
    assert all(torch.isfinite(part).all() for part in (*said, *carry))
    missing = said.residual[0] == 0
    assert missing[50 + late : 60 + late, 1].all()
    assert not missing[20 : 50 + late, 1].any()
    assert not missing[60 + late : 100, 1].any()
    read, _ = autoencoder.unroll(x, autoencoder.fresh(1))
    absent = read.missing[0]
    assert absent[50 + late : 60 + late, 1].all()
    assert torch.equal(read.z[0][absent], read.forecast[0][absent])


@torch.no_grad()
def test_residuals_are_of_the_reading_that_the_manifest_says(model: Made) -> None:
    autoencoder, x = model.fitted.model, torch.from_numpy(model.told[np.newaxis])
    said, _ = autoencoder.sequence(x, autoencoder.fresh(1))
    late = model.exported.manifest.delay
    seen = x[:, : x.shape[1] - late]
    off = (said.expected[:, late:] - seen) / autoencoder.scale / autoencoder.spread
    here = ~torch.isnan(seen)
    torch.testing.assert_close(said.residual[:, late:][here], off[here], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_it_learnt_to_reconstruct_the_reading_that_it_says(model: Made) -> None:
    if model.kind == "persistence":
        pytest.skip("it reconstructs nothing")
    autoencoder, x = model.fitted.model, torch.from_numpy(model.told[np.newaxis]).nan_to_num()
    guess = autoencoder.network.windows(autoencoder.unroll(x, autoencoder.fresh(1))[0].features)
    z = (x - autoencoder.mean) / autoencoder.scale
    for k in range(W):
        off = [float((guess[:, 50:, k] - z.roll(s, 1)[:, 50:]).abs().median()) for s in range(10)]
        assert abs(int(np.argmin(off)) - k - autoencoder.network.delay) <= 1


def reach(kind: Kind) -> int:
    """How many readings, the newest included, have a say in what a network makes of it."""
    network, last = made(kind), 60
    once = whole(network, readings(1, last + 1))[0][0, last]
    for ago in range(last, -1, -1):
        other = readings(1, last + 1)
        other[0, last - ago] += 5
        if not torch.equal(whole(network, other)[0][0, last], once):
            return ago + 1
    return 0


@pytest.mark.parametrize(
    ("kind", "readings_seen"),
    [("encoder_decoder", W), ("tcn", 2 * W), ("transformer", 4 * W - 1), ("persistence", 1)],
)
def test_what_has_no_recurrence_forgets(kind: Kind, readings_seen: int) -> None:
    assert reach(kind) == readings_seen


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "attention", "convolution", "memory"])
def test_what_is_recurrent_remembers(kind: Kind) -> None:
    assert reach(kind) > 4 * W


@torch.no_grad()
def test_a_reading_is_reconstructed_from_both_sides_of_it() -> None:
    network, at = made("bidirectional"), 20
    assert network.delay == W // 2
    base = network.newest(whole(network, readings())[0])
    for moved in (at - 1, at, at + 1, at + network.delay):
        other = readings()
        other[:, moved] += 1
        now = network.newest(whole(network, other)[0])
        assert not torch.allclose(now[:, at + network.delay], base[:, at + network.delay])


@torch.no_grad()
def test_few_memories_are_recalled() -> None:
    network = made("memory")
    weights = network.heads.address(whole(network, readings())[0])  # type: ignore[operator,union-attr]
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, T))
    assert (weights >= 0).all()
    assert ((weights == 0).float().mean(-1) > 0.4).all()
    assert network.penalty(whole(network, readings())[0]) > 0


def test_only_training_pays_for_many_memories() -> None:
    assert [kind for kind in KINDS if made(kind).penalty(whole(made(kind), readings())[0])] == [
        "memory"
    ]


def test_the_decoder_goes_back_in_time() -> None:
    network = made("encoder_decoder")
    state = torch.cat([network._code(torch.zeros(1, 6)), torch.zeros(1, 6)], 1)  # type: ignore[operator]
    guess = network.newest(torch.zeros(1, 6))
    for older in network.windows(torch.zeros(1, 6)).unbind(1):
        torch.testing.assert_close(older, guess)
        hidden, state = network.decoder.step(guess, state)  # type: ignore[operator,union-attr]
        guess = network.reconstruct(hidden)  # type: ignore[operator]
