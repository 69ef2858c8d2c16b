"""A live daemon, as it is seen through what `deploy/` says: alerts that reach a person, dashboards
on which no panel is empty."""

import json
import math
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brokers import Tansu
from conftest import tool
from daemons import Daemon, Topics, until
from dashboards import BOARDS, FOLDER
from relays import SECRET, Receiver, Relay
from watched import Fleet, Monitoring, grafana_start

from training.demo.fleet import Fault

pytestmark = pytest.mark.broker

PUMPS, PAST_S = 12, 400
FAULTS = [
    Fault("leak", 3, PAST_S - 100, PAST_S + 3000),
    Fault("bearing wear", 5, PAST_S - 200, PAST_S - 120),
    Fault("blockage", 8, PAST_S - 60, PAST_S + 3000),
]
KINDS = ("state", "onset")
# What Grafana puts in place of its variables.
VALUES = {"$job": "detector", "$instance": ".*", "$__rate_interval": "20s", "$__interval": "60s",
          "$__range": "5m"}  # fmt: skip
WRONG = ("No data", "Panel status", "Alert error", "Alert warning", "plugin not found")


@dataclass
class Watched:
    """Everything that runs."""

    daemon: Daemon
    topics: Topics
    monitoring: Monitoring


@pytest.fixture(scope="module")
def watched(
    tansu: Tansu, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    tool("prometheus", "prometheus")
    tool("prometheus-alertmanager", "prometheus-alertmanager")
    folder = tmp_path_factory.mktemp("watched")
    topics = Topics(tansu.bootstrap_servers).create()
    with ExitStack() as stack:
        daemon = stack.enter_context(
            Daemon(small_model, topics, folder, delivery__checkpoint_interval_s=2)
        )
        monitoring = Monitoring(folder, stack)
        monitoring.route()
        daemon.ready()
        receiver = Receiver()
        stack.callback(receiver.close)
        secret = folder / "secret"
        secret.write_text(SECRET)
        hook = {"relay__url": receiver.url, "relay__secret_file": secret}
        relay = stack.enter_context(Relay(topics, folder, relay__to="webhook", **hook))
        monitoring.scrape(daemon.port, relay=relay.port)
        fleet = Fleet(topics, PUMPS, PAST_S, FAULTS, bad_share=0.03)
        fleet.start()
        stack.callback(fleet.stop)
        until(lambda: daemon.metric("detector_alerts_total") >= 2, "alerts")
        until(lambda: daemon.metric("detector_checkpoints_total") >= 4, "checkpoints")
        until(lambda: len(receiver.requests) >= 2, "alerts handed on")
        yield Watched(daemon, topics, monitoring)


@pytest.fixture(scope="module")
def drawn(watched: Watched) -> Monitoring:
    start = grafana_start()
    if start is None:
        pytest.skip("no Grafana here; GRAFANA_HOME names the folder of one for tests")
    tool("chromium", "chromium")
    watched.monitoring.draw(start, [board(name)["uid"] for name in BOARDS])
    return watched.monitoring


def board(name: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return made


def queries(name: str) -> list[str]:
    """Return what a dashboard asks of Prometheus, as Grafana would ask it."""
    asked = []
    for panel in board(name)["panels"]:
        for target in panel.get("targets") or []:
            query = target["expr"]
            for variable, value in VALUES.items():
                query = query.replace(variable, value)
            asked += [query.replace("$kind", k) for k in KINDS] if "$kind" in query else [query]
    return asked


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_of_every_panel_has_an_answer(watched: Watched, name: str) -> None:
    asked = queries(name)
    assert len(asked) > 15
    assert not [query for query in asked if re.search(r"\$[a-z_]", query)]

    def unanswered() -> list[str]:
        answers = {query: watched.monitoring.ask(query) for query in asked}
        return [
            query
            for query, samples in answers.items()
            if not any(math.isfinite(value) for _, value in samples)
        ]

    until(lambda: len(unanswered()) == 0 or not watched.daemon.running, "all are answered", 30)
    assert watched.daemon.running


def test_promtool_is_content_with_what_is_served_and_no_label_names_a_stream(
    watched: Watched,
) -> None:
    status, body = watched.daemon.get("/metrics")
    assert status == 200
    checked = subprocess.run(
        [tool("promtool", "prometheus"), "check", "metrics"],
        input=body, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert "pump-" not in body


def test_a_peak_in_a_graph_says_which_alert_it_was(watched: Watched) -> None:
    def told() -> list[dict[str, str]]:
        return watched.monitoring.exemplars('detector_alerts_total{status="open"}')

    until(lambda: bool(told()), "exemplars")
    known = {json.loads(value)["id"] for _, value in watched.topics.read(watched.topics.alerts, 1)}
    assert {one["alert_id"] for one in told()} & known
    assert all(one["stream"].startswith("pump-") for one in told())


def test_what_is_wrong_reaches_a_person_with_where_to_read_on(watched: Watched) -> None:
    told = watched.monitoring.webhook.told

    def dead_letters() -> list[tuple[str, str]]:
        return [
            (path, alert["annotations"]["runbook_url"])
            for path, alert in told
            if alert["labels"]["alertname"] == "DetectorDeadLetters"
        ]

    until(lambda: bool(dead_letters()), "Alertmanager tells of dead letters")
    assert dead_letters()[0] == ("/day", "docs/runbook.md#detectordeadletters")
    assert watched.monitoring.ask('ALERTS{alertname=~"DetectorDown|DetectorAbsent"}') == []


def test_what_stages_take_adds_up_to_the_loops_time(watched: Watched) -> None:
    def share() -> float:
        told = watched.monitoring.ask("sum(rate(detector_stage_seconds_sum[5s]))")
        return told[0][1] if told else 0.0

    until(lambda: 0.9 < share() < 1.1, "all of its time is accounted for", 30)


@pytest.mark.parametrize("name", BOARDS)
def test_no_panel_is_empty_or_in_error(drawn: Monitoring, name: str) -> None:
    titles = {panel["title"] for panel in board(name)["panels"] if panel["type"] != "row"}
    expected = {title.replace("$kind", kind) for title in titles for kind in KINDS}
    for _ in range(3):  # on a busy machine the browser may have been too fast
        page = drawn.look(board(name)["uid"], size="1280,3200", query="&from=now-3m&to=now")
        shown = set(re.findall(r"Panel header ([^\"]+)\"", page))
        wrong = [sign for sign in WRONG if sign in page]
        if shown == expected and not wrong:
            return
    assert shown == expected
    assert wrong == []


def test_an_empty_panel_would_be_noticed(drawn: Monitoring) -> None:
    page = drawn.look("detector-machines", size="1280,3200", query="&var-job=nobody")
    assert "No data" in page
