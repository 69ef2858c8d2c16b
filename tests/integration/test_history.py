"""History out of a real broker: recorded, trained on, played back; the group sees nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from brokers import Broker, Tansu
from daemons import BEGAN_S, Daemon, Topics, reading, story, until
from small_model import SMALL

from detector.history import Origin, Span, read, stretches
from detector.records import US_PER_S
from training.__main__ import main as training
from training.demo.fleet import CHANNELS


def detector(
    servers: str, *arguments: str | Path, code: int = 0, **settings: object
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DETECTOR_")}
    settings |= {"kafka__bootstrap_servers": servers}
    environment |= {f"DETECTOR_{name}".upper(): str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "detector", *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def rows(folder: Path) -> list[tuple[str, int, tuple[float | None, ...]]]:
    found = []
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            ts = round(row["ts"].timestamp() * US_PER_S)
            found.append((row["stream"], ts, tuple(row[name] for name in CHANNELS)))
    return found


def played(records: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, int]]:
    return [(key.decode(), json.loads(value)["ts"] * US_PER_S) for key, value in records]


def test_a_recording_holds_every_reading_and_goes_on_where_it_ended(
    broker: Broker, tmp_path: Path
) -> None:
    topics, folder = Topics(broker.bootstrap_servers).create(), tmp_path / "history"
    records = story(3, 60)
    topics.write([*records[:120], (b"pump-0", b"{"), (b"pump-1", b""), (None, records[0][1])])
    command = ("record", "--topic", topics.readings, "--output", folder, "--rows", "50")
    said = detector(topics.servers, *command).stderr
    assert "recording: 123 of 123 records (100%)" in said
    assert "120 readings of 123 records" in said
    assert "3 bad records (1 empty, 1 not_json, 1 stream_id)" in said
    first = {path.name for path in folder.glob("*.parquet")}
    assert len(first) >= 2, "a file some rows"
    assert not list(folder.glob("*.part"))
    topics.write(records[120:])
    said = detector(topics.servers, *command).stderr
    assert "went on after 123 records of earlier runs" in said
    assert "60 readings of 60 records" in said
    assert first < {path.name for path in folder.glob("*.parquet")}
    seen = rows(folder)
    assert sorted((stream, ts) for stream, ts, _ in seen) == sorted(played(records))
    values = {(stream, ts): x for stream, ts, x in seen}
    for key, value in records:
        body = json.loads(value)
        x = values[key.decode(), body["ts"] * US_PER_S]
        assert x == pytest.approx([body["values"][name] for name in CHANNELS], rel=1e-6)
    assert "0 readings of 0 records" in detector(topics.servers, *command).stderr
    wrong = detector(topics.servers, *command, "--from", "2025-01-01", code=2).stderr
    assert "it was begun with since None, not" in wrong


def test_what_was_interrupted_is_recorded_again_from_the_last_whole_file(
    tansu: Tansu, tmp_path: Path
) -> None:
    topics, folder = Topics(tansu.bootstrap_servers, partitions=1).create(), tmp_path / "history"
    records = story(2, 50)
    topics.write(records)
    command = ("record", "--topic", topics.readings, "--output", folder)
    detector(topics.servers, *command)
    (whole,) = folder.glob("*.parquet")
    torn = folder / f"{topics.readings}-00000.part"
    whole.rename(torn)  # as if it had been killed before the file was whole
    torn.write_bytes(torn.read_bytes()[:100])
    assert "100 readings" in detector(topics.servers, *command).stderr
    assert not torn.exists()
    assert len(rows(folder)) == 100


def test_a_span_is_of_the_readings_or_of_the_records(broker: Broker) -> None:
    topics = Topics(broker.bootstrap_servers, partitions=1).create()
    topics.write(story(1, 20))
    middle = Span((BEGAN_S + 5) * US_PER_S, (BEGAN_S + 15) * US_PER_S)
    (part,) = stretches(topics.servers, topics.readings, middle, 3600 * US_PER_S)
    chunks = list(read(Origin(topics.servers), part))
    assert sum(len(chunk.values) for chunk in chunks) == 20, "a reading may come late"
    stamp_us = int(chunks[0].stamps_us[0])
    after = Span(stamp_us + 3600 * US_PER_S, None, by_record=True)
    assert not len(stretches(topics.servers, topics.readings, after)[0])
    before = Span(None, stamp_us, by_record=True)
    assert not len(stretches(topics.servers, topics.readings, before)[0])
    at = Span(stamp_us, None, by_record=True)
    assert len(stretches(topics.servers, topics.readings, at)[0]) == 20
    ahead = Span(stamp_us + 1800 * US_PER_S)
    assert len(stretches(topics.servers, topics.readings, ahead, 3600 * US_PER_S)[0]) == 20
    # Whatever the topic's end, a record is never further behind its readings than is allowed.
    late = Span(stamp_us + 7200 * US_PER_S)
    assert not len(stretches(topics.servers, topics.readings, late, 3600 * US_PER_S)[0])


def test_readings_outside_the_time_asked_for_are_left_out(tansu: Tansu, tmp_path: Path) -> None:
    topics, folder = Topics(tansu.bootstrap_servers).create(), tmp_path / "history"
    topics.write(story(2, 30))
    since, until = (f"2025-10-09T08:53:{second}Z" for second in (30, 40))
    said = detector(
        topics.servers, "record", "--topic", topics.readings, "--output", folder,
        "--from", since, "--to", until, "--channels", "flow, speed",
    ).stderr  # fmt: skip
    assert "20 readings of 60 records" in said
    assert "40 outside the time asked for" in said
    assert "240 values of other channels" in said
    table = pq.read_table(next(folder.glob("*.parquet")))
    assert table.column_names == ["stream", "ts", "flow", "speed"]


def test_training_reads_a_recorded_folder(tansu: Tansu, tmp_path: Path) -> None:
    topics = Topics(tansu.bootstrap_servers).create()
    topics.write(story(2, 1200))
    detector(topics.servers, "record", "--topic", topics.readings, "--output", tmp_path / "history")
    config = tmp_path / "small.toml"
    config.write_text(
        SMALL.replace("history.parquet", "history/*.parquet").replace('"pump"', '"stream"')
    )
    assert training(["fit", str(config), "--output", str(tmp_path / "run")]) == 0
    detector(
        topics.servers, "score", "--model", tmp_path / "run" / "model.onnx",
        "--input", min((tmp_path / "history").glob("*.parquet")),
        "--output", tmp_path / "scored.csv",
    )  # fmt: skip


def test_what_cannot_be_recorded_is_refused(tansu: Tansu, tmp_path: Path) -> None:
    topics = Topics(tansu.bootstrap_servers, partitions=1).create()
    output = ("--output", tmp_path / "history")
    said = detector(topics.servers, "record", "--topic", "nobody", *output, code=2).stderr
    assert "saw no such topic; mend --topic" in said
    topics.write([(b"pump", reading(BEGAN_S, [1.0, 2.0]))])
    command = ("record", "--topic", topics.readings)
    said = detector(topics.servers, *command, *output, code=2).stderr
    assert "name them with --channels" in said
    detector(topics.servers, *command, *output, "--channels", "flow,speed")
    said = detector(topics.servers, *command, "--output", tmp_path, code=2).stderr
    assert "expected an empty folder" in said
    said = detector("127.0.0.1:9", *command, *output, code=1).stderr
    assert "expected Kafka at 127.0.0.1:9 to answer" in said


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_backtest_tells_what_the_daemon_told_and_the_group_notices_nothing(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers).create()
    records = story(4, 300, broken=(1, 150, 220))
    records[500:500] = [(b"pump-0", b"{"), (b"pump-2", reading(BEGAN_S, {"flow": 1}))]
    topics.write(records)
    with Daemon(small_model, topics, tmp_path) as daemon:
        daemon.ready()
        until(lambda: daemon.metric("detector_records_total") == len(records), "all read")
        committed = "detector_position_offset"
        until(lambda: daemon.metric(f'{committed}{{partition="0",position="committed"}}')
              + daemon.metric(f'{committed}{{partition="1",position="committed"}}')
              == len(records), "all committed")  # fmt: skip
        output = tmp_path / "backtest"
        said = detector(
            topics.servers, "backtest", "--topic", topics.readings, "--model", small_model,
            "--processes", "2", "--output", output,
        ).stderr  # fmt: skip
        assert "playing: 1202 of 1202 records (100%)" in said
        assert "1200 readings of 4 streams scored, 1 late, 1 bad records" in said
        assert daemon.metric("detector_rebalances_total") == 1, "nobody joined its group"
        assert daemon.metric("detector_records_total") == len(records)
        assert daemon.stop() == 0
    told = lines(output / "alerts.jsonl")
    assert {alert["status"] for alert in told} >= {"open", "close"}
    live = [json.loads(value) for _, value in topics.read(topics.alerts, len(told))]
    assert sorted(map(json.dumps, told)) == sorted(map(json.dumps, live))
    assert [alert["at"] for alert in told] == sorted(str(alert["at"]) for alert in told)


def test_a_backtest_that_is_interrupted_or_lacks_its_broker_says_so(
    tansu: Tansu, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(tansu.bootstrap_servers).create()
    command = ("backtest", "--topic", topics.readings, "--model", small_model)
    output = ("--output", tmp_path / "backtest")
    said = detector("127.0.0.1:9", *command, *output, code=1).stderr
    assert "expected Kafka at 127.0.0.1:9 to answer" in said
    assert "nothing was scored" in "".join(
        detector(topics.servers, *command, *output).stderr
        + (tmp_path / "backtest" / "report.html").read_text()
    )
