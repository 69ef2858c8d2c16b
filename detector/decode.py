"""Bytes to columns, or to a bad record that says why. Pure.

A record is one reading, or an array of readings, of the stream named by its key. It is taken
whole or not at all: one bad reading in an array sets the whole record aside.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from detector.records import US_PER_S, BadRecord, Chunk, Doubles, Ints, Readings

REASONS = (
    "empty",  # no value at all, or an array without readings
    "too_large",  # more bytes than `max_value_bytes`
    "not_json",
    "schema",  # JSON, but not a reading: a field is missing or of the wrong type
    "arity",  # an array of values that is not as long as the channels
    "no_values",  # no channel of the model has a value
    "not_finite",  # infinite, or too large for float32
    "time",  # before 2000, or too far ahead of the record's own timestamp
    "stream_id",  # none, too long, not UTF-8 or with control characters
)

# Devices that lost their clock say 1970; nothing we read was measured before 2000.
EARLIEST_US = 946_684_800 * US_PER_S
# A number is seconds, milliseconds, microseconds or nanoseconds by its size; each unit spans
# the years 2000 to 5138 without overlap.
EPOCH_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (np.inf, 1e-3))

Values = dict[str, float | None] | list[float | None]


class Reading(msgspec.Struct, gc=False):
    """One reading on the wire."""

    ts: datetime | int | float
    values: Values


@dataclass(frozen=True, slots=True)
class Format:
    """What a valid record looks like.

    Attributes:
        channels: The model's channels, in its order.
        bounds: [C] pairs of the lowest and highest value that a channel can have; a value
            outside is no measurement and counts as missing.
        max_value_bytes: A larger value is not looked at.
        max_stream_bytes: A longer stream id is refused.
        max_future_us: How far a reading may be ahead of its record's timestamp.
    """

    channels: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...] = ()
    max_value_bytes: int = 1 << 20
    max_stream_bytes: int = 256
    max_future_us: int = 3600 * US_PER_S


@dataclass(frozen=True, slots=True)
class Decoded:
    """A chunk as columns, with what was set aside or passed over.

    Attributes:
        readings: In the order of the records.
        bad: At most one a record, by rising index.
        unknown_values: Values of channels that the model does not know, ignored.
        out_of_bounds: Values outside their channel's bounds, taken as missing.
    """

    readings: Readings
    bad: list[BadRecord]
    unknown_values: int
    out_of_bounds: int


def decode(chunk: Chunk, form: Format) -> Decoded:
    """Turn a chunk's records into readings and bad records.

    Args:
        chunk: R records.
        form: What a valid one looks like.

    Returns:
        Every record either as readings or as one bad record.
    """
    bad: dict[int, BadRecord] = {}
    streams, stream = _streams(chunk.keys, form, bad)
    parsed, record = _parse(chunk.values, form, bad)
    values, unknown = _rows([r.values for r in parsed], record, form, bad)
    ts_us = _times([r.ts for r in parsed], chunk.stamps_us[record], record, form, bad)
    out_of_bounds = _bound(values, form)
    with np.errstate(over="ignore"):
        x = values.astype(np.float32)
    _flag(bad, record, np.isinf(x).any(1), "not_finite", "a value is infinite in float32")
    _flag(bad, record, np.isnan(x).all(1), "no_values", f"none of {list(form.channels)} is set")
    if bad:
        good = ~np.isin(record, list(bad))
        record, ts_us, x = record[good], ts_us[good], x[good]
        used, stream[record] = np.unique(stream[record], return_inverse=True)
        streams = [streams[code] for code in used]
    readings = Readings(streams, stream[record], ts_us, x, chunk.offsets[record])
    return Decoded(readings, [bad[i] for i in sorted(bad)], unknown, out_of_bounds)


def _streams(
    keys: Sequence[bytes | None], form: Format, bad: dict[int, BadRecord]
) -> tuple[list[bytes], Ints]:
    """Encode keys as indices into the distinct ones, as a dictionary column does."""
    table: dict[bytes | None, int] = {}
    codes = np.array([table.setdefault(key, len(table)) for key in keys], np.int64)
    wrong = {code: why for key, code in table.items() if (why := _stream_fault(key, form))}
    if wrong:
        for index in np.flatnonzero(np.isin(codes, list(wrong))):
            bad[int(index)] = BadRecord(int(index), "stream_id", wrong[int(codes[index])])
    return [key or b"" for key in table], codes


def _stream_fault(key: bytes | None, form: Format) -> str | None:
    if not key:
        return "expected the stream id as message key, saw none"
    if len(key) > form.max_stream_bytes:
        return f"expected a stream id of at most {form.max_stream_bytes} bytes, saw {len(key)}"
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return f"expected a stream id in UTF-8, saw {key[:32]!r}"
    if not text.isprintable():
        return f"expected a printable stream id, saw {key[:32]!r}"
    return None


_decode: Callable[[Any], Any] = msgspec.json.Decoder(Reading | list[Reading]).decode


def _parse(
    values: Sequence[bytes | None], form: Format, bad: dict[int, BadRecord]
) -> tuple[list[Reading], Ints]:
    """Decode every value; return readings and the record each came from."""
    limit = form.max_value_bytes
    try:
        if max(map(len, values), default=0) <= limit:  # type: ignore[arg-type]
            whole = [_decode(value) for value in values]
            if all(type(reading) is Reading for reading in whole):
                return whole, np.arange(len(whole))
    except (ValueError, TypeError, RecursionError):
        pass  # at least one is bad: find out which, and why
    several = [_parse_one(index, value, limit, bad) for index, value in enumerate(values)]
    record = np.repeat(np.arange(len(values)), [len(readings) for readings in several])
    return list(chain.from_iterable(several)), record


def _parse_one(
    index: int, value: bytes | None, limit: int, bad: dict[int, BadRecord]
) -> list[Reading]:
    """Decode one value; none where it is bad."""
    reason, detail = "empty", "expected a reading, saw an empty value"
    if value and len(value) > limit:
        reason, detail = "too_large", f"expected at most {limit} bytes, saw {len(value)}"
    elif value:
        try:
            parsed = _decode_lenient(value)
        except msgspec.ValidationError as error:
            reason, detail = "schema", str(error)
        except (ValueError, TypeError, RecursionError) as error:
            reason, detail = "not_json", f"{error}; the value starts with {value[:48]!r}"
        else:
            several = parsed if isinstance(parsed, list) else [parsed]
            if several:
                return several
            detail = "expected readings, saw an empty array"
    bad.setdefault(index, BadRecord(index, reason, detail))
    return []


def _decode_lenient(value: bytes) -> Reading | list[Reading]:
    """Decode JSON as many producers write it: with the words NaN and Infinity, too."""
    try:
        return _decode(value)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return msgspec.convert(json.loads(value), Reading | list[Reading])


def _rows(
    values: list[Values], record: Ints, form: Format, bad: dict[int, BadRecord]
) -> tuple[Doubles, int]:
    """Order values by channel: [N, C] float64 with NaN where missing, and how many were unknown."""
    channels = form.channels
    # itemgetter gives a tuple from two names on; a lone channel is asked for twice.
    get = itemgetter(*channels, channels[0])
    known = len(values) * len(channels)
    try:
        rows = [get(row) for row in values]  # type: ignore[arg-type]
        unknown = sum(map(len, values)) - known
    except (KeyError, TypeError):  # a channel is missing, or values come as an array
        rows, unknown = _rows_one_by_one(values, record, channels, bad)
    table = np.array(rows, np.float64).reshape(len(rows), len(channels) + 1)
    return table[:, :-1], unknown


def _rows_one_by_one(
    values: list[Values], record: Ints, channels: tuple[str, ...], bad: dict[int, BadRecord]
) -> tuple[list[tuple[float | None, ...]], int]:
    rows, unknown = [], 0
    for index, row in zip(record.tolist(), values, strict=True):
        if isinstance(row, dict):
            unknown += len(row.keys() - set(channels))
            rows.append((*map(row.get, channels), None))
        elif len(row) == len(channels):
            rows.append((*row, None))
        else:
            detail = f"expected {len(channels)} values ({', '.join(channels)}), saw {len(row)}"
            bad.setdefault(index, BadRecord(index, "arity", detail))
            rows.append((0.0,) * (len(channels) + 1))
    return rows, unknown


def _times(
    stamps: list[datetime | int | float],
    arrived_us: Ints,
    record: Ints,
    form: Format,
    bad: dict[int, BadRecord],
) -> Ints:
    """Turn RFC 3339 times and epoch numbers of any unit into microseconds, [N] int64."""
    try:
        ts = np.array(stamps, np.float64)
    except TypeError:  # a datetime among them; one without an offset is UTC
        ts = np.array([_epoch_s(t) if isinstance(t, datetime) else t for t in stamps], np.float64)
    limits, factors = zip(*EPOCH_UNITS, strict=True)
    unit = np.searchsorted(limits, np.abs(ts), side="right")
    ts_us = np.rint(ts * np.array((*factors, 0.0))[unit])
    absurd = ~((ts_us >= EARLIEST_US) & (ts_us <= arrived_us + form.max_future_us))
    for n in np.flatnonzero(absurd):
        index = int(record[n])
        detail = (
            f"expected a time from 2000 to {form.max_future_us / US_PER_S:g} s after the record's "
            f"own ({arrived_us[n] / US_PER_S:.0f}), saw {stamps[n]}"
        )
        bad.setdefault(index, BadRecord(index, "time", detail))
    return np.where(absurd, 0, ts_us).astype(np.int64)


def _epoch_s(stamp: datetime) -> float:
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()


def _bound(values: Doubles, form: Format) -> int:
    """Make values outside their channel's bounds missing, in place; return how many there were."""
    if not form.bounds:
        return 0
    low, high = np.array(form.bounds).T
    outside = (values < low) | (values > high)
    values[outside] = np.nan
    return int(outside.sum())


def _flag(
    bad: dict[int, BadRecord], record: Ints, wrong: np.ndarray[Any, Any], reason: str, detail: str
) -> None:
    for index in record[wrong].tolist():
        bad.setdefault(index, BadRecord(index, reason, detail))
