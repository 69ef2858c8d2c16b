"""History from files: every format, every fault, and how it is split."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector.errors import SettingsRejected
from detector.files import Columns, read_parts
from detector.validate import Format
from training.config import Data
from training.data import History, read_history

START = 1_700_000_000  # s; 2023-11-14T22:13:20Z
NAMES = ("ts", "pump", "pressure", "temp")
ROWS = [
    (START, "p", 1.0, 2.0),
    (START, "q", 3.0, None),
    (START + 1, "p", 1.5, 2.5),
    (START + 2, "p", None, 4.0),
    (START + 9, "q", 5.0, 6.0),
]


def read(root: Path, *files: str, **entries: object) -> History:
    table = {"files": files, "channels": ("pressure", "temp"), "stream": "pump"} | entries
    return read_history(Data.model_validate(table), root)


def delimited(rows: list[tuple[object, ...]], separator: str = ",") -> str:
    cells = [NAMES, *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    return "".join(separator.join(row) + "\n" for row in cells)


def table(rows: list[tuple[object, ...]], **columns: pa.Array) -> pa.Table:
    return pa.table(dict(zip(NAMES, zip(*rows, strict=True), strict=True)) | columns)


def objects(rows: list[tuple[object, ...]]) -> list[dict[str, object]]:
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def json_lines(rows: Iterable[object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


STAMPS = pa.array([row[0] * 10**9 for row in ROWS], pa.timestamp("ns", "UTC"))
NESTED = [{"ts": t, "pump": p, "values": {"a": a, "b": b}} for t, p, a, b in ROWS]
VALUES = [{"name": "pressure", "column": "values.a"}, {"name": "temp", "column": "values.b"}]
WRITERS: dict[str, Callable[[Path], object]] = {
    "comma.csv": lambda path: path.write_text(delimited(ROWS)),
    "semicolon.csv": lambda path: path.write_text(delimited(ROWS, ";")),
    "bom.csv": lambda path: path.write_text(delimited(ROWS), encoding="utf-8-sig"),
    "epoch.parquet": lambda path: pq.write_table(table(ROWS), path),
    "timestamp.parquet": lambda path: pq.write_table(table(ROWS, ts=STAMPS), path),
    "flat.jsonl": lambda path: path.write_text(json_lines(objects(ROWS))),
    "nested.ndjson": lambda path: path.write_text(json_lines(NESTED)),
}


@pytest.mark.parametrize("file", WRITERS)
def test_every_format_gives_the_same_history(tmp_path: Path, file: str) -> None:
    WRITERS[file](tmp_path / file)
    history = read(tmp_path, file, **({"channels": VALUES} if "nested" in file else {}))
    assert history.names == ["p", "q"]
    assert history.streams.tolist() == [0, 3, 5]
    assert (history.ts_us / 1e6 - START).tolist() == [0, 1, 2, 0, 9]
    seen = [[1, 2], [1.5, 2.5], [np.nan, 4], [3, np.nan], [5, 6]]
    np.testing.assert_array_equal(history.rows(0, 5), np.array(seen, np.float32))
    assert history.period_s == 1
    assert (history.report.rows, history.report.late, dict(history.report.bad)) == (5, 0, {})


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2023-11-14T22:13:20Z", START * 10**6),
        ("2023-11-14 23:13:20.25+01:00", START * 10**6 + 250_000),
        ("2023-11-14 22:13:20", START * 10**6),
        (f"{START}", START * 10**6),
        (f"{START}.5", START * 10**6 + 500_000),
        (f"{START}001", START * 10**6 + 1000),
        (f"{START}001002", START * 10**6 + 1002),
        (f"{START}001002000", START * 10**6 + 1002),
        # Digits that could be read as year, month, day, hour and minute.
        ("1784112212359", 1_784_112_212_359_000),
    ],
)
def test_a_time_is_the_same_however_it_is_written(tmp_path: Path, text: str, us: int) -> None:
    (tmp_path / "h.csv").write_text(delimited([(text, "p", 1, 2)]))
    assert read(tmp_path, "h.csv").ts_us.tolist() == [us]


def test_a_bad_row_is_counted_and_named_and_the_others_are_read(tmp_path: Path) -> None:
    bad = [
        ("yesterday", "p", 1, 1),
        (START + 1, "p", "1,5", 1),
        (1, "p", 1, 1),
        (START + 2, "p", None, "nan"),
        (START + 3, "p", 1e39, 1),
        (START + 4, "", 1, 1),
    ]
    (tmp_path / "h.csv").write_text(delimited([*ROWS[:1], *bad, *ROWS[1:]], ";"))
    history = read(tmp_path, "h.csv")
    report = history.report
    kinds = {"schema": 2, "time": 1, "no_values": 1, "not_finite": 1, "stream_id": 1}
    assert (report.rows, len(history.order), dict(report.bad)) == (11, 5, kinds)
    places = [f"h.csv, row {n}: " for n in range(2, 7)]
    assert [example[: len(p)] for example, p in zip(report.examples, places, strict=True)] == places
    assert "'yesterday'" in report.examples[0]
    assert "'1,5'" in report.examples[1]


@pytest.mark.parametrize("text", ["inf", "-1e400", "1e300", "nan", ""])
def test_a_time_that_is_none_is_a_bad_row(tmp_path: Path, text: str) -> None:
    (tmp_path / "h.csv").write_text(delimited([(text, "p", 1, 2), *ROWS]))
    history = read(tmp_path, "h.csv")
    assert (len(history.order), history.report.bad.total()) == (5, 1)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '{"ts": 1700000100, "pump": "p", "pressure": "x", "temp": 1}',
        '{"ts": 1700000100, "pump": "p", "pressure": [1, 2], "temp": 1}',
        f'{{"ts": 1700000100, "pump": "p", "pressure": {"9" * 400}, "temp": 1}}',
        f'{{"ts": {"9" * 400}, "pump": "p", "pressure": 1, "temp": 1}}',
    ],
)
@pytest.mark.parametrize("others", [True, False])
def test_a_bad_line_of_json_is_a_bad_row(tmp_path: Path, line: str, *, others: bool) -> None:
    good = json.dumps(objects(ROWS)[0])
    (tmp_path / "h.jsonl").write_text("\n".join([line, line, *[good] * others]))
    if others:
        history = read(tmp_path, "h.jsonl")
        assert (len(history.order), history.report.bad.total()) == (1, 2)
    else:
        with pytest.raises(SettingsRejected):
            read(tmp_path, "h.jsonl")


def test_a_value_out_of_bounds_is_missing_and_its_row_is_kept(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text(delimited([(START, "p", -1, 2), (START + 1, "p", 10, 2)]))
    channels = [{"name": "pressure", "valid": (0, 10)}, "temp"]
    history = read(tmp_path, "h.csv", channels=channels)
    np.testing.assert_array_equal(history.rows(0, 2), np.array([[np.nan, 2], [10, 2]], np.float32))


def test_rows_out_of_order_are_sorted_and_of_two_at_a_time_the_first_is_kept(
    tmp_path: Path,
) -> None:
    rows = [(START + t, "p", value, 0) for value, t in enumerate((5, 1, 3, 1, 5, 2))]
    (tmp_path / "h.csv").write_text(delimited(rows))
    history = read(tmp_path, "h.csv")
    assert (history.ts_us // 10**6 - START).tolist() == [1, 2, 3, 5]
    assert history.rows(0, 4)[:, 0].tolist() == [1, 5, 2, 0]
    assert (history.report.late, history.report.rows) == (2, 6)


@pytest.mark.parametrize(("suffix", "group"), [("csv", 0), ("parquet", 1000), ("parquet", 3)])
def test_only_the_first_rows_of_each_file_are_read(tmp_path: Path, suffix: str, group: int) -> None:
    rows = [(START + t, "p", t, 0) for t in range(20)]
    for day in range(2):
        later = [(t + 100 * day, *rest) for t, *rest in rows]
        path = tmp_path / f"{day}.{suffix}"
        if suffix == "csv":
            path.write_text(delimited(later))
        else:
            pq.write_table(table(later), path, row_group_size=group)
    history = read(tmp_path, "*", rows_per_file=7)
    assert history.rows(0, 20)[:, 0].tolist() == [*range(7), *range(7)]
    assert history.report.rows == 14


def test_a_file_without_a_stream_column_is_one_stream_named_by_its_path(tmp_path: Path) -> None:
    for folder in ("a", "b/c"):
        (tmp_path / "all" / folder).mkdir(parents=True)
        (tmp_path / "all" / folder / "x.csv").write_text(delimited(ROWS[:1]))
    assert read(tmp_path, "all/**/*.csv", stream=None).names == ["a/x", "b/c/x"]
    assert read(tmp_path, "all/a/x.csv", stream=None).names == ["x"]


def test_a_file_that_two_patterns_name_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text(delimited(ROWS))
    assert read(tmp_path, "h.csv", "*.csv", str(tmp_path / "h.csv")).report.rows == 5


def test_a_pattern_may_be_absolute(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text(delimited(ROWS))
    assert read(tmp_path / "elsewhere", str(tmp_path / "*.csv")).report.rows == 5


def test_the_bytes_of_all_files_make_the_digest(tmp_path: Path) -> None:
    digests = []
    for last in (6.0, 6.0, 6.5):
        (tmp_path / "h.csv").write_text(delimited([*ROWS[:4], (START + 9, "q", 5, last)]))
        digests.append(read(tmp_path, "h.csv").report.sha256)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("no*.csv",), r"expected data files at .*no\*\.csv, saw none; mend `files`"),
        (("folder",), "folder"),
        (("bad.csv",), r"saw 1 rows, all bad: bad\.csv, row 1: schema: .*'never'"),
        (("other.csv",), r"other\.csv: expected columns pressure; saw ts, pump, temp; "),
        (("h.txt",), r"expected a file that ends in \.csv, \.parquet, .*saw '\.txt'"),
        (("torn.parquet",), r"torn\.parquet: expected a readable \.parquet file, saw: "),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, files: tuple[str], says: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.csv").write_text(delimited([("never", "p", 1, 2)]))
    (tmp_path / "other.csv").write_text("ts,pump,temp\n")
    (tmp_path / "h.txt").write_text("")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(SettingsRejected, match=says):
        read(tmp_path, *files)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_file_read_in_small_parts_is_the_file_read_as_one(tmp_path: Path, suffix: str) -> None:
    rows = [(START + t, "pq"[t % 2], t, None if t % 7 == 0 else 1 / (t + 1)) for t in range(200)]
    rows[33] = rows[134] = (1, "p", 1, 1)
    path = tmp_path / f"h.{suffix}"
    if suffix == "parquet":
        pq.write_table(table(rows), path, row_group_size=50)
    else:
        path.write_text(delimited(rows) if suffix == "csv" else json_lines(objects(rows)))

    def parts(part_rows: int) -> tuple[list[object], ...]:
        form, columns = Format(("pressure", "temp")), Columns("ts", ("pressure", "temp"), "pump")
        readings, bad, rows, firsts = [], [], [], []
        for part in read_parts(path, columns, form, "h", part_rows):
            r = part.decoded.readings
            names = [r.streams[code] for code in r.stream]
            readings += zip(names, r.ts_us, r.x.tolist(), r.offset, strict=True)
            bad += [(part.first + b.index, b.reason, b.detail) for b in part.decoded.bad]
            rows += zip(part.streams, part.times, strict=True)
            firsts.append((part.first, len(part.times)))
        assert [first for first, _ in firsts] == [
            sum(n for _, n in firsts[:i]) for i in range(len(firsts))
        ]
        assert max(n for _, n in firsts) <= part_rows
        return repr(readings), bad, rows

    assert len(parts(1000)[1]) == 2
    assert parts(7) == parts(1) == parts(1000)
