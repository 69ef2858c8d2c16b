"""From what the changelog kept of a partition to where it goes on. Pure.

The state of `mark` is loaded; from there up to what the group has committed the input is read
again in silence; then everything counts. What was said meanwhile stands in the judged entries:
where the judge would now decide otherwise, because its settings changed, it is overruled.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.budget import Key, Tally
from detector.flood import MEMBER
from detector.records import SILENT, Bools, Bounds, Ints, alert_id
from detector.silence import WATCH, Clock
from detector.snapshot import (
    ADOPTED,
    JUDGED,
    MARK,
    SLAB,
    TAGS,
    Entry,
    Origin,
    docket_of,
    number_of,
    read_entry,
    slab_of,
    watched_of,
)
from detector.state import DOCKET, Arena, Docket

# How a restore can end; a metric's label.
OUTCOMES = (
    "restored",
    "new",  # the group has never committed here
    "missing",  # it has, but nothing is kept
    "damaged",  # an entry that cannot be read
    "other_topic",  # made from another input topic
    "other_model",
    "behind",  # the input no longer holds what the state needs to catch up
    "recreated",  # the input topic was made anew: its offsets begin again
)


@dataclass(slots=True)
class Kept:
    """The last value of each key of a changelog partition, while it is being read."""

    values: dict[bytes, bytes] = field(default_factory=dict)

    def note(self, key: bytes, value: bytes | None) -> None:
        """Take one record."""
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value


@dataclass(frozen=True, slots=True)
class Said:
    """What the judge had decided when all that was committed was said.

    Attributes:
        streams: [R] of the rows of `docket`.
        docket: [R, K] at the mark.
        silent: [R] at the mark, who was told to be.
        judged: Later dockets, [K] each, by stream.
        hushed: Whether they were silent then, by stream.
        withheld: Open alerts that nobody was told of.
        tally: Of the partition.
    """

    streams: list[bytes]
    docket: Docket
    silent: Bools
    judged: dict[bytes, Docket]
    hushed: dict[bytes, bool]
    withheld: set[Key]
    tally: Tally

    def overrule(self, arena: Arena) -> int:
        """Correct the dockets of alerts that a replay opened or closed, and nobody was told of.

        Returns:
            How many streams were corrected; none while model and settings are the same.
        """
        arena.withheld, arena.tally = set(self.withheld), self.tally
        judged = arena.rows(list(self.judged))  # some may be new: their readings are bad now
        streams, now = arena.docket()
        want = np.zeros(now.shape, DOCKET)
        want[: len(self.docket)] = self.docket
        for stream, row in zip(self.judged, judged.tolist(), strict=True):
            want[row] = self.judged[stream]
        wrong = (now["open"] != want["open"]) | (now["severity"] != want["severity"])
        wrong |= want["open"] & (now["since_offset"] != want["since_offset"])
        rows: Ints = np.flatnonzero(wrong.any(axis=1) & np.array([bool(s) for s in streams], bool))
        arena.correct(rows, np.where(wrong[rows], want[rows], now[rows]))
        return len(set(rows.tolist()) | set(self._hush(arena, streams, judged).tolist()))

    def _hush(self, arena: Arena, streams: list[bytes], judged: Ints) -> Ints:
        """Let those be silent who were told to be; return whose rows were corrected."""
        watched, want = arena.watched(np.arange(len(streams))), np.zeros(len(streams), np.bool_)
        want[: len(self.silent)] = self.silent
        want[judged] = list(self.hushed.values())
        rows: Ints = np.flatnonzero(watched["silent"] != want)
        watched["silent"] = want
        arena.watch(rows, watched[rows])
        return rows


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where and with what a partition goes on.

    Attributes:
        arena: Its state.
        tags: What its streams keep between their values.
        outcome: One of `OUTCOMES`.
        detail: For a person: why the state could not be used; empty where it was.
        start: Offset to read from; None: where the group stands.
        live_from: What lies before it was said already.
        said: What that was.
        slot: First judged key that is free.
        stale: Keys that mean nothing any more.
    """

    arena: Arena
    tags: Arena
    outcome: str
    detail: str = ""
    start: int | None = None
    live_from: int = 0
    said: Said | None = None
    slot: int = 0
    stale: frozenset[bytes] = frozenset()


