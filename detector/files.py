"""Readings from CSV, Parquet and JSON-lines files, part by part; a file may exceed memory."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from detector.errors import SettingsRejected
from detector.records import Doubles, Ints, Readings
from detector.validate import (
    Decoded,
    Faults,
    Format,
    Stamp,
    check_times,
    check_values,
    encode_streams,
    epoch_us,
    flag,
    without_faults,
)

PART_ROWS = 1 << 18
DELIMITERS = ",;\t|"
# A row of a file did not arrive at any time, so none of its times is too far ahead.
END_OF_TIME_US = 253_402_300_799 * 1_000_000  # the year 9999
MISSING = {"", "nan", "null", "none", "na", "n/a"}

Cells = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a file is what.

    Attributes:
        time: Event time: RFC 3339 (UTC where it does not say), or an epoch number.
        channels: The column of each channel, in the model's order. In JSON lines a dot leads
            into an object: `values.pressure`.
        stream: The stream id; None where the file is one stream.
        symbols: Columns of events, each with the names of its codes, from 0 on; a cell may hold
            the code or the name.
    """

    time: str
    channels: tuple[str, ...]
    stream: str | None = None
    symbols: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Return all columns that are read."""
        return (self.time, *((self.stream,) if self.stream else ()), *self.channels)


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of a file.

    Attributes:
        first: Number of its first row; the file's first data row is 0.
        streams: [rows] the stream ids as they were read.
        times: [rows] the times as they were read.
        decoded: Offsets of its readings are row numbers; indices of its bad records count from
            `first`.
    """

    first: int
    streams: list[str]
    times: list[str]
    decoded: Decoded


def read_parts(
    path: Path, columns: Columns, form: Format, stream: str, part_rows: int = PART_ROWS
) -> Iterator[Part]:
    """Yield a file's rows, each either as a reading or as a bad record; at least one part.

    Args:
        path: `.csv`, `.parquet` or `.jsonl` (also `.ndjson`).
        columns: Which column is what.
        form: What a valid reading looks like.
        stream: The stream's name where no column says it.
        part_rows: At most so many rows at once are held in memory.

    Raises:
        SettingsRejected: If the file cannot be read, or lacks a column.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        msg = f"{path}: expected a file that ends in {', '.join(READERS)}, saw {path.suffix!r}"
        raise SettingsRejected(msg)
    first = 0
    try:
        for table in reader(path, columns.names, part_rows):
            part = _part(first, table, columns, form, stream)
            first += len(part.times)
            yield part
        if not first:
            yield _part(0, {name: [] for name in columns.names}, columns, form, stream)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        msg = f"{path}: expected a readable {path.suffix} file, saw: {error}"
        raise SettingsRejected(msg) from error


def _part(
    first: int, table: Mapping[str, Cells], columns: Columns, form: Format, stream: str
) -> Part:
    rows = len(table[columns.time])
    faults: Faults = {}
    record = np.arange(rows)
    names = [stream] * rows if columns.stream is None else list(map(_text, table[columns.stream]))
    streams, code = encode_streams([name.encode() for name in names], form, faults)
    values = np.empty((rows, len(columns.channels)))
    for c, name in enumerate(columns.channels):
        symbols = columns.symbols.get(name, ())
        expected = f"a {'symbol or its code' if symbols else 'number'} in {name!r}"
        values[:, c] = _numbers(_codes(table[name], symbols), expected, faults)
    ts_us = check_times(
        _times(table[columns.time], faults), np.full(rows, END_OF_TIME_US), record, form, faults
    )
    x, out_of_bounds = check_values(values, record, form, faults)
    readings = without_faults(Readings(streams, code, ts_us, x, record + first), record, faults)
    decoded = Decoded(readings, [faults[i] for i in sorted(faults)], 0, out_of_bounds)
    return Part(first, names, list(map(_text, table[columns.time])), decoded)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _codes(cells: Cells, symbols: Sequence[str]) -> Cells:
    """Put codes in place of symbols' names; other cells stay."""
    if not symbols:
        return cells
    codes = {name: code for code, name in enumerate(symbols)}
    return [codes.get(_text(cell).strip(), cell) for cell in cells]


