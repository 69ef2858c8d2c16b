"""What docs/formats.md shows is what happens."""

import json
import re
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from brokers import Tansu
from conftest import ROOT
from daemons import Daemon, Topics, story, until
from fakes import chunk_of
from registries import StandIn, avro, framed

from detector.__main__ import main
from detector.avro import reader_of
from detector.decode import decode
from detector.mapping import Input, layout_of
from detector.records import US_PER_S
from detector.registry import Registry
from detector.schemas import Schemas
from detector.settings import read_settings
from detector.tags import Tags
from detector.topics import create_topics
from detector.validate import REASONS, Decoded, Format
from detector.wire import from_json

PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
CHANNELS = ("pressure", "flow")
Records = list[tuple[bytes | None, bytes | None]]
HEADERS: dict[str, list[bytes | None]] = {
    "device": [b"pump-1"],
    "taken-at": [b"14.11.2023 23:13:20+0100"],
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DETECTOR_CONFIG", "")
    return monkeypatch


def settings_of(text: str, folder: Path) -> Input:
    path = folder / "detector.toml"
    path.write_text(text)
    return read_settings(path, model=Path("model.onnx")).input


def taken(given: Input, value: bytes, unpack: Callable[[bytes], object]) -> Decoded:
    chunk = replace(chunk_of([(None, value)]), headers=HEADERS)
    return decode(chunk, Format(CHANNELS, layout=layout_of(given, CHANNELS, unpack)))


def check(said: Decoded) -> None:
    assert said.bad == []
    assert said.readings.streams == [b"pump-1"]
    assert said.readings.ts_us.tolist() == [1_700_000_000 * US_PER_S]
    assert said.readings.x[0].tolist() == pytest.approx([1.2, 18.5])


EXAMPLES = re.findall(r"### (.*?)\n\n```json\n(.*?)```\n\n```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("name", "value", "toml"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_each_mapping_reads_its_record(name: str, value: str, toml: str, tmp_path: Path) -> None:
    assert json.loads(value)
    check(taken(settings_of(toml, tmp_path), value.encode(), from_json))


def test_there_is_an_example_under_each_heading() -> None:
    assert len(EXAMPLES) == PAGE.count("\n### ") == PAGE.count("```json\n") == 5


def test_the_mapping_of_avro_reads_its_schema(tmp_path: Path) -> None:
    ((schema, toml),) = re.findall(r"```avsc\n(.*?)```\n\n```toml\n(.*?)```", PAGE, re.DOTALL)
    registry = StandIn()
    registry.has(7, schema)
    given = settings_of(toml, tmp_path)
    schemas = Schemas(Registry(registry.url), reader_of)
    measured = {"pressure": 1.2, "flow": 18.5}
    document = {"device": "pump-1", "at": 1_700_000_000_000, "measured": measured}
    value = framed(7, avro(json.loads(schema), document))
    schemas.learn([value])
    check(taken(given, value, schemas.unpack))
    registry.close()


def test_values_of_one_tag_each_become_the_readings_shown(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```json long\n(.*?)```", PAGE, re.DOTALL)
    (toml,) = re.findall(r"```toml long\n(.*?)```", PAGE, re.DOTALL)
    (joined,) = re.findall(r"```json joined\n(.*?)```", PAGE, re.DOTALL)
    chunk = chunk_of([(None, line.encode()) for line in shown.splitlines()])
    layout = layout_of(settings_of(toml, tmp_path), CHANNELS)
    said = decode(chunk, Format(CHANNELS, layout=layout))
    assert (said.bad, said.unknown_values, said.late) == ([], 1, 0)
    readings, want = said.readings, list(map(json.loads, joined.splitlines()))
    assert [readings.streams[s].decode() for s in readings.stream] == [w["stream"] for w in want]
    assert readings.ts_us.tolist() == [round(w["ts"] * US_PER_S) for w in want]
    values = [[w["values"][name] for name in CHANNELS] for w in want]
    assert readings.x.tolist() == [pytest.approx(row) for row in values]


def test_every_field_and_every_reason_is_told_of() -> None:
    limits = {"max_value_bytes", "max_stream_bytes", "max_future_s"}
    for name in (Input.model_fields.keys() - limits) | {*REASONS}:
        assert f"`{name}`" in PAGE or f"`[input.{name}]`" in PAGE, name
    for name in Tags.model_fields:
        assert f"`{name}`" in PAGE, name


def telegraf(key: bytes, ours: bytes) -> bytes:
    reading = json.loads(ours)
    fields = reading["values"]
    fields["temp"], fields["vib_mm_s"] = fields.pop("temperature"), fields.pop("vibration")
    fields["voltage"] = 398.7
    record = {"name": "pump", "tags": {"host": key.decode(), "site": "north"}}
    return json.dumps(record | {"timestamp": reading["ts"], "fields": fields}).encode()


def by_telegraf(ours: list[tuple[bytes, bytes]]) -> Records:
    records: Records = [(None, telegraf(key, value)) for key, value in ours]
    (example,) = re.findall(r"```json telegraf\n(.*?)```", PAGE, re.DOTALL)
    shown, sent = json.loads(example), json.loads(records[0][1] or b"")
    assert (shown.keys(), shown["fields"].keys()) == (sent.keys(), sent["fields"].keys())
    return records


def by_historian(ours: list[tuple[bytes, bytes]]) -> Records:
    """Return readings as values of one tag each, keyed by the machine."""
    return [
        (key, json.dumps({"tag": f"{key.decode()}/{name}", "t": reading["ts"], "v": seen}).encode())
        for key, value in ours
        for reading in [json.loads(value)]
        for name, seen in reading["values"].items()
    ]


WRITERS = {"telegraf": by_telegraf, "historian": by_historian}


@pytest.mark.broker
@pytest.mark.parametrize("topic", WRITERS)
def test_what_it_sniffs_is_what_the_page_shows_and_what_the_daemon_runs_on(
    topic: str,
    tansu: Tansu,
    small_model: Path,
    tmp_path: Path,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = story(3, 20)
    records = WRITERS[topic](ours)
    topics = Topics(tansu.bootstrap_servers, partitions=2)
    topics.readings = topic
    create_topics(tansu.bootstrap_servers, [topic], 2)
    create_topics(tansu.bootstrap_servers, [topics.alerts, topics.dead], 1)
    topics.write(records)
    environment.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", tansu.bootstrap_servers)
    assert main(["sniff", "--topic", topic, "--model", str(small_model)]) == 0
    said = capsys.readouterr().out
    shown = said.replace(str(small_model), "model.onnx")
    shown = shown.replace(tansu.bootstrap_servers, "broker:9092")
    assert f"```toml sniffed {topic}\n{shown}```" in PAGE, shown
    path = tmp_path / "sniffed.toml"
    path.write_text(said)
    command = (sys.executable, "-m", "detector", "run", "--config", path)
    with Daemon(small_model, topics, tmp_path, command=command) as daemon:
        daemon.ready()
        until(lambda: daemon.metric("detector_records_total") == len(records), "all read")
        whole = len(ours) if topic == "telegraf" else len(ours) - 3  # each pump's last waits
        assert daemon.metric("detector_readings_total") == whole
        assert daemon.metric("detector_dead_letters_total") == 0
        assert daemon.stop() == 0, daemon.said


@pytest.mark.broker
def test_it_sniffs_avro_and_says_where_the_registry_is_wanted(
    tansu: Tansu,
    small_model: Path,
    tmp_path: Path,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topics = Topics(tansu.bootstrap_servers, partitions=1)
    create_topics(tansu.bootstrap_servers, [topics.readings], 1)
    names = ("speed", "flow", "pressure", "current", "temperature", "vibration")
    fields = [{"name": name, "type": "double"} for name in names]
    schema = {"type": "record", "name": "P", "fields": [{"name": "at", "type": "long"}, *fields]}
    registry = StandIn()
    registry.has(7, schema)
    document = dict.fromkeys(names, 1.5) | {"at": 1_760_000_000_000}
    topics.write([(b"pump-1", framed(7, avro(schema, document)))] * 3)
    environment.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", tansu.bootstrap_servers)
    sniff = ["sniff", "--topic", topics.readings, "--model", str(small_model)]
    assert main(sniff) == 1
    said = capsys.readouterr().out
    assert "# 3 bad records, not_json" in said
    assert "say where the registry is, DETECTOR_INPUT__REGISTRY_URL" in said
    environment.setenv("DETECTOR_INPUT__REGISTRY_URL", registry.url)
    assert main([*sniff, "--records", "2"]) == 0
    said = capsys.readouterr().out
    assert "# 2 records" in said
    given = settings_of(said, tmp_path)
    assert given == Input(time="at", values="", registry_url=registry.url)
    registry.close()
    assert main(sniff) == 1
    assert "expected a schema registry at" in capsys.readouterr().err


@pytest.mark.broker
def test_a_topic_that_is_not_there_or_empty_is_told(
    tansu: Tansu,
    small_model: Path,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = f"empty-{uuid.uuid4().hex[:8]}"
    create_topics(tansu.bootstrap_servers, [topic], 1)
    environment.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", tansu.bootstrap_servers)
    sniff = ["sniff", "--model", str(small_model), "--seconds", "1", "--topic"]
    assert main([*sniff, topic]) == 1
    assert f"# 0 records of 0 partitions of {topic}" in capsys.readouterr().out
    assert main([*sniff, "no-such-topic"]) == 2
    assert "expected topic 'no-such-topic', saw " in capsys.readouterr().err
