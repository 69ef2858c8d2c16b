"""A record becomes readings, or one bad record that says why."""

import json
import time

import numpy as np
import pytest
from fakes import chunk_of

from detector.decode import decode
from detector.records import US_PER_S
from detector.validate import REASONS, Decoded, Format

FORM = Format(("pressure", "flow"))
NOW_S = 1_700_000_000  # when all records arrived, see fakes.Record
GOOD = b'{"ts": 1700000000, "values": [1.5, 2.5]}'
NESTED = b"[" * 100_000


def taken(*records: tuple[bytes | None, bytes | None], form: Format = FORM) -> Decoded:
    return decode(chunk_of(list(records)), form)


def fault(value: bytes | None, key: bytes | None = b"pump", form: Format = FORM) -> str:
    said = taken((key, value), form=form)
    assert (len(said.readings.offset), said.readings.streams) == (0, [])
    (bad,) = said.bad
    assert bad.index == 0
    assert bad.reason in REASONS
    assert bad.detail
    return bad.reason


def reading(ts: object = NOW_S, values: object = (1.5, 2.5)) -> bytes:
    return json.dumps({"ts": ts, "values": values}).encode()


def time_of(ts: object) -> int:
    said = taken((b"pump", reading(ts)))
    assert said.bad == []
    return int(said.readings.ts_us[0])


def x_of(values: object, form: Format = FORM) -> list[float]:
    said = taken((b"pump", reading(values=values)), form=form)
    assert said.bad == []
    x: list[float] = said.readings.x[0].tolist()
    return x


def with_values(*several: object) -> list[bytes]:
    return [reading(values=values) for values in several]


NAN, INF = float("nan"), float("inf")
HEAD = b'{"ts": 1700000000, "values": '
BAD: dict[str, list[bytes | None]] = {
    "empty": [None, b"", b"[]"],
    "too_large": [GOOD + b" " * (10 << 20), b"[" + b",".join([GOOD] * 200_000) + b"]"],
    "not_json": [
        *(b"hello", b"\x00\x01\n", b"\xff\xfe\xfd", GOOD[:-1], GOOD + b"x"),
        *(HEAD + b'{"\xff": 1}}', GOOD[:-1] + b', "more": ' + NESTED),
    ],
    "schema": [
        *(NESTED, b"null", b"3", b"[3]", b'{"values": [1, 2]}', b'{"ts": 1700000000}'),
        *(reading(ts) for ts in (None, True, "1700000000", "yesterday", [NOW_S])),
        *with_values(3, ["1.5", 2], {"pressure": "1.5"}, [True, 2], [[1], 2], [NAN, "1.5"]),
    ],
    "arity": [*with_values([], [1], [1, 2, 3])],
    "no_values": [*with_values({}, [None, None], [NAN, None], {"colour": 1})],
    "not_finite": [*with_values([INF, 2], {"flow": -INF}, [1e300, 2], [1, -3.5e38])],
}


@pytest.mark.parametrize(
    ("reason", "value"),
    [(reason, value) for reason, values in BAD.items() for value in values],
    ids=lambda argument: repr(argument)[:60],
)
def test_a_value_that_is_no_reading_is_set_aside_with_its_reason(
    reason: str, value: bytes | None
) -> None:
    assert fault(value) == reason


@pytest.mark.parametrize(
    "key",
    [None, b"", b"x" * 1000, b"\xff\xfe", b"pump\n1", b"pump\x00", b"\x1b[31mpump", b"\x7f"],
    ids=lambda key: repr(key)[:30],
)
def test_a_record_without_a_usable_stream_id_is_set_aside(key: bytes | None) -> None:
    assert fault(GOOD, key) == "stream_id"


def test_a_stream_id_may_be_any_printable_text_up_to_its_bound() -> None:
    names = ["x" * 256, "Pumpe Süd / 3", "泵", "-1"]
    said = taken(*((name.encode(), GOOD) for name in names))
    assert [name.decode() for name in said.readings.streams] == names


@pytest.mark.parametrize(
    ("ts", "expected_us"),
    [
        (NOW_S, NOW_S * US_PER_S),
        (NOW_S + 0.25, NOW_S * US_PER_S + 250_000),
        (NOW_S * 10**3 + 1, NOW_S * US_PER_S + 1000),
        (NOW_S * 10**6 + 1, NOW_S * US_PER_S + 1),
        (NOW_S * 10**9 + 1000, NOW_S * US_PER_S + 1),
        (946_684_800, 946_684_800 * US_PER_S),  # the first second of 2000
        (946_684_800_000_000_000, 946_684_800 * US_PER_S),
        ("2023-11-14T22:13:20Z", NOW_S * US_PER_S),
        ("2023-11-14T22:13:20.000001Z", NOW_S * US_PER_S + 1),
        ("2023-11-15T00:13:20+02:00", NOW_S * US_PER_S),
        ("2023-11-14T22:13:20", NOW_S * US_PER_S),
    ],
)
def test_times_are_epoch_numbers_of_any_unit_or_rfc_3339(ts: object, expected_us: int) -> None:
    assert time_of(ts) == expected_us


