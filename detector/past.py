"""The past as the daemon would have heard it: a partition of a topic, or a share of files."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from detector.artifact import Manifest
from detector.cluster import Cluster
from detector.decode import decode
from detector.equip import input_of
from detector.errors import SettingsRejected
from detector.files import READERS, Columns, Part, read_parts
from detector.history import Origin, Span, Stretch, read
from detector.join import new_tags
from detector.mapping import Input, form_of, headers_of, limits_of
from detector.records import BadRecord, Bools, Partition, Readings
from detector.routed import takers_of
from detector.schemas import schemas_of
from detector.settings import Settings
from detector.validate import format_of
from detector.wire import from_json


@dataclass(frozen=True, slots=True)
class Heard:
    """Some records in their order.

    Attributes:
        partition: Under which alerts name them.
        records: How many.
        readings: Those within the span.
        bad: Those that hold none.
    """

    partition: Partition
    records: int
    readings: Readings
    bad: list[BadRecord]


@dataclass(frozen=True, slots=True)
class TopicPast:
    """The records of one partition.

    Attributes:
        settings: Of the daemon.
        route: Whose streams are heard.
    """

    cluster: Cluster
    stretch: Stretch
    settings: Settings
    route: str = ""

    def hear(self, manifest: Manifest, span: Span) -> Iterator[Heard]:
        """Yield them as they come.

        Raises:
            ConnectionLost: If the broker, or the registry of their schemas, does not answer.
            SettingsRejected: If the mapping is none for this model.
        """
        given, routes = input_of(self.settings, manifest), takers_of(self.settings)
        schemas = schemas_of(given)
        form = form_of(manifest, given, schemas.unpack if schemas else from_json)
        tags = new_tags(len(form.channels))
        for chunk in read(Origin(self.cluster, headers_of(given), schemas), self.stretch):
            decoded = decode(chunk, form, tags)
            ours = routes.takes(self.route, chunk.partition, decoded.readings.streams)
            readings = decoded.readings
            if not ours.all():
                readings = readings.only(ours[readings.stream])
            readings = span.of(readings)
            yield Heard(chunk.partition, len(chunk.values), readings, decoded.bad)


@dataclass(frozen=True, slots=True)
class FilesPast:
    """The rows of some files that are of every n-th stream; so a stream stays in one place.

    Attributes:
        name: Under which alerts name them.
        given: The settings, of which only limits count: columns say where what is.
        share: Number of this part, and of all.
    """

    name: str
    paths: tuple[Path, ...]
    columns: Columns
    given: Input
    share: tuple[int, int] = (0, 1)

    def hear(self, manifest: Manifest, span: Span) -> Iterator[Heard]:
        """Yield them, file by file.

        Raises:
            SettingsRejected: If a file cannot be read.
        """
        first, form = 0, format_of(manifest, None, **limits_of(self.given))
        for path in self.paths:
            rows = 0
            for part in read_parts(path, self.columns, form, path.stem):
                ours = self._ours(part)
                rows += len(part.times)
                readings = part.decoded.readings
                readings.offset[:] -= part.first
                readings = readings.only(ours[readings.offset])
                readings.offset[:] += first + part.first
                bad = [bad for bad in part.decoded.bad if ours[bad.index]]
                partition = Partition(self.name, 0)
                yield Heard(partition, int(ours.sum()), span.of(readings), bad)
            first += rows

    def _ours(self, part: Part) -> Bools:
        """Return which rows are of this share's streams, [rows]."""
        number, of = self.share

        @cache
        def ours(stream: str) -> bool:
            return zlib.crc32(stream.encode(errors="replace")) % of == number

        return np.fromiter(map(ours, part.streams), np.bool_, len(part.streams))


Past = TopicPast | FilesPast


def files_at(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files that are named, and those in folders that are, by name.

    Raises:
        SettingsRejected: If there is none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.glob("*") if p.suffix.lower() in READERS)
        found += inside if path.is_dir() else [path]
    missing = [str(path) for path in found if not path.is_file()]
    if missing or not found:
        named = ", ".join(missing or map(str, paths))
        msg = f"expected files that end in {', '.join(READERS)}, saw none at {named}"
        raise SettingsRejected(msg)
    return tuple(found)


def rows_in(paths: Sequence[Path]) -> int:
    """Return about how many rows there are: lines, where a file does not say.

    Raises:
        SettingsRejected: If a file cannot be read.
    """
    try:
        return sum(_rows(path) for path in paths)
    except (OSError, ValueError) as error:  # pyarrow's own are ValueErrors
        msg = f"expected readable files, saw: {error}"
        raise SettingsRejected(msg) from error


def _rows(path: Path) -> int:
    if path.suffix.lower() == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    lines = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
    return lines
