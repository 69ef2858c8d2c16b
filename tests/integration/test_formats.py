"""Producers that do not change for us, on a real broker."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Broker, Tansu
from daemons import BEGAN_S, Daemon, Topics, story, until
from proxy import Proxy
from registries import Apicurio, avro, framed

from detector.check import check
from detector.emit import KafkaSink
from detector.records import Message
from detector.settings import read_settings
from training.demo.fleet import CHANNELS

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


@pytest.fixture(scope="module")
def registry() -> Iterator[Apicurio]:
    if "REGISTRY_HOME" not in os.environ:
        pytest.skip("REGISTRY_HOME does not point at an Apicurio Registry")
    made = Apicurio()
    made.start()
    yield made
    made.close()


VALUES = {
    "type": "record",
    "name": "Values",
    "fields": [{"name": name, "type": ["null", "double"]} for name in CHANNELS],
}
AT = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
FIRST = {"type": "record", "name": "Pump", "fields": [AT, {"name": "values", "type": VALUES}]}
SITE = {"name": "site", "type": "string", "default": ""}
SECOND = FIRST | {"fields": [SITE, AT, {"name": "values", "type": VALUES}]}
LATER = FIRST | {"fields": [AT, {"name": "values", "type": "Values"}]}
AVRO = {"input__time": "at"}


def in_avro(ours: bytes, schema: dict[str, object], named: tuple[object, ...] = ()) -> bytes:
    reading = json.loads(ours)
    at_ms = round(reading["ts"] * 1000)
    return avro(schema, {"at": at_ms, "values": reading["values"], "site": "x"}, named)


def test_avro_of_any_version_is_read_without_a_restart(
    broker: Broker, registry: Apicurio, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers, partitions=1).create()
    subject = f"{topics.readings}-value"
    records = story(2, 40, (1, 35, 40))
    first = registry.register(subject, FIRST)
    with Daemon(small_model, topics, tmp_path, input__registry_url=registry.url, **AVRO) as daemon:
        daemon.ready()
        topics.write([(key, framed(first, in_avro(value, FIRST))) for key, value in records[:20]])
        until(lambda: daemon.metric("detector_readings_total") == 20, "the first version")
        second = registry.register(subject, SECOND)
        values = registry.register(f"{topics.readings}-Values", VALUES)
        refers = {"name": "Values", "subject": f"{topics.readings}-Values", "version": 1}
        third = registry.register(f"{topics.readings}-other", LATER, references=[refers])
        assert len({first, second, values, third}) == 4
        later = [(key, framed(second, in_avro(value, SECOND))) for key, value in records[20:60]]
        later += [
            (key, framed(third, in_avro(value, LATER, (VALUES,)))) for key, value in records[60:]
        ]
        schema = json.dumps({"$schema": "http://json-schema.org/draft-07/schema#"})
        as_json = registry.register(f"{topics.readings}-json", schema, schemaType="JSON")
        body = json.dumps({"at": BEGAN_S + 100, "values": {"flow": 20}}).encode()
        later.append((b"pump-0", framed(as_json, body)))
        bad = [
            (b"pump-0", framed(99_999, in_avro(records[0][1], FIRST))),
            (b"pump-0", framed(first, b"\x01")),
        ]
        topics.write([*later, *bad])
        until(lambda: daemon.metric("detector_records_total") == 83, "all read")
        assert daemon.metric("detector_readings_total") == 81, daemon.said
        assert daemon.metric('detector_dead_letters_total{reason="unknown_schema"}') == 1
        assert daemon.metric('detector_dead_letters_total{reason="not_avro"}') == 1
        assert topics.read(topics.dead, 2) == bad
        assert json.loads(topics.read(topics.alerts, 1)[0][1])["stream"] == "pump-1"
        assert daemon.stop() == 0, daemon.said


def test_a_registry_that_is_away_is_waited_for(
    tansu: Tansu, registry: Apicurio, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(tansu.bootstrap_servers, partitions=1).create()
    records = story(1, 30)
    number = registry.register(f"{topics.readings}-value", FIRST)
    written = [(key, framed(number, in_avro(value, FIRST))) for key, value in records]
    wire = Proxy()
    wire.forward(registry.port)
    wire.cut()
    url = registry.url.replace(str(registry.port), str(wire.port))
    with Daemon(small_model, topics, tmp_path, input__registry_url=url, **AVRO) as daemon:
        daemon.ready()  # nothing needs it yet
        topics.write(written)
        until(lambda: daemon.metric("detector_registry_errors_total") >= 3, "it asks again")
        assert daemon.get("/readyz") == (503, "the schema registry does not answer\n")
        assert daemon.get("/livez")[0] == 200
        assert daemon.metric("detector_broker_connected") == 1
        assert daemon.metric("detector_records_total") == 0
        assert daemon.said.count("schema registry away") == 1
        wire.mend()
        until(lambda: daemon.metric("detector_readings_total") == 30, "all scored")
        assert daemon.ready().said.count("schema registry answers") == 1
        assert daemon.metric("detector_dead_letters_total") == 0
        assert daemon.stop() == 0
    wire.close()


def test_check_asks_the_registry(
    tansu: Tansu,
    registry: Apicurio,
    small_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DETECTOR_CONFIG", "")
    monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", tansu.bootstrap_servers)
    monkeypatch.setenv("DETECTOR_INPUT__CHANNELS", '{"presure": "p"}')
    findings = {one.what: one for one in check(read_settings(model=small_model))}
    assert "saw presure" in findings["model"].seen
    monkeypatch.delenv("DETECTOR_INPUT__CHANNELS")
    for url, good in ((registry.url, True), (f"{registry.url}/nonsense", False)):
        monkeypatch.setenv("DETECTOR_INPUT__REGISTRY_URL", url)
        findings = {one.what: one for one in check(read_settings(model=small_model))}
        assert findings["registry"].good is good, findings["registry"].seen
