"""docs/history.md does what it says, on a smaller fleet's past."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from brokers import Tansu
from conftest import ROOT

from detector.settings import Judge, describe
from detector.topics import create_topics

PAGE = (ROOT / "docs" / "history.md").read_text(encoding="utf-8")
SMALLER = {
    "localhost:9092": "{servers}",
    "--past 14400": "--past 3000",  # half of it is healthy
    "'-2 hours'": "'-25 minutes'",
    "epochs = 10": "epochs = 2",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_commands_run_as_they_stand_from_topic_to_tuned_threshold(
    tansu: Tansu, tmp_path: Path
) -> None:
    script = "set -eu\n" + "\n".join(blocks("sh"))
    for shown, here in SMALLER.items():
        assert shown in script
        script = script.replace(shown, here.format(servers=tansu.bootstrap_servers))
    programs = Path(sys.executable).parent
    for name in ("python", "detector", "training"):  # those of this checkout
        module = "" if name == "python" else f" -m {name}"
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {programs / "python"}{module} "$@"\n')
        (tmp_path / name).chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DETECTOR_")}
    environment |= {"PATH": f"{tmp_path}:{environment['PATH']}", "PYTHONPATH": str(ROOT)}
    create_topics(tansu.bootstrap_servers, ["alerts", "dead-letters"], 1)  # that `check` looks for
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "build" / "history"
    assert {path.name for path in (folder / "backtest").iterdir()} == {
        "alerts.jsonl", "volume.csv", "report.html", "scores", "backtest.json",
        "tuned.toml", "tuned.csv", "tuned.html",
    }  # fmt: skip
    played = json.loads((folder / "backtest" / "backtest.json").read_text())["played"]
    assert played["scored"] > 20 * 1400
    assert played["streams"] == 20
    shown = [line.split()[0] for line in blocks("text")[3].splitlines() if "%" in line]
    assert shown[:2] == ["0.001", "0.003"]
    assert "incidents found  recall  precision  median delay" in done.stdout
    assert "judge.false_alarms_per_stream_day = " in done.stdout


def test_the_settings_it_shows_are_those_of_the_judge() -> None:
    (table,) = blocks("toml")
    assert tomllib.loads(table)["judge"].keys() == Judge.model_fields.keys()
    known = {variable for variable, _, _ in describe()}
    assert set(re.findall(r"DETECTOR_[A-Z_]+", PAGE)) <= known
    dotted = {v.removeprefix("DETECTOR_").lower().replace("__", ".") for v in known}
    assert set(re.findall(r"`((?:state|judge)\.[a-z_]+)`", PAGE)) <= dotted


def test_every_file_that_it_names_exists() -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE)
    assert targets
    assert [t for t in targets if not (ROOT / "docs" / t).exists()] == []
