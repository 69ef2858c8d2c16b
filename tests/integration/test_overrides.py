"""Overrides on a real broker: two replicas, kills, and what consumers of alerts see."""

import getpass
import json
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from brokers import Broker, Tansu
from conftest import ROOT
from daemons import FAR_OFF, Daemon, Topics, detector, story, until

from detector.topics import ensure_control

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped]

pytestmark = pytest.mark.broker

PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
MUTED = 'detector_overrides{what="muted"}'
DONE = "detector_delay_seconds_count"  # readings of which all they caused is delivered


def command(topics: Topics, model: Path, *arguments: str) -> str:
    done = detector(topics, model, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bodies(topics: Topics, count: int) -> list[dict[str, object]]:
    return [json.loads(value) for _, value in topics.read(topics.alerts, count)]


def headers(topics: Topics, count: int) -> list[dict[str, bytes]]:
    """Return the headers of alerts, as any Kafka client shows them."""
    consumer = KafkaConsumer(bootstrap_servers=topics.servers, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topics.alerts, 0)])
    seen: list[dict[str, bytes]] = []
    try:
        while len(seen) < count:
            for records in consumer.poll(timeout_ms=1000).values():
                seen += [dict(record.headers) for record in records]
    finally:
        consumer.close()
    return seen


@contextmanager
def pair(model: Path, topics: Topics, folder: Path, **settings: object) -> Iterator[list[Daemon]]:
    """Two replicas, a partition each."""
    held = "detector_assigned_partitions"
    with (
        Daemon(model, topics, folder, **settings) as one,
        Daemon(model, topics, folder, **settings) as other,
    ):
        until(lambda: one.metric(held) == other.metric(held) == 1, "a partition each")
        yield [one.ready(), other.ready()]


