"""Alerts that another model opened, or a state that is lost: they end under their own id. Pure."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from detector.budget import Key, Tally
from detector.flood import MEMBER
from detector.records import SILENT, Bounds, alert_id
from detector.silence import WATCH, Clock
from detector.snapshot import (
    ADOPTED,
    JUDGED,
    MARK,
    SLAB,
    Entry,
    Origin,
    docket_of,
    number_of,
    watched_of,
)
from detector.state import Arena, Docket

Entries = dict[bytes, Entry | str]  # of a changelog partition, by key; a text says what is wrong


def adopt(arena: Arena, entries: Entries, origin: Origin, bounds: Bounds) -> None:
    """Keep what is open: it closes, under its own id, with its stream's next reading."""
    mark = entries[MARK]
    assert isinstance(mark, Entry)  # noqa: S101 - only asked for where there is one
    live_from = max(mark.offset, bounds.committed or 0)
    kinds = origin.manifest.kinds
    arena.clock = clock_of(mark)
    untold, arena.tally = rationed(entries, mark, live_from)
    arena.withheld = {key for key in untold if key[1] == MEMBER}
    rows = [*numbered(entries, SLAB), *judged(entries, mark.offset, live_from)]
    watched = {s: row for _, entry in rows for s, row in each(entry, watched_of(entry))}
    for stream, row in watched.items():  # a rhythm is of no model
        if stream and row["silent"] and (stream, SILENT) not in untold:
            arena.watch(arena.rows([stream]), np.array([row], WATCH))
    for (stream, kind), (memory, id_) in _open(entries, mark, origin, live_from).items():
        if kind in kinds and (stream, kind) not in untold:
            index, column = arena.rows([stream]), kinds.index(kind)
            docket = arena.take(index).docket
            docket[:, column] = memory
            arena.correct(index, docket)
            arena.adopted[stream, column] = id_


def _open(
    entries: Entries, mark: Entry, origin: Origin, live_from: int
) -> dict[tuple[bytes, str], tuple[Docket, str]]:
    """Return what is open before `live_from`: by stream and kind its docket, and its id."""
    found: dict[tuple[bytes, str], tuple[Docket, str]] = {}
    slabs = [entry for _, entry in numbered(entries, SLAB)]
    ids = {model: adopted(entries, mark, model) for model in {entry.model for entry in slabs}}
    parts = [(entry, ids[entry.model]) for entry in slabs]
    # Whoever opened what was judged later, opened it under the model that says so.
    parts += [(entry, {}) for _, entry in judged(entries, mark.offset, live_from)]
    for entry, known in parts:
        for stream, row in each(entry, docket_of(entry)):
            for kind, memory in zip(entry.kinds, row, strict=True):
                before = found.pop((stream, kind), None)
                if not memory["open"]:
                    continue
                since_us, offset = int(memory["since_us"]), int(memory["since_offset"])
                same = before is not None and before[0]["since_offset"] == offset
                id_ = before[1] if before and same else known.get((stream, kind))
                found[stream, kind] = (
                    memory,
                    id_ or alert_id(origin.partition, stream, kind, entry.model, since_us, offset),
                )
    return found


def each(entry: Entry, column: np.ndarray[Any, Any]) -> Iterator[tuple[bytes, Any]]:
    """Yield an entry's streams, each with its row of a column."""
    return zip(entry.streams, column, strict=True)


def clock_of(mark: Entry) -> Clock | None:
    """Return the partition's time, where one was kept."""
    return Clock(*mark.clock) if mark.clock else None


def rationed(entries: Entries, mark: Entry, live_from: int) -> tuple[set[Key], Tally]:
    """Return which open alerts nobody was told of, and the tally, when all was said."""
    known = adopted(entries, mark, mark.model)
    untold, tally = {key for key, id_ in known.items() if not id_}, mark.tally
    for _, entry in judged(entries, mark.offset, live_from):
        some = set(entry.streams)
        untold = {key for key in untold if key[0] not in some}
        if entry.tally.flood.offset != tally.flood.offset:  # members of a group that is over
            untold = {key for key in untold if key[1] != MEMBER}
        untold |= {(stream, kind) for stream, kind, _ in entry.adopted}
        tally = entry.tally
    return untold, tally


def adopted(entries: Entries, mark: Entry, model: str) -> dict[tuple[bytes, str], str]:
    """Return ids of alerts that models before `model` opened, by stream and kind.

    They are those of the mark. Where it is another model's, a process died between the last
    entries of one and the mark of the next: they are what is there of it.
    """
    return {
        (stream, kind): id_
        for _, entry in numbered(entries, ADOPTED)
        if entry.model == model and (entry.offset == mark.offset or model != mark.model)
        for stream, kind, id_ in entry.adopted
    }


def judged(entries: Entries, after: int, up_to: int) -> list[tuple[int, Entry]]:
    """Return the judged entries with after < offset <= up_to, in their order."""
    found = [pair for pair in numbered(entries, JUDGED) if after < pair[1].offset <= up_to]
    return sorted(found, key=lambda pair: pair[1].offset)


def numbered(entries: Entries, prefix: bytes) -> list[tuple[int, Entry]]:
    """Return entries with keys such as slab/12, by their number."""
    return [
        (number, entry)
        for key, entry in entries.items()
        if (number := number_of(key, prefix)) is not None and isinstance(entry, Entry)
    ]
