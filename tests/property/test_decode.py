"""Whatever arrives, decode answers; and what is valid arrives unchanged."""

import json
from itertools import groupby
from unittest.mock import patch

import numpy as np
from fakes import Record, as_chunk
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.decode import decode
from detector.records import Partition
from detector.validate import EARLIEST_US, REASONS, Decoded, Format

CHANNELS = ("a", "b", "c")
FORM = Format(CHANNELS, bounds=((-1e30, 1e30),) * 3, max_value_bytes=2000)
NOW_US = 1_700_000_000_000_000

huge = st.integers(0, 400).map(lambda digits: 10**digits)
cell = st.none() | st.floats() | st.integers() | huge | st.booleans() | st.text(max_size=3)
anything = st.recursive(
    cell, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=9
)
stamp = (
    st.sampled_from([NOW_US // 10**6, NOW_US // 10**3, NOW_US, NOW_US * 10**3])
    | st.datetimes().map(lambda t: f"{t.isoformat()}Z")
    | huge
    | anything
)
values = (
    st.lists(st.none() | st.floats(width=32), min_size=3, max_size=3)
    | st.dictionaries(st.sampled_from([*CHANNELS, "other"]), cell)
    | anything
)
nearly = st.fixed_dictionaries({"ts": stamp, "values": values}, optional={"more": anything})
document = (nearly | st.lists(nearly, max_size=4) | anything).map(lambda d: json.dumps(d).encode())
cut = st.tuples(document, st.integers(0, 100)).map(lambda pair: pair[0][: -1 - pair[1]])
key = st.sampled_from([b"p", b"q", None, b""]) | st.binary(max_size=300)
record = st.builds(
    Record,
    key=key,
    value=st.none() | st.binary(max_size=50) | document | cut,
    stamp_ms=st.just(NOW_US // 1000) | st.integers(-1, 1 << 42),
)


def taken(records: list[Record]) -> Decoded:
    return decode(as_chunk(Partition("t", 0), 0, records), FORM)


@given(st.lists(record, min_size=1, max_size=8))
@settings(deadline=None, max_examples=200)
def test_every_record_is_either_readings_or_one_bad_record(records: list[Record]) -> None:
    said = taken(records)
    readings = said.readings
    assert sorted({*readings.offset.tolist()} | {bad.index for bad in said.bad}) == list(
        range(len(records))
    )
    assert {*readings.offset.tolist()}.isdisjoint(bad.index for bad in said.bad)
    assert all(bad.reason in REASONS and bad.detail.encode() for bad in said.bad)
    assert [bad.index for bad in said.bad] == sorted({bad.index for bad in said.bad})


@given(st.lists(record, min_size=1, max_size=8))
@settings(deadline=None)
def test_readings_are_what_the_stages_behind_rely_on(records: list[Record]) -> None:
    readings = taken(records).readings
    n = len(readings.offset)
    assert readings.x.shape == (n, len(CHANNELS))
    assert readings.x.dtype == np.float32
    assert readings.ts_us.shape == readings.stream.shape == (n,)
    assert readings.ts_us.dtype == readings.stream.dtype == readings.offset.dtype == np.int64
    assert (np.diff(readings.offset) >= 0).all()
    assert (readings.ts_us >= EARLIEST_US).all()
    assert not np.isinf(readings.x).any()
    assert not np.isnan(readings.x).all(axis=1).any()
    assert len(set(readings.streams)) == len(readings.streams)
    # No stream without a reading: a tick of all readings relies on it.
    assert set(readings.stream.tolist()) == set(range(len(readings.streams)))


channel_value = st.none() | st.floats(-(2.0**99), 2.0**99, width=32)
valid = st.tuples(
    st.sampled_from([b"p", b"q", "泵".encode()]),
    st.integers(EARLIEST_US, NOW_US),
    st.tuples(channel_value, channel_value, channel_value).filter(
        lambda row: any(value is not None for value in row)
    ),
    st.booleans(),
)
Valid = tuple[bytes, int, tuple[float | None, ...], bool]


def on_the_wire(reading: Valid) -> dict[str, object]:
    _, ts_us, row, by_name = reading
    return {"ts": ts_us, "values": dict(zip(CHANNELS, row, strict=True)) if by_name else row}


@given(st.lists(valid, min_size=1, max_size=12), st.booleans())
@settings(deadline=None)
def test_valid_readings_arrive_as_they_were_in_their_order(
    sent: list[Valid],
    several_a_record: bool,  # noqa: FBT001 - drawn
) -> None:
    records = []
    for stream, group in groupby(sent, key=lambda reading: reading[0]):
        bodies = [on_the_wire(reading) for reading in group]
        parts = [bodies] if several_a_record else bodies
        records += [Record(stream, json.dumps(part).encode()) for part in parts]
    said = taken(records)
    assert said.bad == []
    readings = said.readings
    assert [readings.streams[s] for s in readings.stream] == [reading[0] for reading in sent]
    assert readings.ts_us.tolist() == [reading[1] for reading in sent]
    expected = np.array([reading[2] for reading in sent], np.float32)
    assert np.array_equal(readings.x, expected, equal_nan=True)


@given(st.lists(record | st.builds(Record, key=key, value=nearly.map(json.dumps).map(str.encode))))
@settings(deadline=None, max_examples=300)
def test_the_short_cut_for_regular_records_says_what_the_long_way_says(
    records: list[Record],
) -> None:
    with patch("detector.decode._parse_regular", lambda *_: None):
        long = taken(records) if records else None
    short = taken(records) if records else None
    assert repr(short) == repr(long)
