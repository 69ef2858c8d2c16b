"""`detector score`: one row out for each row in, and the daemon's own numbers in it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector.__main__ import main
from detector.engine import Engine
from detector.judge import rules
from detector.model import load
from detector.records import Partition, Readings
from detector.replay import LATE
from detector.telling import Judge
from training.demo.fleet import CHANNELS, simulate

Row = dict[str, Any]
START, PUMPS, SECONDS = 1_700_000_000, 3, 80
BAD = {  # what is wrong with a row -> what it holds, and the reason that is given
    30: ({"speed": "fast"}, "schema: expected a number in 'speed', saw 'fast'"),
    50: ({"ts": "1970-01-02T00:00:00Z"}, "time: expected a time from 2000 to "),
    70: (dict.fromkeys(CHANNELS), "no_values: none of the model's channels (speed, flow, "),
    90: ({"ts": str(START + 1)}, LATE),
    110: ({"stream": ""}, "stream_id: expected a stream id"),
    130: ({"ts": "soon"}, "schema: expected a time (RFC 3339 or epoch), saw 'soon'"),
}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Readings of some pumps as they come, a few bad; the last pump's pressure sensor breaks."""
    x = simulate(PUMPS, SECONDS, seed=3).astype(np.float32)
    x[-1, 50:, 2] = 500
    x[0, 10:20, 4] = np.nan
    made = []
    for n in range(PUMPS * SECONDS):
        t, pump = divmod(n, PUMPS)
        cells = (None if np.isnan(v) else repr(float(v)) for v in x[pump, t])
        row = {
            "ts": str(START + t),
            "stream": f"pump-{pump}",
            **dict(zip(CHANNELS, cells, strict=True)),
        }
        made.append(row | BAD[n][0] if n in BAD else row)
    return made


