"""The network's two doors, and what no input may do to it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.config import Network, Score
from training.model import Autoencoder
from training.told import Carry, Scored

B, T, C, H = 3, 140, 4, 8
SCORE = Score(warm_up=20, windows=16, levels=8)


@pytest.fixture
def model() -> Autoencoder:
    """A network whose every calibrated number matters."""
    torch.manual_seed(0)
    model = Autoencoder(C, Network(hidden=H, bottleneck=2, window=3), SCORE)
    for name, buffer in model.named_buffers():
        part = name.rpartition(".")[-1]
        if part in ("scale", "spread", "blend", "usual", "skill", "trust", "weight"):
            buffer.uniform_(0.3, 1)
        elif part in ("mean", "memory"):
            buffer.normal_(0, 0.3)
    return model.eval()


def readings(missing: float, seed: int = 1) -> Tensor:
    random = np.random.default_rng(seed)
    x = random.normal(0, 2, (B, T, C))
    return torch.from_numpy(np.where(random.random(x.shape) < missing, np.nan, x)).float()


@torch.no_grad()
def stepped(model: Autoencoder, x: Tensor) -> tuple[Scored, Tensor]:
    state, said = torch.zeros(len(x), model.state_width), []
    for reading in x.unbind(1):
        *now, state = model(reading, state)
        said.append(now)
    return Scored(*(torch.stack(column, 1) for column in zip(*said, strict=True))), state


@torch.no_grad()
def whole(model: Autoencoder, x: Tensor, carry: Carry | None = None) -> tuple[Scored, Carry]:
    return model.sequence(x, carry or model.fresh(len(x)))


def assert_same(left: Scored, right: Scored, tolerance: float = 1e-5) -> None:
    for name, a, b in zip(left._fields, left, right, strict=True):
        assert torch.isfinite(a).all(), name
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("missing", [0, 0.3])
def test_stepping_says_what_the_whole_sequence_says(model: Autoencoder, missing: float) -> None:
    x = readings(missing)
    said, state = stepped(model, x)
    at_once, carry = whole(model, x)
    assert_same(said, at_once)
    torch.testing.assert_close(state, torch.cat(carry, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("missing", [0, 0.3])
@pytest.mark.parametrize("chunk", [1, 7, 39])
def test_chunks_say_what_the_whole_sequence_says(
    model: Autoencoder, missing: float, chunk: int
) -> None:
    x, carry, said = readings(missing), model.fresh(B), []
    for part in x.split(chunk, 1):
        now, carry = whole(model, part, carry)
        said.append(now)
    joined = Scored(*(torch.cat(column, 1) for column in zip(*said, strict=True)))
    assert_same(joined, whole(model, x)[0])


@pytest.mark.parametrize("missing", [0, 0.3])
def test_what_comes_later_changes_nothing_before(model: Autoencoder, missing: float) -> None:
    x, until = readings(missing), 25
    other = torch.cat([x[:, :until], readings(missing, seed=2)[:, until:]], 1)
    first, second = whole(model, x)[0], whole(model, other)[0]
    assert_same(Scored(*(part[:, :until] for part in first)), whole(model, x[:, :until])[0], 1e-6)
    assert_same(*(Scored(*(part[:, :until] for part in said)) for said in (first, second)), 1e-6)
    assert not torch.allclose(first.score[:, until:], second.score[:, until:])


@pytest.mark.parametrize("missing", [0, 0.3])
def test_streams_do_not_change_each_other(model: Autoencoder, missing: float) -> None:
    x = readings(missing)
    together = whole(model, x)[0]
    for b in range(B):
        assert_same(Scored(*(part[b : b + 1] for part in together)), whole(model, x[b : b + 1])[0])


@torch.no_grad()
def test_a_missing_value_is_filled_with_the_forecast_and_nothing_is_no_evidence(
    model: Autoencoder,
) -> None:
    x = readings(0.3)
    x[:, 20] = torch.nan
    read, _ = model.unroll(x, model.fresh(B))
    missing = torch.isnan(x)
    assert torch.equal(read.z[missing], read.forecast[missing])
    assert not torch.equal(read.z[~missing], read.forecast[~missing])
    residual = model.residual(read, model.expected(read))
    assert not residual[missing].any()
    assert (residual[~missing] != 0).all()


def test_a_missing_channel_has_no_residual_and_is_not_looked_at(model: Autoencoder) -> None:
    x = readings(0)
    x[:, 10:20, 1] = torch.nan
    said = whole(model, x)[0]
    assert not said.residual[:, 10:20, 1].any()
    assert (said.residual[:, 10:20, [0, 2, 3]] != 0).all()
    assert (said.residual[:, 20:, 1] != 0).all()


def test_a_channel_that_only_informs_changes_the_score_by_way_of_the_network_alone() -> None:
    torch.manual_seed(0)
    model = Autoencoder(C, Network(hidden=H), SCORE, judged=[0, 1, 3]).eval()
    x = readings(0)
    other = x.clone()
    other[:, :, 2] += 1000
    assert not torch.equal(whole(model, x)[0].expected, whole(model, other)[0].expected)
    model.moves[2] = 0  # now the network does not see it either
    said = whole(model, x)[0]
    torch.testing.assert_close(said.score, whole(model, other)[0].score, rtol=0, atol=0)


def test_a_constant_channel_speaks_when_it_changes(model: Autoencoder) -> None:
    model.moves[2], model.scale[2] = 0, 0.01
    x = readings(0)
    x[:, :, 2] = model.mean[2]
    quiet = whole(model, x)[0].score
    x[:, 120:, 2] += 1
    assert (whole(model, x)[0].score[:, 130, 0] > quiet[:, 130, 0] + 1).all()


def test_it_begins_with_an_open_forget_gate_and_orthogonal_recurrence() -> None:
    model = Autoencoder(C, Network(hidden=H), SCORE)
    _, recurrent, bias, bias_recurrent = model.network.cell.fused.all_weights[0]
    forget = slice(H, 2 * H)  # torch's order of gates: input, forget, cell, output
    assert (bias[forget] + bias_recurrent[forget] == 1).all()
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(H))


@pytest.mark.parametrize(
    ("windows", "levels", "kinds"), [(16, 8, 2), (0, 8, 2), (16, 0, 1), (0, 0, 1)]
)
def test_the_state_is_as_wide_as_it_says(windows: int, levels: int, kinds: int) -> None:
    model = Autoencoder(C, Network(hidden=H), Score(windows=windows, levels=levels)).eval()
    *_, score, state = model(torch.zeros(2, C), torch.zeros(2, model.state_width))
    assert score.shape == (2, kinds) == (2, len(model.scoring.kinds))
    carry = model.sequence(torch.zeros(2, 5, C), model.fresh(2))[1]
    assert state.shape == torch.cat(carry, 1).shape == (2, model.state_width)


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e-38, float("nan")])
def test_no_reading_makes_it_say_what_is_not_finite(model: Autoencoder, value: float) -> None:
    model.moves[0], model.scale[0] = 0, 1  # a constant channel
    x = readings(0.1)
    x[0, 5:25] = value
    x[1, 5:25, 0] = value
    for said in (stepped(model, x)[0], whole(model, x)[0]):
        for part in (said.residual, said.score, said.expected):
            assert torch.isfinite(part).all()
    after = stepped(model, torch.cat([x, readings(0).repeat(1, 3, 1)], 1))[0].score
    assert (after[0, -1] < after[2, -1] + 15).all()  # the extreme is forgotten


@pytest.mark.parametrize(("noise", "dropout"), [(0.1, 0), (0, 0.1)])
def test_training_is_noisy_and_evaluation_is_not(noise: float, dropout: float) -> None:
    model, x = Autoencoder(C, Network(hidden=H), SCORE, None, noise, dropout), readings(0)
    once, again = (whole(model.eval(), x)[0].expected for _ in range(2))
    assert torch.equal(once, again)
    once, again = (whole(model.train(), x)[0].expected for _ in range(2))
    assert not torch.equal(once, again)
