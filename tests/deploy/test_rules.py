"""Prometheus's rules and Alertmanager's routes, as their own tools judge them; and the runbook."""

import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, tool

from detector.metrics import Metrics
from detector.relay.watch import RelayMetrics
from detector.settings import describe

FOLDER = ROOT / "deploy" / "prometheus"
RULES = (FOLDER / "rules.yml").read_text(encoding="utf-8")
TESTS = (FOLDER / "rules.test.yml").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
ALERTS = re.findall(r"- alert: (\w+)\n(.*?)(?=\n      - |\n\n|\Z)", RULES, re.DOTALL)
NAMES = [name for name, _ in ALERTS]


def judged(*command: str) -> None:
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "rules.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    judged(tool("promtool", "prometheus"), *arguments)


def test_amtool_is_content_and_routes_by_severity() -> None:
    amtool = tool("amtool", "prometheus-alertmanager")
    judged(amtool, "check-config", "alertmanager.yml")
    for severity, receiver in (("warning", "day"), ("critical", "night-and-day")):
        judged(
            amtool, "config", "routes", "test", "--config.file=alertmanager.yml",
            f"--verify.receivers={receiver}", "alertname=DetectorDown", f"severity={severity}",
        )  # fmt: skip


def test_every_alert_was_fired_and_kept_quiet() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 20
    quiet = re.findall(r"- \{eval_time: \w+, alertname: (\w+)\}", TESTS)
    fired = re.findall(r"alertname: (\w+)\n +exp_alerts:", TESTS)
    assert set(quiet) == set(fired) == set(NAMES)


@pytest.mark.parametrize(("name", "body"), ALERTS, ids=NAMES)
def test_every_alert_says_how_grave_it_is_and_where_to_read_on(name: str, body: str) -> None:
    severity = re.search(r"severity: (warning|critical)", body)
    address = re.search(r"runbook_url: (\S+)#(\w+)\n?", body)
    assert severity is not None
    assert address is not None
    assert ROOT / address[1] == ROOT / "docs" / "runbook.md"
    assert address[2] == name.lower(), "the anchor is the heading's"
    section = re.search(rf"^## {name}\n\n(.*?)(?=^## |\Z)", RUNBOOK, re.DOTALL | re.MULTILINE)
    assert section is not None
    assert section[1].startswith(f"*{severity[1].capitalize()}. ")
    assert section[1].count("\n- ") >= 1, "what to do"


def test_the_runbook_tells_of_no_alert_that_is_not_there() -> None:
    told = re.findall(r"^## (Detector\w+)$", RUNBOOK, re.MULTILINE)
    assert told == NAMES
    for anchor in re.findall(r"\]\(#([\w-]+)\)", RUNBOOK):
        assert anchor in {*map(str.lower, NAMES), "which-machine-is-it"}
    for target in re.findall(r"\]\(([^)#:]+)\)", RUNBOOK):
        assert (ROOT / "docs" / target).exists()


def test_settings_that_the_runbook_names_exist() -> None:
    known = {variable for variable, _, _ in describe()}
    assert set(re.findall(r"DETECTOR_[A-Z_]+", RUNBOOK)) <= known
    dotted = {v.removeprefix("DETECTOR_").lower().replace("__", ".") for v in known}
    tables = {name.partition(".")[0] for name in dotted if "." in name}
    named = re.findall(r"`([a-z_]+\.[a-z_]+)`", RUNBOOK)
    assert named
    assert [n for n in named if n.partition(".")[0] in tables and n not in dotted] == []


@pytest.mark.parametrize("path", ["rules.yml", "rules.test.yml", "alertmanager.yml"])
def test_metrics_that_are_asked_for_exist(path: str) -> None:
    text = re.sub(r"^ *#.*$", "", (FOLDER / Path(path)).read_text("utf-8"), flags=re.MULTILINE)
    exposed = {
        row.name + suffix
        for row in Metrics(("state",)).table.rows + RelayMetrics("webhook").table.rows
        for suffix in ([""] if row.type != "histogram" else ["_bucket", "_sum", "_count"])
    }
    asked = set(re.findall(r"(?<![:\w])detector_[a-z_]+", text))
    assert asked <= exposed, asked - exposed
    recorded = set(re.findall(r"- record: (\S+)", RULES))
    assert set(re.findall(r"job(?:_kind)?:[\w:]+", text)) <= recorded
