"""Rows of streams: those of a tick, and those that are written to the changelog together."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.records import Floats, Ints
from detector.ring import RING_BYTES
from detector.silence import Watched

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
        pace: [B] state.PACE.
        docket: [B, K] state.DOCKET.
    """

    index: Ints
    model: Floats
    pace: npt.NDArray[np.void]
    docket: npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Slab:
    """Neighbouring rows as they are written to the changelog.

    Attributes:
        number: Which of the arena's slabs.
        streams: [L] the stream of each row; empty where nobody has it.
        model: [L, S].
        pace: [L] state.PACE.
        docket: [L, K] state.DOCKET.
        ring: Bytes of the rows of the ring.
        watched: [L].
    """

    number: int
    streams: list[bytes]
    model: Floats
    pace: npt.NDArray[np.void]
    docket: npt.NDArray[np.void]
    ring: bytes
    watched: Watched


def grown(before: int, needed: int, slab: int) -> int:
    """Return how many rows arrays of `before` rows get so that they have at least `needed`."""
    return -(-max(needed, int(before * GROWTH)) // slab) * slab


def slab_rows(row_bytes: int) -> int:
    """Return how many rows a slab has: a power of two, so that its message is small enough.

    Args:
        row_bytes: Of a row without its ring: where a row lies must not hang on a setting.
    """
    rows, most = MOST_SLAB_ROWS, row_bytes + RING_BYTES + STREAM_BYTES
    while rows > 1 and rows * most > SLAB_BYTES:
        rows //= 2
    return rows
