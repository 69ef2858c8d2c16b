"""History out of a topic, into Parquet files that `training fit` and `detector score` read.

A file holds the readings of consecutive records of one partition and says so in its name; it
appears whole or not at all. So the files alone tell how far was read, and a second run goes on
there.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from detector.decode import Reading, decode
from detector.errors import SettingsRejected
from detector.history import Origin, Span, Stretch, read
from detector.join import new_tags
from detector.records import Chunk, Readings
from detector.tables import TIME, GroupedFile, appear
from detector.validate import Format

ORDER = "recording.json"  # what a folder holds, beside its files
FILE_ROWS = 1_000_000


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is recorded into a folder; a second run must be told the same.

    Attributes:
        channels: Their names, one column each.
        since, until, by_record: See `history.Span`.
    """

    topic: str
    channels: tuple[str, ...]
    since: int | None = None
    until: int | None = None
    by_record: bool = False

    @property
    def span(self) -> Span:
        """The stretch of time."""
        return Span(self.since, self.until, self.by_record)


@dataclass(slots=True)
class Recorded:
    """What came of it.

    Attributes:
        records: Read in this run.
        readings: Written.
        outside: Readings outside the span: left out.
        bad: Records that hold no valid reading, by reason.
        unknown_values: Of channels that are not recorded.
        files: That appeared.
        resumed: Records that earlier runs had read.
    """

    records: int = 0
    readings: int = 0
    outside: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    unknown_values: int = 0
    files: int = 0
    resumed: int = 0


def recorded_before(folder: Path) -> Order | None:
    """Return what a folder was begun with; None where nothing was begun.

    Raises:
        SettingsRejected: If that cannot be read, or the folder holds other things.
    """
    path = folder / ORDER
    try:
        return msgspec.json.decode(path.read_bytes(), type=Order)
    except FileNotFoundError:
        if folder.exists() and any(folder.iterdir()):
            msg = f"{folder}: expected an empty folder, or one begun by `detector record`"
            raise SettingsRejected(msg) from None
        return None
    except (OSError, msgspec.MsgspecError) as error:
        msg = f"{path}: expected what `detector record` wrote, saw: {error}; take another folder"
        raise SettingsRejected(msg) from error


