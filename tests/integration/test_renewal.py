"""A daemon under which models and settings change, against real brokers."""

import json
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from brokers import Broker, Tansu
from daemons import Daemon, Topics, story, until
from versions import another_version

from detector.artifact import Manifest
from detector.model import load

pytestmark = pytest.mark.broker

PUMPS, BROKEN = 3, (1, 200, 320)
QUICK = {
    "reload__every_s": 0.2,
    "delivery__checkpoint_interval_s": 1,
    "delivery__transaction_timeout_s": 5,
    "kafka__group_instance_id": "one",  # what a killed one left open is ended at once
}


@pytest.fixture
def live(small_model: Path, tmp_path: Path) -> Path:
    """A model file that may be replaced."""
    return Path(shutil.copy(small_model, tmp_path / "live.onnx"))


def lives(topics: Topics, count: float, topic: str = "") -> dict[str, list[tuple[str, str]]]:
    """Return status and model of what was said of each alert, by its id, in order."""
    told = defaultdict(list)
    for _, value in topics.read(topic or topics.alerts, int(count)):
        body = json.loads(value)
        told[body["id"]].append((body["status"], body["model"]["version"]))
    return told


def judged_by(daemon: Daemon, version: str) -> bool:
    return daemon.metric(f'detector_model_info{{name="small",version="{version[:12]}"}}') == 1


def test_a_model_changes_under_an_open_alert_and_nobody_can_tell(
    broker: Broker, small_model: Path, live: Path, tmp_path: Path
) -> None:
    topics, records = Topics(broker.bootstrap_servers).create(), story(PUMPS, 400, BROKEN)
    old = load(live).manifest.version
    with Daemon(live, topics, tmp_path, **QUICK) as daemon:
        daemon.ready()
        topics.write(records[: PUMPS * 230])
        until(lambda: daemon.metric("detector_readings_total") == PUMPS * 230, "the first part")
        until(lambda: daemon.metric("detector_open_alerts") == 1, "the alert is open")

        live.write_bytes(live.read_bytes()[:1000])  # half a file
        refused = 'detector_reloads_total{outcome="refused",what="model"}'
        until(lambda: daemon.metric(refused) == 1, "it is refused")
        new = another_version(small_model, live)
        until(
            lambda: daemon.metric('detector_shadow_info{name="small",role="next"') == 1, "it comes"
        )
        assert judged_by(daemon, old)
        topics.write(records[PUMPS * 230 : PUMPS * 300])  # past its warm-up
        until(lambda: judged_by(daemon, new), "it has taken over")
        assert daemon.metric("detector_open_alerts") == 1
        topics.write(records[PUMPS * 300 : PUMPS * 330])
        until(lambda: daemon.metric("detector_readings_total") == PUMPS * 330, "more")
        said = daemon.metric("detector_alerts_total")
        daemon.stop(signal.SIGKILL)
        assert daemon.said.count("refused, what was before stays") == 1
    with Daemon(live, topics, tmp_path, **QUICK) as again:
        again.ready()
        assert again.metric('detector_restores_total{outcome="restored"}') == 2
        topics.write(records[PUMPS * 330 :])
        until(lambda: again.metric("detector_open_alerts") == 0, "all is closed")
        assert again.metric("detector_stream_starts_total") == 0, "no stream warmed up again"
        said += again.metric("detector_alerts_total")
        assert again.stop() == 0, again.said
    told = lives(topics, said)
    for life in told.values():
        assert [status for status, _ in life if status != "update"] == ["open", "close"]
    assert (old, new) in [(life[0][1], life[-1][1]) for life in told.values()]


def test_a_kill_in_the_middle_of_a_change_loses_and_repeats_nothing(
    tansu: Tansu, small_model: Path, live: Path, tmp_path: Path
) -> None:
    topics, records = Topics(tansu.bootstrap_servers).create(), story(PUMPS, 400, BROKEN)
    slow: Manifest = load(live).manifest
    with Daemon(live, topics, tmp_path, **QUICK) as daemon:
        daemon.ready()
        topics.write(records[: PUMPS * 230])
        until(lambda: daemon.metric("detector_open_alerts") == 1, "the alert is open")
        another_version(small_model, live, warm_up=slow.warm_up * 100)
        until(lambda: daemon.metric("detector_awaiting_partitions") == 2, "it comes")
        topics.write(records[PUMPS * 230 : PUMPS * 250])
        until(lambda: daemon.metric("detector_readings_total") == PUMPS * 250, "more")
        said = daemon.metric("detector_alerts_total")
        daemon.stop(signal.SIGKILL)
    with Daemon(live, topics, tmp_path, **QUICK) as again:
        again.ready()
        assert again.metric('detector_restores_total{outcome="other_model"}') == 2
        topics.write(records[PUMPS * 250 :])
        until(lambda: again.metric("detector_open_alerts") == 0, "all is closed")
        said += again.metric("detector_alerts_total")
        assert again.stop() == 0, again.said
    for life in lives(topics, said).values():
        assert [status for status, _ in life if status != "update"] == ["open", "close"]


