"""What every stream of one partition leaves behind for its next reading."""

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
        ("calm", np.int32),  # readings in a row below the closing level
        ("since_us", np.int64),  # event time of the run's first reading
        ("since_offset", np.int64),  # and its offset: the alert's identity
        ("quiet_until_us", np.int64),  # cool-down after an alert
        ("peak", np.float32),
    ]
)

Pace = npt.NDArray[np.void]
Docket = npt.NDArray[np.void]

GROWTH = 1.25  # how much larger the arrays become when they are full
FIRST_ROWS = 256


@dataclass(frozen=True, slots=True)
class Rows:
    """Copies of some streams' rows, taken before a poll: what to put back if it fails."""

    index: Ints
    model: Floats
    pace: Pace
    docket: Docket


class Arena:
    """The rows of one partition: a stream is a row number, its state one float32 row.

    The arrays grow in place (the allocator moves pages, not bytes), so no reading ever pays for
    a copy of the whole. For that no view of them may leave this class: `take` copies.

    Attributes:
        absorbed: Offset of the next record that the state has not seen.
    """

    def __init__(self, width: int, kinds: int) -> None:
        """Start empty, for states [S = width] and K = kinds of evidence."""
        self.absorbed = 0
        self._row_of: dict[bytes, int] = {}
        self._model = np.zeros((0, width), np.float32)
        self._pace = np.zeros(0, PACE)
        self._docket = np.zeros((0, kinds), DOCKET)

    def __len__(self) -> int:
        """Return how many streams have a row."""
        return len(self._row_of)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, without the table of stream ids."""
        return self._model.nbytes + self._pace.nbytes + self._docket.nbytes

    @property
    def open_alerts(self) -> Ints:
        """Open alerts a kind, [K]."""
        return np.asarray(np.count_nonzero(self._docket["open"], axis=0), np.int64)

    def rows(self, streams: list[bytes]) -> Ints:
        """Return the row of each stream, making one for a stream never seen."""
        table = self._row_of
        rows = [table.setdefault(stream, len(table)) for stream in streams]
        if len(table) > len(self._model):
            self._grow(len(table))
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

    def _grow(self, needed: int) -> None:
        before = len(self._model)
        capacity = max(needed, int(before * GROWTH), FIRST_ROWS)
        # refcheck: nobody else holds a view, see the class's contract.
        self._model.resize((capacity, self._model.shape[1]), refcheck=False)
        self._pace.resize(capacity, refcheck=False)
        self._docket.resize((capacity, self._docket.shape[1]), refcheck=False)
        self._pace["last_us"][before:] = NEVER_US
