"""What the changelog holds of a partition: its records' keys and bytes. Pure.

    mark        up to which offset of the input all slabs together are complete
    slab/N      the rows N * L to N * L + L - 1 of the arena
    tags/N      of the long layout: what rows keep between their values, an arena of its own
    judged/N    dockets of streams whose alerts opened, grew or closed with a transaction, whether
                they are silent, and which of their alerts were withheld
    adopted/N   ids of alerts that another model opened; they count with a mark of their offset

Where routes share a partition, or topics a changelog, `ROUTE@TOPIC:` comes before.

All keys are written again and again, so that a compacted topic keeps the last of each. Every
value is one msgpack object (`Entry`) with a crc32c of its columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import crc32c
import msgspec
import numpy as np

from detector.artifact import Manifest
from detector.budget import Tally
from detector.join import new_tags
from detector.records import Partition
from detector.silence import WATCH, Clock, Watched
from detector.slab import Slab
from detector.state import DOCKET, PACE, Arena, Docket

FORMAT = 4  # change it with the layout of `Entry`, Tally, PACE, DOCKET, WATCH, the ring
MARK = b"mark"
SLAB = b"slab/"
TAGS = b"tags/"
JUDGED = b"judged/"
ADOPTED = b"adopted/"
END = b":"  # of a prefix


Adopted = tuple[bytes, str, str]  # stream, kind, id
NOTHING_OPENED = Tally()


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
        adopted: Stream, kind and id of alerts that another model opened; without an id, of those
            that nobody was told of, and members of a group (`flood.MEMBER`).
        ring: [L] the last readings of each, of a depth that its length tells.
        watch: [L] silence.WATCH.
        tally: Of the mark and of judged entries: what the partition opened in its hour, and
            together.
        clock: Of the mark: the partition's time and active time; empty where none is kept.
        crc32c: Of state, pace, docket, ring and watch.
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
    adopted: list[Adopted] = []
    ring: bytes = b""
    watch: bytes = b""
    clock: tuple[int, ...] = ()
    tally: Tally = NOTHING_OPENED
    crc32c: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """What every entry of a partition says of itself: whose state it is.

    Attributes:
        manifest: Of the model.
        partition: Of the input.
        depth: Readings that the ring of a stream holds.
        prefix: Of its keys, where a partition of the changelog holds the state of several.
    """

    manifest: Manifest
    partition: Partition
    depth: int = 0
    prefix: bytes = b""

    def own(self, key: bytes) -> bytes | None:
        """Return a changelog's key without the prefix; None where it is another's."""
        prefix, own = parted(key)
        return own if prefix == self.prefix else None

    def new_arena(self) -> Arena:
        """Return an empty arena of the model's widths."""
        manifest = self.manifest
        widths = manifest.state_width, len(manifest.kinds), len(manifest.channels)
        return Arena(*widths, self.depth)

    def new_tags(self) -> Arena:
        """Return an empty arena for what streams keep between the values of the long layout."""
        return new_tags(len(self.manifest.channels))

    def mark(self, offset: int, clock: Clock | None = None, tally: Tally = NOTHING_OPENED) -> bytes:
        """Encode that all slabs are complete up to `offset`, the partition's time and tally."""
        return _encode(self._entry(offset, clock=clock or (), tally=tally))

    def adopted(self, offset: int, adopted: Sequence[Adopted]) -> bytes:
        """Encode what is known of alerts that another model opened, or that nobody was told of."""
        return _encode(self._entry(offset, adopted=list(adopted)))

    def slab(self, slab: Slab, offset: int) -> bytes:
        """Encode a slab as it is after all records before `offset`."""
        columns = {
            "state": slab.model.tobytes(),
            "pace": slab.pace.tobytes(),
            "docket": slab.docket.tobytes(),
            "ring": slab.ring,
            "watch": slab.watched.tobytes(),
        }
        entry = self._entry(offset, streams=slab.streams, crc32c=_checksum(**columns), **columns)
        kinds = entry.kinds[: slab.docket.shape[1]]  # none, where streams are not judged
        return _encode(msgspec.structs.replace(entry, kinds=kinds))

    def judged(self, arena: Arena, streams: list[bytes], offset: int) -> bytes:
        """Encode what the judge decided of streams, told or not, and the partition's tally."""
        rows = arena.rows(streams)
        docket, watch = arena.take(rows).docket.tobytes(), arena.watched(rows).tobytes()
        some = set(streams)
        untold = sorted((*key, "") for key in arena.withheld if key[0] in some)
        entry = self._entry(
            offset,
            streams=streams,
            docket=docket,
            watch=watch,
            adopted=untold,
            tally=arena.tally,
            crc32c=_checksum(docket=docket, watch=watch),
        )
        return _encode(entry)

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
    columns = {"state": entry.state, "pace": entry.pace, "docket": entry.docket}
    if entry.crc32c != _checksum(**columns, ring=entry.ring, watch=entry.watch):
        return "expected other bytes for this crc32c: the entry is damaged"
    rows, kinds = len(entry.streams), len(entry.kinds)
    if len(entry.docket) != rows * kinds * DOCKET.itemsize:
        return f"expected {kinds} dockets for each of {rows} streams, saw {len(entry.docket)} bytes"
    if len(entry.watch) != rows * WATCH.itemsize:
        return f"expected the rhythms of {rows} streams, saw {len(entry.watch)} bytes"
    return entry


def docket_of(entry: Entry) -> Docket:
    """Return an entry's dockets, [L, K]."""
    return np.frombuffer(entry.docket, DOCKET).reshape(len(entry.streams), len(entry.kinds))


def watched_of(entry: Entry) -> Watched:
    """Return an entry's rhythms, [L]."""
    return np.frombuffer(entry.watch, WATCH)


def slab_of(number: int, entry: Entry, width: int) -> Slab | str:
    """Return an entry's rows as a slab of states [S = width]; or say what is wrong with it."""
    rows = len(entry.streams)
    if len(entry.state) != 4 * width * rows or len(entry.pace) != PACE.itemsize * rows:
        return f"expected {rows} rows of {width} numbers, saw {len(entry.state)} bytes"
    model = np.frombuffer(entry.state, "<f4").reshape(rows, width)
    pace = np.frombuffer(entry.pace, PACE)
    docket, watched = docket_of(entry), watched_of(entry)
    return Slab(number, entry.streams, model, pace, docket, entry.ring, watched)


def parted(key: bytes) -> tuple[bytes, bytes]:
    """Return a changelog's key as its prefix, which may be empty, and the rest.

    >>> parted(b"pumps:slab/3")
    (b'pumps:', b'slab/3')
    """
    place = key.rfind(END) + 1
    return key[:place], key[place:]


def number_of(key: bytes, prefix: bytes) -> int | None:
    """Return the number in a key such as slab/12; None where it is another kind of key."""
    digits = key.removeprefix(prefix)
    return int(digits) if digits != key and digits.isdigit() else None


def _checksum(
    state: bytes = b"",
    pace: bytes = b"",
    docket: bytes = b"",
    ring: bytes = b"",
    watch: bytes = b"",
) -> int:
    checksum = 0
    for column in (state, pace, docket, ring, watch):
        checksum = crc32c.crc32c(column, checksum)
    return checksum
