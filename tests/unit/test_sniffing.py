"""What a producer writes is understood, and what is proposed reads it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import chunk_of
from hypothesis import given as drawn
from hypothesis import settings as limits
from hypothesis import strategies as st

from detector.decode import decode
from detector.mapping import Input, layout_of
from detector.matching import fields_of, match
from detector.records import US_PER_S, Chunk
from detector.sniffing import Guess, guess
from detector.validate import Format
from detector.wire import from_json

CHANNELS = ("pressure", "flow", "temperature")
NOW_S = 1_700_000_000
X = [(n, 1.0 + n / 8, 20.0 - n, 40.0 + n) for n in range(8)]

Row = tuple[int, float, float, float]


def by_name(row: Row) -> dict[str, float]:
    return dict(zip(CHANNELS, row[1:], strict=True))


def chunk(
    write: Callable[[Row], object],
    key: Callable[[int], bytes | None] = lambda n: b"pump-%d" % (n % 2),
    **headers: Callable[[int], bytes],
) -> Chunk:
    records: list[tuple[bytes | None, bytes | None]] = [
        (key(row[0]), json.dumps(write(row)).encode()) for row in X
    ]
    more = {name: [make(n) for n in range(len(X))] for name, make in headers.items()}
    return replace(chunk_of(records), headers=more)  # type: ignore[arg-type]


def no_key(_: int) -> None:
    return None


def telegraf(row: Row) -> object:
    at = {"name": "pump", "tags": {"host": f"pump-{row[0] % 2}", "site": "north"}}
    return at | {"timestamp": NOW_S + row[0], "fields": by_name(row)}


def flat(row: Row) -> object:
    return {"deviceName": f"pump-{row[0] % 2}", "time": NOW_S * 1000 + row[0], **by_name(row)}


def deep(row: Row) -> object:
    device = {"id": row[0] % 2, "type": "pump", "firmware": 3}
    data = {name: {"value": value, "quality": 192} for name, value in by_name(row).items()}
    return {"device": device, "observed": {"at": "2023-11-14T22:13:20Z"}, "data": data}


PRODUCERS: dict[str, tuple[Chunk, dict[str, object]]] = {
    "ours": (chunk(lambda row: {"ts": NOW_S + row[0], "values": by_name(row)}), {}),
    "ours, by position": (chunk(lambda row: {"ts": NOW_S, "values": row[1:]}), {}),
    "ours, several a record": (chunk(lambda row: [{"ts": NOW_S, "values": by_name(row)}] * 2), {}),
    "Telegraf": (
        chunk(telegraf, no_key),
        {"stream": "tags.host", "time": "timestamp", "values": "fields"},
    ),
    "Telegraf, in batches": (
        chunk(lambda row: {"metrics": [telegraf(row)] * 2}, no_key),
        {"readings": "metrics", "stream": "tags.host", "time": "timestamp", "values": "fields"},
    ),
    "flat": (chunk(flat, no_key), {"stream": "deviceName", "time": "time", "values": ""}),
    "a path a channel": (
        chunk(deep, no_key),
        {
            "stream": "device.id",
            "time": "observed.at",
            "values": "data",
            "channels": {name: f"{name}.value" for name in CHANNELS},
        },
    ),
    "the device around its readings": (
        chunk(
            lambda row: {
                "device": f"pump-{row[0] % 2}",
                "points": [{"t": NOW_S + n, "v": row[1:]} for n in range(2)],
            },
            no_key,
        ),
        {"readings": "points", "stream": "/device", "time": "t", "values": "v"},
    ),
    "headers": (
        chunk(
            by_name,
            lambda n: b"message %d" % n,
            device=lambda n: b"pump-%d" % (n % 2),
            time=lambda n: str(NOW_S * 1000 + n).encode(),
        ),
        {"stream": "header:device", "time": "header:time", "values": ""},
    ),
    "no time": (chunk(by_name), {"time": "record", "values": ""}),
    "names that are a little different": (
        chunk(
            lambda row: {
                "key": "x",
                "Date": "14.11.2023 22:13:20",
                "d.1": {"Pressure_bar": row[1], "FLOW": row[2], "temp": row[3], "volts": 230},
            }
        ),
        {
            "time": "Date",
            "time_format": "%d.%m.%Y %H:%M:%S",
            "values": '"d.1"',
            "channels": {"pressure": "Pressure_bar", "flow": "FLOW", "temperature": "temp"},
        },
    ),
}


def guessed(chunk_: Chunk) -> Guess:
    return guess([chunk_], CHANNELS, 1.0, from_json)


@pytest.mark.parametrize("producer", PRODUCERS)
def test_what_is_proposed_is_right_and_reads_it(producer: str) -> None:
    sent, mapping = PRODUCERS[producer]
    said = guessed(sent)
    assert said.mapping == mapping
    layout = layout_of(Input.model_validate(said.mapping), CHANNELS)
    decoded = decode(sent, Format(CHANNELS, layout=layout))
    assert decoded.bad == []
    assert len(decoded.readings.streams) == 2
    first = decoded.readings.x[decoded.readings.offset == 3][0]
    assert first.tolist() == list(X[3][1:])
    assert said.found.missed == ()


def test_what_the_model_misses_and_what_it_does_not_know_is_named() -> None:
    def write(row: Row) -> object:
        values = {"pressure": row[1], "volts": 230 + row[0], "state": "on", "open": True}
        return {"ts": NOW_S, "values": values}

    said = guessed(chunk(write))
    assert said.mapping == {}
    assert said.found.missed == ("flow", "temperature")
    assert said.found.unknown == (("values", "volts"), ("values", "open"))
    assert said.ranges[("values", "volts")] == (230, 237)
    assert said.ranges[("values", "pressure")] == (1.0, 1.875)


def tagged(tag: str, row: Row, **more: object) -> list[object]:
    """Return a row's values, a document each."""
    return [
        {"tag": tag.format(pump=row[0] % 2, name=name), "t": NOW_S + row[0], "v": value, **more}
        for name, value in by_name(row).items()
    ]


