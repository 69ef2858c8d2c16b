"""What the changelog holds of a partition: its records' keys and bytes. Pure.

    mark        up to which offset of the input all slabs together are complete
    slab/N      the rows N * L to N * L + L - 1 of the arena
    tags/N      of the long layout: what rows keep between their values, an arena of its own
    judged/N    dockets of streams whose alerts a transaction opened, updated or closed
    adopted/N   ids of alerts that another model opened; they count with a mark of their offset

All keys are written again and again, so that a compacted topic keeps the last of each. Every
value is one msgpack object (`Entry`) with a crc32c of its columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import crc32c
import msgspec
import numpy as np

from detector.artifact import Manifest
from detector.records import Partition
from detector.state import DOCKET, PACE, Docket, Slab

FORMAT = 2  # change it with the layout of `Entry`, of state.PACE or of state.DOCKET
MARK = b"mark"
SLAB = b"slab/"
TAGS = b"tags/"
JUDGED = b"judged/"
ADOPTED = b"adopted/"


class Entry(msgspec.Struct, frozen=True):
    """One record of the changelog.

    Attributes:
        format: Layout of all that follows.
        model: Version of the model that made it.
        kinds: Of evidence, in the order of the docket's columns.
        topic: The input's topic.
        partition: The input's partition, and the changelog's.
        offset: Of the next input record that it has not seen.
        streams: [L] ids; empty where a row is free.
        state: [L, S] float32, little endian.
        pace: [L] state.PACE.
        docket: [L, K] state.DOCKET.
        adopted: Stream, kind and id of alerts that another model opened.
        crc32c: Of state, pace and docket.
    """

    format: int
    model: str
    kinds: tuple[str, ...]
    topic: str
    partition: int
    offset: int
    streams: list[bytes] = []
    state: bytes = b""
    pace: bytes = b""
    docket: bytes = b""
    adopted: list[tuple[bytes, str, str]] = []
    crc32c: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """What every entry of a partition says of itself: whose state it is."""

    manifest: Manifest
    partition: Partition

    def mark(self, offset: int) -> bytes:
        """Encode that all slabs are complete up to `offset`."""
        return _encode(self._entry(offset))

    def adopted(self, offset: int, adopted: Sequence[tuple[tuple[bytes, int], str]]) -> bytes:
        """Encode stream, kind and id of alerts that another model opened."""
        kinds = self.manifest.kinds
        ids = [(stream, kinds[k], alert) for (stream, k), alert in adopted]
        return _encode(self._entry(offset, adopted=ids))

    def slab(self, slab: Slab, offset: int) -> bytes:
        """Encode a slab as it is after all records before `offset`."""
        return self._encode_rows(
            offset,
            slab.streams,
            state=slab.model.tobytes(),
            pace=slab.pace.tobytes(),
            docket=slab.docket.tobytes(),
        )

    def tags(self, slab: Slab, offset: int) -> bytes:
        """Encode a slab of what streams keep between their values; it has no dockets."""
        columns = {"state": slab.model.tobytes(), "pace": slab.pace.tobytes()}
        entry = self._entry(offset, streams=slab.streams, crc32c=_checksum(**columns), **columns)
        return _encode(msgspec.structs.replace(entry, kinds=()))

    def judged(self, streams: list[bytes], docket: Docket, offset: int) -> bytes:
        """Encode the dockets [B, K] of streams of which something is said before `offset`."""
        return self._encode_rows(offset, streams, docket=docket.tobytes())

    def _encode_rows(self, offset: int, streams: list[bytes], **columns: bytes) -> bytes:
        return _encode(self._entry(offset, streams=streams, crc32c=_checksum(**columns), **columns))

    def _entry(self, offset: int, **fields: object) -> Entry:
        manifest, partition = self.manifest, self.partition
        return Entry(
            FORMAT,
            manifest.version,
            manifest.kinds,
            partition.topic,
            partition.number,
            offset,
            **fields,  # type: ignore[arg-type]
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def read_entry(value: bytes) -> Entry | str:
    """Decode an entry; or say what is wrong with it."""
    try:
        entry = _decode(value)
    except (msgspec.DecodeError, ValueError) as error:
        return f"expected an entry of the changelog, saw {value[:32]!r}: {error}"
    if entry.format != FORMAT:
        return f"expected format {FORMAT}, saw {entry.format}: another version of ours wrote it"
    if entry.crc32c != _checksum(state=entry.state, pace=entry.pace, docket=entry.docket):
        return "expected other bytes for this crc32c: the entry is damaged"
    rows, kinds = len(entry.streams), len(entry.kinds)
    if len(entry.docket) != rows * kinds * DOCKET.itemsize:
        return f"expected {kinds} dockets for each of {rows} streams, saw {len(entry.docket)} bytes"
    return entry


def docket_of(entry: Entry) -> Docket:
    """Return an entry's dockets, [L, K]."""
    return np.frombuffer(entry.docket, DOCKET).reshape(len(entry.streams), len(entry.kinds))


def slab_of(number: int, entry: Entry, width: int) -> Slab | str:
    """Return an entry's rows as a slab of states [S = width]; or say what is wrong with it."""
    rows = len(entry.streams)
    if len(entry.state) != 4 * width * rows or len(entry.pace) != PACE.itemsize * rows:
        return f"expected {rows} rows of {width} numbers, saw {len(entry.state)} bytes"
    model = np.frombuffer(entry.state, "<f4").reshape(rows, width)
    pace = np.frombuffer(entry.pace, PACE)
    return Slab(number, entry.streams, model, pace, docket_of(entry))


def number_of(key: bytes, prefix: bytes) -> int | None:
    """Return the number in a key such as slab/12; None where it is another kind of key."""
    digits = key.removeprefix(prefix)
    return int(digits) if digits != key and digits.isdigit() else None


def _checksum(state: bytes = b"", pace: bytes = b"", docket: bytes = b"") -> int:
    return int(crc32c.crc32c(docket, crc32c.crc32c(pace, crc32c.crc32c(state))))
