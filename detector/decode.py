"""Bytes to columns, or to a bad record that says why. Pure.

Our own format is read here, that of others by `mapped`, single values by `tagged`. A record is
one reading, or an array of readings, of the stream named by its key. It is taken whole or not at
all: one bad reading in an array sets the whole record aside.
"""

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import astuple

from detector.join import new_tags
from detector.mapped import decode_mapped
from detector.records import BadRecord, Chunk, Doubles, Ints, Readings
from detector.state import Arena
from detector.tagged import decode_tagged
from detector.validate import (
    Decoded,
    Faults,
    Format,
    check_times,
    check_values,
    encode_streams,
    epoch_us,
    without_faults,
)
from detector.wire import body_of

Values = dict[str, float | None] | list[float | None]

_values_of = attrgetter("values")


class Reading(msgspec.Struct, gc=False):
    """One reading on the wire."""

    ts: datetime | int | float
    values: Values


def decode(chunk: Chunk, form: Format, tags: Arena | None = None) -> Decoded:
    """Turn a chunk's records into readings and bad records.

    Args:
        chunk: R records.
        form: What a valid one looks like.
        tags: In the long layout, what the partition's streams keep between their values;
            changes. None: nothing is kept.

    Returns:
        Every record either as readings or as one bad record.
    """
    if form.layout is not None and form.layout.tags is not None:
        tags = new_tags(len(form.channels)) if tags is None else tags
        return decode_tagged(chunk, form, form.layout, form.layout.tags, tags)
    if form.layout is not None:
        return decode_mapped(chunk, form, form.layout)
    bad: Faults = {}
    streams, stream = encode_streams(chunk.keys, form, bad)
    regular = _parse_regular(chunk.values, form)
    if regular is not None:
        times, values = regular
        record, unknown = np.arange(len(values)), 0
    else:
        parsed, record = _parse(chunk.values, form, bad)
        values, unknown = _rows([r.values for r in parsed], record, form, bad)
        times = epoch_us([r.ts for r in parsed])
    ts_us = check_times(times, chunk.stamps_us[record], record, form, bad)
    x, out_of_bounds = check_values(values, record, form, bad)
    readings = Readings(streams, stream[record], ts_us, x, chunk.offsets[record])
    good = without_faults(readings, record, bad)
    return Decoded(good, [bad[i] for i in sorted(bad)], unknown, out_of_bounds)


_decode: Callable[[Any], Any] = msgspec.json.Decoder(Reading | list[Reading]).decode


@cache
def _regular_decoder(channels: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return a decoder of one reading whose values are an object of these channels alone.

    The names are known beforehand, so it makes no dictionary: twice as fast as any reading.
    """
    fields = [f"c{c}" for c in range(len(channels))]
    values = msgspec.defstruct(
        "RegularValues",
        [(field, float, math.nan) for field in fields],
        rename=dict(zip(fields, channels, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )
    reading = msgspec.defstruct("RegularReading", [("ts", float), ("values", values)], gc=False)
    return msgspec.json.Decoder(reading).decode


def _parse_regular(values: Sequence[bytes | None], form: Format) -> tuple[Doubles, Doubles] | None:
    """Decode what nearly all producers write: one reading a record, epoch times, no null.

    Returns:
        [R] times in microseconds and [R, C] float64, NaN where a channel is missing; None where
        a record is anything else, be it bad.
    """
    try:
        decode_one = _regular_decoder(form.channels)
        if max(map(len, values), default=0) > form.max_value_bytes:  # type: ignore[arg-type]
            return None
        parsed = list(map(decode_one, values))
    except (ValueError, TypeError, RecursionError):
        return None
    cells = chain.from_iterable(map(astuple, map(_values_of, parsed)))
    width = len(form.channels)
    rows = np.fromiter(cells, np.float64, len(parsed) * width).reshape(-1, width)
    return epoch_us([r.ts for r in parsed]), rows


def _parse(values: Sequence[bytes | None], form: Format, bad: Faults) -> tuple[list[Reading], Ints]:
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


def _parse_one(index: int, value: bytes | None, limit: int, bad: Faults) -> list[Reading]:
    """Decode one value; none where it is bad."""
    reason, detail = "empty", "expected a reading, saw an empty value"
    if value and len(value) > limit:
        reason, detail = "too_large", f"expected at most {limit} bytes, saw {len(value)}"
    elif value:
        try:
            parsed = _decode_lenient(body_of(value))
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


def _rows(values: list[Values], record: Ints, form: Format, bad: Faults) -> tuple[Doubles, int]:
    """Order values by channel: [N, C] float64 with NaN where missing, and how many were unknown."""
    channels = form.channels
    # itemgetter gives a tuple from two names on; a lone channel is asked for twice.
    get = itemgetter(*channels, channels[0])
    known = len(values) * len(channels)
    try:
        rows = [get(row) for row in values]
        unknown = sum(map(len, values)) - known
    except (KeyError, TypeError):  # a channel is missing, or values come as an array
        rows, unknown = _rows_one_by_one(values, record, channels, bad)
    table = np.array(rows, np.float64).reshape(len(rows), len(channels) + 1)
    return table[:, :-1], unknown


def _rows_one_by_one(
    values: list[Values], record: Ints, channels: tuple[str, ...], bad: Faults
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
