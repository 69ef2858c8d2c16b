"""The whole-sequence run of torch against the step-by-step run of onnxruntime."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detector.model import load
from detector.records import Floats
from training.demo.fleet import simulate
from training.run import restore

WIDTHS = [*range(1, 65), 97, 127, 255, 333, 511, 1001, 1023, 2049, 3333, 4999, 5000]


def new_readings(missing: float) -> Floats:
    """Of a pump that the model never saw: with missing values, bursts, and a whole channel gone."""
    random = np.random.default_rng(7)
    x = simulate(1, 10_000, seed=77)[0]
    x[random.random(x.shape) < 0.002] *= 5
    x[random.random(x.shape) < missing] = np.nan
    x[4000:4400, 3] = np.nan
    return x.astype(np.float32)


def test_ten_thousand_steps_say_what_the_whole_sequence_says(small_run: Path) -> None:
    torch_model, _, _ = restore(small_run)
    onnx_model = load(small_run / "model.onnx")
    x = new_readings(missing=0.05)
    with torch.no_grad():
        whole, carry = torch_model.sequence(torch.from_numpy(x)[None], torch_model.fresh(1))
    state, steps = np.zeros((1, torch_model.state_width), np.float32), []
    for reading in x:
        steps.append(onnx_model.step(reading[np.newaxis], state))
        state = steps[-1].state
    for name in ("expected", "residual", "score"):
        got = np.concatenate([getattr(step, name) for step in steps])
        np.testing.assert_allclose(got, getattr(whole, name)[0], rtol=1e-4, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(state, torch.cat(carry, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_does_not_depend_on_the_width_of_its_tick(small_model: Path, threads: int) -> None:
    model, random = load(small_model, threads), np.random.default_rng(0)
    x = random.permutation(new_readings(missing=0.05))[: max(WIDTHS)]
    state = np.zeros((len(x), model.manifest.state_width), np.float32)
    for _ in range(10):
        state = model.step(random.permutation(x), state).state
    whole = model.step(x, state)
    for width in WIDTHS:
        rows = random.choice(len(x), width, replace=False)
        part = model.step(x[rows], state[rows])
        for name in ("expected", "residual", "score", "state"):
            same = getattr(part, name).tobytes() == getattr(whole, name)[rows].tobytes()
            assert same, f"{name} in a tick of {width}"
