"""Parquet files that are written in large groups of rows, and appear whole or not at all."""

import os
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

GROUP_ROWS = 1 << 17  # held in memory until they are written
TIME = pa.timestamp("us", "UTC")


class GroupedFile:
    """A file that becomes longer under another name, until it is finished.

    Attributes:
        rows: That were added.
    """

    def __init__(self, part: Path, schema: pa.Schema) -> None:
        """Remember where to write; the file is made by the first group."""
        self._part, self._schema = part, schema
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []
        self.rows = self._held_rows = 0

    def add(self, table: pa.Table) -> None:
        """Append rows.

        Raises:
            OSError: If they cannot be written.
        """
        if table.num_rows:
            self._held.append(table)
            self.rows += table.num_rows
            self._held_rows += table.num_rows
        if self._held_rows >= GROUP_ROWS:
            self._write()

    def finish(self, path: Path) -> bool:
        """Let the file appear under its name; return whether there was a row to keep.

        Raises:
            OSError: If it cannot be written.
        """
        self._write()
        if self._writer is None:
            return False
        self._writer.close()
        _name(self._part, path)
        return True

    def _write(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")
        self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._held_rows = [], 0


def appear(path: Path, content: bytes) -> None:
    """Write a small file that is there whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    _name(part, path)


def _name(part: Path, path: Path) -> None:
    """Give a file its name once the disk has it: a power cut leaves it whole or not at all."""
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(path)
