"""What survives: state, alerts, the promise; and how one looks at it."""

import json
import signal
import time
from pathlib import Path

import pytest
from brokers import ApacheKafka, Broker, Tansu
from daemons import Daemon, Topics, detector, story, until

from detector.topics import create_topics

pytestmark = pytest.mark.broker


def test_a_killed_daemon_goes_on_with_its_state_and_repeats_nothing(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers).create()
    records = story(3, 400, (1, 200, 320))
    quick = {"delivery__checkpoint_interval_s": 0.5}
    middle = 3 * 280  # in the middle of the alert
    with Daemon(small_model, topics, tmp_path, **quick) as daemon:
        daemon.ready()
        topics.write(records[:middle])
        until(lambda: daemon.metric("detector_readings_total") == middle, "the first half")
        until(lambda: daemon.metric("detector_checkpoints_total") >= 2, "checkpoints")
        until(lambda: daemon.metric("detector_open_alerts") == 1, "the alert is open")
        said = daemon.metric("detector_alerts_total")
        daemon.stop(signal.SIGKILL)
    with Daemon(small_model, topics, tmp_path, **quick) as again:
        again.ready()
        topics.write(records[middle:])
        until(lambda: again.metric("detector_readings_total") >= len(records) - middle, "the rest")
        assert again.metric('detector_restores_total{outcome="restored"}') == 2
        assert again.metric("detector_stream_starts_total") == 0, "no stream warmed up again"
        until(lambda: again.metric("detector_open_alerts") == 0, "all alerts are closed")
        said += again.metric("detector_alerts_total")
        assert again.stop() == 0, again.said
    alerts = [json.loads(value) for _, value in topics.read(topics.alerts, int(said))]
    assert len(alerts) == said
    # Of the alert that was open when it died there is one beginning and one end.
    lives: dict[str, list[str]] = {}
    for alert in alerts:
        lives.setdefault(alert["id"], []).append(alert["status"])
    for life in lives.values():
        assert [life[0], life[-1]] == ["open", "close"]
        assert life[1:-1] in ([], ["update"], ["update", "update"])


def test_a_zombie_ends_and_says_why_while_the_other_goes_on(
    apache_kafka: ApacheKafka, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(apache_kafka.bootstrap_servers).create()
    short = {"kafka__session_timeout_s": 2}
    records = story(4, 60)
    with (
        Daemon(small_model, topics, tmp_path, **short) as zombie,
        Daemon(small_model, topics, tmp_path, **short) as other,
    ):
        held = "detector_assigned_partitions"
        until(lambda: zombie.metric(held) == other.metric(held) == 1, "a partition each")
        zombie.ready()  # one that has read nothing yet has nothing to answer for
        topics.write(records[:120])
        zombie.process.send_signal(signal.SIGSTOP)
        until(lambda: other.metric(held) == 2, "the other takes over")
        topics.write(records[120:])
        time.sleep(2)
        zombie.process.send_signal(signal.SIGCONT)
        assert zombie.process.wait(30) == 1, zombie.said
        assert "our partitions are others' now" in zombie.said
        read = "detector_records_total"
        until(lambda: other.metric("detector_lag_records{") == 0, "all read")
        assert other.metric(read) >= 120
        assert other.stop() == 0


def test_what_streams_carry_can_be_looked_at(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers).create()
    nothing = detector(topics, small_model, "state", "ls")
    assert nothing.returncode == 2
    assert "saw no such topic" in nothing.stderr
    records = story(3, 280, (1, 200, 320))
    with Daemon(small_model, topics, tmp_path) as daemon:
        daemon.ready()
        topics.write(records)
        until(lambda: daemon.metric("detector_readings_total") == len(records), "all scored")
        assert daemon.stop() == 0
    listed = detector(topics, small_model, "state", "ls")
    lines = sorted(line.split()[-3:] for line in listed.stdout.splitlines()[1:])
    assert lines == [["280", "-", "pump-0"], ["280", "-", "pump-2"], ["280", "state", "pump-1"]]
    shown = json.loads(detector(topics, small_model, "state", "show", "pump-1").stdout)
    assert (shown["seen"], shown["judge"]["state"]["open"]) == (280, True)
    assert shown["last_at"].startswith("2025-10-09T08:5")
    exported = detector(topics, small_model, "state", "export").stdout.splitlines()
    assert sorted(json.loads(line)["stream"] for line in exported) == ["pump-0", "pump-1", "pump-2"]
    unknown = detector(topics, small_model, "state", "show", "nobody")
    assert unknown.returncode == 1
    assert "saw none of that name" in unknown.stderr


def test_a_changelog_of_another_input_is_refused(
    tansu: Tansu, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(tansu.bootstrap_servers, partitions=1).create()
    create_topics(tansu.bootstrap_servers, [f"group-{topics.readings}-state"], 3)
    with Daemon(small_model, topics, tmp_path) as daemon:
        assert daemon.process.wait(60) == 2
        assert "saw 3: it holds the state of another input" in daemon.said


def test_a_full_disk_under_its_log_does_not_stop_it(
    tansu: Tansu, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(tansu.bootstrap_servers).create()
    log = tmp_path / "full"
    log.symlink_to("/dev/full")
    with Daemon(small_model, topics, tmp_path, log=log) as daemon:
        daemon.ready()
        topics.write(story(2, 20))
        until(lambda: daemon.metric("detector_readings_total") == 40, "all scored")
        assert daemon.stop() == 0


def test_a_replica_without_a_partition_is_ready_too(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap_servers, partitions=1).create()
    with (
        Daemon(small_model, topics, tmp_path) as one,
        Daemon(small_model, topics, tmp_path) as other,
    ):
        one.ready()
        other.ready()
        held = "detector_assigned_partitions"
        until(lambda: one.metric(held) + other.metric(held) == 1, "one has the partition")
        assert one.stop() == other.stop() == 0


def test_a_group_that_wants_only_new_readings_keeps_where_it_began(
    apache_kafka: ApacheKafka, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(apache_kafka.bootstrap_servers).create()
    topics.write(story(2, 20))
    late = {"kafka__from_beginning": "false"}
    with Daemon(small_model, topics, tmp_path, **late) as daemon:
        daemon.ready()
        assert daemon.stop() == 0
    topics.write(story(2, 30)[40:])  # while nobody reads
    with Daemon(small_model, topics, tmp_path, **late) as again:
        again.ready()
        until(lambda: again.metric("detector_records_total") >= 20, "what came meanwhile")
        assert again.metric("detector_records_total") == 20
        assert again.stop() == 0
