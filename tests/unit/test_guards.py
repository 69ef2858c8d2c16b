"""What makes a figure worth something: no look ahead, no clock, nothing learnt from what is scored.

A small case is fitted, exported and run through the daemon's engine, as every benchmark is.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.engine import Engine, Trace
from detector.model import OnnxModel, load
from detector.records import US_PER_S, Partition, Readings
from training.benchmark import sets
from training.benchmark.cases import Case, after
from training.benchmark.play import (
    FALSE_PER_1000,
    RATES,
    Played,
    listen,
    nominal,
    play,
    roles_matter,
    without_test,
)

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DETECTOR_DATA", ROOT / ".." / "shared" / "data"))
TRAIN, ROWS = 400, 700
RECIPE = {
    "network": {"hidden": 8, "bottleneck": 2, "window": 2},
    "fit": {"epochs": 2, "lanes": 4},
    "score": {"windows": 16, "levels": 8, "warm_up": 60},
}


def stream(rows: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    load_ = np.sin(np.arange(rows) / 9) + random.normal(0, 0.1, rows)
    x = np.stack([load_, 2 * load_ + random.normal(0, 0.1, rows), random.normal(size=rows)], 1)
    return x.astype(np.float32)


def small(name: str = "one stream", *, apart: bool = False) -> Case:
    """Three channels, of which one leaves its normal; training rows first, or apart."""
    x = stream(ROWS, 1)
    label = (np.arange(ROWS) >= 550) & (np.arange(ROWS) < 600)
    x[label, 1] += 4
    return Case(
        name=name,
        channels=("a", "b", "c"),
        train=stream(TRAIN, 2) if apart else x[:TRAIN],
        x=x,
        ts_us=np.arange(ROWS) * 10**6,
        label=label,
        counts=after(0 if apart else TRAIN, ROWS),
        history=x[:0],
        changepoint=np.diff(label, prepend=False),
        window=10,
    )


@pytest.fixture(scope="module", params=[False, True], ids=["train first", "train apart"])
def case(request: pytest.FixtureRequest) -> Case:
    return small(apart=request.param)


@pytest.fixture(scope="module")
def made(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Played, OnnxModel]:
    folder = tmp_path_factory.mktemp("played")
    played = play(case, RECIPE, 3, folder, roles=False)
    return case, played, load(folder / "model.onnx")


Made = tuple[Case, Played, OnnxModel]


def test_it_is_not_blind(made: Made) -> None:
    case, played, _ = made
    state = played.column("state")
    assert played.score.shape == (ROWS, len(played.kinds))
    assert state[552:600].mean() > 2 * state[case.counts & ~case.label].mean()
    assert len(np.unique(state[-ROWS // 4 :])) > 10


@pytest.mark.parametrize("rows", [TRAIN + 1, 560, 699])
def test_scores_of_a_truncated_stream_are_the_prefix_of_the_whole_ones(
    made: Made, rows: int
) -> None:
    case, played, model = made
    cut = replace(case, **{
        name: getattr(case, name)[:rows]
        for name in ("x", "ts_us", "label", "counts", "changepoint")
    })  # fmt: skip
    told = listen(model, cut)
    assert told.score.tobytes() == played.score[:rows].tobytes()
    assert told.residual.tobytes() == played.residual[:rows].tobytes()
    assert (told.alerting == played.alerting[:rows]).all()


@pytest.mark.parametrize("began_us", [1, 3_600 * US_PER_S, 1_700_000_000 * US_PER_S])
def test_scores_do_not_hang_on_the_clock(made: Made, began_us: int) -> None:
    case, played, model = made
    other = replace(case, ts_us=case.ts_us[::-1].copy() + 7)
    told = listen(model, other, began_us)
    assert told.score.tobytes() == played.score.tobytes()
    assert (told.alerting == played.alerting).all()


def heard(engine: Engine, arena: object, x: np.ndarray, row: int, ts_us: int) -> Trace:
    rows = np.arange(len(x))
    readings = Readings(
        [b"s"], np.zeros(len(x), np.int64), ts_us + rows * 60 * US_PER_S, x, row + rows
    )
    trace = engine.run(arena, readings, Partition("t", 0), keep_trace=True).trace  # type: ignore[arg-type]
    assert trace is not None
    return trace


def test_scores_hang_on_the_state_and_not_on_the_number_of_the_row(made: Made) -> None:
    case, _, model = made
    engine = Engine(model, nominal(model))
    first, rest = case.x[:450], case.x[450:]
    told = []
    for row, silence_s in ((450, 60), (9_000_001, 60), (1_000_000, 7 * 3600)):
        arena = engine.new_arena()
        heard(engine, arena, first, 0, 60 * US_PER_S)
        told.append(heard(engine, arena, rest, row, (450 * 60 + silence_s) * US_PER_S))
    assert len({trace.score.tobytes() for trace in told}) == 1
    assert len({trace.alerting.tobytes() for trace in told}) == 1


def test_nothing_is_learnt_from_what_is_scored(made: Made, tmp_path: Path) -> None:
    case, _, model = made
    poisoned = without_test(case)
    own = len(case.x) - (0 if case.counts[0] else TRAIN)
    assert (poisoned.x[-own:] == 1e9).all()
    assert np.array_equal(poisoned.train, case.train)
    play(poisoned, RECIPE, 3, tmp_path, roles=False)
    other = load(tmp_path / "model.onnx").manifest
    assert other.version == model.manifest.version  # of the graph: weights, scales, memory
    assert other.calibration == model.manifest.calibration
    assert other.warm_up == model.manifest.warm_up


def test_another_rate_is_what_the_judge_would_have_said(made: Made) -> None:
    _, played, _ = made
    assert played.again.shape == (len(RATES), *played.alerting.shape)
    assert (played.again[RATES.index(FALSE_PER_1000)] == played.alerting).all()


def test_roles_matter_where_others_would_be_found() -> None:
    x = stream(ROWS, 1)
    flag = (np.arange(ROWS) % 50 < 25).astype(np.float32)
    told = replace(small(), commands=(2,))
    for column, matters in ((x[:, 2], True), (flag, False)):
        x = np.stack([x[:, 0], x[:, 1], column], 1)
        assert roles_matter(replace(told, x=x, train=x[:TRAIN])) == matters
        assert not roles_matter(replace(told, x=x, train=x[:TRAIN], commands=()))


@pytest.mark.skipif(
    not (DATA / "skab").is_dir(),
    reason=f"no benchmarks in {DATA}; DETECTOR_DATA names the folder that holds them",
)
def test_a_file_of_skab_keeps_the_guards(tmp_path: Path) -> None:
    case = next(iter(sets.skab(DATA)))
    played = play(case, RECIPE, 0, tmp_path / "a", roles=False)
    play(without_test(case), RECIPE, 0, tmp_path / "b", roles=False)
    model, blind = (load(tmp_path / name / "model.onnx") for name in "ab")
    assert blind.manifest.version == model.manifest.version
    assert blind.manifest.calibration == model.manifest.calibration
    again = listen(model, replace(case, x=case.x[:800], ts_us=case.ts_us[:800],
                                  label=case.label[:800], counts=case.counts[:800],
                                  changepoint=case.changepoint[:800]))  # fmt: skip
    assert again.score.tobytes() == played.score[:800].tobytes()
