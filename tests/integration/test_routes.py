"""One daemon, several models and topics, against real brokers."""

import json
import signal
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from brokers import Broker, Tansu
from daemons import Daemon, Topics, story, until
from versions import another_version

from detector.topics import create_topics

pytestmark = pytest.mark.broker

QUICK = {
    "delivery__checkpoint_interval_s": 1,
    "delivery__transaction_timeout_s": 5,
    "kafka__group_instance_id": "one",
}
BROKEN = (1, 200, 230)


def bodies(topics: Topics, topic: str, count: int) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in topics.read(topic, count)]


def lives_of(told: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return what was said of each alert, in order."""
    lives = defaultdict(list)
    for one in told:
        lives[one["id"]].append(one["status"])
    return lives


def test_streams_go_to_models_of_their_own_and_a_kill_changes_nothing(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    if isinstance(broker, Tansu):
        pytest.skip("Tansu does not undo what a killed one has begun")
    topics, records = Topics(broker.bootstrap_servers).create(), story(3, 400, BROKEN)
    other = tmp_path / "other.onnx"
    version = another_version(small_model, other, name="other")
    mine = f"alerts-of-one-{uuid.uuid4().hex[:8]}"
    create_topics(topics.servers, [mine], 1)
    routes = [
        {"name": "one", "streams": "pump-1", "model": str(other), "alerts_topic": mine,
         "judge": {"at_most": "info"}},
        {"name": "nobody", "streams": "pump-2"},
    ]  # fmt: skip
    given = {**QUICK, "routes": json.dumps(routes)}
    with Daemon(small_model, topics, tmp_path, **given) as first:
        first.ready()
        topics.write(records[: 3 * 210])
        until(lambda: first.metric("detector_open_alerts") == 1, "it is open")
        first.stop(signal.SIGKILL)
    topics.write(records[3 * 210 :])
    with Daemon(small_model, topics, tmp_path, **given) as second:
        second.ready()
        unrouted = "detector_unrouted_records_total"
        until(lambda: second.metric(unrouted) >= 190, "pump-2 is counted")
        assert second.metric('detector_restores_total{outcome="restored"}') >= 2
        until(lambda: second.metric("detector_open_alerts") == 0, "it is closed")
        assert second.stop() == 0
    told = bodies(topics, mine, 2)
    lives = lives_of(told)
    assert lives
    assert all(statuses == ["open", "close"] for statuses in lives.values())
    assert {(one["stream"], one["severity"]) for one in told} == {("pump-1", "info")}
    assert told[0]["model"] == {"name": "other", "version": version}


def flattened(value: bytes) -> bytes:
    """Return a reading as another producer writes it."""
    reading = json.loads(value)
    return json.dumps({"at": reading["ts"], **reading["values"]}).encode()


class Plants:
    """Topics of one pattern, and a third one that is to come and is written otherwise."""

    def __init__(self, broker: Broker, model: Path) -> None:
        self.topics = Topics(broker.bootstrap_servers).create()
        mark = self.topics.readings
        self.names = [f"{mark}-plant-{name}" for name in ("north", "south", "west")]
        create_topics(self.topics.servers, self.names[:2], 2)
        flat = {
            "name": "west", "topic": self.names[2], "model": str(model),
            "input": {"values": "", "time": "at"},
        }  # fmt: skip
        of = {"kafka__topic": f"{mark}-plant-*", "kafka__group": mark}
        self.settings = {**QUICK, **of, "routes": json.dumps([flat])}

    def write(self, plant: int, start: int, end: int) -> None:
        self.topics.readings = self.names[plant]
        records = story(2, 400, BROKEN)[2 * start : 2 * end]
        self.topics.write([(k, flattened(v)) for k, v in records] if plant == 2 else records)


READ, RESTORED = "detector_readings_total", 'detector_restores_total{outcome="restored"}'


def test_topics_that_fit_a_pattern_are_read_and_their_state_is_kept(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    plants = Plants(broker, small_model)
    with Daemon(small_model, plants.topics, tmp_path, **plants.settings) as daemon:
        daemon.ready()
        for plant in (0, 1):
            plants.write(plant, 0, 210)
        until(lambda: daemon.metric(READ) == 4 * 210, "both are read")
        until(lambda: daemon.metric("detector_open_alerts") == 2, "both alert")
        label = f'detector_lag_records{{partition="{plants.names[0]}/0"}}'
        assert daemon.metric(label) == 0
        assert daemon.stop() == 0
    with Daemon(small_model, plants.topics, tmp_path, **plants.settings) as daemon:
        daemon.ready()
        until(lambda: daemon.metric(RESTORED) >= 2, "state")
        plants.write(0, 210, 400)
        until(lambda: daemon.metric(READ) == 2 * 190, "it goes on")
        until(lambda: daemon.metric("detector_open_alerts") == 1, "one is over")
        assert daemon.stop() == 0
    told = bodies(plants.topics, plants.topics.alerts, 3)
    assert {one["source"]["topic"] for one in told} == set(plants.names[:2])
    assert all(statuses[0] == "open" for statuses in lives_of(told).values())


def test_a_topic_that_comes_later_is_read_too_in_its_own_format(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    plants = Plants(broker, small_model)
    with Daemon(small_model, plants.topics, tmp_path, **plants.settings) as daemon:
        daemon.ready()
        plants.write(0, 0, 210)
        until(lambda: daemon.metric(READ) == 2 * 210, "what there is")
        assert daemon.stop() == 0
    # Started again under its name, it is not told that it leads the group.
    with Daemon(small_model, plants.topics, tmp_path, **plants.settings) as daemon:
        daemon.ready()
        create_topics(plants.topics.servers, plants.names[2:], 1)
        plants.write(2, 0, 400)
        until(lambda: daemon.metric(READ) == 2 * 400, "the new one is read, too")
        assert daemon.metric("detector_dead_letters_total") == 0
        assert daemon.stop() == 0
    told = bodies(plants.topics, plants.topics.alerts, 3)
    assert {one["source"]["topic"] for one in told} == {plants.names[0], plants.names[2]}
