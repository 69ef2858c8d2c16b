"""Producers that do not write our format are read by a mapping."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from fakes import chunk_of

from detector.decode import decode
from detector.mapping import Input, layout_of
from detector.records import US_PER_S
from detector.validate import Decoded, Format

CHANNELS = ("pressure", "flow")
NOW_S = 1_700_000_000
NOW_US = NOW_S * US_PER_S
UNITS = ("s", "ms", "us", "ns")
NESTED = {"device": {"id": "pump-1"}, "at": NOW_S, "data": {"p": 1.5, "f": {"v": 2.5}}}
PATHS = {
    "stream": "device.id",
    "time": "at",
    "values": "data",
    "channels": {"pressure": "p", "flow": "f.v"},
}


def taken(
    given: Mapping[str, object],
    *values: object,
    keys: list[bytes | None] | None = None,
    headers: dict[str, list[bytes | None]] | None = None,
    stamp_ms: int = NOW_S * 1000,
) -> Decoded:
    layout = layout_of(Input.model_validate(given), CHANNELS)
    bodies = [v if isinstance(v, bytes | None) else json.dumps(v).encode() for v in values]
    keys = keys or [b"pump"] * len(values)
    chunk = chunk_of(list(zip(keys, bodies, strict=True)))
    stamps_us = np.full(len(values), stamp_ms * 1000)
    chunk = replace(chunk, headers=headers or {}, stamps_us=stamps_us)
    return decode(chunk, Format(CHANNELS, layout=layout))


def x_of(given: Mapping[str, object], value: object) -> list[float | None]:
    said = taken(given, value)
    assert said.bad == []
    return [None if np.isnan(cell) else cell for cell in said.readings.x[0].tolist()]


def fault(given: Mapping[str, object], value: object) -> tuple[str, str]:
    said = taken(given, value)
    assert len(said.readings.offset) == 0
    (bad,) = said.bad
    return bad.reason, bad.detail


def test_stream_time_and_values_may_lie_anywhere() -> None:
    other = {"device": {"id": 17}, "at": NOW_S + 1, "data": {"p": None, "f": {"v": 3}}}
    said = taken(PATHS, NESTED, other)
    assert said.bad == []
    assert said.readings.streams == [b"pump-1", b"17"]
    assert said.readings.ts_us.tolist() == [NOW_US, NOW_US + US_PER_S]
    assert np.array_equal(said.readings.x, np.float32([[1.5, 2.5], [np.nan, 3]]), equal_nan=True)


def test_what_is_not_mapped_is_where_our_own_format_has_it() -> None:
    said = taken({"time": "at"}, {"at": NOW_S, "values": {"pressure": 1, "flow": 2}})
    assert said.readings.streams == [b"pump"]
    assert said.readings.x.tolist() == [[1, 2]]


def test_without_a_mapping_there_is_no_layout() -> None:
    assert layout_of(Input(), CHANNELS) is None
    assert layout_of(Input(max_value_bytes=100), CHANNELS) is None


@pytest.mark.parametrize(
    ("channels", "values", "x"),
    [
        ({}, {"pressure": 1, "flow": 2}, [1, 2]),
        ({}, [1, 2], [1, 2]),
        ({}, {"flow": 2, "colour": "red", "more": {}}, [None, 2]),
        ({"pressure": "p"}, {"p": 1, "flow": 2}, [1, 2]),
        ({"pressure": "1", "flow": "0"}, [1, 2, 3], [2, 1]),
        ({"pressure": "3", "flow": "0"}, [1, 2, 3], [None, 1]),
        ({"pressure": "a.0.v", "flow": "b"}, {"a": [{"v": 4}], "b": 1}, [4, 1]),
        ({"pressure": "a.0.v", "flow": "b"}, {"a": "text", "b": 1}, [None, 1]),
        ({"pressure": '"a.b".c'}, {"a.b": {"c": 4}, "flow": 1}, [4, 1]),
        ({"pressure": {"scale": 0.1, "offset": -5}}, {"pressure": 100, "flow": 2}, [5, 2]),
        ({"pressure": {"path": "p", "scale": 2}}, {"p": 3, "flow": None}, [6, None]),
        ({}, {"pressure": True, "flow": False}, [1, 0]),
    ],
)
def test_values_may_be_an_object_an_array_or_a_path_a_channel(
    channels: dict[str, object], values: object, x: list[float | None]
) -> None:
    given = {"time": "t", "channels": channels}
    assert x_of(given, {"t": NOW_S, "values": values}) == x
    assert x_of(given | {"values": "deep.er"}, {"t": NOW_S, "deep": {"er": values}}) == x


def test_values_may_lie_among_the_fields_of_a_reading() -> None:
    given = {"stream": "id", "time": "t", "values": ""}
    said = taken(given, {"id": "a", "t": NOW_S, "pressure": 1, "flow": 2, "site": "x", "n": 3})
    assert said.readings.x.tolist() == [[1, 2]]
    assert said.unknown_values == 2


def test_objects_and_arrays_may_alternate() -> None:
    said = taken(
        {"time": "t"},
        {"t": NOW_S, "values": [1, 2]},
        {"t": NOW_S, "values": {"flow": 4, "x": 1}},
    )
    assert np.array_equal(said.readings.x, np.float32([[1, 2], [np.nan, 4]]), equal_nan=True)
    assert said.unknown_values == 1


def test_a_record_may_hold_readings_of_several_streams() -> None:
    given = {"readings": "metrics", "stream": "tags.host", "time": "timestamp", "values": "fields"}
    metrics = [
        {"tags": {"host": host}, "timestamp": NOW_S + n, "fields": {"pressure": n, "flow": 1}}
        for n, host in enumerate(["b", "a", "b"])
    ]
    said = taken(given, {"metrics": metrics[:2]}, {"metrics": metrics[2:]})
    assert said.bad == []
    assert [said.readings.streams[s] for s in said.readings.stream] == [b"b", b"a", b"b"]
    assert said.readings.offset.tolist() == [0, 0, 1]


def test_a_slash_begins_at_the_whole_value() -> None:
    given = {"readings": "points", "stream": "/device.id", "time": "t", "values": "v"}
    value = {
        "device": {"id": "d"},
        "points": [{"t": NOW_S, "v": [1, 2]}, {"t": NOW_S, "v": [3, 4]}],
    }
    said = taken(given, value)
    assert (said.readings.streams, said.readings.stream.tolist()) == ([b"d"], [0, 0])
    assert said.readings.x.tolist() == [[1, 2], [3, 4]]


def test_an_array_of_readings_needs_no_path() -> None:
    body = [{"t": NOW_S + n, "values": [n, 1]} for n in range(3)]
    said = taken({"time": "t"}, body, body[0])
    assert said.readings.offset.tolist() == [0, 0, 0, 1]
    assert said.readings.x[:, 0].tolist() == [0, 1, 2, 0]


def test_stream_and_time_may_be_headers() -> None:
    given = {"stream": "header:device", "time": "header:at"}
    value = {"values": [1, 2]}
    headers: dict[str, list[bytes | None]] = {
        "device": [b"a", None, "ü".encode(), b"a"],
        "at": [str(NOW_S).encode(), b"1", b"2023-11-14T22:13:20Z", b"soon"],
    }
    said = taken(given, *[value] * 4, headers=headers)
    assert said.readings.streams == [b"a", "ü".encode()]
    assert said.readings.ts_us.tolist() == [NOW_US, NOW_US]
    assert [(bad.index, bad.reason) for bad in said.bad] == [(1, "stream_id"), (3, "schema")]
    layout = layout_of(Input.model_validate(given), CHANNELS)
    assert layout is not None
    assert layout.headers == ("device", "at")


def test_the_time_may_be_the_records_own() -> None:
    said = taken({"time": "record"}, {"values": [1, 2]}, stamp_ms=NOW_S * 1000 + 5)
    assert said.readings.ts_us.tolist() == [NOW_US + 5000]
    assert taken({"time": "record"}, {"values": [1, 2]}, stamp_ms=-1).bad[0].reason == "time"


@pytest.mark.parametrize(
    ("form", "written"),
    [
        *[("auto", NOW_S * 10**power) for power in (0, 3, 6, 9)],
        ("auto", float(NOW_S)),
        ("auto", str(NOW_S)),
        ("auto", "2023-11-14T22:13:20Z"),
        ("auto", "2023-11-14 22:13:20"),
        ("rfc3339", "2023-11-14T23:13:20+01:00"),
        *[(unit, NOW_S * 10**power) for unit, power in zip(UNITS, (0, 3, 6, 9), strict=True)],
        ("ms", NOW_S * 1000.0),
        ("ms", str(NOW_S * 1000)),
        ("%d.%m.%Y %H:%M:%S", "14.11.2023 22:13:20"),
        ("%Y%m%d%H%M%S%z", "20231114231320+0100"),
    ],
)  # fmt: skip
def test_times_are_read_as_the_format_says(form: str, written: object) -> None:
    given = {"time": "t", "time_format": form}
    said = taken(given, {"t": written, "values": [1, 2]})
    assert (said.bad, said.readings.ts_us.tolist()) == ([], [NOW_US])
    mixed = taken(given, {"t": [], "values": [1, 2]}, {"t": written, "values": [1, 2]})
    assert [bad.reason for bad in mixed.bad] == ["schema"]
    assert mixed.readings.ts_us.tolist() == [NOW_US]


@pytest.mark.parametrize(
    ("form", "written", "reason"),
    [
        ("auto", "yesterday", "schema"),
        ("auto", True, "schema"),
        ("auto", None, "schema"),
        ("rfc3339", NOW_S, "schema"),
        ("rfc3339", str(NOW_S), "schema"),
        ("ms", "2023-11-14T22:13:20Z", "schema"),
        ("%d.%m.%Y", "2023-11-14", "schema"),
        ("s", NOW_S * 1000, "time"),
        ("ms", NOW_S, "time"),
        ("auto", 12, "time"),
        ("ms", 10**400, "time"),
        ("ms", 1e300, "time"),
        ("s", "nan", "time"),
    ],
)
def test_a_time_of_another_format_is_set_aside(form: str, written: object, reason: str) -> None:
    seen, detail = fault({"time": "t", "time_format": form}, {"t": written, "values": [1, 2]})
    assert seen == reason
    assert reason == "time" or " at t, saw " in detail


@pytest.mark.parametrize(
    ("changes", "value", "reason", "said"),
    [
        ({}, NESTED | {"device": {"name": "x"}}, "schema", "at device.id, saw {name}"),
        ({}, NESTED | {"device": "x"}, "schema", "at device.id, saw 'x'"),
        ({}, NESTED | {"device": {"id": 1.5}}, "schema", "at device.id, saw 1.5"),
        ({}, NESTED | {"device": {"id": None}}, "stream_id", "saw none"),
        ({}, NESTED | {"device": {"id": "a\nb"}}, "stream_id", "printable"),
        ({}, {k: v for k, v in NESTED.items() if k != "at"}, "schema", "at at, saw {data, device}"),
        ({}, NESTED | {"data": 3}, "schema", "at data, saw 3"),
        ({"values": "data.x"}, NESTED, "schema", "at data.x, saw {f, p}"),
        ({"readings": "list"}, NESTED, "schema", "at list, saw {at, data, device}"),
        ({"readings": "list"}, NESTED | {"list": []}, "schema", "at list, saw an empty array"),
        ({}, NESTED | {"data": {"p": "1.5"}}, "schema", "a number at data.p, saw '1.5'"),
        ({}, NESTED | {"data": {"f": {"v": [1]}}}, "schema", "a number at data.f.v, saw [1]"),
        ({}, NESTED | {"data": {}}, "no_values", "pressure, flow"),
        ({}, NESTED | {"data": {"p": 10**400}}, "not_finite", "not finite"),
        ({}, NESTED | {"at": 12}, "time", "from 2000"),
        ({"channels": {}}, NESTED | {"data": [1]}, "arity", "expected 2 values"),
        ({}, 3, "schema", "saw 3"),
        ({}, [], "empty", "an empty array"),
        ({}, [3], "schema", "saw 3"),
        ({}, b"{", "not_json", "starts with"),
        ({}, b"\x00\x00\x00\x00\x07{", "not_json", "starts with"),
        ({}, b"", "empty", "empty"),
    ],
)
def test_what_is_not_there_or_of_another_kind_is_named(
    changes: dict[str, object], value: object, reason: str, said: str
) -> None:
    seen, detail = fault(PATHS | changes, value)
    assert (seen, said in detail) == (reason, True), detail
    layout = layout_of(Input.model_validate(PATHS | changes), CHANNELS)
    form = Format(CHANNELS, layout=layout)
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    beside = decode(chunk_of([(b"k", body), (b"k", json.dumps(NESTED).encode())]), form)
    assert (0, reason) in [(bad.index, bad.reason) for bad in beside.bad], "beside a good one"


def test_a_value_that_is_too_large_is_not_looked_at() -> None:
    form = Format(CHANNELS, layout=layout_of(Input.model_validate(PATHS), CHANNELS))
    good = json.dumps(NESTED).encode()
    records: list[tuple[bytes | None, bytes | None]] = [(b"k", good), (b"k", good + b" " * 200)]
    said = decode(chunk_of(records), replace(form, max_value_bytes=len(good)))
    assert [(bad.index, bad.reason) for bad in said.bad] == [(1, "too_large")]
    assert said.readings.offset.tolist() == [0]


def test_one_bad_reading_sets_its_record_aside_and_no_other() -> None:
    good = {"t": NOW_S, "values": [1, 2]}
    said = taken({"time": "t"}, [good, {"t": "x", "values": [1, 2]}], [good, good], None)
    assert [(bad.index, bad.reason) for bad in said.bad] == [(0, "schema"), (2, "empty")]
    assert said.readings.offset.tolist() == [1, 1]


def test_json_behind_a_registrys_header_is_read_with_and_without_a_mapping() -> None:
    value = b"\x00\x00\x00\x00\x07" + json.dumps({"ts": NOW_S, "values": [1, 2]}).encode()
    for form in (
        Format(CHANNELS),
        Format(CHANNELS, layout=layout_of(Input(time_format="s"), CHANNELS)),
    ):
        said = decode(chunk_of([(b"k", value), (b"k", value[5:])]), form)
        assert (said.bad, said.readings.x.tolist()) == ([], [[1, 2], [1, 2]])
