"""Figures, halves, tables and pages of a benchmark, from answers made by hand."""

import csv
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detector.errors import SettingsRejected
from detector.records import Bools
from training.__main__ import main
from training.benchmark import benchmarks, measures
from training.benchmark.answers import Answer, columns, ours, rivals
from training.benchmark.benchmarks import ALL, MSL, NAB, SKAB, SMD, Benchmark
from training.benchmark.cases import Case, after
from training.benchmark.halves import carried_over, split
from training.benchmark.measures import FIGURES
from training.benchmark.play import RATES, Played
from training.benchmark.report import report
from training.benchmark.results import Results, Spread, gather
from training.benchmark.runs import Plan, Run, Task, side_by_side
from training.benchmark.table import flat, lines, rows, write
from training.config import Config, Fit, Network, Score, read_recipe
from training.metrics import nab, skab
from training.metrics.attribution import Guilt
from training.workers import workers

ROWS, TRAIN = 400, 100
NORMAL = "anomaly-free"


def case(name: str, begin: int = 200, length: int = 60, channels: int = 2) -> Case:
    """Noise that moves away where it is labelled; nothing is labelled if the length is 0."""
    random = np.random.default_rng(len(name))
    label = (np.arange(ROWS) >= begin) & (np.arange(ROWS) < begin + length)
    x = random.normal(size=(ROWS, channels)).astype(np.float32)
    x[label] += 6
    windows = ((begin, begin + length),) if length else ()
    guilty = (Guilt(begin, begin + length, frozenset({0})),) if length else ()
    return Case(
        name=name,
        channels=tuple(f"c{n}" for n in range(channels)),
        train=x[:TRAIN],
        x=x,
        ts_us=np.arange(ROWS) * 10**6,
        label=label,
        counts=after(TRAIN, ROWS),
        history=x[:0],
        changepoint=np.diff(label, prepend=False),
        window=5,
        windows=windows,
        guilty=guilty,
        published={"A": 0.5},
    )


def played(case: Case, seed: int, late: int = 0) -> Played:
    """Score what the label says, late and with noise; a laxer rate also alarms at the very end."""
    random = np.random.default_rng(seed)
    state = np.roll(case.label, late) + random.uniform(0, 0.3, ROWS)
    score = np.stack([state, state / 2], 1).astype(np.float32)
    again = np.repeat((score > [0.5, 0.25])[None], len(RATES), 0)
    again[RATES.index(2.0) :, 380:] = True
    return Played(
        score=score,
        level=np.array([0.5, 0.25], np.float32),
        alerting=again[RATES.index(1.0)],
        again=again,
        residual=np.stack([3 * state, state], 1).astype(np.float32),
        kinds=("state", "onset"),
    )


CASES = [case("a", 200), case("b", 240), case("c", 150), case(NORMAL, length=0)]


def results(benchmark: Benchmark, *, seeds: int = 2, halves: bool = True) -> Results:
    cases = CASES if benchmark is SKAB else CASES[:3]
    if benchmark is MSL:
        cases = [replace(one, commands=(1,)) for one in cases]
    runs = [
        Run(
            Task(one, seed, roles),
            played(one, seed, 5 * seed + 10 * (benchmark is MSL and not roles)),
            1.5,
        )
        for one in cases
        for seed in range(seeds)
        for roles in ((False, True) if benchmark is MSL else (False,))
    ]
    return gather(benchmark, runs, [rivals(one) for one in cases], halves=halves)


def test_figures_of_skab_are_those_of_its_metric_in_percent() -> None:
    answers = [ours(one, played(one, 0, 5), "state") for one in CASES]
    told = measures.of_skab(answers)
    series = [
        skab.Series(one.ts_us[100:], one.label[100:], one.changepoint[100:],
                    np.roll(one.label, 5)[100:])
        for one in CASES[:3]
    ]  # fmt: skip
    assert told["f1"] == skab.rows(series).f1 == pytest.approx(55 / 60)
    assert told["far"] == pytest.approx(100 * 15 / (900 - 180))
    assert told["mar"] == pytest.approx(100 * 5 / 60)
    assert told["nab_low_fp"] == skab.nab(series, skab.PROFILES["LowFP"])
    assert (told["far_normal"], told["openings_per_1000_normal"]) == (0, 0)
    assert (told["events"], told["events_found"], told["delay"]) == (3, 3, 5)
    assert told["openings_per_1000"] == 0  # an alert that opens on the label is none


