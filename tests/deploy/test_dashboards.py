"""The dashboards as files: made by the code beside them, and asking for what exists."""

import json
import re
from typing import Any

import pytest
from conftest import ROOT
from dashboards import BOARDS, FOLDER, as_json

from detector.metrics import Metrics
from detector.relay.watch import RelayMetrics

RULES = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


@pytest.fixture(params=BOARDS)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((FOLDER / request.param).read_text(encoding="utf-8"))
    return made


@pytest.mark.parametrize("name", BOARDS)
def test_the_files_are_up_to_date(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == as_json(BOARDS[name]()), "run `python deploy/grafana/dashboards.py`"


def test_there_is_no_file_that_nothing_makes() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(BOARDS)


def test_every_panel_has_a_number_a_title_and_says_what_it_shows(board: dict[str, Any]) -> None:
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)
    shown = [panel for panel in panels if panel["type"] not in {"row", "text"}]
    assert all(panel["description"].endswith(".") for panel in shown)
    for panel in shown:
        references = [target["refId"] for target in panel["targets"]]
        assert all(references)
        assert len(set(references)) == len(references)


def test_no_two_panels_cover_each_other(board: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_metrics_that_are_asked_for_exist(board: dict[str, Any]) -> None:
    exposed = {
        row.name + suffix
        for row in [*Metrics(("state",)).table.rows, *RelayMetrics("webhook").table.rows]
        for suffix in ([""] if row.type != "histogram" else ["_bucket", "_sum", "_count"])
    }
    asked = set(re.findall(r"(?<![:\w])detector_[a-z_]+", json.dumps(board)))
    assert asked
    assert asked <= exposed, asked - exposed
    recorded = set(re.findall(r"- record: (\S+)", RULES))
    assert set(re.findall(r"job(?:_kind)?:[\w:]+", json.dumps(board))) <= recorded


def test_variables_are_told_apart(board: dict[str, Any]) -> None:
    variables = board["templating"]["list"]
    assert [one["id"] for one in variables] == [one["name"] for one in variables]
    used = set(re.findall(r"\$\{?([a-z]+)\}?", json.dumps(board["panels"])))
    assert {one["name"] for one in variables} == used


def test_the_way_to_a_machine_is_that_of_the_runbook() -> None:
    text = (FOLDER / "machines.json").read_text(encoding="utf-8")
    shown = next(p for p in json.loads(text)["panels"] if p["type"] == "text")["options"]["content"]
    programs = [re.findall(r"jq -rs '(.*?)'", page, re.DOTALL) for page in (shown, RUNBOOK)]
    assert programs[0] == programs[1] != []
