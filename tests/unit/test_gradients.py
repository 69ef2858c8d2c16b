"""What docs/gradients.md says of gradients before training is what they do."""

import importlib.util

import pytest
import torch
from conftest import ROOT

SPEC = importlib.util.spec_from_file_location("gradients", ROOT / "docs" / "gradients.py")
assert SPEC is not None
assert SPEC.loader is not None
gradients = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gradients)


@pytest.mark.parametrize(
    ("variant", "low", "high"),
    [
        ("rnn-uniform", 0, 1e-8),
        ("rnn", 1e-3, 1e-1),
        ("rnn-larger", 1e2, 1e5),
        ("gru", 0, 1e-8),
        ("gru-open", 1e-2, 1),
        ("lstm-half", 0, 1e-9),
        ("lstm", 1e-5, 1e-3),
        ("lstm-open", 1e-1, 10),
    ],
)
def test_of_a_gradient_fifty_readings_back_so_much_is_left(
    variant: str, low: float, high: float
) -> None:
    told = gradients.recall(torch.Generator().manual_seed(2))
    norm = gradients.through_time(gradients.made(variant).eval(), told)
    assert len(norm) == gradients.READINGS
    assert low <= norm[-1] / norm[0] <= high


def test_every_variant_of_the_pictures_is_tested() -> None:
    drawn = {variant for variant, _, _ in gradients.VARIANTS.values()}
    test = test_of_a_gradient_fifty_readings_back_so_much_is_left
    (mark,) = test.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in mark.args[1]} == drawn


def test_clipping_saves_what_explodes() -> None:
    last = {}
    for clip in (None, 1.0):
        network = gradients.made("rnn")
        optimiser = torch.optim.SGD(network.parameters(), 0.1)
        last[clip] = gradients.train(network, 60, clip, optimiser).loss[-1]
    assert not last[None] < 10  # or no number at all
    assert last[1.0] < 1
