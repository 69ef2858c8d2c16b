"""What docs/events.md shows is what happens: an event log is learnt, the impossible is told."""

import contextlib
import csv
import importlib.util
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from detector.engine import Engine
from detector.judge import rules
from detector.model import OnnxModel, load
from detector.records import Partition, Readings
from detector.replay import score_file
from training.__main__ import main

SPEC = importlib.util.spec_from_file_location("events", ROOT / "docs" / "events.py")
assert SPEC is not None
assert SPEC.loader is not None
events = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(events)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's run, shorter, with what `training fit` printed."""
    folder = tmp_path_factory.mktemp("events")
    events.prepare(folder, machines=6, readings=1500)
    config = folder / events.CONFIG.name
    shorter = config.read_text().replace("epochs = 30", "epochs = 16")
    config.write_text(shorter + '\n[evaluate]\nfiles = ["labelled.csv"]\nskip_rows = 100\n')
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["fit", str(config), "--output", str(folder / "run")]) == 0
    (folder / "said").write_text(said.getvalue())
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> OnnxModel:
    return load(folder / "run" / "model.onnx")


def test_what_is_foretold_is_printed_and_kept(folder: Path, model: OnnxModel) -> None:
    about = json.loads((folder / "run" / "about.json").read_text())
    of = about["training"]["quality"]["perplexity"]["step"]
    assert model.manifest.training["quality"]["perplexity"]["step"] == of
    assert events.least() < of["network"] < 1.6
    assert 6 < of["frequencies"] < 8
    line = f"step: perplexity {of['network']:.3g} on held-out rows, by frequencies alone "
    assert line in (folder / "said").read_text()


def test_the_page_shows_the_configuration_and_all_that_is_said(
    model: OnnxModel, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    config, said = (page.split(f"```{name}\n")[1 + (name == "text")] for name in ("toml", "text"))
    assert config.split("```")[0] in events.CONFIG.read_text()
    events.tell(model)

    def words(text: str) -> list[str]:
        return [
            line
            for line in re.sub(r"[\d.]+|expected \w+", "?", text).splitlines()
            if line[0] != "$"
        ]

    assert words(capsys.readouterr().out) == words(said.split("```")[0])[4:-1]


def test_no_forecast_of_the_plant_can_be_better_than_its_choices() -> None:
    steps = events.STEPS
    assert events.least() == pytest.approx(1.37, abs=0.01)
    log = events.healthy(np.random.default_rng(0), 5000)
    assert set(log) == {*steps, *(step.end for step in steps.values() if step.end)}


def test_the_impossible_is_told_and_nothing_else(model: OnnxModel) -> None:
    found, strays = events.find(model)
    assert [one.name for one in found] == list(events.FAULTS)
    assert strays == 0
    never, usual = found
    assert (never.before, never.now, never.usual) == ("full", "drain", 0)
    assert (usual.before, usual.now) == ("drain", "idle")
    assert usual.usual > 0.1
    for one in found:
        assert one.alert is not None, one.name
        assert one.later <= 2


def test_a_healthy_machine_is_left_alone(model: OnnxModel) -> None:
    codes = events.coded(events.healthy(np.random.default_rng(8), 5000))
    assert not events.listen(model, codes).alerts


def test_an_unknown_code_is_told_and_a_missing_one_is_not(model: OnnxModel) -> None:
    codes = events.coded(events.healthy(np.random.default_rng(9), 400))
    engine, alerts = Engine(model, rules(model.manifest, events.DAILY)), {}
    for name, value in (("unknown", 42.0), ("missing", np.nan)):
        x = codes.astype(np.float32)[:, np.newaxis]
        x[300:302] = value
        rows = np.arange(len(x))
        fed = Readings([b"m"], 0 * rows, (1 + rows) * 10**7, x, rows)
        alerts[name] = engine.run(engine.new_arena(), fed, Partition("t", 0)).alerts
    assert alerts["unknown"][0].offset == 300
    assert not alerts["missing"]


def test_a_file_of_names_is_scored_and_evaluated(
    folder: Path, model: OnnxModel, capsys: pytest.CaptureFixture[str]
) -> None:
    log, begins = events.broken(np.random.default_rng(3), 400)
    with (folder / "labelled.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts", "machine", "step", "anomaly"])
        for t, symbol in enumerate(log):
            label = any(0 <= t - begin < 8 for begin in begins.values())
            writer.writerow([events.START_S + 10 * t, "mixer", symbol, int(label)])
    engine = Engine(model, rules(model.manifest, events.DAILY))
    names = {"stream": "machine"}
    summary = score_file(engine, folder / "labelled.csv", folder / "scored.csv", names)
    assert (summary.scored, summary.opened) == (len(log), 2)
    capsys.readouterr()
    assert (
        main(["evaluate", str(folder / events.CONFIG.name), "--output", str(folder / "run")]) == 0
    )
    told = capsys.readouterr().out
    assert "found        2\n" in told
    assert "step: perplexity " in told
    page = (folder / "run" / "report.html").read_text()
    assert "step drain, expected heat" in page
    assert "by frequencies alone" in page


def test_the_picture_is_drawn(model: OnnxModel, tmp_path: Path) -> None:
    events.draw(model, tmp_path / "faults.png")
    assert (tmp_path / "faults.png").read_bytes().startswith(b"\x89PNG")
