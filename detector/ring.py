"""The last readings of every stream: what an opening shows of the time before it."""

from dataclasses import dataclass

import numpy as np

from detector.arrays import raw
from detector.records import Doubles, Floats, Ints

RING_BYTES = 4096  # of one stream, at the most: a slab's message has room for as many
EMPTY_US = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Before:
    """Readings of one stream, oldest first.

    Attributes:
        at_us: [N] event times.
        x: [N, C], engineering units; NaN where a channel was missing.
    """

    at_us: Ints
    x: Doubles

    def until(self, ago: int) -> "Before":
        """Return those from before the reading of so many readings ago."""
        kept = max(len(self.at_us) - ago, 0)
        return Before(self.at_us[:kept], self.x[:kept])


NOTHING = Before(np.zeros(0, np.int64), np.zeros((0, 0)))


class Ring:
    """The last readings of R streams, [R, depth]: a stream's n-th is in slot n modulo depth.

    A reading is written once and never moved; nothing is read until an alert wants it.
    """

    def __init__(self, channels: int, depth: int) -> None:
        """Start without rows, for `depth` readings of C = channels; 0 keeps none."""
        self.depth = depth
        self._of = np.dtype([("at_us", np.int64), ("x", np.float32, (channels,))])
        self._kept = np.zeros((0, depth), self._of)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self._kept.nbytes

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        # refcheck: no view leaves this class.
        self._kept.resize((rows, self.depth), refcheck=False)

    def note(self, rows: Ints, seen: Ints, ts_us: Ints, x: Floats) -> None:
        """Write a reading of each of B distinct rows.

        Args:
            rows: [B].
            seen: [B] readings since the stream (re)started, this one included.
            ts_us: [B] event times.
            x: [B, C].
        """
        if self.depth:
            readings = np.empty(len(rows), self._of)
            readings["at_us"], readings["x"] = ts_us, x
            raw(self._kept)[rows, seen % self.depth] = raw(readings)

    def before(self, row: int, seen: int) -> Before:
        """Return what is kept of a stream from before its reading number `seen`."""
        if not self.depth:
            return NOTHING
        kept = self._kept[row, np.arange(max(seen - self.depth, 1), seen) % self.depth]
        kept = kept[kept["at_us"] != EMPTY_US]
        return Before(kept["at_us"].copy(), kept["x"].astype(np.float64))

    def tobytes(self, where: slice) -> bytes:
        """Return rows as they are kept."""
        return self._kept[where].tobytes()

    def load(self, where: slice, kept: bytes) -> None:
        """Take rows as they were kept; those of another depth begin anew."""
        rows = self._kept[where]
        if len(kept) == rows.nbytes:
            rows[:] = np.frombuffer(kept, self._of).reshape(rows.shape)
        else:
            rows["at_us"] = EMPTY_US


def ring_depth(channels: int, asked: int) -> int:
    """Return how many readings a ring holds: what was asked for, as far as there is room.

    >>> ring_depth(channels=8, asked=8), ring_depth(channels=500, asked=8)
    (8, 2)
    """
    return min(asked, RING_BYTES // reading_bytes(channels))


def reading_bytes(channels: int) -> int:
    """Return the bytes of one reading of C = channels."""
    return 8 + 4 * channels
