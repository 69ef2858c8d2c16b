"""The daemon as a process, on a real broker: its life, its input, its outages."""

import json
import signal
import socket
import time
from pathlib import Path

import jsonschema
import pytest
from brokers import ApacheKafka, Broker, Tansu
from daemons import BEGAN_S, Daemon, Topics, reading, story, until

from detector.check import check
from detector.messages import ALERT_SCHEMA
from detector.settings import read_settings
from training.demo.broker import free_port

pytestmark = pytest.mark.broker


def test_a_fault_becomes_alerts_and_all_offsets_are_committed(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers).create()
    records = story(3, 400, (1, 200, 320))
    with Daemon(small_model, topics, tmp_path, output__scores_topic=topics.scores) as daemon:
        daemon.ready()
        topics.write(records)
        until(lambda: daemon.metric("detector_readings_total") == len(records), "all scored")
        said = [(key, json.loads(value)) for key, value in topics.read(topics.alerts, 4)]
        assert daemon.stop() == 0, daemon.said
    for key, alert in said:
        jsonschema.validate(alert, ALERT_SCHEMA, format_checker=jsonschema.FormatChecker())
        assert key.decode() == alert["stream"] == "pump-1"
    opened, *later = (alert for _, alert in said)
    then = next(alert for alert in later if alert["id"] == opened["id"])
    assert (opened["status"], then["status"] != "open") == ("open", True)
    assert opened["opened_at"] <= opened["at"] <= then["at"]
    assert len(topics.read(topics.scores, len(records))) == len(records)

    with Daemon(small_model, topics, tmp_path) as again:
        again.ready()
        until(lambda: again.metric("detector_lag_records{") == 0, "no lag")
        topics.write(records[:1])
        until(lambda: again.metric("detector_records_total") >= 1, "one record")
        assert again.metric("detector_records_total") == 1, "what was committed was read again"


BAD = {
    "not_json": (b"pump", b"{"),
    "schema": (b"pump", b'{"ts": 1760000000, "values": {"flow": "12"}}'),
    "empty": (b"pump", b""),
    "stream_id": (b"\xff\xfe", reading(BEGAN_S, {"flow": 1})),
    "time": (b"pump", reading(12, {"flow": 1})),
    "arity": (b"pump", reading(BEGAN_S, [1, 2])),
    "no_values": (b"pump", reading(BEGAN_S, {"humidity": 1})),
    "not_finite": (b"pump", b'{"ts": 1760000000, "values": {"flow": 1e200}}'),
    "too_large": (b"pump", b'{"ts": 1, "x": "' + b"x" * 700_000 + b'"}'),
}


def test_bad_records_are_set_aside_with_their_reason_and_good_ones_are_scored(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers).create()
    good = [(b"pump", reading(BEGAN_S + t, {"flow": 20, "speed": None})) for t in range(5)]
    with Daemon(small_model, topics, tmp_path, input__max_value_bytes=600_000) as daemon:
        daemon.ready()
        topics.write([*good[:2], *BAD.values(), *good[2:]])
        chunks = topics.chunks(topics.dead, len(BAD))
        until(lambda: daemon.metric("detector_readings_total") == len(good), "good ones scored")
        for reason in BAD:
            label = f'detector_dead_letters_total{{reason="{reason}"}}'
            assert daemon.metric(label) == 1, reason
        assert daemon.stop() == 0
    seen = [pair for c in chunks for pair in zip(c.keys, c.values, strict=True)]
    assert sorted(map(str, seen)) == sorted(map(str, BAD.values()))


