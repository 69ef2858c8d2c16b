"""Files appear whole or not at all."""

import os
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from detector.tables import GroupedFile, appear


def test_a_file_has_its_name_when_the_disk_has_it_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[list[str]] = []
    monkeypatch.setattr(
        os, "fsync", lambda _: there.append(sorted(path.name for path in tmp_path.iterdir()))
    )
    file = GroupedFile(tmp_path / "a.part", pa.schema([("x", pa.int64())]))
    assert not file.finish(tmp_path / "none.parquet")
    file.add(pa.table({"x": [1, 2]}))
    assert file.finish(tmp_path / "a.parquet")
    appear(tmp_path / "b.json", b"{}")
    assert there == [["a.part"], ["a.parquet", "b.json.part"]]
    assert pq.read_table(tmp_path / "a.parquet")["x"].to_pylist() == [1, 2]
    assert (tmp_path / "b.json").read_bytes() == b"{}"
