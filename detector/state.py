"""What every stream of one partition leaves behind for its next reading."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.records import Floats, Ints

NEVER_US = np.iinfo(np.int64).min

# When a stream was last heard and how many readings it has seen since it (re)started.
PACE = np.dtype([("last_us", np.int64), ("seen", np.int64)])

# What the judge remembers of one stream and one kind of evidence.
DOCKET = np.dtype(
    [
        ("open", np.bool_),
        ("critical", np.bool_),
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

GROWTH = 1.25  # how much larger the arrays become when they are full
MOST_SLAB_ROWS = 64  # few enough that one busy stream costs little, many enough to write fast
# A broker takes messages of 1 MiB unless told otherwise; a slab and its stream ids must fit.
SLAB_BYTES = 900_000
STREAM_BYTES = 4096  # the longest id that settings allow


@dataclass(frozen=True, slots=True)
class Rows:
    """Copies of the rows of B streams.

    Attributes:
        index: [B] int64, their numbers.
        model: [B, S] float32.
        pace: [B].
        docket: [B, K].
    """

    index: Ints
    model: Floats
    pace: Pace
    docket: Docket


@dataclass(frozen=True, slots=True)
class Slab:
    """Neighbouring rows as they are written to the changelog.

    Attributes:
        number: Which of the arena's slabs.
        streams: [L] the stream of each row; empty where nobody has it.
        model: [L, S].
        pace: [L].
        docket: [L, K].
    """

    number: int
    streams: list[bytes]
    model: Floats
    pace: Pace
    docket: Docket


class Arena:
    """The rows of one partition: a stream is a row number, its state one float32 row.

    The arrays grow in place (the allocator moves pages, not bytes), so no reading ever pays for
    a copy of the whole. For that no view of them may leave this class: `take` copies. Rows come
    in slabs; which of them were touched since `settle` is known, so that no more is written to
    the changelog.

    Attributes:
        adopted: Ids of alerts that another model, or a state that is lost, has opened; by
            stream and kind. They close with their stream's next reading.
        newest_us: Event time of the newest reading.
    """

    def __init__(self, width: int, kinds: int) -> None:
        """Start empty, for states [S = width] and K = kinds of evidence."""
        self.adopted: dict[tuple[bytes, int], str] = {}
        self.newest_us = NEVER_US
        self.slab_rows = slab_rows(width, kinds)
        self._row_of: dict[bytes, int] = {}
        self._stream_of: list[bytes] = []
        self._free: list[int] = []
        self._model = np.zeros((0, width), np.float32)
        self._pace = np.zeros(0, PACE)
        self._docket = np.zeros((0, kinds), DOCKET)
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
        return self._model.nbytes + self._pace.nbytes + self._docket.nbytes

    @property
    def alerting(self) -> Docket:
        """Copies of the dockets of streams with an open alert, [A, K]."""
        somewhere = np.zeros(len(self._docket), np.bool_)
        for k in range(self._docket.shape[1]):  # four times as fast as `any` over so short an axis
            somewhere |= self._docket["open"][:, k]
        return self._docket[somewhere]

    def rows(self, streams: list[bytes]) -> Ints:
        """Return the row of each stream, making one for a stream never seen."""
        rows = list(map(self._row_of.get, streams))
        if None in rows:
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
        self._docket[rows.index] = rows.docket
        self._touched[rows.index // self.slab_rows] = True

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
        self._touched[rows // self.slab_rows] = True
        return len(rows)

    # Slabs --------------------------------------------------------------------------------

    def touched(self) -> Iterator[Slab]:
        """Yield copies of the slabs that changed since `settle`, one at a time."""
        return map(self._slab, np.flatnonzero(self._touched).tolist())

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
        self._pace["last_us"][before:] = NEVER_US


def grown(before: int, needed: int, slab: int) -> int:
    """Return how many rows arrays of `before` rows get so that they have at least `needed`."""
    return -(-max(needed, int(before * GROWTH)) // slab) * slab


def row_bytes(width: int, kinds: int) -> int:
    """Return the bytes of one stream's row, for states [S = width] and K = kinds."""
    return 4 * width + PACE.itemsize + kinds * DOCKET.itemsize


def slab_rows(width: int, kinds: int) -> int:
    """Return how many rows a slab has: a power of two, so that its message is small enough."""
    rows = MOST_SLAB_ROWS
    while rows > 1 and rows * (row_bytes(width, kinds) + STREAM_BYTES) > SLAB_BYTES:
        rows //= 2
    return rows
