"""`detector backtest` over files, and `detector tune` on what it kept."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from detector.__main__ import main
from detector.messages import ALERT_SCHEMA
from detector.played import Played, join
from detector.settings import read_settings
from training.demo.fleet import CHANNELS, simulate

START, PUMPS, SECONDS = 1_760_000_000, 5, 400
BROKEN = {"pump-1": (200, 240), "pump,3": (300, 350)}


def write(path: Path, seconds: range, *, bad: int = 0) -> None:
    x = simulate(PUMPS, SECONDS, seed=3)
    names = [f"pump{',' if p == 3 else '-'}{p}" for p in range(PUMPS)]
    for name, (start, stop) in BROKEN.items():
        x[names.index(name), start:stop, 2] = 500
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts", "machine", *CHANNELS])
        for t in seconds:
            for p, name in enumerate(names):
                writer.writerow([START + t, name, *x[p, t].round(4)])
        for _ in range(bad):
            writer.writerow([START, "pump-0", *["much"] * len(CHANNELS)])


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two files, one after the other."""
    folder = tmp_path_factory.mktemp("history")
    write(folder / "1.csv", range(220))
    write(folder / "2.csv", range(220, SECONDS), bad=3)
    return folder


@pytest.fixture(scope="module")
def backtest(history: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "backtest"
    assert play(history, small_model, output) == 0
    return output


def play(history: Path, model: Path, output: Path, *more: str) -> int:
    return main([
        "backtest", "--model", str(model), "--input", str(history), "--column", "stream=machine",
        "--processes", "1", "--output", str(output), *more,
    ])  # fmt: skip


def alerts(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "alerts.jsonl").read_bytes().splitlines()]