def test_an_answer_without_alarms_has_no_figures_of_alarms() -> None:
    said = columns([rivals(one) for one in CASES[:3]])
    assert measures.of_skab(said["ramp (row number)"]) == {}
    assert set(measures.of_nab(said["ramp (row number)"])) == {
        "standard", "reward_low_FP_rate", "reward_low_FN_rate", "standard_carried",
    }  # fmt: skip
    assert measures.of_skab(said["clock"])["f1"] < 1
    assert measures.of_skab(said["always"])["mar"] == 0
    nearest = measures.of_ranks(said["causal 1-NN, 5 rows"])
    assert nearest["vus_pr"] > 0.9 > measures.of_ranks(said["random"])["vus_pr"]


def test_figures_of_nab_at_its_own_level_and_of_its_alerts() -> None:
    answers = [ours(one, played(one, 0), "onset") for one in CASES[:3]]
    told = measures.of_nab(answers)
    assert told["standard"] == pytest.approx(100)
    assert told["standard_own"] == pytest.approx(100)
    assert told["standard_alerts"] == pytest.approx(100)
    assert told["standard_carried"] > 80
    thresholds, curve = measures.nab_thresholds(answers)
    assert curve.max() == pytest.approx(100)
    assert (np.diff(thresholds) > 0).all()
    assert measures.of_nab([ours(CASES[3], played(CASES[3], 0), "onset")])["events"] == 0


def test_figures_of_ranks_are_means_over_cases_with_attribution() -> None:
    told = [measures.of_ranks([ours(one, played(one, 0, 9), "state")]) for one in CASES[:3]]
    all_of = measures.of_ranks([ours(one, played(one, 0, 9), "state") for one in CASES[:3]])
    for name in ("vus_pr", "vus_roc", "average_precision", "hit_100"):
        assert all_of[name] == pytest.approx(np.mean([one[name] for one in told]))
    assert all_of["hit_100"] == 1


def test_halves_are_halves_and_the_choice_is_carried_over() -> None:
    pairs = split(range(7), draws=5)
    assert len(pairs) == 5
    assert all(sorted(a + b) == list(range(7)) and len(a) == 3 for a, b in pairs)
    assert pairs == split(range(7), draws=5)
    assert len({tuple(a) for a, _ in pairs}) > 1
    seen: list[tuple[set[int], set[int]]] = []

    def tell(told_on: list[int], choice: set[int]) -> dict[str, float]:
        seen.append((choice, set(told_on)))
        return {"sum": float(sum(told_on))}

    told = carried_over(range(6), set, tell, draws=4)
    assert all(not chosen & told_on for chosen, told_on in seen)
    assert told == {"sum": [float(sum(told_on)) for _, told_on in seen]}


def test_a_draw_that_cannot_be_measured_is_left_out() -> None:
    windows = [((2, 4),), (), (), ()]
    series = [nab.Series(np.arange(9.0), one) for one in windows]
    profile = nab.PROFILES["standard"]
    told = carried_over(
        series,
        lambda half: nab.optimise(half, profile).threshold,
        lambda half, at: {"figure": nab.figure_at(half, at, profile)},
    )
    assert told == {}  # one half or the other has no window


