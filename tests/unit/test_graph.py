"""The traced step: what it says while training is what torch says; what a file must not have."""

import numpy as np
import onnx
import pytest
import torch

from detector.model import OUTPUTS
from training.config import Network, Score
from training.graph import EVIDENCE, Weigher, graph_of
from training.model import Autoencoder
from training.told import Carry

L, T, C = 3, 150, 4


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    torch.manual_seed(0)
    made = Autoencoder(C, Network(hidden=6), Score(warm_up=20, windows=16, levels=8), [0, 1, 3])
    made.scoring.surprise.skill.fill_(0.5)
    made.scoring.agree.fill_(1)
    assert made.scoring.novelty is not None
    made.scoring.novelty.memory.normal_()
    return made.eval()


def readings(seed: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    x = random.normal(size=(L, T, C)).cumsum(1) / 5
    x[random.random(x.shape) < 0.05] = np.nan
    return torch.from_numpy(x.astype(np.float32))


@torch.no_grad()
def told(model: Autoencoder, x: torch.Tensor, carry: Carry) -> tuple[torch.Tensor, Carry]:
    read, after = model.unroll(x, carry)
    residual = model.residual(read, model.expected(read))
    weighed, evidence = model.weigh_all(read, residual, carry.evidence)
    return torch.cat(weighed, -1), after._replace(evidence=evidence)


def test_lanes_are_told_what_torch_tells_and_begin_where_they_should(model: Autoencoder) -> None:
    weigh, first, second = Weigher(model), readings(1), readings(2)
    wanted, carry = told(model, first, model.fresh(L))
    got = weigh(first, np.ones(L, np.bool_))
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
    assert (wanted.amax((0, 1))[:-1] > 0.1).all(), "every kind of evidence spoke but symbols"

    fresh = np.array([False, True, False])
    carry = Carry(*(part * torch.from_numpy(~fresh)[:, None] for part in carry))
    wanted, _ = told(model, second, carry)
    torch.testing.assert_close(weigh(second, fresh), wanted, rtol=1e-3, atol=1e-3)


def test_it_knows_the_numbers_as_they_were_when_it_was_made(model: Autoencoder) -> None:
    weigh, x, begin = Weigher(model), readings(1), np.ones(L, np.bool_)
    before = weigh(x, begin)
    model.scoring.surprise.skill.fill_(0)
    assert torch.equal(weigh(x, begin), before)
    assert not Weigher(model)(x, begin)[:, :, 2].any()
    model.scoring.surprise.skill.fill_(0.5)
    assert torch.equal(Weigher(model)(x, begin), before)


def test_a_file_says_no_more_than_it_must(model: Autoencoder) -> None:
    graph = onnx.load_from_string(graph_of(model)).graph
    assert [output.name for output in graph.output] == list(OUTPUTS)
    assert EVIDENCE not in {name for node in graph.node for name in node.output}
    assert graph_of(model) == graph_of(model)


@pytest.mark.parametrize(
    ("levels", "symbols"), [(8, None), (9, None), (8, {0: 3, 1: 5}), (8, {0: 5, 1: 3})]
)
def test_an_architecture_of_the_same_modules_and_shapes_is_traced_anew(
    levels: int, symbols: dict[int, int] | None
) -> None:
    sizes = Score(warm_up=20, windows=16, levels=levels)
    made = Autoencoder(C, Network(hidden=6), sizes, [2, 3], symbols=symbols).eval()
    x = readings(3).nan_to_num()
    x[..., :2] = (x[..., :2] > 0).float()
    wanted, _ = told(made, x, made.fresh(L))
    got = Weigher(made)(x, np.ones(L, np.bool_))
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
