"""What a valid reading is, whatever it came in: its stream id, its time, its values. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from detector.artifact import Manifest
from detector.layout import Layout
from detector.records import US_PER_S, BadRecord, Bools, Doubles, Floats, Ints, Readings

REASONS = (
    "empty",  # no value at all, or an array without readings
    "too_large",  # more bytes than `max_value_bytes`
    "not_json",
    "not_avro",  # not what the schema says that it names
    "unknown_schema",  # one that the registry does not know, or that is none of Avro or JSON
    "schema",  # a field is missing or of the wrong type
    "arity",  # an array of values that is not as long as the channels
    "no_values",  # no channel of the model has a value
    "not_finite",  # infinite, or too large for float32
    "time",  # before 2000, or too far ahead of when it arrived
    "stream_id",  # none, too long, not UTF-8 or with control characters
)

# Devices that lost their clock say 1970; nothing we read was measured before 2000.
EARLIEST_US = 946_684_800 * US_PER_S
LATEST_US = 253_402_300_799 * US_PER_S  # the end of 9999, and of what RFC 3339 can write
# A number is seconds, milliseconds, microseconds or nanoseconds by its size; each unit spans
# the years 2000 to 5138 without overlap.
EPOCH_LIMITS = (1e11, 1e14, 1e17, np.inf)
EPOCH_TO_US = (1e6, 1e3, 1.0, 1e-3, 0.0)

Faults = dict[int, BadRecord]  # by the record's place
Stamp = datetime | int | float


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
        layout: Where its parts are; None: as our own format has it.
    """

    channels: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...] = ()
    max_value_bytes: int = 1 << 20
    max_stream_bytes: int = 256
    max_future_us: int = 3600 * US_PER_S
    layout: Layout | None = None


def format_of(manifest: Manifest, layout: Layout | None = None, **limits: int) -> Format:
    """Return the format of a model's readings; `limits` are the numbers of `Format`."""
    anything = (-np.inf, np.inf)
    bounds = tuple(channel.valid or anything for channel in manifest.channels)
    bounded = any(channel.valid for channel in manifest.channels)
    names = tuple(channel.name for channel in manifest.channels)
    return Format(names, bounds if bounded else (), layout=layout, **limits)


@dataclass(frozen=True, slots=True)
class Decoded:
    """Records as columns, with what was set aside or passed over.

    Attributes:
        readings: In the order of the records.
        bad: At most one a record, by rising index.
        unknown_values: Values of channels that the model does not know, ignored.
        out_of_bounds: Values outside their channel's bounds, taken as missing.
        late: In the long layout, values not newer than their tag's last, dropped.
        duplicates: How many of these had its very time.
    """

    readings: Readings
    bad: list[BadRecord]
    unknown_values: int
    out_of_bounds: int
    late: int = 0
    duplicates: int = 0


def encode_streams(
    keys: Sequence[bytes | None], form: Format, faults: Faults
) -> tuple[list[bytes], Ints]:
    """Encode stream ids as indices into the distinct ones, as a dictionary column does.

    Returns:
        The distinct ids, and [R] int64 into them; records with a bad id are added to `faults`.
    """
    table: dict[bytes | None, int] = {}
    codes = np.array([table.setdefault(key, len(table)) for key in keys], np.int64)
    wrong = {code: why for key, code in table.items() if (why := _stream_fault(key, form))}
    if wrong:
        for index in np.flatnonzero(np.isin(codes, list(wrong))).tolist():
            faults[index] = BadRecord(index, "stream_id", wrong[int(codes[index])])
    return [key or b"" for key in table], codes


def epoch_us(stamps: Sequence[Stamp]) -> Doubles:
    """Turn datetimes (UTC where they do not say) and epoch numbers of any unit into
    microseconds, [N] float64; not finite where a number is too large.
    """
    try:
        ts = np.array(stamps, np.float64)
    except (TypeError, OverflowError):  # a datetime among them, or a number of 400 digits
        ts = np.array([_epoch(stamp) for stamp in stamps], np.float64)
    unit = np.searchsorted(EPOCH_LIMITS, np.abs(ts), side="right")
    with np.errstate(invalid="ignore"):  # infinity
        us: Doubles = np.rint(ts * np.array(EPOCH_TO_US)[unit])
    return us


def check_times(
    ts_us: Doubles, arrived_us: Ints, record: Ints, form: Format, faults: Faults
) -> Ints:
    """Add readings of an absurd time to `faults`; return all times as int64, 0 for these.

    Args:
        ts_us: [N] event times.
        arrived_us: [N] when their records arrived.
        record: [N] the record each reading came in.
        form: How far ahead a reading may be.
        faults: Grows.
    """
    # A record without a timestamp (-1) cannot tell what is ahead of it.
    latest_us = np.where(arrived_us < 0, LATEST_US, arrived_us + form.max_future_us)
    latest_us = np.minimum(latest_us, LATEST_US)
    absurd = ~((ts_us >= EARLIEST_US) & (ts_us <= latest_us))

    def explain(n: int) -> str:
        return (
            f"expected a time from 2000 to {form.max_future_us / US_PER_S:g} s after the record's "
            f"own ({arrived_us[n] / US_PER_S:.0f}), saw {ts_us[n] / US_PER_S:.0f} s"
        )

    flag(faults, record, absurd, "time", explain)
    return np.where(absurd, 0, ts_us).astype(np.int64)


def check_values(values: Doubles, record: Ints, form: Format, faults: Faults) -> tuple[Floats, int]:
    """Return values as float32, and how many were out of bounds and are missing now.

    Args:
        values: [N, C] float64, NaN where missing.
        record: [N] the record each reading came in.
        form: The channels and their bounds.
        faults: Grows by readings without any value, or with an infinite one.
    """
    with np.errstate(over="ignore"):
        x = values.astype(np.float32)
    infinite = np.any(np.isinf(x), axis=1)
    flag(faults, record, infinite, "not_finite", lambda _: "a value is not finite in float32")
    outside = 0
    if form.bounds:
        low, high = np.array(form.bounds).T
        beyond = (values < low) | (values > high)
        x[beyond] = np.nan
        outside = int(beyond.sum())
    absent = np.all(np.isnan(x), axis=1)
    nothing = f"none of the model's channels ({', '.join(form.channels)}) has a value"
    flag(faults, record, absent, "no_values", lambda _: nothing)
    return x, outside


def flag(
    faults: Faults, record: Ints, wrong: Bools, reason: str, explain: Callable[[int], str]
) -> None:
    """Add the records of wrong readings to `faults`; the first fault of a record stays."""
    for n in np.flatnonzero(wrong).tolist():
        index = int(record[n])
        faults.setdefault(index, BadRecord(index, reason, explain(n)))


def without_faults(readings: Readings, record: Ints, faults: Faults) -> Readings:
    """Return the readings whose records have no fault."""
    if not faults:
        return readings
    return readings.only(~np.isin(record, list(faults)))


def _stream_fault(key: bytes | None, form: Format) -> str | None:
    if not key:
        return "expected a stream id (the message key, a column, or what maps to it), saw none"
    if len(key) > form.max_stream_bytes:
        return f"expected a stream id of at most {form.max_stream_bytes} bytes, saw {len(key)}"
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return f"expected a stream id in UTF-8, saw {key[:32]!r}"
    if not text.isprintable():
        return f"expected a printable stream id, saw {key[:32]!r}"
    return None


def _epoch(stamp: Stamp) -> float:
    if isinstance(stamp, datetime):
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
    try:
        return float(stamp)
    except OverflowError:
        return np.inf
