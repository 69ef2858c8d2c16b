"""What detectors reach that hardly look, or look only once: the rows beside every result.

A figure says little before one knows what is reached without reading a sensor (always, clock,
chance) and by the plainest method that reads them (nearest). All but `hump` are causal.
"""

from zlib import crc32

import numpy as np

from detector.records import Bools, Doubles, Floats
from training.benchmark.cases import Case

CLOCK_ROWS = (170, 570)  # of SKAB's rows that count; there most files have their anomaly
WINDOWS = 5000  # of the training part are kept, evenly apart, to bound the time
CHUNK = 1024  # rows whose distances are in memory at once
HELD_OUT = 0.25  # of the training part, its end, for the limit of `nearest`


def always(case: Case) -> Doubles:
    """Score every row the same, [T]."""
    return np.ones(len(case.x), np.float64)


def clock(case: Case) -> Bools:
    """Be in alarm on given rows of those that count, whatever the sensors say, [T]."""
    row = np.arange(len(case.x)) - int(case.counts.argmax())
    alarm: Bools = (row >= CLOCK_ROWS[0]) & (row < CLOCK_ROWS[1])
    return alarm


def ramp(case: Case) -> Doubles:
    """Score a row by its number, [T]: the later, the more anomalous."""
    return np.arange(len(case.x), dtype=np.float64)


def hump(case: Case) -> Doubles:
    """Score a row by how near it is to the stream's middle, [T]; it must know the length."""
    half = (len(case.x) - 1) / 2
    return half - np.abs(ramp(case) - half)


def chance(case: Case, seed: int) -> Doubles:
    """Draw each row's score from 0 to 1, [T]; the same for the same stream and seed."""
    return np.random.default_rng((crc32(case.name.encode()), seed)).random(len(case.x))


def nearest(train: Floats, x: Floats, rows: int) -> Doubles:
    """Score by the distance of the last rows to the most similar ones of the training part.

    Rows are standardised by the training part; a channel that never changed there keeps its unit.
    A window is a row and those before it; before the first one, the first one is repeated. The
    distance is Euclidean. Only the training part and the past of a row decide its score.

    Args:
        train: [T0, C], no fewer rows than a window.
        x: [T, C].
        rows: In a window.

    Returns:
        Distances, [T].

    Raises:
        ValueError: If the training part is shorter than a window.
    """
    if len(train) < rows:
        msg = f"expected at least the {rows} rows of a window to fit on, saw {len(train)}"
        raise ValueError(msg)
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 0, deviation, 1.0)
    known = _windows((train - mean) / scale, rows)[rows - 1 :]
    known = known[:: -(-len(known) // WINDOWS)]
    seen = _windows((x - mean) / scale, rows)
    known_square, distance = np.sum(known**2, axis=1), np.empty(len(x))
    for start in range(0, len(x), CHUNK):
        part = seen[start : start + CHUNK]
        # |a - b|^2 = |a|^2 - 2ab + |b|^2; rounding can take it below zero.
        square = np.sum(part**2, axis=1) + np.min(known_square - 2 * part @ known.T, axis=1)
        distance[start : start + CHUNK] = np.sqrt(np.maximum(square, 0))
    return distance


def nearest_limit(train: Floats, rows: int) -> float:
    """Return the highest distance that normal rows had: the training part's end to the rest."""
    cut = len(train) - int(HELD_OUT * len(train))
    return float(nearest(train[:cut], train, rows)[cut:].max())


def _windows(x: Doubles, rows: int) -> Doubles:
    """Return each row with those before it, [T, C] -> [T, C * rows]."""
    padded = np.concatenate([np.repeat(x[:1], rows - 1, axis=0), x])
    return np.lib.stride_tricks.sliding_window_view(padded, rows, axis=0).reshape(len(x), -1)
