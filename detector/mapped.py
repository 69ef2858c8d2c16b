"""Records of producers that do not write our format: documents to columns, by a layout. Pure.

Bytes become documents (`Layout.unpack`), documents readings, readings columns: one column for
the stream ids, one for the times, one a channel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain
from types import NoneType
from typing import Any
from uuid import UUID

import numpy as np

from detector.layout import Layout, Place
from detector.paths import MISSING, Path, column, names_at, write_path
from detector.records import BadRecord, Chunk, Doubles, Ints, Readings
from detector.times import microseconds
from detector.validate import (
    Decoded,
    Faults,
    Format,
    check_times,
    check_values,
    encode_streams,
    flag,
    without_faults,
)
from detector.wire import Unreadable

NUMBERS = {int, float, bool, Decimal, NoneType}  # a switch is 0 or 1, null is missing


@dataclass(frozen=True, slots=True)
class Found:
    """N readings of R records.

    Attributes:
        documents: R; what stands for a bad one is of no reading.
        nodes: N readings: documents, or parts of them.
        record: [N] the record each came in.
    """

    documents: list[Any]
    nodes: list[Any]
    record: Ints


def decode_mapped(chunk: Chunk, form: Format, layout: Layout) -> Decoded:
    """Turn a chunk's records into readings and bad records.

    Args:
        chunk: R records.
        form: What a valid reading is.
        layout: Where it has what.

    Returns:
        Every record either as readings or as one bad record.
    """
    bad: Faults = {}
    found = find(unpack(chunk.values, form, layout, bad), layout.readings, bad)
    record = found.record
    streams, stream = streams_at(chunk, found, form, layout, bad)
    times = times_at(chunk, found, layout, bad)
    values, unknown = _values(found, form, layout, bad)
    ts_us = check_times(times, chunk.stamps_us[record], record, form, bad)
    x, out_of_bounds = check_values(values, record, form, bad)
    readings = Readings(streams, stream, ts_us, x, chunk.offsets[record])
    good = without_faults(readings, record, bad)
    return Decoded(good, [bad[i] for i in sorted(bad)], unknown, out_of_bounds)


def unpack(values: Sequence[bytes | None], form: Format, layout: Layout, bad: Faults) -> list[Any]:
    """Return R documents; MISSING for those that are bad."""
    try:
        if max(map(len, values), default=0) <= form.max_value_bytes:  # type: ignore[arg-type]
            return list(map(layout.unpack, values))  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        pass  # at least one is bad: find out which, and why
    return [_unpack_one(index, value, form, layout, bad) for index, value in enumerate(values)]


def _unpack_one(index: int, value: bytes | None, form: Format, layout: Layout, bad: Faults) -> Any:  # noqa: ANN401 - a document is anything
    if not value:
        reason, detail = "empty", "expected a reading, saw an empty value"
    elif len(value) > form.max_value_bytes:
        limit = form.max_value_bytes
        reason, detail = "too_large", f"expected at most {limit} bytes, saw {len(value)}"
    else:
        try:
            return layout.unpack(value)
        except Unreadable as error:
            reason, detail = error.reason, str(error)
        except (ValueError, RecursionError) as error:
            reason, detail = "not_json", f"{error}; the value starts with {value[:48]!r}"
    bad.setdefault(index, BadRecord(index, reason, detail))
    return MISSING


def find(documents: list[Any], path: Path, bad: Faults) -> Found:
    """Find the readings in documents: each is one, or has an array of them."""
    places = column(documents, path)
    if MISSING not in places and list not in set(map(type, places)):
        return Found(documents, places, np.arange(len(documents)))
    several = []
    for index, (document, place) in enumerate(zip(documents, places, strict=True)):
        one = place if isinstance(place, list) else [place]
        if place is MISSING or not one:
            saw = "an empty array" if not one else names_at(document, path)
            where = f" at {write_path(path)}" if path else ""
            detail = f"expected readings{where}, saw {saw}"
            bad.setdefault(index, BadRecord(index, "schema" if path else "empty", detail))
            one = []
        several.append(one)
    record = np.repeat(np.arange(len(documents)), list(map(len, several)))
    return Found(documents, list(chain.from_iterable(several)), record)


def streams_at(
    chunk: Chunk, found: Found, form: Format, layout: Layout, bad: Faults
) -> tuple[list[bytes], Ints]:
    """Return the distinct stream ids, and [N] int64 into them."""
    place, record = layout.stream, found.record
    if place.kind == "key":
        streams, code = encode_streams(chunk.keys, form, bad)
        return streams, code[record]
    seen = seen_at(place, chunk, found, bad)
    ids = list(map(identity, seen))
    for n in [n for n, one in enumerate(ids) if one is None and seen[n] is not None]:
        detail = f"expected text or a whole number at {place.name}, saw {seen[n]!r:.48}"
        bad.setdefault(int(record[n]), BadRecord(int(record[n]), "schema", detail))
    faults: Faults = {}
    streams, code = encode_streams(ids, form, faults)
    for n, fault in faults.items():
        index = int(record[n])
        bad.setdefault(index, replace(fault, index=index))
    return streams, code


def identity(seen: Any) -> bytes | None:  # noqa: ANN401
    """Return a stream id as bytes; None for what can be none."""
    if isinstance(seen, str):
        return seen.encode(errors="backslashreplace")
    if type(seen) is int:
        return str(seen).encode() if abs(seen) < 1 << 64 else None
    if isinstance(seen, UUID):  # Avro has such
        return str(seen).encode()
    return seen if isinstance(seen, bytes) else None


def times_at(chunk: Chunk, found: Found, layout: Layout, bad: Faults) -> Doubles:
    """Return [N] event times in microseconds, NaN where bad."""
    if layout.time.kind == "record":
        return chunk.stamps_us[found.record].astype(np.float64)
    seen = seen_at(layout.time, chunk, found, bad)
    times, wrong = microseconds(seen, layout.time_format)
    form = "RFC 3339 or an epoch number" if layout.time_format == "auto" else layout.time_format

    def explain(n: int) -> str:
        return f"expected a time ({form}) at {layout.time.name}, saw {seen[n]!r:.48}"

    flag(bad, found.record, wrong, "schema", explain)
    return times


def seen_at(place: Place, chunk: Chunk, found: Found, bad: Faults) -> list[Any]:
    """Return what is at a place of each reading; None, and a fault, where nothing is."""
    record = found.record.tolist()
    if place.kind == "header":
        header = chunk.headers[place.name]
        return [header[r] for r in record]
    nodes = [found.documents[r] for r in record] if place.whole else found.nodes
    seen = column(nodes, place.path)
    absent = np.array([one is MISSING for one in seen], np.bool_)
    if absent.any():
        flag(bad, found.record, absent, "schema", nothing_at(place.name, place.path, nodes))
        seen = [None if one is MISSING else one for one in seen]
    return seen


def _values(found: Found, form: Format, layout: Layout, bad: Faults) -> tuple[Doubles, int]:
    """Return [N, C] float64, NaN where missing, and how many values no channel has."""
    nodes = column(found.nodes, layout.values)
    nodes = _open(nodes, found, form, layout, bad)
    width = len(layout.channels)
    paths = [
        (name,) if cell.path is None else cell.path
        for name, cell in zip(form.channels, layout.channels, strict=True)
    ]
    cells = list(chain.from_iterable(column(nodes, path, None) for path in paths))
    if not set(map(type, cells)) <= NUMBERS:
        wrong = np.array([type(cell) not in NUMBERS for cell in cells], np.bool_)
        for c, path in enumerate(paths):
            where = write_path((*layout.values, *path))
            of_channel = slice(c * len(nodes), (c + 1) * len(nodes))
            explain = no_number(where, cells[of_channel])
            flag(bad, found.record, wrong[of_channel], "schema", explain)
        cells = [None if out else cell for cell, out in zip(cells, wrong.tolist(), strict=True)]
    table = table_of(cells, width).T
    scale = np.array([cell.scale for cell in layout.channels])
    offset = np.array([cell.offset for cell in layout.channels])
    if (scale != 1).any() or offset.any():
        table = table * scale + offset
    return table, _unknown(nodes, paths, layout)


def _open(nodes: list[Any], found: Found, form: Format, layout: Layout, bad: Faults) -> list[Any]:
    """Return N objects or arrays of values; an array in the model's order as an object."""
    shapes = set(map(type, nodes))
    if shapes == {dict}:
        return nodes
    wrong = np.array([type(node) not in {dict, list} for node in nodes], np.bool_)
    if wrong.any():
        explain = nothing_at(write_path(layout.values) or "the value", layout.values, found.nodes)
        flag(bad, found.record, wrong, "schema", explain)
        nodes = [{} if out else node for node, out in zip(nodes, wrong.tolist(), strict=True)]
    if any(cell.path for cell in layout.channels):
        return nodes
    channels = form.channels
    short = np.array([type(n) is list and len(n) != len(channels) for n in nodes], np.bool_)
    wanted = f"expected {len(channels)} values ({', '.join(channels)})"
    flag(bad, found.record, short, "arity", lambda n: f"{wanted}, saw {len(nodes[n])}")
    return [
        dict(zip(channels, node, strict=False)) if type(node) is list else node for node in nodes
    ]