def test_the_rate_is_chosen_on_one_half_and_told_on_the_other() -> None:
    made = results(SKAB)
    assert made.halves is not None
    assert set(made.halves) >= {"f1", "far", "mar", "openings_per_1000"}
    # The laxer rates alarm at the end of each file: no half chooses them.
    assert made.halves["f1"].low > made.by_rate[-1]["f1"].high
    assert made.by_rate[RATES.index(1.0)] == made.ours
    assert results(MSL).halves is None
    told = results(NAB).halves
    assert told is not None
    assert list(told) == ["standard_carried"]


def test_seeds_are_told_as_median_and_range() -> None:
    made = results(SKAB, seeds=3)
    by_seed = [
        measures.of_skab([ours(one, played(one, seed, 5 * seed), "state") for one in CASES])["f1"]
        for seed in range(3)
    ]
    assert made.ours["f1"] == Spread(by_seed[1], by_seed[2], by_seed[0])
    told = flat(made)
    assert (told["f1"], told["f1_low"], told["f1_high"]) == made.ours["f1"]
    assert (told["seeds"], told["cases"]) == (3, 4)
    assert all(value is None or math.isfinite(value) for value in told.values())


def test_roles_are_told_and_found() -> None:
    made = results(MSL)
    assert made.roles_found is not None
    assert made.ours["vus_pr"].middle > made.roles_found["vus_pr"].middle
    told = flat(made)
    assert told["roles_found_vus_pr"] == made.roles_found["vus_pr"].middle
    assert [row.name for row in rows(made)][:2] == [
        "this detector, roles told",
        "this detector, roles found",
    ]
    assert results(SMD).roles_found is None


def test_where_training_finds_the_roles_that_would_be_told_both_are_the_same() -> None:
    cases = [replace(one, commands=(1,)) for one in CASES[:3]]
    runs = [Run(Task(one, 0, roles=False), played(one, 0), 1.5) for one in cases]
    made = gather(MSL, runs, [rivals(one) for one in cases])
    assert made.roles_found == made.ours
    assert "training finds the roles that would be told" in rows(made)[1].source


@pytest.mark.parametrize("benchmark", list(ALL.values()), ids=list(ALL))
def test_tables_and_pages_hold_goals_rivals_and_peers(benchmark: Benchmark, tmp_path: Path) -> None:
    made = results(benchmark)
    text = "\n".join(lines(made))
    for peer in benchmark.peers(made.cases):
        assert peer.name in text
        assert peer.source in text
    assert {"this detector", "goal", "always", "random"} <= {
        row.name.split(",")[0] for row in rows(made)
    }
    assert "causal 1-NN, 40 rows" in text
    left = f"Only {len(made.cases)} of {benchmark.size} cases were played"
    assert (left in text) == (left in report(made)) == (benchmark is not SMD)
    paths = write(made, tmp_path / "new")
    assert json.loads(paths[0].read_text())["seeds"] == 2
    table = list(csv.DictReader(paths[1].read_text().splitlines()))
    assert len(table) == len(made.singles)
    assert {row["seed"] for row in table} == {"0", "1"}
    assert set(table[0]) - set(FIGURES) == {"case", "seed", "roles_told", "took_s"}
    page = report(made)
    for part in ("<h1>Benchmark: ", 'id="table"', 'id="cases"', 'id="thresholds"', 'id="runs"'):
        assert part in page
    assert "http:" not in page
    assert "<script" not in page
    assert page.count("<svg") >= len(made.cases) + 1
    assert "nan" not in page.lower().replace("financ", "")


def test_every_figure_of_a_table_is_known() -> None:
    for one in ALL.values():
        assert {one.headline, one.ranked_by, *one.columns, *one.goals} <= set(FIGURES)
        assert set(one.goals) <= set(one.columns)
        assert all(FIGURES[name].better for name in one.goals)


def test_one_seed_has_no_range() -> None:
    assert "(" not in rows(results(SMD, seeds=1))[0].cells["vus_pr"]


def test_the_committed_recipe_is_the_defaults() -> None:
    recipe = read_recipe(Path(benchmarks.__file__).parents[1] / "configs" / "benchmark.toml")
    for name, table in (("network", Network), ("fit", Fit), ("score", Score)):
        assert set(recipe[name]) == set(table.model_fields)
        assert table.model_validate(recipe[name]) == table()


