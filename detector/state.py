"""What every stream of one partition leaves behind for its next reading."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from detector.arrays import raw
from detector.budget import Key, Tally
from detector.records import Ints
from detector.ring import Ring, reading_bytes
from detector.silence import WATCH, Clock, Silence, Turn, Watched, follow
from detector.slab import Rows, Slab, grown, slab_rows

NEVER_US = np.iinfo(np.int64).min

# When a stream was last heard and how many readings it has seen since it (re)started.
PACE = np.dtype([("last_us", np.int64), ("seen", np.int64)])

# What the judge remembers of one stream and one kind of evidence.
DOCKET = np.dtype(
    [
        ("open", np.bool_),
        ("severity", np.int8),  # index into records.SEVERITIES
        ("run", np.int32),  # readings in a row above the opening level
        ("calm", np.int32),  # quiet readings in a row
        ("since_us", np.int64),  # event time of the run's first reading
        ("since_offset", np.int64),  # and its offset: the alert's identity
        ("quiet_until_us", np.int64),  # cool-down after an alert
        ("peak", np.float32),
        ("bar", np.float32),  # what a new alert must exceed the opening level by, at first
        ("barred_at", np.int64),  # readings the stream had seen when the last alert closed
    ]
)

Pace = npt.NDArray[np.void]
Docket = npt.NDArray[np.void]


class Arena:
    """The rows of one partition: a stream is a row number, its state one float32 row.

    The arrays grow in place (the allocator moves pages, not bytes), so no reading ever pays for
    a copy of the whole. For that no view of them may leave this class: `take` copies. Rows come
    in slabs; which of them were touched since `settle` is known, so that no more is written to
    the changelog.

    Attributes:
        adopted: Ids of alerts that another model, or a state that is lost, has opened; by
            stream and kind.
        newest_us: Event time of the newest reading.
        ring: The last readings of each row's stream.
        clock: The partition's time, where streams are watched for silence.
        tally: What the partition has opened in this hour, and together.
        withheld: Its open alerts that nobody was told of; and who is in a group (`flood.MEMBER`).
    """

    def __init__(self, width: int, kinds: int, channels: int = 0, depth: int = 0) -> None:
        """Start empty, for states [S = width], K = kinds of evidence, rings of `depth`."""
        self.adopted: dict[tuple[bytes, int], str] = {}
        self.newest_us = NEVER_US
        self.ring = Ring(channels, depth)
        self.clock: Clock | None = None
        self.tally = Tally()
        self.withheld: set[Key] = set()
        self.slab_rows = slab_rows(row_bytes(width, kinds))
        self._row_of: dict[bytes, int] = {}
        self._stream_of: list[bytes] = []
        self._free: list[int] = []
        self._model = np.zeros((0, width), np.float32)
        self._pace = np.zeros(0, PACE)
        self._docket = np.zeros((0, kinds), DOCKET)
        self._watched = np.zeros(0, WATCH)
        self._touched = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        """Return how many streams have a row."""
        return len(self._row_of)

    @property
    def width(self) -> int:
        """S, of a row's state."""
        return self._model.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, without the table of stream ids."""
        arrays = (self._model, self._pace, self._docket, self._watched, self.ring)
        return sum(array.nbytes for array in arrays)

    @property
    def slabs(self) -> int:
        """How many slabs its rows are in."""
        return -(-len(self._stream_of) // self.slab_rows)

    @property
    def alerting(self) -> Docket:
        """Copies of the dockets of streams with an open alert or silent, [A, K]."""
        somewhere = self._watched["silent"].copy()
        for k in range(self._docket.shape[1]):  # four times as fast as `any` over so short an axis
            somewhere |= self._docket["open"][:, k]
        return np.asarray(self._docket[somewhere])

    @property
    def silent(self) -> int:
        """How many streams were told to be silent."""
        return int(np.count_nonzero(self._watched["silent"]))

    def rows(self, streams: list[bytes]) -> Ints:
        """Return the row of each stream, making one for a stream never seen."""
        try:
            rows = list(map(self._row_of.__getitem__, streams))
        except KeyError:
            rows = list(map(self._row, streams))
        return np.array(rows, np.int64)

    def take(self, index: Ints) -> Rows:
        """Copy rows out."""
        return Rows(
            index,
            self._model.take(index, axis=0),
            self._pace.take(index),
            self._docket.take(index, axis=0),
        )

    def put(self, rows: Rows) -> None:
        """Write rows back."""
        self._model[rows.index] = rows.model
        self._pace[rows.index] = rows.pace
        raw(self._docket)[rows.index] = raw(rows.docket)
        self._touched[rows.index // self.slab_rows] = True

    def listen(self, rows: Ints, ts_us: Ints, silence: Silence) -> list[Turn]:
        """Note whose readings came, [N] rows and event times; return who fell silent, or is back.

        In the partition's order, late readings included; see `silence.follow`.
        """
        if not len(rows):
            return []
        watched = self._watched[: len(self._stream_of)]
        self.clock, turns = follow(watched, self.clock, rows, ts_us, silence)
        self._touched[rows // self.slab_rows] = True
        for turn in turns:
            self._touched[turn.row // self.slab_rows] = True
        return turns

    def stream(self, row: int) -> bytes:
        """Return whose a row is."""
        return self._stream_of[row]

    def watched(self, index: Ints) -> Watched:
        """Copy what is known of the rhythm of streams [B]."""
        return np.asarray(self._watched[index])

    def watch(self, index: Ints, watched: Watched) -> None:
        """Write what is known of the rhythm of streams [B]."""
        self._watched[index] = watched
        self._touched[index // self.slab_rows] = True

    def inherit(self, streams: list[bytes], last_us: Ints, watched: Watched) -> None:
        """Take the rhythm of streams [B]; of unknown ones also when they last spoke."""
        rows = self.rows(streams)
        unknown = self._pace["last_us"][rows] == NEVER_US
        self._pace["last_us"][rows[unknown]] = last_us[unknown]
        self.watch(rows, watched)

    def evict(self, idle_since_us: int, excess: int = 0) -> int:
        """Forget streams that were idle for long; never one with an open alert.

        Args:
            idle_since_us: Streams not heard since (event time) go.
            excess: How many must go at least, the longest idle first.

        Returns:
            How many went.
        """
        last_us = self._pace["last_us"]
        quiet = (last_us != NEVER_US) & ~self._docket["open"].any(axis=1)
        quiet &= ~self._watched["silent"]
        gone = quiet & (last_us < idle_since_us)
        lacking = excess - int(np.count_nonzero(gone))
        if lacking > 0:
            left = np.flatnonzero(quiet & ~gone)
            oldest = np.argsort(last_us[left], kind="stable")[:lacking]
            gone[left[oldest]] = True
        rows = np.flatnonzero(gone)
        for row in rows.tolist():
            del self._row_of[self._stream_of[row]]
            self._stream_of[row] = b""
            self._free.append(row)
        self._model[rows] = 0
        self._pace[rows] = np.zeros(1, PACE)
        self._pace["last_us"][rows] = NEVER_US
        self._docket[rows] = np.zeros(1, DOCKET)
        self._watched[rows] = np.zeros(1, WATCH)
        self._touched[rows // self.slab_rows] = True
        return len(rows)

    # Slabs --------------------------------------------------------------------------------

    def touched(self) -> Iterator[Slab]:
        """Yield copies of the slabs that changed since `settle`, one at a time."""
        return map(self._slab, np.flatnonzero(self._touched).tolist())

    def touch(self) -> None:
        """Count all slabs as changed."""
        self._touched[: self.slabs] = True

    def settle(self) -> None:
        """Note that what `touched` returned is kept."""
        self._touched[:] = False

    def load(self, slab: Slab) -> None:
        """Take a slab as it was kept; it counts as untouched."""
        first = slab.number * self.slab_rows
        self._grow(first + self.slab_rows)
        where = slice(first, first + len(slab.streams))
        self._model[where], self._pace[where] = slab.model, slab.pace
        self._docket[where] = slab.docket
        self._watched[where] = slab.watched
        self.ring.load(where, slab.ring)
        self._stream_of += [b""] * (where.stop - len(self._stream_of))
        self._stream_of[where] = slab.streams
        table = self._row_of
        table.update((s, row) for row, s in enumerate(slab.streams, first) if s)

    def loaded(self) -> None:
        """Find the free rows and the newest reading, once all slabs are loaded."""
        self._free = [row for row, stream in enumerate(self._stream_of) if not stream]
        self.newest_us = int(self._pace["last_us"].max(initial=NEVER_US))

    def docket(self) -> tuple[list[bytes], Docket]:
        """Return every row's stream, empty where it has none, and a copy of its docket, [R, K]."""
        return list(self._stream_of), self._docket[: len(self._stream_of)].copy()

    def paces(self) -> tuple[list[bytes], Pace]:
        """Return every row's stream, empty where it has none, and a copy of its pace, [R]."""
        return list(self._stream_of), self._pace[: len(self._stream_of)].copy()

    def correct(self, index: Ints, docket: Docket) -> None:
        """Write dockets [B, K] into rows."""
        self._docket[index] = docket
        self._touched[index // self.slab_rows] = True

    def _slab(self, number: int) -> Slab:
        first = number * self.slab_rows
        streams = self._stream_of[first : first + self.slab_rows]
        where = slice(first, first + len(streams))
        return Slab(
            number,
            streams,
            self._model[where].copy(),
            self._pace[where].copy(),
            self._docket[where].copy(),
            self.ring.tobytes(where),
            self._watched[where].copy(),
        )

    def _row(self, stream: bytes) -> int:
        row = self._row_of.get(stream)
        if row is None:
            row = self._free.pop() if self._free else len(self._stream_of)
            if row == len(self._stream_of):
                self._grow(row + 1)
                self._stream_of.append(stream)
            self._stream_of[row] = stream
            self._row_of[stream] = row
        return row

    def _grow(self, needed: int) -> None:
        before, slab = len(self._model), self.slab_rows
        if needed <= before:
            return
        capacity = grown(before, needed, slab)
        # refcheck: nobody else holds a view, see the class's contract.
        self._model.resize((capacity, self._model.shape[1]), refcheck=False)
        self._pace.resize(capacity, refcheck=False)
        self._docket.resize((capacity, self._docket.shape[1]), refcheck=False)
        self._touched.resize(capacity // slab, refcheck=False)
        self._watched.resize(capacity, refcheck=False)
        self.ring.grow(capacity)
        self._pace["last_us"][before:] = NEVER_US


def row_bytes(width: int, kinds: int, channels: int = 0, depth: int = 0) -> int:
    """Return the bytes of one stream's row, for states [S = width], K = kinds and its ring."""
    fixed = PACE.itemsize + kinds * DOCKET.itemsize + WATCH.itemsize
    return 4 * width + fixed + depth * reading_bytes(channels)
