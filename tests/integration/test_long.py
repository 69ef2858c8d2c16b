"""Values of one tag each, on a real broker: joined, judged, and killed in the middle."""

import json
import signal
from pathlib import Path

import pytest
from brokers import Broker
from daemons import Daemon, Topics, story, until

pytestmark = pytest.mark.broker

TAGS = {"period_s": 1.0, "carry_s": 5.0}
SETTINGS: dict[str, object] = {
    "input__time": "t",
    "input__values": "v",
    "input__tags": json.dumps(TAGS),
    "delivery__checkpoint_interval_s": 0.5,
}
PUMPS, SECONDS = 3, 360
Records = list[tuple[bytes | None, bytes | None]]


def long_records(ours: list[tuple[bytes, bytes]]) -> Records:
    """Return readings as a gateway writes them: a record a value, each a little later."""
    records: Records = []
    for key, value in ours:
        reading = json.loads(value)
        for n, (name, seen) in enumerate(reading["values"].items()):
            sample = {"tag": f"plant/{key.decode()}/{name}", "t": reading["ts"] + n / 100}
            records.append((None, json.dumps(sample | {"v": seen}).encode()))
    return records


def alerts_of(topics: Topics, count: int) -> list[dict[str, object]]:
    """Return the alerts, without what is the topic's: id and source."""
    alerts = [json.loads(value) for _, value in topics.read(topics.alerts, count)]
    for alert in alerts:
        alert["source"]["topic"] = ""
        alert["id"] = ""
    return alerts


def undisturbed(
    broker: Broker, model: Path, folder: Path, records: Records
) -> list[dict[str, object]]:
    topics = Topics(broker.bootstrap_servers, partitions=1).create()
    with Daemon(model, topics, folder, **SETTINGS) as daemon:
        daemon.ready()
        topics.write(records)
        until(lambda: daemon.metric("detector_records_total") == len(records), "all read")
        # Each pump's last second waits for the one after.
        assert daemon.metric("detector_readings_total") == PUMPS * (SECONDS - 1), daemon.said
        assert daemon.metric("detector_dead_letters_total") == 0
        said = int(daemon.metric("detector_alerts_total"))
        assert daemon.stop() == 0, daemon.said
    return alerts_of(topics, said)


def test_an_alert_opens_and_a_kill_changes_nothing(
    broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    records = long_records(story(PUMPS, SECONDS, (1, 200, 320)))
    want = undisturbed(broker, small_model, tmp_path, records)
    assert {(alert["stream"], alert["status"]) for alert in want} >= {
        ("plant/pump-1", "open"),
        ("plant/pump-1", "close"),
    }
    topics = Topics(broker.bootstrap_servers, partitions=1).create()
    # Not at the end of a second: some channels of it have come, and some have not.
    middle = len(records) * 280 // SECONDS + 4
    with Daemon(small_model, topics, tmp_path, **SETTINGS) as daemon:
        daemon.ready()
        topics.write(records[:middle])
        until(lambda: daemon.metric("detector_records_total") == middle, "the first half")
        until(lambda: daemon.metric("detector_checkpoints_total") >= 2, "checkpoints")
        said = daemon.metric("detector_alerts_total")
        daemon.stop(signal.SIGKILL)
    with Daemon(small_model, topics, tmp_path, **SETTINGS) as again:
        again.ready()
        topics.write(records[middle:])
        rest = len(records) - middle
        until(lambda: again.metric("detector_records_total") >= rest, "the rest")
        assert again.metric("detector_stream_starts_total") == 0, "no stream warmed up again"
        said += again.metric("detector_alerts_total")
        assert again.stop() == 0, again.said
    assert said == len(want), "nothing was said twice"
    assert alerts_of(topics, len(want)) == want
