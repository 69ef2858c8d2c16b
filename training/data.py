"""History from files to sequences: many streams, in parts, held on disk and not in memory.

Axes: N rows of all streams, sorted by stream and time; C channels.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np

from detector.errors import SettingsRejected
from detector.files import PART_ROWS, Columns, Part, read_parts
from detector.records import US_PER_S, Floats, Ints, Readings
from detector.validate import Format
from training.config import Data

NAMED_FAULTS = 5  # examples of bad rows kept for the person to read


@dataclass(slots=True)
class Report:
    """What was read, and what was not.

    Attributes:
        rows: All rows of all files.
        bad: Rows set aside, by reason.
        late: Rows that repeat a time of their stream.
        examples: The first few, in words.
        sha256: Of the files' bytes, in their order.
    """

    rows: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    late: int = 0
    examples: list[str] = field(default_factory=list)
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one stream without a gap: start <= row < stop.

    Attributes:
        lead: So many rows at the start only bring the state up; they do not count.
    """

    start: int
    stop: int
    lead: int = 0

    def __len__(self) -> int:
        """Return how many rows."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class History:
    """All readings, sorted by stream and time.

    Attributes:
        x: [N, C] float32 engineering units, NaN where missing; on disk, in the order of reading.
        order: [N] int64, the row of `x` for each sorted reading.
        ts_us: [N] int64, sorted.
        streams: [M + 1] int64, where each stream begins in the sorted order, and N.
        names: [M] the streams.
        report: What was read, and what was not.
    """

    x: Floats
    order: Ints
    ts_us: Ints
    streams: Ints
    names: list[str]
    report: Report

    def rows(self, start: int, stop: int) -> Floats:
        """Return sorted rows, [stop - start, C]; the only place that reads from disk."""
        return np.asarray(self.x[self.order[start:stop]])

    @property
    def period_s(self) -> float:
        """Median seconds between two readings of a stream."""
        steps = np.diff(self.ts_us)
        inside = np.ones(len(steps), np.bool_)
        inside[self.streams[1:-1] - 1] = False
        if not inside.any():
            return 1.0
        return float(np.median(steps[inside])) / US_PER_S

    def split(self, shares: tuple[float, ...], gap_s: float, lead: int) -> list[list[Piece]]:
        """Split every stream by time, and cut it where it has gaps.

        Args:
            shares: Of each stream's rows, in the order of time; they add up to 1.
            gap_s: A longer silence ends a piece.
            lead: Rows before a share, as far as there are any, that its pieces start with.

        Returns:
            For each share, its pieces of at least two rows.
        """
        gaps = np.flatnonzero(np.diff(self.ts_us) > gap_s * US_PER_S) + 1
        cuts = np.minimum(np.cumsum((0.0, *shares)) / sum(shares), 1.0)
        split: list[list[Piece]] = []
        for low, high in pairwise(cuts):
            pieces = []
            for first, last in pairwise(self.streams):
                start = first + round(float(low) * (last - first))
                stop = first + round(float(high) * (last - first))
                edges = [start, *gaps[(gaps > start) & (gaps < stop)], stop]
                since = max(first, start - lead, *gaps[gaps <= start][-1:])
                pieces += [Piece(int(a), int(b)) for a, b in pairwise([since, *edges[1:]])]
                pieces[-len(edges) + 1] = Piece(int(since), int(edges[1]), int(start - since))
            split.append([piece for piece in pieces if len(piece) > piece.lead])
        return split


def read_history(
    data: Data, root: Path, progress: Callable[[int], object] = lambda _: None
) -> History:
    """Read all files of a data mapping.

    Args:
        data: Files, columns and limits.
        root: The folder that relative paths start from.
        progress: Takes the rows read so far.

    Raises:
        SettingsRejected: If no file or no valid row is found, or a file lacks a column.
    """
    files, report, digest = find_files(data.files, root), Report(), sha256()
    codes: dict[str, int] = {}
    streams, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    with tempfile.TemporaryFile() as spool:
        for path, name in files:
            digest.update(_hash(path))
            for readings in _readings(path, name, data, report):
                known = [codes.setdefault(s.decode(), len(codes)) for s in readings.streams]
                streams.append(np.array(known, np.int64)[readings.stream])
                times.append(readings.ts_us)
                spool.write(readings.x.tobytes())
                progress(report.rows)
        report.sha256 = digest.hexdigest()
        stream, ts_us = np.concatenate(streams), np.concatenate(times)
        if not len(stream):
            _refuse_empty(report)
        spool.flush()
        # The mapping outlives the file's name and handle.
        x = np.memmap(spool, np.float32, "r", shape=(len(stream), len(data.channels)))
    return _sorted(x, stream, ts_us, list(codes), report)


def _readings(path: Path, name: str, data: Data, report: Report) -> Iterator[Readings]:
    """Yield a file's valid readings, up to `rows_per_file` of its rows."""
    columns, form = mapping(data)
    limit = data.rows_per_file or PART_ROWS
    for part in read_parts(path, columns, form, name, min(limit, PART_ROWS)):
        _note(report, path, part)
        yield part.decoded.readings
        if data.rows_per_file and part.first + len(part.times) >= data.rows_per_file:
            return