def test_a_candidate_is_compared_promoted_and_rolled_back(
    tansu: Tansu, small_model: Path, live: Path, tmp_path: Path
) -> None:
    topics, records = Topics(tansu.bootstrap_servers).create(), story(PUMPS, 400, BROKEN)
    candidate = tmp_path / "candidate.onnx"
    old, new = load(live).manifest.version, another_version(small_model, candidate)
    shadow = {"shadow__model": candidate, "shadow__topic": topics.scores}
    with Daemon(live, topics, tmp_path, **QUICK, **shadow) as daemon:
        daemon.ready()
        until(lambda: daemon.metric('detector_shadow_info{name="small",role="cand') == 1, "it runs")
        topics.write(records[: PUMPS * 230])
        compared = 'detector_shadow_readings_total{alerting="both"}'
        until(lambda: daemon.metric(compared) > 0, "both are in alert")
        told = lives(topics, 1, topics.scores)
        assert {version for life in told.values() for _, version in life} == {new}

        def promote(*arguments: object) -> str:
            command = [sys.executable, "-m", "detector", "promote", "--model", live, *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # type: ignore[arg-type]

        assert promote(candidate).startswith(f"{live} is small {new[:12]} now; the one before is")
        until(lambda: judged_by(daemon, new), "it has warmed up long ago")
        assert daemon.metric("detector_shadow_info") == 0
        promote(live.with_name("live.onnx.previous"))
        until(lambda: daemon.metric('detector_shadow_info{name="small",role="next"') == 1, "back")
        topics.write(records[PUMPS * 230 :])
        until(lambda: judged_by(daemon, old), "it is back")
        assert daemon.metric('detector_shadow_info{name="small",role="candidate"') == 1
        assert daemon.stop() == 0, daemon.said
        assert load(live.with_name("live.onnx.previous")).manifest.version == new


def test_settings_are_read_again_when_asked_to(tansu: Tansu, live: Path, tmp_path: Path) -> None:
    topics, records = Topics(tansu.bootstrap_servers).create(), story(PUMPS, 400, BROKEN)
    config = tmp_path / "pumps.toml"
    config.write_text("[judge]\nfalse_alarms_per_stream_day = 1e-300\n")
    slow = {"config": config, "reload__every_s": 3600}
    with Daemon(live, topics, tmp_path, **slow) as daemon:
        daemon.ready()
        topics.write(records[: PUMPS * 230])
        until(lambda: daemon.metric("detector_readings_total") == PUMPS * 230, "the first part")
        assert daemon.metric("detector_alerts_total") == 0
        before = [line for line in daemon.get("/metrics")[1].splitlines() if "config_info{" in line]

        config.write_text("[judge]\nfalse_alarms_per_day = 1\n")
        daemon.process.send_signal(signal.SIGHUP)
        refused = 'detector_reloads_total{outcome="refused",what="settings"}'
        until(lambda: daemon.metric(refused) == 1, "a wrong file is refused")
        assert "judge.false_alarms_per_day" in daemon.said

        text = "[judge]\nfalse_alarms_per_stream_day = 1\n[kafka]\nmax_poll_records = 7\n"
        config.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        taken = 'detector_reloads_total{outcome="taken",what="settings"}'
        until(lambda: daemon.metric(taken) == 1, "a right one is taken")
        assert "kafka.max_poll_records" in daemon.said
        topics.write(records[PUMPS * 230 :])
        until(lambda: daemon.metric("detector_alerts_total") > 0, "it alerts now")
        after = [line for line in daemon.get("/metrics")[1].splitlines() if "config_info{" in line]
        assert (len(before), len(after)) == (1, 1)
        assert before != after
        assert daemon.stop() == 0, daemon.said
