"""The daemon's stages over a file instead of Kafka: one row out for each row in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from detector.artifact import Manifest
from detector.engine import Engine, Trace
from detector.errors import SettingsRejected
from detector.files import Columns, Part, read_parts
from detector.messages import rfc3339
from detector.records import Ints, Partition
from detector.validate import format_of

LATE = "late: not newer than its stream's last reading"


@dataclass(slots=True)
class Summary:
    """What became of a file's rows.

    Attributes:
        rows: All of them.
        scored: Those with a score.
        late: Those not newer than their stream's last one.
        bad: The others, by reason.
        opened: Alerts that began.
        streams: Distinct streams.
    """

    rows: int = 0
    scored: int = 0
    late: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    opened: int = 0
    streams: int = 0


def score_file(
    engine: Engine,
    source: Path,
    target: Path,
    names: Mapping[str, str],
    progress: Callable[[int], object] = lambda _: None,
) -> Summary:
    """Score a file into another, each CSV, Parquet or JSON lines by its name.

    Args:
        engine: The daemon's own.
        source: The readings.
        target: One row for each of the source's, in its order.
        names: The file's column for `ts`, `stream` or a channel, where it has another name;
            none ("") for `stream` where the file is one stream.
        progress: Takes the rows done so far.

    Raises:
        SettingsRejected: If a file cannot be read or written, or a column is unknown.
    """
    if target.exists() and source.exists() and source.samefile(target):
        msg = f"{target}: expected another file than the one to score"
        raise SettingsRejected(msg)
    manifest = engine.model.manifest
    columns = columns_of(manifest, names)
    parts = read_parts(source, columns, format_of(manifest), source.stem)
    with TableFile(target) as table:
        return replay(engine, parts, table.write, progress)


def columns_of(manifest: Manifest, names: Mapping[str, str]) -> Columns:
    """Return which column of a file is what, for a model; `names` as for `score_file`.

    Raises:
        SettingsRejected: If one of the names is none of the model's.
    """
    channels = [channel.name for channel in manifest.channels]
    strangers = names.keys() - {"ts", "stream", *channels}
    if strangers:
        msg = f"expected columns of ts, stream, {', '.join(channels)}; saw {', '.join(strangers)}"
        raise SettingsRejected(msg)
    return Columns(
        names.get("ts", "ts"),
        tuple(names.get(channel, channel) for channel in channels),
        names.get("stream", "stream") or None,
        {names.get(c.name, c.name): c.symbols for c in manifest.channels if c.symbols},
    )


def replay(
    engine: Engine,
    parts: Iterable[Part],
    write: Callable[[pa.Table], object],
    progress: Callable[[int], object] = lambda _: None,
) -> Summary:
    """Score a file's rows in their order.

    Args:
        engine: The daemon's own.
        parts: The file, from `files.read_parts`.
        write: Takes a table of each part's rows.
        progress: Takes the rows done so far, after each part.
    """
    arena, summary = engine.new_arena(), Summary()
    manifest = engine.model.manifest
    for part in parts:
        decoded = part.decoded
        outcome = engine.run(arena, decoded.readings, Partition("file", 0), keep_trace=True)
        assert outcome.trace is not None  # noqa: S101 - it was asked for
        write(_table(part, outcome.trace, manifest))
        summary.rows += len(part.times)
        summary.scored += outcome.scored
        summary.late += outcome.late
        summary.opened += sum(alert.status == "open" for alert in outcome.alerts)
        for bad in decoded.bad:
            summary.bad[bad.reason] = summary.bad.get(bad.reason, 0) + 1
        summary.streams = len(arena)
        progress(summary.rows)
    return summary


def _table(part: Part, trace: Trace, manifest: Manifest) -> pa.Table:
    readings = part.decoded.readings
    rows, place = len(part.times), readings.offset - part.first
    reason = [""] * rows
    for bad in part.decoded.bad:
        reason[bad.index] = f"{bad.reason}: {bad.detail}"
    for row in place[~trace.scored].tolist():
        reason[row] = LATE
    times = list(part.times)
    for row, ts_us in zip(place.tolist(), readings.ts_us.tolist(), strict=True):
        times[row] = rfc3339(ts_us)
    columns: dict[str, Any] = {"stream": part.streams, "ts": times}
    spread = _Spread(rows, place[trace.scored], trace.scored)
    for k, calibration in enumerate(manifest.calibration):
        # One kind of evidence needs no name; of several, each has its own columns.
        suffix = "" if len(manifest.kinds) == 1 else f"_{calibration.kind}"
        columns[f"score{suffix}"] = spread(trace.score[:, k])
        probability = calibration.probability(trace.score[:, k].astype(np.float64))
        columns[f"probability{suffix}"] = spread(probability)
        columns[f"alert{suffix}"] = spread(trace.alerting[:, k].astype(np.int8))
    for c, channel in enumerate(manifest.channels):
        columns[f"expected_{channel.name}"] = spread(trace.expected[:, c])
        columns[f"residual_{channel.name}"] = spread(trace.residual[:, c])
    return pa.table(columns | {"reason": reason})


@dataclass(frozen=True, slots=True)
class _Spread:
    """Puts a column of readings on the file's rows; null where a row was not scored."""

    rows: int
    place: Ints
    scored: np.ndarray[Any, Any]

    def __call__(self, column: np.ndarray[Any, Any]) -> pa.Array:
        values = np.zeros(self.rows, column.dtype)
        values[self.place] = column[self.scored]
        missing = np.ones(self.rows, np.bool_)
        missing[self.place] = False
        return pa.array(values, mask=missing)


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> object: ...

    def close(self) -> object: ...


class _JsonLines:
    """JSON lines, with the interface of pyarrow's writers."""

    def __init__(self, path: Path, _: pa.Schema) -> None:
        self._file = path.open("wb")
        self._encode = msgspec.json.Encoder().encode_lines

    def write_table(self, table: pa.Table) -> None:
        # A row without a score has no member for it, rather than a null.
        rows = ({k: v for k, v in row.items() if v is not None} for row in table.to_pylist())
        self._file.write(self._encode(rows))

    def close(self) -> None:
        self._file.close()


WRITERS: Mapping[str, Callable[[Path, pa.Schema], _Writer]] = {
    ".csv": pa_csv.CSVWriter,
    ".parquet": pq.ParquetWriter,
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
}


class TableFile:
    """Writes tables of one schema to a file of the kind that its name says."""

    def __init__(self, path: Path) -> None:
        """Choose the writer; the file is made by the first table.

        Raises:
            SettingsRejected: If the name ends in nothing we write.
        """
        if path.suffix.lower() not in WRITERS:
            msg = f"{path}: expected a name that ends in {', '.join(WRITERS)}"
            raise SettingsRejected(msg)
        self._path = path
        self._writer: _Writer | None = None

    def write(self, table: pa.Table) -> None:
        """Append a table.

        Raises:
            SettingsRejected: If the file cannot be written.
        """
        try:
            if self._writer is None:
                self._writer = WRITERS[self._path.suffix.lower()](self._path, table.schema)
            self._writer.write_table(table)
        except OSError as error:
            msg = f"{self._path}: expected to write there, saw: {error}"
            raise SettingsRejected(msg) from error

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