def _sorted(x: Floats, stream: Ints, ts_us: Ints, names: list[str], report: Report) -> History:
    order = np.lexsort((ts_us, stream))
    stream, ts_us = stream[order], ts_us[order]
    repeat = np.zeros(len(order), np.bool_)
    repeat[1:] = (np.diff(stream) == 0) & (np.diff(ts_us) == 0)
    report.late = int(repeat.sum())
    order, stream, ts_us = order[~repeat], stream[~repeat], ts_us[~repeat]
    starts = np.searchsorted(stream, np.arange(len(names) + 1))
    return History(x, order, ts_us, starts, names, report)


def find_files(patterns: tuple[str, ...], root: Path) -> list[tuple[Path, str]]:
    """Return the files that the patterns name, each with the name of its stream.

    Raises:
        SettingsRejected: If a pattern names none.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = (root / pattern).absolute()  # from here, a pattern may begin anywhere
        found_here = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        matches = [path] if path.is_file() else sorted(p for p in found_here if p.is_file())
        if not matches:
            msg = f"expected data files at {path}, saw none; mend `files`"
            raise SettingsRejected(msg)
        found += [m for m in matches if m not in found]
    # Files of one stream each are named by their path below what they share.
    return [(path, path.with_suffix("").relative_to(_shared(found)).as_posix()) for path in found]


def _shared(files: list[Path]) -> Path:
    parents = set.intersection(*({*path.parents} for path in files))
    return max(parents, key=lambda parent: len(parent.parts))


def mapping(data: Data) -> tuple[Columns, Format]:
    """Return how rows of these files become readings."""
    symbols = {c.column or c.name: c.symbols for c in data.channels if c.symbols}
    places = tuple(c.column or c.name for c in data.channels)
    columns = Columns(data.time, places, data.stream, symbols)
    anything = (-np.inf, np.inf)
    bounds = tuple(channel.valid or anything for channel in data.channels)
    return columns, Format(tuple(c.name for c in data.channels), bounds)


def _note(report: Report, path: Path, part: Part) -> None:
    report.rows += len(part.times)
    for bad in part.decoded.bad:
        report.bad[bad.reason] += 1
        if len(report.examples) < NAMED_FAULTS:
            row = part.first + bad.index + 1
            report.examples.append(f"{path.name}, row {row}: {bad.reason}: {bad.detail}")


def _refuse_empty(report: Report) -> None:
    examples = "; ".join(report.examples) or "no rows at all"
    msg = f"expected readings in the files of [data], saw {report.rows} rows, all bad: {examples}"
    raise SettingsRejected(msg)


def _hash(path: Path) -> bytes:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()