def long_chunk(
    write: Callable[[Row], list[object]], key: Callable[[Row, int], bytes | None]
) -> Chunk:
    rows = [(row, n, one) for row in X for n, one in enumerate(write(row))]
    sent = chunk_of([(key(row, n), json.dumps(one).encode()) for row, n, one in rows])
    return replace(sent, stamps_us=np.array([(NOW_S + row[0]) * US_PER_S for row, *_ in rows]))


def nothing(*_: object) -> None:
    return None


TAGS = {"period_s": 1.0}
LONG: dict[str, tuple[Chunk, dict[str, object]]] = {
    "the stream before the last slash": (
        long_chunk(lambda row: tagged("plant/pump-{pump}/{name}", row, q=192), nothing),
        {"time": "t", "values": "v", "tags": TAGS},
    ),
    "OPC UA's node ids": (
        long_chunk(lambda row: tagged("ns=2;s=P-{pump}.{name}.PV", row), nothing),
        {
            "time": "t",
            "values": "v",
            "tags": TAGS | {"pattern": r"(?P<stream>[^.]+)\.(?P<channel>.+)"},
            "channels": {name: f'"{name}.PV"' for name in CHANNELS},
        },
    ),
    "the channel first": (
        long_chunk(lambda row: tagged("{name}:pump-{pump}", row), nothing),
        {
            "time": "t",
            "values": "v",
            "tags": TAGS | {"pattern": "(?P<channel>[^:]+):(?P<stream>.+)"},
        },
    ),
    "the stream elsewhere": (
        long_chunk(lambda row: tagged("{name}", row), lambda row, _: b"pump-%d" % (row[0] % 2)),
        {"time": "t", "values": "v", "tags": TAGS | {"pattern": "(?P<channel>.+)"}},
    ),
    "Sparkplug's metrics": (
        long_chunk(
            lambda row: [
                {
                    "timestamp": (NOW_S + row[0]) * 1000,
                    "seq": row[0],
                    "metrics": [
                        {"name": f"pump-{row[0] % 2}/{name}", "dataType": "Double", "value": value}
                        for name, value in by_name(row).items()
                    ],
                }
            ],
            nothing,
        ),
        {
            "readings": "metrics",
            "time": "/timestamp",
            "values": "value",
            "tags": TAGS | {"tag": "name"},
        },
    ),
    "a tag in the key, and the number alone": (
        long_chunk(
            lambda row: list(row[1:]),
            lambda row, n: f"pump-{row[0] % 2}/{CHANNELS[n]}".encode(),
        ),
        {"time": "record", "values": "", "tags": TAGS | {"tag": "key"}},
    ),
}


