"""What is said, as Kafka records."""

from dataclasses import replace
from typing import get_args

import jsonschema  # type: ignore[import-untyped]
import msgspec
import numpy as np
import pytest
from fakes import Record, StubModel, as_chunk, chunk_of, manifest

from detector.change import Kind
from detector.engine import Engine
from detector.judge import rules
from detector.messages import (
    ALERT_SCHEMA,
    DEAD_LETTER_BYTES,
    alert_body,
    alert_message,
    dead_letter,
    rfc3339,
    score_messages,
)
from detector.records import (
    SEVERITIES,
    SILENT,
    Alert,
    BadRecord,
    ChannelChange,
    ChannelValue,
    Earlier,
    Message,
    Partition,
    Readings,
    Status,
)

FRAMING_BYTES = 100  # what Kafka adds to a record and its batch
OPENED_US = 1_700_000_000_000_000
ALERT = Alert(
    id="5b0f6c3e-92b0-5c9e-8d0a-0c3c8a3a9a11",
    stream="Pumpe Süd",
    status="open",
    kind="state",
    severity="warning",
    opened_us=OPENED_US,
    at_us=OPENED_US + 1_500_000,
    score=4.25,
    probability=0.0001,
    threshold=3.0,
    channels=(
        ChannelValue("pressure", "bar", 7.5, 2.5, -5.0, 0.75),
        ChannelValue("temp", "°C", None, 20.0, 0.0, 0.25),
    ),
    peak=6.5,
    cause="normal",
    model="pumps",
    version="0" * 64,
    partition=Partition("readings", 3),
    offset=42,
)
SCHEMA = jsonschema.Draft202012Validator(
    ALERT_SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


def object_of(message: Message) -> dict[str, object]:
    return msgspec.json.decode(message.value, type=dict[str, object])


@pytest.mark.parametrize("status", ["open", "update", "close"])
def test_alerts_are_what_the_schema_says(status: Status) -> None:
    body = object_of(alert_message(replace(ALERT, status=status), "alerts"))
    SCHEMA.validate(body)
    assert body == alert_body(replace(ALERT, status=status))
    assert ({"peak", "duration_s", "cause"} <= body.keys()) == (status == "close")


def test_the_engines_own_alerts_are_what_the_schema_says() -> None:
    made = manifest()
    engine = Engine(StubModel(made), rules(made, 1, open_after=1, close_after=1))
    ts_us, n = OPENED_US + 1_000_000 * np.arange(9), np.arange(9)
    x = np.array([[v, np.nan] for v in (0, 0, 0, 0, 6, 900, 1, 100, 100)], np.float32)
    ts_us[7:] += 300_000_000
    readings = Readings([b"p"], n * 0, ts_us, x, n)
    said = engine.run(engine.new_arena(depth=4), readings, Partition("readings", 0)).alerts
    assert any(alert.before for alert in said)
    assert {alert.status for alert in said} == {"open", "update", "close"}
    for alert in said:
        SCHEMA.validate(object_of(alert_message(alert, "alerts")))


def test_what_was_before_an_opening_and_the_kind_of_change_are_told() -> None:
    before = Earlier((OPENED_US, OPENED_US + 1), {"pressure": (1.5, None), "temp": (0.1, 0.2)})
    told = replace(ALERT, change=ChannelChange("pressure", "jump"), before=before)
    body = object_of(alert_message(told, "alerts"))
    SCHEMA.validate(body)
    assert body["change"] == {"name": "pressure", "kind": "jump"}
    assert body["before"] == {
        "at": ["2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:20.000001Z"],
        "values": {"pressure": [1.5, None], "temp": [0.1, 0.2]},
    }
    assert not {"change", "before"} & alert_body(ALERT).keys()


def test_the_schema_knows_the_kinds_of_change_and_how_severe_alerts_are() -> None:
    of = ALERT_SCHEMA["properties"]
    assert set(of["change"]["properties"]["kind"]["enum"]) == set(get_args(Kind))
    assert tuple(of["severity"]["enum"]) == SEVERITIES


def test_a_silent_stream_has_seconds_and_no_channels() -> None:
    silent = replace(ALERT, kind=SILENT, probability=None, channels=(), status="close")
    body = object_of(alert_message(replace(silent, cause="gone"), "alerts"))
    SCHEMA.validate(body)
    assert not {"probability", "channels"} & body.keys()
    assert not SCHEMA.is_valid({k: v for k, v in alert_body(ALERT).items() if k != "channels"})


@pytest.mark.parametrize(
    "change",
    [
        {"change": {"name": "c0", "kind": "odd"}},
        {"before": {"at": []}},
        {"severity": "dire"},
        {"kind": "silent"},  # with channels
        {"channels": None},
        {"id": "42"},
        {"opened_at": "yesterday"},
        {"status": "close"},  # without peak, duration and cause
        {"probability": 1.5},
        {"score": None},
        {"stream": ""},
        {"channels": []},
        {"colour": "red"},
    ],
    ids=str,
)
def test_the_schema_refuses_what_is_no_alert(change: dict[str, object]) -> None:
    assert not SCHEMA.is_valid(alert_body(ALERT) | change)


def test_a_closed_alert_tells_its_duration_and_peak() -> None:
    body = alert_body(replace(ALERT, status="close", cause="gap"))
    assert (body["duration_s"], body["peak"], body["cause"]) == (1.5, 6.5, "gap")
    assert (body["opened_at"], body["at"]) == (
        "2023-11-14T22:13:20.000000Z",
        "2023-11-14T22:13:21.500000Z",
    )


def test_a_missing_value_is_null() -> None:
    channels = object_of(alert_message(ALERT, "alerts"))["channels"]
    assert isinstance(channels, list)
    assert [channel["value"] for channel in channels] == [7.5, None]


def test_an_alert_is_a_cloud_event_keyed_by_its_stream() -> None:
    message = alert_message(ALERT, "alerts")
    assert (message.topic, message.key) == ("alerts", "Pumpe Süd".encode())
    assert {name: value.decode() for name, value in message.headers} == {
        "ce_specversion": "1.0",
        "ce_id": f"{ALERT.id}.open.{ALERT.at_us}",
        "ce_source": "/readings/3",
        "ce_type": "detector.alert.open",
        "ce_time": "2023-11-14T22:13:21.500000Z",
        "ce_subject": "Pumpe Süd",
        "content-type": "application/json",
    }


def test_each_message_of_an_alert_has_an_event_id_of_its_own() -> None:
    life: list[Status] = ["open", "update", "close"]
    sent = [alert_message(replace(ALERT, status=status), "alerts") for status in life]
    assert len({dict(message.headers)["ce_id"] for message in sent}) == 3


def letter(key: bytes | None, value: bytes | None, detail: str = "saw 3, expected 2") -> Message:
    records = [Record(b"pump", b"fine"), Record(key, value)]
    chunk = as_chunk(Partition("readings", 3), 0, records)
    return dead_letter(BadRecord(1, "arity", detail), chunk, "dead-letters")


@pytest.mark.parametrize("key", [None, b"", b"\xff\x00"])
@pytest.mark.parametrize("value", [b"", b"\x00\xff{", b"x" * (DEAD_LETTER_BYTES - 2)])
def test_a_dead_letter_keeps_the_bytes_it_came_with(key: bytes | None, value: bytes) -> None:
    message = letter(key, value)
    assert (message.topic, message.key, message.value) == ("dead-letters", key, value)
    assert "detector_value_bytes" not in dict(message.headers)


def test_a_dead_letter_says_where_it_was_and_why() -> None:
    assert dict(letter(b"pump", None, "expected 2 °C").headers) == {
        "detector_reason": b"arity",
        "detector_detail": "expected 2 °C".encode(),
        "detector_topic": b"readings",
        "detector_partition": b"3",
        "detector_offset": b"1",
    }


def test_a_value_too_large_for_a_broker_is_cut_and_says_so() -> None:
    value = b"0123456789" * (1 << 20)
    message = letter(b"pump", value)
    assert message.value == value[: DEAD_LETTER_BYTES - len(b"pump")]
    assert dict(message.headers)["detector_value_bytes"] == b"%d" % len(value)


def test_a_dead_letter_keeps_the_headers_that_a_mapping_asks_for() -> None:
    headers: dict[str, list[bytes | None]] = {
        "device": [b"p", b"q"], "at": [b"1", None], "more": [b"", b"x" * 5000],
    }  # fmt: skip
    chunk = replace(chunk_of([(b"k", b"{"), (b"k", b"{")]), headers=headers)
    sent = dead_letter(BadRecord(1, "not_json", "?"), chunk, "dead-letters")
    assert dict(sent.headers).keys() & headers.keys() == {"device"}
    assert dict(sent.headers)["device"] == b"q"


@pytest.mark.parametrize(("key_bytes", "value_bytes"), [(2_000_000, 0), (200_000, 848_400)])
def test_a_dead_letter_fits_where_its_original_did(key_bytes: int, value_bytes: int) -> None:
    message = letter(b"k" * key_bytes, b"v" * value_bytes)
    headers = sum(len(name) + len(value) for name, value in message.headers)
    assert len(message.key or b"") + len(message.value) + headers + FRAMING_BYTES <= 1 << 20


def test_each_scored_reading_has_a_score_message() -> None:
    made = manifest(warm_up=1)
    engine = Engine(StubModel(made), rules(made, 0.1, open_after=2))
    seconds = np.array([0, 1, 0, 2])  # the third is late
    x = np.array([[0, 0], [1, 0], [9, 9], [50, 0]], np.float32)
    ts_us, offset = OPENED_US + 1_000_000 * seconds, np.array([7, 7, 8, 9])
    readings = Readings([b"p"], np.zeros(4, np.int64), ts_us, x, offset)
    outcome = engine.run(engine.new_arena(), readings, Partition("t", 0), keep_trace=True)
    assert outcome.trace is not None
    sent = score_messages(readings, outcome.trace, made, "scores")
    assert {(message.topic, message.key) for message in sent} == {("scores", b"p")}
    bodies = [object_of(message) for message in sent]
    assert [body["offset"] for body in bodies] == [7, 7, 9]
    assert [body["ts"] for body in bodies] == [rfc3339(int(ts_us[n])) for n in (0, 1, 3)]
    assert [body["warm"] for body in bodies] == [False, True, True]
    assert [body["score"] for body in bodies] == [{"state": s} for s in (0.0, 1.0, 49.5)]
    assert [body["alerting"] for body in bodies] == [{"state": False}] * 3