def _numbers(cells: Cells, expected: str, faults: Faults) -> Doubles:
    """Turn cells into [rows] float64; NaN where nothing is in them."""
    try:
        numbers = np.array(cells, np.float64)
        if numbers.ndim == 1:
            return numbers
    except (ValueError, TypeError, OverflowError):
        pass  # at least one is no number: find out which
    numbers, wrong = np.full(len(cells), np.nan), np.zeros(len(cells), np.bool_)
    for row, cell in enumerate(cells):
        try:
            numbers[row] = float(cell)
        except OverflowError:
            numbers[row] = np.inf
        except (ValueError, TypeError):
            wrong[row] = _text(cell).strip().lower() not in MISSING
    _refuse(wrong, cells, expected, faults)
    return numbers


def _times(cells: Cells, faults: Faults) -> Doubles:
    """Turn cells into [rows] float64 microseconds since the epoch; NaN where they are no time."""
    stamps: list[Stamp] = [_stamp(cell) for cell in cells]
    ts_us = epoch_us(stamps)
    _refuse(np.isnan(ts_us), cells, "a time (RFC 3339 or epoch)", faults)
    return ts_us


def _stamp(cell: object) -> Stamp:
    if isinstance(cell, int | float):
        return cell
    text = _text(cell).strip()
    try:  # first: digits alone are a date without separators to `fromisoformat`
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return np.nan


def _refuse(wrong: np.ndarray[Any, Any], cells: Cells, expected: str, faults: Faults) -> None:
    rows: Ints = np.arange(len(cells))
    flag(faults, rows, wrong, "schema", lambda n: f"expected {expected}, saw {cells[n]!r}")


def _require(path: Path, wanted: Sequence[str], seen: Sequence[str]) -> None:
    lacking = [name for name in wanted if name not in seen]
    if lacking:
        msg = (
            f"{path}: expected columns {', '.join(lacking)}; saw {', '.join(seen)}; "
            "say which column is what in the mapping"
        )
        raise SettingsRejected(msg)


def _read_csv(path: Path, names: Sequence[str], part_rows: int) -> Iterator[Mapping[str, Cells]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = file.readline()
        delimiter = max(DELIMITERS, key=header.count)
        seen = next(csv.reader([header], delimiter=delimiter), [])
        _require(path, names, seen)
        places = {name: seen.index(name) for name in names}
        rows = csv.reader(file, delimiter=delimiter)
        while part := list(islice((row for row in rows if row), part_rows)):
            # A row cut short has empty cells at its end; one too long, nothing we read.
            yield {
                name: [row[c] if c < len(row) else "" for row in part] for name, c in places.items()
            }


def _read_parquet(
    path: Path, names: Sequence[str], part_rows: int
) -> Iterator[Mapping[str, Cells]]:
    with pq.ParquetFile(path) as file:
        _require(path, names, file.schema_arrow.names)
        for batch in file.iter_batches(part_rows, columns=list(names)):
            yield {name: _column(batch.column(name)) for name in names}


def _column(column: pa.Array) -> Cells:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
    if pa.types.is_floating(column.type):
        return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]


def _read_jsonl(path: Path, names: Sequence[str], part_rows: int) -> Iterator[Mapping[str, Cells]]:
    seen: set[str] = set()
    with path.open("rb") as file:
        while lines := list(islice((line for line in file if line.strip()), part_rows)):
            rows = [_flat(line) for line in lines]
            if not seen:
                seen = set().union(*rows)
                _require(path, names, sorted(seen))
            yield {name: [row.get(name) for row in rows] for name in names}


def _flat(line: bytes) -> dict[str, Any]:
    """Return a line's object, members of objects in it as `outer.inner`; empty if it has none."""
    try:
        row = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(row, dict):
        return {}
    flat: dict[str, Any] = {}
    for name, cell in row.items():
        if isinstance(cell, dict):
            flat |= {f"{name}.{inner}": value for inner, value in cell.items()}
        else:
            flat[name] = cell
    return flat


READERS = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
}
