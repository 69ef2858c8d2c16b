"""A live daemon, as it is seen through what `deploy/` says: alerts that reach a person, dashboards
on which no panel is empty."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from brokers import Tansu
from conftest import tool
from daemons import Daemon, Topics, until
from watched import Fleet, Monitoring

from training.demo.fleet import Fault

pytestmark = pytest.mark.broker

PUMPS, PAST_S = 12, 400
FAULTS = [
    Fault("leak", 3, PAST_S - 100, PAST_S + 600),
    Fault("bearing wear", 5, PAST_S - 200, PAST_S - 120),
    Fault("blockage", 8, PAST_S - 60, PAST_S + 600),
]


@pytest.fixture(scope="module")
def watched(
    tansu: Tansu, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitoring]:
    for name, package in (
        ("prometheus", "prometheus"), ("prometheus-alertmanager", "prometheus-alertmanager")
    ):  # fmt: skip
        tool(name, package)
    folder = tmp_path_factory.mktemp("watched")
    topics = Topics(tansu.bootstrap_servers).create()
    fleet = Fleet(topics, PUMPS, PAST_S, FAULTS, bad_share=0.03)
    with ExitStack() as stack:
        daemon = stack.enter_context(
            Daemon(small_model, topics, folder, delivery__checkpoint_interval_s=2)
        )
        monitoring = Monitoring(folder, stack)
        monitoring.route()
        daemon.ready()
        monitoring.scrape(daemon.port)
        fleet.start()
        stack.callback(fleet.stop)
        until(lambda: daemon.metric("detector_alerts_total") >= 2, "alerts")
        until(lambda: daemon.metric("detector_checkpoints_total") >= 4, "checkpoints")
        yield monitoring


def test_what_is_wrong_reaches_a_person_with_where_to_read_on(watched: Monitoring) -> None:
    def told() -> list[tuple[str, str]]:
        return [
            (path, alert["annotations"]["runbook_url"])
            for path, alert in watched.webhook.told
            if alert["labels"]["alertname"] == "DetectorDeadLetters" and alert["status"] == "firing"
        ]

    until(lambda: bool(told()), "Alertmanager tells of dead letters")
    assert told()[0] == ("/day", "docs/runbook.md#detectordeadletters")
    assert watched.ask('ALERTS{alertname=~"DetectorDown|DetectorAbsent"}') == []