def resume(kept: Kept, origin: Origin, bounds: Bounds, went_back_to: int | None = None) -> Resumed:
    """Rebuild a partition's state, or begin a new one and say why.

    Args:
        kept: What its changelog holds.
        origin: The model and the input partition as they are now.
        bounds: Of the input partition, read before the changelog was.
        went_back_to: An offset that came although later ones were read: the topic is another
            of the same name.
    """
    entries = {key: read_entry(value) for key, value in kept.values.items()}
    outcome, detail = _verdict(entries, origin, bounds)
    if outcome == "restored" and went_back_to is not None:
        detail = f"expected offsets to rise, saw {went_back_to}: the input topic was made anew"
        outcome = "recreated"
    if outcome != "restored":
        arena = origin.new_arena()
        if outcome in {"other_model", "behind", "recreated"}:
            _adopt(arena, entries, origin, bounds)
        # To begin at the beginning nothing needs to be kept; to begin elsewhere, where that was.
        skips = outcome == "new" and bounds.first > bounds.start
        start = bounds.first if skips else went_back_to
        return Resumed(arena, origin.new_tags(), outcome, detail, start, stale=frozenset(entries))
    mark = entries[MARK]
    assert isinstance(mark, Entry)  # noqa: S101 - by the verdict
    arena, tags = origin.new_arena(), origin.new_tags()
    damage = _load(arena, entries, SLAB) or _load(tags, entries, TAGS)
    if damage:
        empty, stale = origin.new_arena(), frozenset(entries)
        return Resumed(empty, origin.new_tags(), "damaged", damage, stale=stale)
    arena.clock = _clock(mark)
    kinds = origin.manifest.kinds
    known = _adopted(entries, mark)
    arena.adopted = {(s, kinds.index(k)): id_ for (s, k), id_ in known.items() if id_}
    arena.withheld, arena.tally = {key for key, id_ in known.items() if not id_}, mark.tally
    live_from = max(mark.offset, bounds.committed or 0)
    later = _judged(entries, mark.offset, live_from)
    judged = {s: row for _, e in later for s, row in _each(e, docket_of(e))}
    hushed = {s: bool(w) for _, e in later for s, w in _each(e, watched_of(e)["silent"])}
    slot = 1 + max((n for n, _ in later), default=-1)
    streams, docket = arena.docket()
    silent = arena.watched(np.arange(len(streams)))["silent"]
    untold, tally = _rationed(entries, mark, live_from)
    said = Said(streams, docket, silent, judged, hushed, untold, tally)
    return Resumed(arena, tags, outcome, "", mark.offset, live_from, said, slot)


def _verdict(entries: dict[bytes, Entry | str], origin: Origin, bounds: Bounds) -> tuple[str, str]:
    """Return one of `OUTCOMES`, and for a person why it is not `restored`."""
    mark = entries.get(MARK)
    if mark is None and bounds.committed is None:
        return "new", ""
    if mark is None:
        return "missing", f"expected a mark for offset {bounds.committed}, saw none"
    damage = next((entry for entry in entries.values() if isinstance(entry, str)), "")
    if isinstance(mark, str) or damage:
        return "damaged", damage
    models = {entry.model for entry in entries.values() if isinstance(entry, Entry)}
    if len(models) > 1:
        return "damaged", "expected the state of one model, saw that of several"
    return next(_misfits(mark, origin, bounds), ("restored", ""))


def _misfits(mark: Entry, origin: Origin, bounds: Bounds) -> Iterator[tuple[str, str]]:
    version = origin.manifest.version
    if (mark.topic, mark.partition) != origin.partition:
        seen = f"expected state of {origin.partition.topic}, saw that of {mark.topic}"
        yield "other_topic", seen
    if mark.model != version:
        seen = f"expected state of model {version[:12]}, saw that of {mark.model[:12]}"
        yield "other_model", seen
    if mark.offset < bounds.start:
        seen = f"expected input from offset {mark.offset} on, saw it begin at {bounds.start}"
        yield "behind", f"{seen}: retention was faster"