def begin(folder: Path, order: Order) -> None:
    """Make the folder, or make sure that it was begun for the same.

    Raises:
        SettingsRejected: If it holds something else, or cannot be written.
    """
    before = recorded_before(folder)
    if before is not None and before != order:
        differs = [
            f"{name} {getattr(before, name)!r}, not {getattr(order, name)!r}"
            for name in Order.__struct_fields__
            if getattr(before, name) != getattr(order, name)
        ]
        msg = f"{folder}: it was begun with {'; '.join(differs)}; take another folder"
        raise SettingsRejected(msg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.part"):
            left.unlink()
        appear(folder / ORDER, msgspec.json.format(msgspec.json.encode(order)))
    except OSError as error:
        msg = f"{folder}: expected a folder to write to, saw: {error}"
        raise SettingsRejected(msg) from error


def find_channels(origin: Origin, parts: Iterable[Stretch]) -> tuple[str, ...]:
    """Return the channels that the first records of every partition name, as they are met.

    Raises:
        SettingsRejected: If there is none, or values come without names.
        ConnectionLost: If the broker does not answer.
    """
    names: dict[str, None] = {}
    for stretch in parts:
        for chunk in read(origin, stretch):
            for value in filter(None, chunk.values):
                names |= dict.fromkeys(_names(value))
            break
    if not names:
        msg = "expected records whose values have names, saw none; name them with --channels"
        raise SettingsRejected(msg)
    return tuple(names)


def record(
    origin: Origin,
    parts: Iterable[Stretch],
    order: Order,
    form: Format,
    folder: Path,
    progress: Callable[[int], object] = lambda _: None,
    file_rows: int = FILE_ROWS,
) -> Recorded:
    """Write the readings of a topic's stretches, one partition after the other.

    Args:
        origin: Of the records.
        parts: Each partition's, from `history.stretches`.
        order: With which the folder was begun.
        form: What a valid record is; its channels are the order's.
        folder: That was begun.
        progress: Takes how many more records are done with.
        file_rows: A file is finished when it holds as many, about.

    Raises:
        ConnectionLost: If the broker does not answer; a second run goes on.
        SettingsRejected: If the folder cannot be written.
    """
    said, known = Recorded(), _stops(folder, order.topic)
    try:
        for whole in parts:
            start = max(whole.start, known.get(whole.partition.number, 0))
            stretch = replace(whole, start=min(start, whole.stop))
            said.resumed += len(whole) - len(stretch)
            progress(len(whole) - len(stretch))
            files = _Files(folder, stretch, form, file_rows, said)
            _record(origin, stretch, order.span, files, progress)
    except OSError as error:
        msg = f"{folder}: expected to write there, saw: {error}; make room and run it again"
        raise SettingsRejected(msg) from error
    return said


def _record(
    origin: Origin,
    stretch: Stretch,
    span: Span,
    files: "_Files",
    progress: Callable[[int], object],
) -> None:
    at = stretch.start
    for chunk in read(origin, stretch):
        files.add(chunk, span)
        progress(chunk.next_offset - at)
        at = chunk.next_offset
    files.finish(at)


class _Files:
    """The files of one partition's stretch, one after the other."""

    def __init__(
        self, folder: Path, stretch: Stretch, form: Format, rows: int, said: Recorded
    ) -> None:
        self._folder, self._form, self._rows, self._said = folder, form, rows, said
        self._tags = new_tags(len(form.channels))
        self._name = f"{stretch.partition.topic}-{stretch.partition.number:05}"
        self._start = stretch.start
        schema = [("stream", pa.string()), ("ts", TIME)]
        self._schema = pa.schema([*schema, *((c, pa.float32()) for c in form.channels)])
        self._file = self._new()

    def add(self, chunk: Chunk, span: Span) -> None:
        """Take a chunk's readings."""
        decoded, said = decode(chunk, self._form, self._tags), self._said
        readings = span.of(decoded.readings)
        said.records += len(chunk.values)
        said.readings += len(readings.ts_us)
        said.outside += len(decoded.readings.ts_us) - len(readings.ts_us)
        said.bad.update(bad.reason for bad in decoded.bad)
        said.unknown_values += decoded.unknown_values
        self._file.add(_table(readings, self._schema))
        if self._file.rows >= self._rows:
            self.finish(chunk.next_offset)

    def finish(self, stop: int) -> None:
        """Let the file appear, of records up to `stop`; where there is no reading, none does."""
        path = self._folder / f"{self._name}-{self._start:015}-{stop:015}.parquet"
        self._said.files += self._file.finish(path)
        self._file, self._start = self._new(), stop

    def _new(self) -> GroupedFile:
        return GroupedFile(self._folder / f"{self._name}.part", self._schema)


def _table(readings: Readings, schema: pa.Schema) -> pa.Table:
    streams = pa.array([stream.decode() for stream in readings.streams], pa.string())
    x = readings.x
    # A channel that is missing is null, as other tools expect.
    columns = [pa.array(x[:, c], mask=np.isnan(x[:, c])) for c in range(x.shape[1])]
    times = pa.array(readings.ts_us, TIME)
    return pa.table([streams.take(pa.array(readings.stream)), times, *columns], schema)


def _stops(folder: Path, topic: str) -> dict[int, int]:
    """Return up to where each partition was read, as the files' names say."""
    stops: dict[int, int] = {}
    for path in folder.glob("*.parquet"):
        named = re.fullmatch(rf"{re.escape(topic)}-(\d{{5}})-\d{{15}}-(\d{{15}})", path.stem)
        if named:
            number, stop = int(named[1]), int(named[2])
            stops[number] = max(stops.get(number, 0), stop)
    return stops


def _names(value: bytes) -> list[str]:
    with suppress(ValueError, RecursionError):
        several = msgspec.json.decode(value, type=Reading | list[Reading])
        for one in several if isinstance(several, list) else [several]:
            if isinstance(one.values, dict):
                return list(one.values)
    return []