def test_a_time_without_an_offset_is_utc_wherever_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        assert time_of("2023-11-14T22:13:20") == NOW_S * US_PER_S
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "ts",
    [0, -1, 946_684_799, "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", NOW_S + 3601]
    + [(NOW_S + 3601) * 10**power for power in (3, 6, 9)]
    + [10**30, 1e300, INF, NAN, "9999-12-31T23:59:59-23:59"],
)
def test_a_time_before_2000_or_too_far_ahead_of_its_record_is_set_aside(ts: object) -> None:
    assert fault(reading(ts)) == "time"


def test_a_time_of_four_hundred_digits_is_set_aside() -> None:
    assert fault(reading(10**400)) in {"time", "schema"}


def test_a_time_may_be_as_far_ahead_of_its_record_as_the_format_says() -> None:
    assert time_of(NOW_S + 3600) == (NOW_S + 3600) * US_PER_S
    narrow = Format(FORM.channels, max_future_us=US_PER_S)
    assert fault(reading(NOW_S + 2), form=narrow) == "time"


def test_values_come_by_name_in_any_order_or_by_place() -> None:
    assert x_of([1.5, 2.5]) == x_of({"flow": 2.5, "pressure": 1.5}) == [1.5, 2.5]


@pytest.mark.parametrize(
    "values", [[None, 2], [NAN, 2], {"flow": 2}, {"pressure": None, "flow": 2}], ids=str
)
def test_a_channel_that_is_absent_null_or_nan_is_missing(values: object) -> None:
    assert np.array_equal(x_of(values), [np.nan, 2], equal_nan=True)


def test_channels_the_model_does_not_know_are_ignored_and_counted() -> None:
    wordy = (b"a", reading(values={"pressure": 1, "flow": 2, "colour": 3, "taste": None}))
    sparse = (b"b", reading(values={"flow": 2, "taste": 4}))
    for records, unknown in (((wordy,), 2), ((sparse,), 1), ((wordy, sparse), 3)):
        said = taken(*records)
        assert (said.bad, said.unknown_values) == ([], unknown)
        assert (said.readings.x[:, 1] == 2).all()


def test_a_lone_channel_needs_no_special_case() -> None:
    form = Format(("pressure",))
    assert x_of({"pressure": 1, "flow": 2}, form) == x_of([1], form) == [1]


def test_values_outside_their_bounds_are_missing_and_counted() -> None:
    form = Format(FORM.channels, bounds=((0, 10), (-np.inf, np.inf)))
    said = taken(*((b"pump", reading(values=[v, 1e9])) for v in (-0.1, 0, 10, 10.1)), form=form)
    assert np.isnan(said.readings.x[:, 0]).tolist() == [True, False, False, True]
    assert (said.out_of_bounds, said.bad) == (2, [])
    assert fault(reading(values=[11, None]), form=form) == "no_values"


def test_one_record_may_carry_many_readings() -> None:
    several = b"[" + reading(NOW_S, [1, 2]) + b"," + reading(NOW_S + 1, {"flow": 4}) + b"]"
    said = taken((b"b", GOOD), (b"a", several))
    readings = said.readings
    assert [readings.streams[s] for s in readings.stream] == [b"b", b"a", b"a"]
    assert readings.offset.tolist() == [0, 1, 1]
    assert (np.diff(readings.ts_us) == [0, US_PER_S]).all()
    assert readings.x[:, 1].tolist() == [2.5, 2, 4]


@pytest.mark.parametrize("wrong", [reading(0), reading(values=[1]), reading(values=[1, 1e99])])
def test_one_bad_reading_sets_its_whole_record_aside(wrong: bytes) -> None:
    said = taken((b"a", b"[" + GOOD + b"," + wrong + b"," + GOOD + b"]"), (b"b", GOOD))
    assert [bad.index for bad in said.bad] == [0]
    assert said.readings.offset.tolist() == [1]
    assert said.readings.streams == [b"b"]


def test_the_first_fault_of_a_record_is_the_one_that_is_told() -> None:
    assert fault(reading(0, [INF]), key=None) == "stream_id"
    assert fault(reading(0, [INF])) == "arity"
    assert fault(reading(0, [INF, None])) == "time"


def test_good_records_keep_their_order_and_offsets_among_bad_ones() -> None:
    said = taken(
        (b"b", reading(values=[0, 1])),
        (b"c", b"nonsense"),
        (b"a", reading(values=[2, NAN])),
        (None, GOOD),
        (b"b", reading(values={"pressure": 4})),
        (b"c", None),
        (b"a", reading(values=[6, INF])),
    )
    assert said.readings.offset.tolist() == [0, 2, 4]
    assert said.readings.x[:, 0].tolist() == [0, 2, 4]
    assert [said.readings.streams[s] for s in said.readings.stream] == [b"b", b"a", b"b"]
    reasons = [(bad.index, bad.reason) for bad in said.bad]
    assert reasons == [(1, "not_json"), (3, "stream_id"), (5, "empty"), (6, "not_finite")]