def _load(arena: Arena, entries: dict[bytes, Entry | str], prefix: bytes) -> str:
    """Load an arena's slabs; return what is wrong with one, if anything is."""
    for number, entry in sorted(_numbered(entries, prefix), key=lambda pair: pair[0]):
        slab = slab_of(number, entry, arena.width)
        if isinstance(slab, str):
            return slab
        arena.load(slab)
    arena.loaded()
    return ""


def _adopt(arena: Arena, entries: dict[bytes, Entry | str], origin: Origin, bounds: Bounds) -> None:
    """Keep what is open: it closes, under its own id, with its stream's next reading."""
    mark = entries[MARK]
    assert isinstance(mark, Entry)  # noqa: S101 - only asked for where there is one
    live_from = max(mark.offset, bounds.committed or 0)
    rows = [*_numbered(entries, SLAB), *_judged(entries, mark.offset, live_from)]
    dockets = {s: row for _, entry in rows for s, row in _each(entry, docket_of(entry))}
    watched = {s: row for _, entry in rows for s, row in _each(entry, watched_of(entry))}
    arena.clock = _clock(mark)
    untold, arena.tally = _rationed(entries, mark, live_from)
    for stream, row in watched.items():  # a rhythm is of no model
        if stream and row["silent"] and (stream, SILENT) not in untold:
            arena.watch(arena.rows([stream]), np.array([row], WATCH))
    known = _adopted(entries, mark)
    kinds = origin.manifest.kinds
    for stream, row in dockets.items():
        for k, kind in enumerate(mark.kinds):
            if row["open"][k] and kind in kinds and (stream, kind) not in untold:
                since_us, offset = int(row["since_us"][k]), int(row["since_offset"][k])
                id_ = known.get((stream, kind)) or alert_id(
                    origin.partition, stream, kind, mark.model, since_us, offset
                )
                index, column = arena.rows([stream]), kinds.index(kind)
                docket = arena.take(index).docket
                docket[:, column] = row[k]
                arena.correct(index, docket)
                arena.adopted[stream, column] = id_


def _each(entry: Entry, column: np.ndarray[Any, Any]) -> Iterator[tuple[bytes, Any]]:
    return zip(entry.streams, column, strict=True)


def _clock(mark: Entry) -> Clock | None:
    return Clock(*mark.clock) if mark.clock else None


def _adopted(entries: dict[bytes, Entry | str], mark: Entry) -> dict[tuple[bytes, str], str]:
    """Return ids of alerts that other models opened, by stream and kind, as of the mark."""
    return {
        (stream, kind): id_
        for _, entry in _numbered(entries, ADOPTED)
        if entry.offset == mark.offset
        for stream, kind, id_ in entry.adopted
    }


def _rationed(
    entries: dict[bytes, Entry | str], mark: Entry, live_from: int
) -> tuple[set[Key], Tally]:
    """Return which open alerts nobody was told of, and the tally, when all was said."""
    untold, tally = {key for key, id_ in _adopted(entries, mark).items() if not id_}, mark.tally
    for _, entry in _judged(entries, mark.offset, live_from):
        some = set(entry.streams)
        untold = {key for key in untold if key[0] not in some}
        if entry.tally.flood.offset != tally.flood.offset:  # members of a group that is over
            untold = {key for key in untold if key[1] != MEMBER}
        untold |= {(stream, kind) for stream, kind, _ in entry.adopted}
        tally = entry.tally
    return untold, tally


def _judged(entries: dict[bytes, Entry | str], after: int, up_to: int) -> list[tuple[int, Entry]]:
    """Return the judged entries with after < offset <= up_to, in their order."""
    judged = [pair for pair in _numbered(entries, JUDGED) if after < pair[1].offset <= up_to]
    return sorted(judged, key=lambda pair: pair[1].offset)


def _numbered(entries: dict[bytes, Entry | str], prefix: bytes) -> list[tuple[int, Entry]]:
    return [
        (number, entry)
        for key, entry in entries.items()
        if (number := number_of(key, prefix)) is not None and isinstance(entry, Entry)
    ]
