"""How much memory so many streams take, before they do."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from detector.artifact import Manifest
from detector.join import tags_width
from detector.ring import reading_bytes, ring_depth
from detector.slab import grown, slab_rows
from detector.state import row_bytes

ID_BYTES = 33  # of a bytes object, beside its text
INT_BYTES = 32
ALIGNMENT = 16  # of the allocator


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes.

    Attributes:
        state: Of the arenas' arrays, as far as they will have grown.
        tags: Of what the long layout keeps to join values, with its own table.
        table: Of the stream ids and the tables that find their rows.
        checkpoint: More, while the largest partition's state is written.
        row: Of one stream's row.
        ring: Of its last readings, in the row.
    """

    state: int
    tags: int
    table: int
    checkpoint: int
    row: int
    ring: int

    @property
    def held(self) -> int:
        """What stays."""
        return self.state + self.tags + self.table


def memory(
    manifest: Manifest,
    streams: int,
    partitions: int = 1,
    id_bytes: int = 24,
    before: int = 0,
    *,
    long: bool = False,
) -> Memory:
    """Return the memory of streams that are spread evenly over partitions.

    Args:
        manifest: Of the model; says how wide a row is.
        streams: All of them.
        partitions: That one process holds.
        id_bytes: Length of a stream's id.
        before: Readings that an opening shows of the time before it (judge.readings_before).
        long: Records are values of one tag each, to be joined.
    """
    width, kinds = manifest.state_width, len(manifest.kinds)
    channels = len(manifest.channels)
    depth = ring_depth(channels, before)
    each, row = -(-streams // partitions), row_bytes(width, kinds, channels, depth)
    identity = -(-(ID_BYTES + id_bytes) // ALIGNMENT) * ALIGNMENT
    table = sys.getsizeof(dict.fromkeys(range(each))) + 9 * each + (identity + INT_BYTES) * each
    ring, joined = depth * reading_bytes(channels), row_bytes(tags_width(channels), 0)
    return Memory(
        state=_rows(each, row_bytes(width, kinds)) * row * partitions,
        tags=(_rows(each, joined) * joined + table) * partitions if long else 0,
        table=table * partitions,
        checkpoint=each * (row + joined if long else row),
        row=row,
        ring=ring,
    )


def _rows(streams: int, row: int) -> int:
    """Return the rows of an arena that grew stream by stream; `row`: bytes without the ring."""
    rows, slab = 0, slab_rows(row)
    while rows < streams:
        rows = grown(rows, rows + 1, slab)
    return rows


def resident_bytes() -> int:
    """Return how much of the machine's memory this process has now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
