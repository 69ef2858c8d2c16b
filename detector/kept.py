"""Scores kept on disk: of each reading what a judge needs to judge it again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from detector.engine import Trace
from detector.errors import SettingsRejected
from detector.records import Readings
from detector.tables import GROUP_ROWS, TIME, GroupedFile


class KeptScores:
    """A file of the scored readings of one part of the past, in the order of their scoring."""

    def __init__(self, path: Path, kinds: Sequence[str]) -> None:
        """Write to `path`, when it is finished."""
        columns = [("stream", pa.string()), ("ts", TIME), ("offset", pa.int64())]
        self._schema = pa.schema([*columns, *((f"score_{kind}", pa.float32()) for kind in kinds)])
        self._path = path
        self._file = GroupedFile(path.with_suffix(".part"), self._schema)

    def add(self, readings: Readings, trace: Trace) -> None:
        """Keep those that were scored.

        Raises:
            OSError: If they cannot be written.
        """
        scored, score = trace.scored, trace.score[trace.scored]
        streams = pa.array([stream.decode() for stream in readings.streams], pa.string())
        columns = [
            streams.take(pa.array(readings.stream[scored])),
            pa.array(readings.ts_us[scored], TIME),
            pa.array(readings.offset[scored]),
            *(pa.array(score[:, k]) for k in range(score.shape[1])),
        ]
        self._file.add(pa.table(columns, self._schema))

    def finish(self) -> None:
        """Let the file appear, if a reading was scored.

        Raises:
            OSError: If it cannot be written.
        """
        self._file.finish(self._path)


def kept_scores(path: Path, kinds: Sequence[str]) -> Iterator[Readings]:
    """Yield a file's readings, their scores [N, K] in place of x.

    Raises:
        SettingsRejected: If the file cannot be read.
    """
    names = [f"score_{kind}" for kind in kinds]
    try:
        with pq.ParquetFile(path, read_dictionary=["stream"]) as file:
            for batch in file.iter_batches(GROUP_ROWS, columns=["stream", "ts", "offset", *names]):
                stream = batch.column("stream")
                streams = [name.encode() for name in stream.dictionary.to_pylist()]
                score = np.stack([batch.column(name).to_numpy() for name in names], 1)
                readings = Readings(
                    streams,
                    stream.indices.to_numpy().astype(np.int64),
                    batch.column("ts").cast(pa.int64()).to_numpy(),
                    score,
                    batch.column("offset").to_numpy(),
                )
                # A dictionary may hold streams that this batch lacks.
                yield readings.only(np.ones(len(score), np.bool_))
    except (OSError, pa.ArrowException) as error:
        msg = f"{path}: expected kept scores, saw: {error}; run `detector backtest` again"
        raise SettingsRejected(msg) from error