def test_too_much_bad_input_stops_it_before_it_is_all_set_aside(
    tansu: Tansu, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(tansu.bootstrap_servers, partitions=1).create()
    topics.write([(b"pump", b"a bad deploy")] * 50)
    with Daemon(small_model, topics, tmp_path, dead_letter_limit__consecutive=20) as daemon:
        assert daemon.process.wait(60) == 3
        assert "DETECTOR_DEAD_LETTER_LIMIT__CONSECUTIVE" in daemon.said
        assert "a bad deploy" in daemon.said


def test_a_broker_that_is_away_at_the_start_is_waited_for(
    small_model: Path, tmp_path: Path
) -> None:
    broker = Tansu(free_port())
    topics = Topics(broker.bootstrap_servers)
    with Daemon(small_model, topics, tmp_path) as daemon:
        until(lambda: daemon.metric("detector_broker_losses_total") == 1, "it noticed")
        assert daemon.get("/livez")[0] == 200
        assert daemon.get("/readyz") == (503, "the broker does not answer\n")
        assert daemon.metric("detector_broker_connected") == 0
        broker.start()
        topics.create()
        topics.write(story(1, 10))
        daemon.ready()
        until(lambda: daemon.metric("detector_readings_total") == 10, "all scored")
        assert daemon.metric("detector_broker_connected") == 1
        assert daemon.stop() == 0
    broker.close()


def test_after_an_outage_it_goes_on_where_it_was(
    apache_kafka: ApacheKafka, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(apache_kafka.bootstrap_servers).create()
    records = story(2, 60)
    with Daemon(small_model, topics, tmp_path) as daemon:
        daemon.ready()
        topics.write(records[:60])
        until(lambda: daemon.metric("detector_readings_total") == 60, "the first half")
        apache_kafka.stop()
        until(lambda: daemon.get("/readyz")[0] == 503, "it noticed")
        assert daemon.get("/livez")[0] == 200
        apache_kafka.start()
        until(lambda: daemon.get("/readyz")[0] == 200, "it is back")
        topics.write(records[60:])
        until(lambda: daemon.metric("detector_readings_total") == 120, "the second half")
        assert daemon.metric("detector_late_readings_total") == 0
        assert daemon.metric("detector_stream_starts_total") == 2
        assert daemon.stop() == 0


def test_replicas_share_the_partitions_and_take_over_from_a_killed_one(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers, partitions=4).create()
    records = story(8, 50)
    with (
        Daemon(small_model, topics, tmp_path) as one,
        Daemon(small_model, topics, tmp_path) as two,
    ):
        held = "detector_assigned_partitions"
        until(lambda: one.metric(held) == two.metric(held) == 2, "two partitions each")
        topics.write(records[:200])
        read = "detector_readings_total"
        until(lambda: one.metric(read) + two.metric(read) == 200, "all read, each once")
        time.sleep(1)  # two commit intervals
        two.stop(signal.SIGKILL)
        until(lambda: one.metric(held) == 4, "the other takes over")
        before = one.metric("detector_records_total")
        topics.write(records[200:])
        until(lambda: one.metric("detector_records_total") == before + 200, "the rest")
        assert one.stop() == 0


def test_a_second_signal_ends_it_at_once(small_model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts, and never answers
        topics = Topics(f"127.0.0.1:{mute.getsockname()[1]}")
        with Daemon(small_model, topics, tmp_path) as daemon:
            until(lambda: daemon.metric("detector_broker_losses_total") == 1, "it runs")
            daemon.process.send_signal(signal.SIGTERM)
            until(lambda: "stopping" in daemon.said, "the first signal")
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.process.wait(2) == -signal.SIGTERM


def test_a_wrong_model_file_is_refused_with_exit_code_2(tmp_path: Path) -> None:
    wrong = tmp_path / "model.onnx"
    wrong.write_bytes(b"not a model")
    with Daemon(wrong, Topics("127.0.0.1:9"), tmp_path) as daemon:
        assert daemon.process.wait(60) == 2
        assert "expected an ONNX model, saw 11 bytes" in daemon.said


def test_check_says_what_is_in_place_and_what_is_not(
    tansu: Tansu, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = Topics(tansu.bootstrap_servers).create()
    monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", tansu.bootstrap_servers)
    monkeypatch.setenv("DETECTOR_KAFKA__TOPIC", topics.readings)
    assert all(finding.good for finding in check(read_settings(model=small_model)))
    monkeypatch.setenv("DETECTOR_KAFKA__TOPIC", "nobody-made-it")
    wrong = [f for f in check(read_settings(model=small_model)) if not f.good]
    assert [finding.what for finding in wrong] == ["input"]
    assert "create it or set DETECTOR_KAFKA__TOPIC" in wrong[0].seen
    monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    wrong = [f for f in check(read_settings(model=small_model.parent)) if not f.good]
    assert [finding.what for finding in wrong] == ["model", "broker"]


def test_lines_on_standard_output_need_no_topics(
    tansu: Tansu, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(tansu.bootstrap_servers).create()
    with Daemon(small_model, topics, tmp_path, output__to="stdout") as daemon:
        daemon.ready()
        topics.write([(b"pump", b"nonsense")])
        assert daemon.process.stdout is not None
        line = json.loads(daemon.process.stdout.readline())
    assert line["headers"]["detector_reason"] == "not_json"
    assert line["value"] == "nonsense"
