"""Producers that do not change for us, on a real broker."""

import json
from pathlib import Path

import pytest
from brokers import Broker
from daemons import BEGAN_S, Daemon, Topics, story, until

from detector.emit import KafkaSink
from detector.records import Message

pytestmark = pytest.mark.broker

MAPPING = {
    "input__stream": "header:device",
    "input__time": "taken.at",
    "input__values": "data",
    "input__channels": json.dumps({"pressure": {"path": "p.mbar", "scale": 0.001}}),
}


def theirs(ours: bytes) -> bytes:
    """Return one of our readings as another producer would have written it."""
    reading = json.loads(ours)
    data = reading["values"]
    data["p"] = {"mbar": data.pop("pressure") * 1000}
    return json.dumps({"taken": {"at": reading["ts"]}, "data": data, "site": "x"}).encode()


def test_a_mapping_is_all_that_another_producer_needs(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers, partitions=1).create()
    records = story(2, 60, (1, 50, 60))
    messages = [
        Message(topics.readings, None, theirs(value), (("device", key),)) for key, value in records
    ]
    lost = json.dumps({"taken": {"on": BEGAN_S}, "data": {}}).encode()
    messages.append(Message(topics.readings, None, lost, (("device", b"pump-1"),)))
    messages.append(Message(topics.readings, b"pump-1", theirs(records[0][1])))
    with Daemon(small_model, topics, tmp_path, **MAPPING) as daemon:
        daemon.ready()
        sink = KafkaSink(broker.bootstrap_servers, [])
        sink.send(messages)
        sink.close()
        until(lambda: daemon.metric("detector_records_total") == len(messages), "all read")
        assert daemon.metric("detector_readings_total") == len(records), daemon.said
        assert daemon.metric('detector_dead_letters_total{reason="schema"}') == 1
        assert daemon.metric('detector_dead_letters_total{reason="stream_id"}') == 1
        assert topics.read(topics.dead, 2)[0][1] == lost
        (_, alert), *_ = topics.read(topics.alerts, 1)
        assert daemon.stop() == 0, daemon.said
    told = json.loads(alert)
    assert told["stream"] == "pump-1"
    assert told["channels"][0]["name"] == "pressure"
    assert told["channels"][0]["value"] == pytest.approx(500)
