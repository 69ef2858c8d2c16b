"""What a step of a model costs here, as the daemon takes it: onnxruntime, one thread."""

from collections.abc import Mapping
from statistics import median
from time import perf_counter

import numpy as np

from detector.model import StepModel
from detector.records import Floats

ROUNDS = 15
ROUND_S = 0.02  # of each model in each round; long beside the clock's own error


def step_costs(
    models: Mapping[str, StepModel], streams: int, rounds: int = ROUNDS
) -> dict[str, float]:
    """Time ticks of B streams: median microseconds a tick, for each model.

    In every round each model has its turn, so that what else the machine does hurts all alike.

    Args:
        models: Loaded, by name.
        streams: B.
        rounds: Of which the median is taken.
    """
    inputs = {name: _inputs(model, streams) for name, model in models.items()}
    repeats = {name: _repeats(models[name], *inputs[name]) for name in models}
    took_s: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            took_s[name].append(_time(model, *inputs[name], repeats[name]))
    return {name: 1e6 * median(times) for name, times in took_s.items()}


def _inputs(model: StepModel, streams: int) -> tuple[Floats, Floats]:
    """Return readings of the golden trace, and the state that they leave behind."""
    golden = np.array(model.manifest.golden.x, np.float32)  # null -> NaN
    x = np.resize(golden, (streams, golden.shape[1]))
    state = np.zeros((streams, model.manifest.state_width), np.float32)
    for _ in range(8):
        state = model.step(x, state).state
    return x, state


def _repeats(model: StepModel, x: Floats, state: Floats) -> int:
    once = _time(model, x, state, 3)
    return max(1, round(ROUND_S / once))


def _time(model: StepModel, x: Floats, state: Floats, repeats: int) -> float:
    started = perf_counter()
    for _ in range(repeats):
        model.step(x, state)
    return (perf_counter() - started) / repeats
