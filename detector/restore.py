"""From what the changelog kept of a partition to where it goes on. Pure.

The state of `mark` is loaded; from there up to what the group has committed the input is read
again in silence; then everything counts. What was said meanwhile stands in the judged entries:
where the judge would now decide otherwise, because its settings changed, it is overruled.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from detector.join import new_tags
from detector.records import Bounds, Ints, alert_id
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
        judged: Later ones, [K] each, by stream.
    """

    streams: list[bytes]
    docket: Docket
    judged: dict[bytes, Docket]

    def overrule(self, arena: Arena) -> int:
        """Correct the dockets of alerts that a replay opened or closed, and nobody was told of.

        Returns:
            How many streams were corrected; none while model and settings are the same.
        """
        judged = arena.rows(list(self.judged))  # some may be new: their readings are bad now
        streams, now = arena.docket()
        want = np.zeros(now.shape, DOCKET)
        want[: len(self.docket)] = self.docket
        for stream, row in zip(self.judged, judged.tolist(), strict=True):
            want[row] = self.judged[stream]
        wrong = (now["open"] != want["open"]) | (now["critical"] != want["critical"])
        wrong |= want["open"] & (now["since_offset"] != want["since_offset"])
        rows: Ints = np.flatnonzero(wrong.any(axis=1) & np.array([bool(s) for s in streams], bool))
        arena.correct(rows, np.where(wrong[rows], want[rows], now[rows]))
        return len(rows)


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
        arena = _new_arena(origin)
        if outcome in {"other_model", "behind", "recreated"}:
            _adopt(arena, entries, origin, bounds)
        # To begin at the beginning nothing needs to be kept; to begin elsewhere, where that was.
        skips = outcome == "new" and bounds.first > bounds.start
        start = bounds.first if skips else went_back_to
        return Resumed(arena, _new_tags(origin), outcome, detail, start, stale=frozenset(entries))
    mark = entries[MARK]
    assert isinstance(mark, Entry)  # noqa: S101 - by the verdict
    arena, tags = _new_arena(origin), _new_tags(origin)
    damage = _load(arena, entries, SLAB) or _load(tags, entries, TAGS)
    if damage:
        empty, stale = _new_arena(origin), frozenset(entries)
        return Resumed(empty, _new_tags(origin), "damaged", damage, stale=stale)
    kinds = origin.manifest.kinds
    arena.adopted = {(s, kinds.index(k)): id_ for (s, k), id_ in _adopted(entries, mark).items()}
    live_from = max(mark.offset, bounds.committed or 0)
    later = _judged(entries, mark.offset, live_from)
    judged = {s: row for _, e in later for s, row in zip(e.streams, docket_of(e), strict=True)}
    slot = 1 + max((n for n, _ in later), default=-1)
    said = Said(*arena.docket(), judged)
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


def _new_arena(origin: Origin) -> Arena:
    return Arena(origin.manifest.state_width, len(origin.manifest.kinds))


def _new_tags(origin: Origin) -> Arena:
    return new_tags(len(origin.manifest.channels))


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
    dockets = {
        stream: row
        for _, entry in [*_numbered(entries, SLAB), *_judged(entries, mark.offset, live_from)]
        for stream, row in zip(entry.streams, docket_of(entry), strict=True)
    }
    known = _adopted(entries, mark)
    kinds = origin.manifest.kinds
    for stream, row in dockets.items():
        for k, kind in enumerate(mark.kinds):
            if row["open"][k] and kind in kinds:
                since_us, offset = int(row["since_us"][k]), int(row["since_offset"][k])
                id_ = known.get((stream, kind)) or alert_id(
                    origin.partition, stream, kind, mark.model, since_us, offset
                )
                index, column = arena.rows([stream]), kinds.index(kind)
                docket = arena.take(index).docket
                docket[:, column] = row[k]
                arena.correct(index, docket)
                arena.adopted[stream, column] = id_


def _adopted(entries: dict[bytes, Entry | str], mark: Entry) -> dict[tuple[bytes, str], str]:
    """Return ids of alerts that other models opened, by stream and kind, as of the mark."""
    return {
        (stream, kind): id_
        for _, entry in _numbered(entries, ADOPTED)
        if entry.offset == mark.offset
        for stream, kind, id_ in entry.adopted
    }


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
