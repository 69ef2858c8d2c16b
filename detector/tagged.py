"""Records of the long layout: each value is of one tag, which names its stream and channel. Pure.

Documents are read as those of any mapping are; what comes of them are samples, which `join`
makes readings of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detector.join import Samples, join
from detector.layout import Layout, Tagging
from detector.mapped import (
    NUMBERS,
    Found,
    find,
    identity,
    no_number,
    nothing_at,
    seen_at,
    streams_at,
    table_of,
    times_at,
    unpack,
)
from detector.paths import MISSING, column, write_path
from detector.records import BadRecord, Chunk, Doubles, Floats, Ints
from detector.state import Arena
from detector.validate import Decoded, Faults, Format, check_times, encode_streams, flag

UNKNOWN = -1  # the channel of a tag that the model does not know


@dataclass(frozen=True, slots=True)
class Named:
    """What the tags of N values name.

    Attributes:
        distinct: The tags, each once.
        tag: [N] int64, index into them.
        streams: The stream that each distinct one names; None where it names none.
        channels: Its channel; UNKNOWN where the model has none of this name.
    """

    distinct: list[str]
    tag: Ints
    streams: list[bytes | None]
    channels: Ints


def decode_tagged(
    chunk: Chunk, form: Format, layout: Layout, tagging: Tagging, tags: Arena
) -> Decoded:
    """Turn a chunk's records into the readings that they end, and bad records.

    Args:
        chunk: R records.
        form: What a valid value is.
        layout: Where its parts are.
        tagging: What its tag means, and how readings are joined.
        tags: What the partition's streams keep between their values; changes.

    Returns:
        Every record either as values, in readings that these or later ones end, or as one bad
        record; values of tags that the model does not know are ignored.
    """
    bad: Faults = {}
    found = find(unpack(chunk.values, form, layout, bad), layout.readings, bad)
    named = _named(_tags(chunk, found, tagging, bad), form, layout, tagging)
    known = named.channels[named.tag] != UNKNOWN
    unknown = len(known) - int(known.sum())
    if unknown:
        places = np.flatnonzero(known)
        nodes = [found.nodes[n] for n in places.tolist()]
        found = Found(found.documents, nodes, found.record[places])
        named = replace(named, tag=named.tag[places])
    samples, outside = _samples(chunk, found, named, form, layout, bad)
    joined = join(samples, tags, tagging, len(form.channels))
    return Decoded(
        joined.readings,
        [bad[i] for i in sorted(bad)],
        unknown,
        outside,
        joined.late,
        joined.duplicates,
    )


def _tags(chunk: Chunk, found: Found, tagging: Tagging, bad: Faults) -> list[str | None]:
    """Return N tags; None, and a fault, where there is none."""
    place, record = tagging.place, found.record.tolist()
    if place.kind == "key":
        seen: list[Any] = [chunk.keys[r] for r in record]
    else:
        seen = seen_at(place, chunk, found, bad)
    if set(map(type, seen)) <= {str}:
        return seen
    ids = list(map(identity, seen))
    absent = np.array([one is None for one in ids], np.bool_)
    flag(
        bad,
        found.record,
        absent,
        "schema",
        lambda n: f"expected a tag at {place.name}, saw {seen[n]!r:.48}",
    )
    return [None if one is None else one.decode(errors="backslashreplace") for one in ids]


def _named(tags: Sequence[str | None], form: Format, layout: Layout, tagging: Tagging) -> Named:
    """Find stream and channel of each distinct tag."""
    table: dict[str | None, int] = {}
    tag = np.array([table.setdefault(one, len(table)) for one in tags], np.int64)
    called = {
        name if cell.path is None else ".".join(cell.path): c
        for c, (name, cell) in enumerate(zip(form.channels, layout.channels, strict=True))
    }
    streams: list[bytes | None] = []
    channels: list[int] = []
    for one in table:
        match = None if one is None else tagging.pattern.fullmatch(one)
        groups = match.groupdict() if match else {}
        stream = groups.get("stream")
        streams.append(stream.encode(errors="backslashreplace") if stream else None)
        channels.append(called.get(groups.get("channel") or "", UNKNOWN))
    distinct = ["" if one is None else one for one in table]
    return Named(distinct, tag, streams, np.array(channels, np.int64))


def _samples(
    chunk: Chunk, found: Found, named: Named, form: Format, layout: Layout, bad: Faults
) -> tuple[Samples, int]:
    """Return the values of good records as samples, and how many were out of bounds."""
    record, channel = found.record, named.channels[named.tag]
    streams, stream = _streams(chunk, found, named, form, layout, bad)
    times = times_at(chunk, found, layout, bad)
    ts_us = check_times(times, chunk.stamps_us[record], record, form, bad)
    value, outside = _values(found, channel, form, layout, bad)
    samples = Samples(streams, stream, channel, ts_us, value, chunk.offsets[record])
    return _without_faults(samples, record, bad), outside


def _streams(
    chunk: Chunk, found: Found, named: Named, form: Format, layout: Layout, bad: Faults
) -> tuple[list[bytes], Ints]:
    """Return the distinct stream ids, and [N] int64 into them."""
    tagging = layout.tags
    if tagging is None or "stream" not in tagging.pattern.groupindex:
        return streams_at(chunk, found, form, layout, bad)
    faults: Faults = {}
    streams, code = encode_streams(named.streams, form, faults)
    if faults:
        wrong = np.isin(named.tag, list(faults))
        for n in np.flatnonzero(wrong).tolist():
            index, tag = int(found.record[n]), int(named.tag[n])
            why = f"{faults[tag].detail}, in the tag {named.distinct[tag]!r:.48}"
            bad.setdefault(index, BadRecord(index, "stream_id", why))
    return streams, code[named.tag]


def _values(
    found: Found, channel: Ints, form: Format, layout: Layout, bad: Faults
) -> tuple[Floats, int]:
    """Return [N] float32, NaN where missing, and how many were out of bounds and are so."""
    where = write_path(layout.values) or "the value"
    cells = column(found.nodes, layout.values)
    if not set(map(type, cells)) <= NUMBERS:
        absent = np.array([cell is MISSING for cell in cells], np.bool_)
        flag(bad, found.record, absent, "schema", nothing_at(where, layout.values, found.nodes))
        wrong = np.array([type(cell) not in NUMBERS for cell in cells], np.bool_)
        flag(bad, found.record, wrong, "schema", no_number(where, cells))
        cells = [None if out else cell for cell, out in zip(cells, wrong.tolist(), strict=True)]
    scale = np.array([cell.scale for cell in layout.channels])
    offset = np.array([cell.offset for cell in layout.channels])
    seen: Doubles = table_of(cells, 1)[0] * scale[channel] + offset[channel]
    with np.errstate(over="ignore"):
        value = seen.astype(np.float32)
    infinite = "a value is not finite in float32"
    flag(bad, found.record, np.isinf(value), "not_finite", lambda _: infinite)
    if not form.bounds:
        return value, 0
    low, high = np.array(form.bounds).T
    beyond = (seen < low[channel]) | (seen > high[channel])
    value[beyond] = np.nan
    return value, int(beyond.sum())


def _without_faults(samples: Samples, record: Ints, bad: Faults) -> Samples:
    """Return the samples whose records have no fault, and of the streams only theirs."""
    good = ~np.isin(record, list(bad)) if bad else np.ones(len(record), np.bool_)
    used, stream = np.unique(samples.stream[good], return_inverse=True)
    return Samples(
        [samples.streams[code] for code in used.tolist()],
        stream,
        samples.channel[good],
        samples.ts_us[good],
        samples.value[good],
        samples.offset[good],
    )