def table_of(cells: list[Any], width: int) -> Doubles:
    """Return numbers as [C, N] float64, NaN for None."""
    try:
        table = np.array(cells, np.float64)
    except OverflowError:  # an integer of 400 digits
        table = np.array([_finite(cell) for cell in cells], np.float64)
    return table.reshape(width, -1)


def _finite(cell: Any) -> float:  # noqa: ANN401
    try:
        return np.nan if cell is None else float(cell)
    except OverflowError:
        return np.inf


def _unknown(nodes: list[Any], paths: list[Path], layout: Layout) -> int:
    """Count the entries beside the values that no channel asks for."""
    known = {path[0] for path in paths if path}
    if not layout.values:  # the values lie among the rest
        places = (p for p in (layout.stream, layout.time) if p.kind == "value")
        known |= {place.path[0] for place in places}
    return sum(
        len(node.keys() - known) if isinstance(node, dict) else max(len(node) - len(known), 0)
        for node in nodes
    )


def nothing_at(name: str, path: Path, nodes: list[Any]) -> Callable[[int], str]:
    """Say that nothing is at a path of the n-th node."""
    return lambda n: f"expected something at {name}, saw {names_at(nodes[n], path)}"


def no_number(where: str, cells: list[Any]) -> Callable[[int], str]:
    """Say that the n-th cell is no number."""
    return lambda n: f"expected a number at {where}, saw {cells[n]!r:.48}"
