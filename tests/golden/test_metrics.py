"""Our metrics give what the benchmarks' own scorers gave for the same scores and alarms."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.metrics import nab, ranges, skab

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DETECTOR_DATA", ROOT / ".." / "shared" / "data"))
GOLDEN = DATA / "golden"

pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(),
    reason=f"no golden figures in {GOLDEN}; DETECTOR_DATA names the folder that holds them",
)


def expected(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}_expected.json").read_text())


def test_volumes_are_those_of_the_reference_implementation() -> None:
    cases = expected("vus")
    assert cases
    with np.load(GOLDEN / "vus_cases.npz") as arrays:
        for case in cases:
            label = arrays[f"label_{case['case']}"].astype(np.bool_)
            told = ranges.volume(label, arrays[f"score_{case['case']}"], case["window"])
            assert told.vus_pr == pytest.approx(case["vus_pr"], abs=1e-6)
            assert told.vus_roc == pytest.approx(case["vus_roc"], abs=1e-6)


def skab_series(name: str, alarm: np.ndarray) -> skab.Series:
    rows = np.genfromtxt(
        DATA / "skab" / f"{name}.csv", delimiter=";", names=True, dtype=None, encoding="utf-8"
    )[400:]
    ts_us = rows["datetime"].astype("datetime64[us]").astype(np.int64)
    label, changepoint = rows["anomaly"] > 0, rows["changepoint"] > 0
    return skab.Series(ts_us, label, changepoint, alarm.astype(np.bool_))


@pytest.mark.parametrize("detector", ["t2q", "t2", "always"])
def test_skab_figures_are_those_of_its_scorer(detector: str) -> None:
    told = expected("skab")[detector]
    with np.load(GOLDEN / "skab_predictions.npz") as alarms:
        names = [name for name in alarms if name.startswith(f"{detector}:")]
        series = [skab_series(name.split(":")[1], alarms[name]) for name in names]
    assert len(series) == 34
    rows = skab.rows(series)
    assert round(rows.f1, 2) == told["f1"]
    assert (round(100 * rows.far, 2), round(100 * rows.mar, 2)) == (told["far"], told["mar"])
    for profile, figure in told["nab"].items():
        assert round(skab.nab(series, skab.PROFILES[profile]), 2) == figure


@pytest.mark.parametrize("detector", ["windowedGaussian", "knncad"])
def test_nab_figures_are_the_published_ones(detector: str) -> None:
    windows = json.loads((DATA / "nab" / "labels" / "combined_windows.json").read_text())
    corpus = []
    with np.load(GOLDEN / "nab_scores.npz") as scores:
        for path, bounds in windows.items():
            times = np.loadtxt(
                DATA / "nab" / "data" / path, str, delimiter=",", skiprows=1, usecols=0
            )
            ts_us = times.astype("datetime64[us]").astype(np.int64)
            bounds_us = np.array(bounds, "datetime64[us]").astype(np.int64).reshape(-1, 2).tolist()
            score = scores[f"{detector}:{path.removesuffix('.csv')}"]
            corpus.append(nab.Series(score, nab.window_rows(ts_us, bounds_us)))
    for profile, figure in expected("nab")[detector].items():
        best = nab.optimise(corpus, nab.PROFILES[profile])
        assert best.figure == pytest.approx(figure, abs=0.01)
        carried = nab.figure_at(corpus, best.threshold, nab.PROFILES[profile])
        assert carried == pytest.approx(best.figure, abs=1e-9)