def test_every_alert_is_told_with_the_schema_of_the_topic(backtest: Path) -> None:
    told = alerts(backtest)
    for alert in told:
        Draft202012Validator(ALERT_SCHEMA).validate(alert)
    assert {alert["stream"] for alert in told} >= set(BROKEN)
    assert [a["at"] for a in told] == sorted(a["at"] for a in told)
    for stream, (start, stop) in BROKEN.items():
        own = [a for a in told if a["stream"] == stream and a["status"] == "open"]
        at = [a["source"]["offset"] // PUMPS for a in own]
        assert any(start <= t < stop for t in at), "offsets are rows, over both files"
    about = json.loads((backtest / "backtest.json").read_text())
    played = about["played"]
    assert (played["records"], played["readings"]) == (PUMPS * SECONDS + 3, PUMPS * SECONDS)
    assert (played["bad"], played["streams"]) == ({"schema": 3}, PUMPS)
    assert sum(about["alerts"].values()) == sum(a["status"] == "open" for a in told)
    assert not list(backtest.glob("*.part"))


def test_volume_is_by_day_stream_and_worst_severity(backtest: Path) -> None:
    with (backtest / "volume.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["day"] for row in rows} == {"2025-10-09"}
    assert {row["stream"] for row in rows} == {a["stream"] for a in alerts(backtest)}
    critical = {a["id"] for a in alerts(backtest) if a["severity"] == "critical"}
    assert sum(int(r["alerts"]) for r in rows if r["severity"] == "critical") == len(critical)


def test_processes_and_files_do_not_change_what_is_told(
    backtest: Path, history: Path, small_model: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "detector", "backtest", "--model", small_model, "--input", history,
        "--column", "stream=machine", "--processes", "3", "--output", tmp_path / "several",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"playing: {PUMPS * SECONDS + 3} of " in done.stderr
    assert sorted(map(str, alerts(backtest))) == sorted(map(str, alerts(tmp_path / "several")))
    kept = [pq.read_table(out / "scores") for out in (backtest, tmp_path / "several")]
    order = [("stream", "ascending"), ("ts", "ascending")]
    assert kept[0].sort_by(order).equals(kept[1].sort_by(order))


def test_the_page_is_whole_in_itself(backtest: Path) -> None:
    page = (backtest / "report.html").read_text(encoding="utf-8")

    class Looker(HTMLParser):
        svgs = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in {"script", "link", "img", "iframe"}
            assert not {"src", "href"} & {name for name, _ in attrs}
            Looker.svgs += tag == "svg"

    Looker().feed(page)
    assert Looker.svgs == 3
    assert "url(" not in page
    assert "pump,3" in page


def test_a_span_of_event_time_is_played_alone(
    history: Path, small_model: Path, tmp_path: Path
) -> None:
    span = ("--from", "2025-10-09T08:54:00Z", "--to", "2025-10-09T08:55:00Z")
    assert play(history, small_model, tmp_path / "minute", *span) == 0
    about = json.loads((tmp_path / "minute" / "backtest.json").read_text())
    assert about["played"]["readings"] == PUMPS * 60


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (("--consumer-timestamps",), "expected --consumer-timestamps with --topic"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "expected --from before --to"),
        (("--column", "depth=x"), "expected columns of ts, stream"),
    ],
)
def test_what_makes_no_sense_is_refused(
    history: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...], fault: str,
) -> None:  # fmt: skip
    assert play(history, small_model, tmp_path / "out", *more) == 2
    assert fault in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(
    history: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    assert play(history, small_model, tmp_path) == 2
    assert "expected an empty folder" in capsys.readouterr().err
    assert play(tmp_path / "nowhere", small_model, tmp_path / "out") == 2
    assert "saw none at" in capsys.readouterr().err


def test_parts_join_to_a_whole() -> None:
    one = Played(records=3, scored=2, bad={"empty": 1}, first_us=5, last_us=9)
    both = join([one, Played(records=1, bad={"empty": 2}), Played(first_us=2, last_us=3)])
    assert (both.records, both.scored, both.bad) == (4, 2, {"empty": 3})
    assert (both.first_us, both.last_us) == (2, 9)


def test_tune_proposes_settings_with_which_the_same_history_says_no_more_than_asked(
    backtest: Path, history: Path, small_model: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DETECTOR_CONFIG", "")  # which --config sets, is put back
    known = tmp_path / "known.csv"
    incidents = [
        f'"{stream}",{np.datetime64(START + start, "s")},{np.datetime64(START + stop, "s")}'
        for stream, (start, stop) in BROKEN.items()
    ]
    known.write_text("\n".join(["stream,from,to", *incidents, "pump-9,2026-01-01,2026-01-02\n"]))
    week_of_it = 7 * 86_400 / (SECONDS - 1)
    output = tmp_path / "tuned"
    command = ["tune", "--backtest", str(backtest), "--output", str(output)]
    command += ["--alerts-per-week", str(3 * week_of_it), "--incidents", str(known)]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "1 of 3 incidents are of other streams or times" in said.err
    assert re.search(r"100% +\d+% .*  <\n", said.out), said.out
    settings = read_settings(output / "tuned.toml", model=small_model)
    rate = settings.judge.false_alarms_per_stream_day
    assert f"judge.false_alarms_per_stream_day = {rate:g}: " in said.out
    assert (
        play(history, small_model, tmp_path / "again", "--config", str(output / "tuned.toml")) == 0
    )
    again = alerts(tmp_path / "again")
    opened = {a["id"] for a in again if a["status"] == "open"}
    assert len(opened) <= 3
    points = csv.DictReader((output / "tuned.csv").read_text().splitlines())
    chosen = next(point for point in points if float(point["rate"]) == rate)
    assert int(chosen["alerts"]) == len(opened)


def test_tune_refuses_what_is_no_backtest(
    backtest: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", "--alerts-per-week", "5", "--backtest"]
    assert main([*command, str(tmp_path)]) == 2
    assert "expected what `detector backtest` wrote" in capsys.readouterr().err
    about = json.loads((backtest / "backtest.json").read_text())
    (tmp_path / "backtest.json").write_text(json.dumps(about | {"version": "0" * 64}))
    assert main([*command, str(tmp_path)]) == 2
    assert "expected the model of the backtest, version 000000000000" in capsys.readouterr().err