@pytest.mark.parametrize("producer", LONG)
def test_values_of_one_tag_each_are_understood(producer: str) -> None:
    sent, mapping = LONG[producer]
    said = guessed(sent)
    given = Input.model_validate(said.mapping)
    assert given == Input.model_validate(mapping)
    assert said.found.missed == ()
    decoded = decode(sent, Format(CHANNELS, layout=layout_of(given, CHANNELS)))
    assert (decoded.bad, decoded.unknown_values, decoded.late) == ([], 0, 0)
    assert len(decoded.readings.streams) == 2
    assert decoded.readings.x.tolist() == [list(row[1:]) for row in X[:-2]]


@pytest.mark.parametrize(("period_s", "proposed"), [(1e-4, 0.001), (2.5, 2.5), (1e6, 86_400.0)])
def test_a_period_is_proposed_that_settings_allow(period_s: float, proposed: float) -> None:
    sent = long_chunk(lambda row: tagged("pump-{pump}/{name}", row), nothing)
    said = guess([sent], CHANNELS, period_s, from_json)
    assert said.mapping["tags"].period_s == proposed


def test_tags_that_the_model_does_not_know_are_named() -> None:
    def write(row: Row) -> list[object]:
        volts = {"tag": "pump-1/volts", "t": NOW_S + row[0], "v": 230 + row[0]}
        return [*tagged("pump-{pump}/{name}", row)[1:], volts]

    said = guessed(long_chunk(write, nothing))
    assert said.found.missed == ("pressure",)
    assert said.found.unknown == (("volts",),)
    assert said.ranges[("volts",)] == (230, 237)
    assert said.ranges[("flow",)] == (13.0, 20.0)


def test_a_whole_reading_with_a_name_beside_it_is_not_taken_for_a_tag() -> None:
    def write(row: Row) -> object:
        labels = [{"name": "site", "value": "north"}]
        named = {"name": f"pump-{row[0] % 2}/flow", "labels": labels}
        return {"ts": NOW_S + row[0], "values": by_name(row), **named}

    assert guessed(chunk(write)).mapping == {}


def test_a_name_that_could_be_two_is_none() -> None:
    fields = fields_of([{"pressure_in": 1, "pressure_out": 2, "Flow": 3, "FLOW": 4, "temp": 5}])
    said = match(fields, CHANNELS, ())
    assert (said.channels, said.missed) == ({"temperature": ("temp",)}, ("pressure", "flow"))


def test_an_id_that_each_message_has_for_itself_is_no_stream() -> None:
    def write(row: Row) -> object:
        return {"id": f"{row[0]:08x}", "machine": f"m{row[0] % 2}", "ts": NOW_S, **by_name(row)}

    assert guessed(chunk(write, no_key)).mapping["stream"] == "machine"
    assert guessed(chunk(write, lambda n: b"%d" % n)).mapping["stream"] == "machine"
    assert "stream" not in guessed(chunk(write)).mapping  # the key is as good


def test_a_field_that_is_called_like_a_word_is_quoted() -> None:
    def write(row: Row) -> object:
        return {"record": NOW_S + row[0], **by_name(row)}

    said = guessed(chunk(write))
    assert said.mapping == {"time": '"record"', "values": ""}


def test_of_nothing_nothing_is_said() -> None:
    for values in ([], [b"garbage"], [None], [b"3"], [b"[]"], [b"{}"]):
        said = guess([chunk_of([(b"k", value) for value in values])], CHANNELS, 1.0, from_json)
        assert said.found.missed == CHANNELS
        assert said.found.channels == {}
        layout_of(Input.model_validate(said.mapping), CHANNELS)


scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
document = st.recursive(
    scalar,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ts", "id", "a.b", '"', "", "key", "values", "tag", "v", *CHANNELS]),
            inner | st.sampled_from([1.5, "a/flow", '"/flow', "flow.pressure"]),
        )
    ),
    max_leaves=10,
)


@drawn(st.lists(document, min_size=1, max_size=5), st.sampled_from([b"k", None, b"\xff"]))
@limits(deadline=None, max_examples=200)
def test_whatever_comes_what_is_proposed_are_settings(
    documents: list[Any], key: bytes | None
) -> None:
    sent = chunk_of([(key, json.dumps(one).encode()) for one in documents])
    said = guess([sent], CHANNELS, 1.0, from_json)
    layout = layout_of(Input.model_validate(said.mapping), CHANNELS)
    decoded = decode(sent, Format(CHANNELS, layout=layout))
    assert np.isfinite(decoded.readings.x).any(axis=1).all()