def test_a_mute_reaches_every_replica_and_outlives_them(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers).create()
    pumps, quick = 6, {"delivery__checkpoint_interval_s": 0.5}
    calm = story(pumps, 260)
    # All break at once, on both partitions; what follows is normal again.
    records = [
        (key, _broken(value) if 200 <= n // pumps < 215 else value)
        for n, (key, value) in enumerate(calm)
    ]
    middle = pumps * 205
    with pair(small_model, topics, tmp_path, **quick) as replicas:
        said = command(
            topics, small_model, "mute", "pump-*", "--from", "2025-10-01T00:00Z",
            "--for", "3000d", "--why", "all are rebuilt", "--by", "ana",
        )  # fmt: skip
        assert said == ("pump-*: muted from 2025-10-01T00:00:00Z until 2033-12-18T00:00:00Z\n")
        for replica in replicas:
            until(lambda: replica.metric(MUTED) == 1, "each knows the mute")  # noqa: B023
        topics.write(records[:middle])
        until(lambda: sum(r.metric(DONE) for r in replicas) == middle, "the first part")
        assert all(r.metric("detector_muted_alerts_total") >= 1 for r in replicas), "both say it"
        until(lambda: all(r.metric("detector_checkpoints_total") > 0 for r in replicas), "kept")
        told = sum(r.metric("detector_alerts_total") for r in replicas)
        for replica in replicas:
            replica.stop(signal.SIGKILL)
    with Daemon(small_model, topics, tmp_path, **quick) as again:
        again.ready()
        assert again.metric(MUTED) == 1, "known before anything is judged"
        topics.write(records[middle:])
        rest = len(records) - middle
        until(lambda: again.metric(DONE) == rest, "the rest")
        until(lambda: again.metric("detector_open_alerts") == 0, "all is over")
        told += again.metric("detector_alerts_total")
        before = bodies(topics, int(told))
        assert all("muted" in one for one in before)
        assert {one["muted"]["why"] for one in before if "muted" in one} == {"all are rebuilt"}  # type: ignore[index]
        marked = ["ce_muted" in one for one in headers(topics, int(told))]
        assert marked == ["muted" in one for one in before]
        assert len({(one["id"], one["status"]) for one in before}) == len(before), "none twice"

        assert command(topics, small_model, "unmute", "pump-*") == "pump-*: not muted any more\n"
        until(lambda: again.metric(MUTED) == 0, "it knows that, too")
        later = [
            (key, _broken(_later(value, 1000)) if n // pumps >= 250 else _later(value, 1000))
            for n, (key, value) in enumerate(calm)
        ]
        topics.write(later)
        until(lambda: again.metric(DONE) == rest + len(later), "all read")
        after = bodies(topics, int(told) + 1)[int(told) :]
        assert after[0]["status"] == "open"
        assert not any("muted" in one for one in after)


def _broken(value: bytes) -> bytes:
    reading = json.loads(value)
    reading["values"]["pressure"] = FAR_OFF
    return json.dumps(reading).encode()


def _later(value: bytes, seconds: int) -> bytes:
    reading = json.loads(value)
    reading["ts"] += seconds
    return json.dumps(reading).encode()


def test_a_threshold_decides_what_opens_until_it_is_taken_back(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers, partitions=1).create()
    pumps, own = 3, 'detector_overrides{what="threshold"}'
    calm = story(pumps, 240)
    records = [(k, _broken(v) if 200 <= n // pumps < 210 else v) for n, (k, v) in enumerate(calm)]
    with Daemon(small_model, topics, tmp_path) as daemon:
        daemon.ready()
        command(topics, small_model, "threshold", "pump-1", "--false-alarms-per-day", "1e-300")
        until(lambda: daemon.metric(own) == 1, "it knows the threshold")
        topics.write(records[: pumps * 205])
        until(lambda: daemon.metric(DONE) == pumps * 205, "all broke")
        said = daemon.metric("detector_alerts_total")
        daemon.stop(signal.SIGKILL)
    with Daemon(small_model, topics, tmp_path) as again:
        again.ready()
        topics.write(records[pumps * 205 :])
        until(lambda: again.metric(DONE) == pumps * 35, "all mended")
        said += again.metric("detector_alerts_total")
        told = bodies(topics, int(said))
        assert {one["stream"] for one in told} == {"pump-0", "pump-2"}
        assert len({(one["id"], one["status"]) for one in told}) == len(told), "none twice"
        command(topics, small_model, "threshold", "pump-1", "--reset")
        until(lambda: again.metric(own) == 0, "it is everybody's again")
        topics.write([(k, _broken(_later(v, 240))) for k, v in calm[: pumps * 3]])
        until(lambda: again.metric(DONE) == pumps * 38, "it breaks again")
        assert again.stop() == 0, again.said
    told = bodies(topics, len(told) + 1)[len(told) :]
    assert "pump-1" in {one["stream"] for one in told if one["status"] == "open"}


def test_the_page_shows_what_is_seen(tansu: Tansu) -> None:
    topics = Topics(tansu.bootstrap_servers)
    ensure_control(topics.servers, f"group-{topics.readings}-control")
    section = PAGE.split("## Single streams")[1].split("\n## ")[0]
    (script,), (shown,) = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)
                           for kind in ("sh", "text"))  # fmt: skip
    shell = f'set -eu; detector() {{ "{sys.executable}" -m detector "$@"; }}\n{script}'
    done = detector(topics, Path("model.onnx"), command=["bash", "-c", shell])
    assert done.returncode == 0, done.stderr
    assert _timeless(done.stdout) == _timeless(shown)


def test_a_group_that_nobody_runs_has_no_overrides(tansu: Tansu) -> None:
    topics = Topics(tansu.bootstrap_servers)
    done = detector(topics, Path("model.onnx"), "mute", "pump", "--for", "2h", "--why", "x")
    assert done.returncode == 2
    assert "saw no such topic; set DETECTOR_KAFKA__GROUP" in done.stderr


def _timeless(text: str) -> list[str]:
    """Return lines without what differs from day to day, and from one user to the next."""
    text = re.sub(r"20(?!30)\d\d-[\dT:-]+Z", "NOW", text)
    text = text.replace(f" {getpass.getuser()} ", " ME ").replace(" root ", " ME ")
    return [" ".join(line.split()) for line in text.splitlines()]