def test_a_recipe_is_part_of_a_training_configuration(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "n"\n[data]\nfiles = ["x"]\nchannels = ["y"]\n[fit]\nepochs = 3\n')
    assert read_recipe(path) == {"fit": {"epochs": 3}}
    assert Config.model_validate({"name": "n", "data": {"files": ["x"], "channels": ["y"]},
                                  **read_recipe(path)}).fit.epochs == 3  # fmt: skip


def test_a_failure_names_the_case(tmp_path: Path) -> None:
    short = case("too short")
    plan = Plan([replace(short, train=short.x[:60])], {}, 1, tmp_path)
    with pytest.raises(SettingsRejected, match=r"too short seed 0: expected at least 20"):
        side_by_side(plan, 1)


def test_workers_are_processes_with_one_thread_each() -> None:
    with workers(2) as pool:
        told = [pool.submit(torch.get_num_threads), pool.submit(os.getpid)]
        threads, process = (future.result() for future in told)
    assert threads == 1
    assert process != os.getpid()


SMALL = """
[network]
hidden = 8
bottleneck = 2
window = 2
[fit]
epochs = 1
lanes = 4
[score]
windows = 16
levels = 8
warm_up = 60
"""


def skab_files(root: Path) -> None:
    random = np.random.default_rng(0)
    for group, name, broken in (
        ("valve1", "0", True),
        ("other", "1", True),
        (NORMAL, NORMAL, False),
    ):
        label = (np.arange(520) >= 450) & (np.arange(520) < 500) & broken
        x = random.normal(size=(520, 2)) + 5 * label[:, None]
        (root / "skab" / group).mkdir(parents=True)
        with (root / "skab" / group / f"{name}.csv").open("w") as file:
            print("datetime;a;b;anomaly;changepoint", file=file)
            for n in range(520):
                point = float(label[n] != label[max(n - 1, 0)])
                at = f"2020-03-09 10:{n // 60:02}:{n % 60:02}"
                print(f"{at};{x[n, 0]};{x[n, 1]};{float(label[n])};{point}", file=file)


def test_the_command_plays_measures_and_leaves_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skab_files(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    code = main([
        "benchmark", "skab", "--data", str(tmp_path), "--model", str(tmp_path / "small.toml"),
        "--seeds", "1", "--halves", "--jobs", "1", "--cases", f"valve1/0,{NORMAL}",
        "--output", str(tmp_path / "out"),
    ])  # fmt: skip
    told = capsys.readouterr().out
    assert code == 0
    assert "4/4: " in told
    assert "this detector" in told
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "runs", "skab.json", "skab.csv", "skab.html",
    }  # fmt: skip
    figures = json.loads((tmp_path / "out" / "skab.json").read_text())
    assert figures["cases"] == 2
    assert 0 <= figures["f1_low"] <= figures["f1"] <= figures["f1_high"] <= 1
    assert (tmp_path / "out" / "runs" / "skab" / "valve1-0-seed-0" / "model.onnx").is_file()


def test_an_unknown_case_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skab_files(tmp_path)
    code = main(["benchmark", "skab", "--data", str(tmp_path), "--cases", "valve9/0"])
    assert code == 2
    assert f"among valve1/0, other/1, {NORMAL}, saw valve9/0" in capsys.readouterr().err


def test_alarms_are_those_of_the_kind_that_is_asked_for() -> None:
    one = played(CASES[0], 0)
    only = np.zeros((ROWS, 2), np.bool_)
    only[7, 1] = True
    given = Played(one.score, one.level, only, one.again, one.residual, one.kinds)

    def alarm(kind: str) -> Bools:
        said: Answer = ours(CASES[0], given, kind)
        assert said.alarm is not None
        return said.alarm

    assert not alarm("state").any()
    assert np.flatnonzero(alarm("onset")).tolist() == [7]
