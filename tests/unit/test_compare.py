"""Networks side by side: which one is chosen and why, what is written, what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from fakes import StubModel, manifest

import training.compare
import training.timing
from detector.errors import ArtifactRejected
from detector.model import OnnxModel
from training.__main__ import main
from training.comparison import NO_NETWORK, Comparison, Row
from training.timing import step_costs


def row(network: str, *quality: float, wide_us: float = 100) -> Row:
    return Row(network, quality, 1000, 2.5, 64, 10, wide_us)


def chosen(*rows: Row, higher: bool = True) -> tuple[str, str]:
    best, why = Comparison("AP", higher, rows, {}).choose()
    return best.network, why


def test_the_cheapest_within_noise_is_chosen() -> None:
    rows = (row("lstm", 0.70, 0.72, 0.76), row("gru", 0.69, 0.70, 0.71, wide_us=50))
    best, why = chosen(*rows)
    assert best == "gru"
    assert why == (
        "Choose gru: its AP of 0.7 is within noise (0.03) of the best, 0.72 by lstm, "
        "and it is the cheapest of the 2 that are."
    )


def test_a_cheap_one_that_is_worse_by_more_than_noise_is_not_chosen() -> None:
    rows = (row("lstm", 0.70, 0.72, 0.74), row(NO_NETWORK, 0.69, wide_us=1))
    assert chosen(*rows) == (
        "lstm",
        "Choose lstm: its AP of 0.72 is the best, and no other is within noise of it.",
    )


def test_the_best_may_be_the_cheapest() -> None:
    rows = (row("lstm", 0.70, 0.72, 0.74), row("tcn", 0.71, wide_us=900))
    assert chosen(*rows) == (
        "lstm",
        "Choose lstm: its AP of 0.72 is the best, and it is the cheapest of the 2 within noise.",
    )


def test_where_no_network_does_as_well_none_is_chosen() -> None:
    rows = (row("lstm", 0.70, 0.72, 0.74), row(NO_NETWORK, 0.715, wide_us=1))
    assert chosen(*rows)[0] == NO_NETWORK


def test_of_losses_the_lowest_is_the_best() -> None:
    rows = (row("lstm", 0.2, 0.21), row("gru", 0.4, 0.41, wide_us=1))
    assert chosen(*rows, higher=False)[0] == "lstm"


def test_one_seed_says_nothing_of_noise() -> None:
    told = chosen(row("lstm", 0.7), row("gru", 0.69, wide_us=1))[1]
    assert told.endswith("no other is within noise of it (not known from one seed).")


def test_every_model_has_its_turn_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 1e6, 0.5))  # each look at the clock takes half a second
    monkeypatch.setattr(training.timing, "perf_counter", lambda: float(next(clock)))
    turns: list[str] = []

    class Model(StubModel):
        def step(self, x, state):
            assert len(x) == len(state) == 5
            turns.append(self.manifest.name)
            return super().step(x, state)

    costs = step_costs({name: Model(manifest(name=name)) for name in "ab"}, 5, rounds=3)
    assert costs == {"a": 500_000, "b": 500_000}
    assert turns[-6:] == ["a", "b"] * 3


CONFIG = """
name = "tiny"
[data]
files = ["history.csv"]
channels = ["a", "b"]
[network]
hidden = 4
bottleneck = 1
window = 2
[fit]
epochs = 1
lanes = 4
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("training.export.LONG_TRACE", 300)
    monkeypatch.setattr("training.export.WIDTHS", (1, 3, 64))
    monkeypatch.setattr("training.timing.ROUNDS", 1)
    monkeypatch.setattr("training.timing.ROUND_S", 1e-4)
    random = np.random.default_rng(0)
    for name in ("history", "labelled"):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["ts", "a", "b", "anomaly"])
            for t in range(600):
                off = int(300 <= t < 330)
                writer.writerow(
                    [1_700_000_000 + t, np.sin(t / 5) + 0.1 * random.normal() + 9 * off, t % 7, off]
                )
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return tmp_path


def run(tiny: Path, *options: str) -> int:
    data, output = str(tiny / "tiny.toml"), str(tiny / "out")
    return main(["compare", "--data", data, "--output", output, *options])


def test_the_command_trains_tells_and_writes(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tiny / "tiny.toml").open("a") as file:
        file.write('[evaluate]\nfiles = ["labelled.csv"]\n')
    assert run(tiny, "--models", "gru", "--seeds", "2") == 0
    told = capsys.readouterr().out
    assert "Choose " in told
    out = tiny / "out"
    runs = {path.name for path in out.iterdir() if path.is_dir()}
    assert runs == {"gru-0", "gru-1", "persistence-0"}
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert [row["network"] for row in rows] == ["gru", NO_NETWORK]
    assert any(line.startswith("gru ") for line in told.splitlines())
    assert float(rows[0]["lowest"]) <= float(rows[0]["AP"]) <= float(rows[0]["highest"])
    whole = json.loads((out / "comparison.json").read_text())
    assert whole["chosen"] in {row["network"] for row in rows}
    assert whole["why"] in told
    assert whole["measure"] == "AP"
    assert [len(row["quality"]) for row in whole["rows"]] == [2, 1]
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert main(["export", str(out / "gru-1"), "--output", str(tiny / "again.onnx")]) == 0
    assert (tiny / "again.onnx").read_bytes() == (out / "gru-1" / "model.onnx").read_bytes()


def test_without_labels_the_held_out_loss_counts(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny, "--models", "persistence", "--seeds", "1") == 0
    assert "held-out loss" in capsys.readouterr().out
    whole = json.loads((tiny / "out" / "comparison.json").read_text())
    assert (whole["measure"], whole["higher_is_better"]) == ("held-out loss", False)


def test_a_network_that_cannot_be_proven_is_named_and_left_out(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = training.compare.build

    def refuse(config, *rest) -> OnnxModel:
        if config.network.kind == "gru":
            msg = "expected this, saw that"
            raise ArtifactRejected(msg)
        return build(config, *rest)

    monkeypatch.setattr(training.compare, "build", refuse)
    assert run(tiny, "--models", "gru", "--seeds", "1") == 0
    assert "gru was refused: expected this, saw that" in capsys.readouterr().out
    monkeypatch.setattr(training.compare, "BASELINE", "gru")
    assert run(tiny, "--models", "gru", "--seeds", "1") == 2


@pytest.mark.parametrize("models", ["lstm,lsmt", "", ","])
def test_an_unknown_network_is_refused(
    tiny: Path, capsys: pytest.CaptureFixture[str], models: str
) -> None:
    assert run(tiny, "--models", models) == 2
    told = capsys.readouterr().err
    assert "expected networks among rnn, lstm, " in told
    assert ("saw lsmt" if "lsmt" in models else "saw none") in told
