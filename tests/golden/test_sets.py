"""The benchmarks' files are those of their protocols, row for row."""

import os
from pathlib import Path

import numpy as np
import pytest

from training.benchmark import baselines, benchmarks, sets
from training.metrics import ranges, skab

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DETECTOR_DATA", ROOT / ".." / "shared" / "data"))

pytestmark = pytest.mark.skipif(
    not (DATA / "skab").is_dir(),
    reason=f"no benchmarks in {DATA}; DETECTOR_DATA names the folder that holds them",
)


def test_skab_has_the_rows_of_its_leaderboard_and_a_clock_beats_it() -> None:
    cases = list(sets.skab(DATA))
    assert len(cases) == 34
    assert sum(case.counts.sum() for case in cases) == 23_801
    assert sum(case.scored_label.sum() for case in cases) == 12_771
    assert sum(case.changepoint[case.counts].sum() for case in cases) == 127
    assert all((np.diff(case.ts_us) > 0).all() for case in cases)
    series = [
        skab.Series(
            case.ts_us[case.counts],
            case.scored_label,
            case.changepoint[case.counts],
            baselines.clock(case)[case.counts],
        )
        for case in cases
    ]
    assert round(skab.rows(series).f1, 2) == 0.93
    normal = sets.skab_normal(DATA)
    assert (len(normal.x), normal.channels) == (9405, cases[0].channels)


def test_each_benchmark_says_how_many_cases_it_has() -> None:
    for one in benchmarks.ALL.values():
        assert len(one.read(DATA)) == one.size


def test_nab_has_58_files_and_116_windows_after_their_probation() -> None:
    cases = list(sets.nab(DATA))
    assert len(cases) == 58
    assert sum(len(case.windows) for case in cases) == 116
    assert sum(len(case.x) for case in cases) == 365_558
    assert all(start >= len(case.train) for case in cases for start, _ in case.windows)


def test_msl_fits_on_rows_without_anomalies() -> None:
    cases = list(sets.msl(DATA))
    assert len(cases) == 14
    assert all(case.x.shape[1] == 55 for case in cases)
    assert not any(case.label[: len(case.train)].any() for case in cases)
    assert all(len(case.published) == 7 for case in cases)


def test_smd_labels_are_the_anomalies_with_guilty_channels() -> None:
    cases = list(sets.smd(DATA))
    assert [case.name for case in cases] == ["machine-1-7", "machine-2-1", "machine-2-7"]
    for case in cases:
        explained = np.zeros(len(case.x), np.bool_)
        for anomaly in case.guilty:
            explained[anomaly.start : anomaly.stop] = True
        np.testing.assert_array_equal(explained, case.label)
    blind = [ranges.average_precision(c.label, baselines.chance(c, 0)) for c in cases]
    assert np.mean(blind) == pytest.approx(0.057, abs=0.002)
