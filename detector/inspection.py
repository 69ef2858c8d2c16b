"""What streams carry now, as the changelog has it: for people who debug. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.messages import rfc3339
from detector.records import SEVERITIES, SILENT
from detector.restore import Kept
from detector.snapshot import (
    JUDGED,
    MARK,
    SLAB,
    Entry,
    docket_of,
    number_of,
    read_entry,
    watched_of,
)
from detector.state import NEVER_US, PACE


@dataclass(frozen=True, slots=True)
class Carried:
    """What one stream carries.

    Attributes:
        partition: Of the input.
        offset: Of the first input record that this has not seen.
        model: Version of the model that made it.
        last_at: Event time of its last reading, RFC 3339; None where there was none.
        seen: Readings since it (re)started.
        judge: A kind of evidence to what the judge remembers.
        state: [S] of the model's own.
    """

    stream: str
    partition: int
    offset: int
    model: str
    last_at: str | None
    seen: int
    judge: dict[str, dict[str, object]]
    state: list[float]

    @property
    def open(self) -> list[str]:
        """Kinds of evidence with an open alert."""
        return [kind for kind, memory in self.judge.items() if memory["open"]]


def carried(kept: Kept) -> Iterator[Carried]:
    """Yield what the streams of one partition carry.

    Raises:
        ValueError: If an entry cannot be read, saying why.
    """
    entries = {key: read_entry(value) for key, value in kept.values.items()}
    known = {key: entry for key, entry in entries.items() if isinstance(entry, Entry)}
    damage = [f"{key!r}: {entry}" for key, entry in entries.items() if key not in known]
    if damage:
        raise ValueError(damage[0])
    mark = known.get(MARK)
    if mark is None:
        return
    later = {
        stream: row
        for key, entry in sorted(known.items(), key=lambda pair: pair[1].offset)
        if number_of(key, JUDGED) is not None and entry.offset > mark.offset
        for stream, row in zip(
            entry.streams, zip(docket_of(entry), watched_of(entry), strict=True), strict=True
        )
    }
    for key, entry in known.items():
        if number_of(key, SLAB) is not None:
            yield from _rows(entry, mark, later)


def _rows(entry: Entry, mark: Entry, later: dict[bytes, Any]) -> Iterator[Carried]:
    state = np.frombuffer(entry.state, "<f4").reshape(len(entry.streams), -1)
    pace, docket, watched = np.frombuffer(entry.pace, PACE), docket_of(entry), watched_of(entry)
    for row, stream in enumerate(entry.streams):
        if not stream:
            continue
        last_us = int(pace["last_us"][row])
        judged, heard = later.get(stream, (docket[row], watched[row]))
        judge = {kind: _memory(judged[k]) for k, kind in enumerate(entry.kinds)}
        if heard["silent"]:
            judge[SILENT] = {"open": True, "since": rfc3339(int(heard["heard_us"]))}
        yield Carried(
            stream.decode(),
            entry.partition,
            mark.offset,
            entry.model,
            None if last_us == NEVER_US else rfc3339(last_us),
            int(pace["seen"][row]),
            judge,
            state[row].tolist(),
        )


def _memory(docket: Any) -> dict[str, object]:  # noqa: ANN401 - numpy's record
    said: dict[str, object] = {
        name: docket[name].item() for name in ("open", "run", "calm", "peak")
    }
    if docket["open"]:
        said["severity"] = SEVERITIES[docket["severity"]]
    if docket["open"] or docket["run"]:
        said["since"] = rfc3339(int(docket["since_us"]))
        said["since_offset"] = int(docket["since_offset"])
    return said