def write(path: Path, rows: list[Row]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> list[Row]:
    """Rows with None where there is no number."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def score(model: Path, source: Path, target: Path, *options: str) -> int:
    files = ["--model", str(model), "--input", str(source), "--output", str(target)]
    return main(["score", *files, *options])


def column(rows: list[Row], name: str, kind: Callable[[Any], Any] = np.float32) -> Any:
    cells = [row.get(name) for row in rows]
    return np.array([kind("nan") if cell in (None, "") else kind(cell) for cell in cells], kind)


@pytest.mark.parametrize("source", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("target", ["csv", "parquet", "jsonl"])
def test_each_row_in_gives_a_row_out_with_the_engine_s_numbers(
    small_model: Path, rows: list[Row], tmp_path: Path, source: str, target: str
) -> None:
    readings = write(tmp_path / f"in.{source}", rows)
    assert score(small_model, readings, tmp_path / f"out.{target}") == 0
    out = read(tmp_path / f"out.{target}")

    assert [row["stream"] for row in out] == [row["stream"] for row in rows]
    for n, (before, after) in enumerate(zip(rows, out, strict=True)):
        reason = BAD[n][1] if n in BAD else ""
        assert after["reason"].startswith(reason)
        assert bool(after["reason"]) == bool(reason)
        if not reason:
            assert after["ts"] == f"{np.datetime64(int(before['ts']), 's')}.000000Z"

    model = load(small_model)
    good = [n for n in range(len(rows)) if n not in BAD or BAD[n][1] == LATE]
    streams = sorted({rows[n]["stream"] for n in good})
    told = Readings(
        [stream.encode() for stream in streams],
        np.array([streams.index(rows[n]["stream"]) for n in good]),
        np.array([int(rows[n]["ts"]) * 10**6 for n in good]),
        np.stack([column([rows[n] for n in good], channel) for channel in CHANNELS], 1),
        np.array(good),
    )
    engine = Engine(model, rules(model.manifest, Judge().false_alarms_per_stream_day))
    trace = engine.run(engine.new_arena(), told, Partition("file", 0), keep_trace=True).trace
    assert trace is not None
    scored = np.array(good)[trace.scored].tolist()
    assert len(scored) == len(rows) - len(BAD)
    wanted = {}
    for k, kind in enumerate(model.manifest.kinds):
        wanted |= {f"score_{kind}": trace.score[:, k]}
        wanted |= {f"alert_{kind}": trace.alerting[:, k].astype(np.float32)}
    for c, channel in enumerate(CHANNELS):
        wanted |= {f"expected_{channel}": trace.expected[:, c]}
        wanted |= {f"residual_{channel}": trace.residual[:, c]}
    for name, want in wanted.items():
        got = column(out, name)
        assert got[scored].tobytes() == want[trace.scored].tobytes(), name
        assert np.isnan(np.delete(got, scored)).all(), name
    for k, calibration in enumerate(model.manifest.calibration):
        tail = calibration.probability(trace.score[trace.scored, k].astype(float))
        told_of = column(out, f"probability_{calibration.kind}", np.float64)[scored]
        np.testing.assert_array_equal(told_of, tail)
    assert 5 < wanted["alert_state"].sum() < 40


def test_what_became_of_the_rows_is_said(
    small_model: Path, rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    score(small_model, write(tmp_path / "in.csv", rows), out, "--false-alarms", "0.01")
    bad = "5 bad (2 schema, 1 time, 1 no_values, 1 stream_id)"
    said = f"{out}: 240 rows of 3 streams; 234 scored, 1 late, {bad}; 1 alerts\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_columns_may_have_other_names(
    small_model: Path, rows: list[Row], tmp_path: Path, suffix: str
) -> None:
    names = {"ts": "when", "stream": "machine", "flow": "Durchfluss l/min"}
    renamed = [{names.get(name, name): cell for name, cell in row.items()} for row in rows]
    plain, other = tmp_path / "plain.parquet", tmp_path / "other.parquet"
    score(small_model, write(tmp_path / f"a.{suffix}", rows), plain)
    options = [part for pair in names.items() for part in ("--column", "=".join(pair))]
    assert score(small_model, write(tmp_path / f"b.{suffix}", renamed), other, *options) == 0
    assert pq.read_table(plain).equals(pq.read_table(other))


def test_columns_of_json_lines_may_be_nested(
    small_model: Path, rows: list[Row], tmp_path: Path
) -> None:
    nested = [
        {"ts": row["ts"], "id": row["stream"], "values": {c: row[c] for c in CHANNELS}}
        for row in rows
    ]
    plain, other = tmp_path / "plain.parquet", tmp_path / "other.parquet"
    score(small_model, write(tmp_path / "a.jsonl", rows), plain)
    options = [part for c in CHANNELS for part in ("--column", f"{c}=values.{c}")]
    source = write(tmp_path / "b.jsonl", nested)
    assert score(small_model, source, other, "--column", "stream=id", *options) == 0
    scores = [pq.read_table(path)["score_state"] for path in (plain, other)]
    assert scores[0].equals(scores[1])


def test_a_file_may_be_one_stream(small_model: Path, rows: list[Row], tmp_path: Path) -> None:
    alone = [{k: v for k, v in row.items() if k != "stream"} for row in rows[1::PUMPS]]
    out = tmp_path / "out.jsonl"
    assert score(small_model, write(tmp_path / "press.csv", alone), out, "--column", "stream=") == 0
    assert {row["stream"] for row in read(out)} == {"press"}


def test_a_file_without_rows_gives_one_without_rows(
    small_model: Path, rows: list[Row], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text(",".join(rows[0]) + "\n")
    (tmp_path / "out.csv").write_text("of another run")
    assert score(small_model, empty, tmp_path / "out.csv") == 0
    assert read(tmp_path / "out.csv") == []
    assert "another run" not in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        ("out.csv", ["--column", "flow=Fluss"], "in.csv: expected columns Fluss; saw ts, stream, "),
        ("out.csv", ["--column", "flwo=flow"], "expected columns of ts, stream, speed, flow, pres"),
        ("out.txt", [], "out.txt: expected a name that ends in .csv, .parquet, .jsonl"),
        ("no/out.csv", [], "out.csv: expected to write there, saw: "),
        ("no/out.jsonl", [], "out.jsonl: expected to write there, saw: "),
        ("out.csv", ["--false-alarms", "0"], "false"),
    ],
)
def test_what_cannot_be_done_is_refused(
    small_model: Path, rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    target: str, options: list[str], says: str,
) -> None:  # fmt: skip
    source = write(tmp_path / "in.csv", rows[:20])
    assert score(small_model, source, tmp_path / target, *options) == 2
    told = capsys.readouterr().err
    assert told.startswith("detector: ")
    assert told.count("\n") == 1
    assert says in told


@pytest.mark.timeout(20, func_only=True)
def test_a_file_is_not_scored_into_itself(
    small_model: Path, rows: list[Row], tmp_path: Path
) -> None:
    source = write(tmp_path / "in.csv", rows)
    content = source.read_bytes()
    assert score(small_model, source, tmp_path / "." / "in.csv") == 2
    assert source.read_bytes() == content
