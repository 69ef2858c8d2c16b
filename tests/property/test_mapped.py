"""Whatever comes, a mapping takes it whole or sets it aside; and says what our own format says."""

import json
from dataclasses import replace

import numpy as np
from fakes import chunk_of
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.decode import decode
from detector.mapping import Input, layout_of
from detector.validate import REASONS, Decoded, Format

CHANNELS = ("c0", "c1", "c2")
NOW_S = 1_700_000_000

scalar = (
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=5)
)
anything = st.recursive(
    scalar,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "at", "v", "c0", "c1", "0"]), inner, max_size=4)
    ),
    max_leaves=8,
)
cell = st.none() | st.floats(-1e30, 1e30) | st.integers(-1000, 1000) | anything
values = st.dictionaries(st.sampled_from([*CHANNELS, "x"]), cell) | st.lists(cell, max_size=4)
reading = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", 3]), "at": st.just(NOW_S) | anything, "v": values | anything}
)
document = reading | st.fixed_dictionaries({"v": st.lists(reading, max_size=3)}) | anything
value = document.map(lambda d: json.dumps(d).encode()) | st.binary(max_size=20) | st.none()
header = st.none() | st.binary(max_size=6)
path = st.sampled_from(["id", "at", "v.c0", "v.0", "0", "/id"])
mapping = st.fixed_dictionaries(
    {},
    optional={
        "stream": path | st.sampled_from(["key", "header:h"]),
        "time": path | st.sampled_from(["record", "header:h"]),
        "time_format": st.sampled_from(["auto", "rfc3339", "s", "ms", "us", "ns", "%H:%M"]),
        "readings": st.sampled_from(["", "v"]),
        "values": st.sampled_from(["", "v"]),
        "channels": st.dictionaries(
            st.sampled_from(CHANNELS),
            st.fixed_dictionaries({"path": st.sampled_from(["c0", "0", "v.1"])}),
        ),
    },
)  # fmt: skip


def taken(given_: dict[str, object], bodies: list[bytes | None], heads: bytes | None) -> Decoded:
    form = Format(CHANNELS, layout=layout_of(Input.model_validate(given_), CHANNELS))
    chunk = chunk_of([(b"key", body) for body in bodies])
    return decode(replace(chunk, headers={"h": [heads] * len(bodies)}), form)


@given(mapping, st.lists(value, min_size=1, max_size=6), header)
@settings(deadline=None, max_examples=300)
def test_every_record_is_either_readings_or_one_bad_record(
    given_: dict[str, object], bodies: list[bytes | None], heads: bytes | None
) -> None:
    said = taken(given_, bodies, heads)
    readings = said.readings
    assert {*readings.offset.tolist()} | {bad.index for bad in said.bad} == {*range(len(bodies))}
    assert {*readings.offset.tolist()}.isdisjoint(bad.index for bad in said.bad)
    assert all(bad.reason in REASONS and bad.detail.encode() for bad in said.bad)
    assert (np.diff(readings.offset) >= 0).all()
    n = len(readings.offset)
    assert readings.x.shape == (n, len(CHANNELS))
    assert readings.ts_us.shape == readings.stream.shape == (n,)
    assert readings.stream.dtype == readings.ts_us.dtype == readings.offset.dtype == np.int64
    assert set(readings.stream.tolist()) == set(range(len(readings.streams)))
    assert not np.isinf(readings.x).any()
    assert not np.isnan(readings.x).all(axis=1).any()


@given(mapping, st.lists(value, min_size=2, max_size=6), header)
@settings(deadline=None, max_examples=200)
def test_a_record_is_read_the_same_beside_others_and_alone(
    given_: dict[str, object], bodies: list[bytes | None], heads: bytes | None
) -> None:
    together = taken(given_, bodies, heads)
    alone = [taken(given_, [body], heads) for body in bodies]
    faults = {bad.index: (bad.reason, bad.detail) for bad in together.bad}
    assert faults == {
        n: (one.bad[0].reason, one.bad[0].detail) for n, one in enumerate(alone) if one.bad
    }
    x = np.concatenate([one.readings.x for one in alone])
    assert np.array_equal(together.readings.x, x, equal_nan=True)
    assert together.readings.ts_us.tolist() == [
        ts for one in alone for ts in one.readings.ts_us.tolist()
    ]
    assert together.unknown_values == sum(one.unknown_values for one in alone)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.lists(st.none() | st.floats(-1e30, 1e30), min_size=3, max_size=3),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_our_own_format_means_the_same_by_a_mapping_that_spells_it_out(
    sent: list[tuple[int, list[float | None], bool]],
) -> None:
    rows = [
        {"ts": NOW_S + at, "values": dict(zip(CHANNELS, row, strict=True)) if named else row}
        for at, row, named in sent
    ]
    bodies: list[bytes | None] = [json.dumps(row).encode() for row in rows]
    ours, mapped = taken({}, bodies, None), taken({"stream": "key", "time": "/ts"}, bodies, None)
    assert repr(mapped) == repr(ours)
