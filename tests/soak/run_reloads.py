"""A new model every ten seconds under a steady rate: is anything lost, said twice, or held on to?

`make reloads MINUTES=2`: each file is the same model under another version, so what an undisturbed
run would say is known. `--kill` ends the process in the middle of every third change, too; some
streams then warm up afresh, and what is due in their warm-up is not said. Writes
build/reloads.json.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import run_soak
from brokers import ApacheKafka, Broker, Tansu
from daemons import Daemon, Topics, until
from versions import another_version

from detector.clock import SystemClock
from detector.consumer import KafkaSource
from detector.daemon import rules_of
from detector.decode import decode
from detector.engine import Engine
from detector.group import Subscription
from detector.model import load
from detector.settings import Judge
from detector.validate import format_of

STREAMS, RATE = 100, 400  # readings a second: a stream is past its warm-up in five
EVERY_S = 10.0
QUIET_S = 15.0
SLACK_S = 2.0  # event time, around an alert: the judge begins afresh when a model takes over

Spans = dict[tuple[str, str], list[tuple[float, float]]]  # of alerts, by stream and kind


def spans(bodies: list[dict[str, Any]]) -> Spans:
    """Return from when to when alerts were open, in event time."""
    open_s: dict[str, float] = {}
    found: Spans = defaultdict(list)
    for body in bodies:
        at_s = datetime.fromisoformat(body["at"]).timestamp()
        if body["status"] == "open":
            open_s[body["id"]] = at_s
        elif body["status"] == "close":
            began_s = open_s.pop(body["id"], at_s)
            found[body["stream"], body["kind"]].append((began_s, at_s))
    for body in bodies:
        if body["id"] in open_s:
            key = body["stream"], body["kind"]
            found[key].append((open_s.pop(body["id"]), float("inf")))
    return found


def undisturbed(model: Path, topics: Topics, sent: int) -> Spans:
    """Return what one model says of all that was written, in one go."""
    loaded = load(model)
    engine, form = Engine(loaded, rules_of(loaded.manifest, Judge())), format_of(loaded.manifest)
    found: Spans = defaultdict(list)
    arenas: dict[object, Any] = {}
    opened: dict[str, float] = {}
    alerts = []
    for chunk in topics.chunks(topics.readings, sent, 600):
        arena = arenas.setdefault(chunk.partition, engine.new_arena())
        alerts += engine.run(arena, decode(chunk, form).readings, chunk.partition).alerts
    for alert in alerts:
        if alert.status == "open":
            opened[alert.id] = alert.at_us / 1e6
        elif alert.status == "close":
            began_s = opened.pop(alert.id)
            found[alert.stream, alert.kind].append((began_s, alert.at_us / 1e6))
    return found


def covered(began_s: float, ended_s: float, seen: list[tuple[float, float]]) -> bool:
    """Return whether some alert was open while this one was."""
    return any(a - SLACK_S <= ended_s and began_s <= b + SLACK_S for a, b in seen)


def reload(
    broker: Broker, model: Path, minutes: float, folder: Path, *, kill: bool
) -> dict[str, Any]:
    """Play; return the figures."""
    run_soak.STREAMS, run_soak.RATE = STREAMS, RATE
    topics = Topics(broker.bootstrap_servers, partitions=4).create()
    live = Path(shutil.copy(model, folder / "live.onnx"))
    settings = {
        "kafka__group_instance_id": "one",
        "delivery__checkpoint_interval_s": 5,
        "delivery__transaction_timeout_s": 5,
        "reload__every_s": 0.5,
    }
    producer, rss_mb, files, kills = run_soak.Producer(topics), list[float](), 0, 0
    taken, late, starts = 0.0, 0.0, 0.0
    with ExitStack() as stack:
        member = stack.enter_context(Daemon(live, topics, folder, **settings)).ready()
        producer.start()
        start_s = time.monotonic()
        while time.monotonic() - start_s < minutes * 60:
            time.sleep(EVERY_S if files else EVERY_S / 2)
            rss_mb.append(run_soak.sample(member, start_s).rss_mb)
            files += 1
            another_version(model, live, mark=str(files))
            print(
                f"{time.monotonic() - start_s:6.0f} s  {files} files  {rss_mb[-1]:.0f} MB",
                flush=True,
            )
            if kill and files % 3 == 0:
                time.sleep(2)
                taken += member.metric('detector_reloads_total{outcome="taken",what="model"}')
                member.stop(signal.SIGKILL)
                kills += 1
                member = stack.enter_context(Daemon(live, topics, folder, **settings)).ready()
        producer.close()
        until(lambda: member.metric("detector_lag_records") == 0, "all is read", 300)
        taken += member.metric('detector_reloads_total{outcome="taken",what="model"}')
        read, late = (
            member.metric("detector_readings_total"),
            member.metric("detector_late_readings_total"),
        )
        starts = member.metric("detector_stream_starts_total")
        over = member.said.count('"a partition goes over')
        code = member.stop()
        assert code == 0, member.said[-2000:]
        assert "Traceback" not in member.said
    bodies = _bodies(topics, topics.alerts)
    lives: dict[str, list[str]] = defaultdict(list)
    for body in bodies:
        lives[body["id"]].append(body["status"])
    want, have = undisturbed(model, topics, producer.sent), spans(bodies)
    lost = [
        (key, span) for key, some in want.items() for span in some
        if not covered(*span, have.get(key, []))
    ]  # fmt: skip
    wrong = [told for told in lives.values() if not _one_life(told)]
    return {
        "minutes": minutes, "files": files, "models_taken": taken, "partitions_gone_over": over,
        "kills": kills, "sent": producer.sent, "readings_of_the_last_process": read, "late": late,
        "stream_starts_of_the_last_process": starts,
        "alerts": len(lives), "alerts_undisturbed": sum(map(len, want.values())),
        "repeated_or_broken": len(wrong), "lost": len(lost),
        "lost_examples": [str(x) for x in lost[:5]],
        "wrong_examples": wrong[:5], "rss_mb": [round(x) for x in rss_mb],
    }  # fmt: skip


def _one_life(told: list[str]) -> bool:
    """Return whether an alert was opened once, and closed once or not yet."""
    once = told.count("open") == 1 and told.count("update") <= 1 and told.count("close") <= 1
    return once and told[0] == "open" and ("close" not in told or told[-1] == "close")


def _bodies(topics: Topics, topic: str) -> list[dict[str, Any]]:
    """Return all that a reader of committed messages finds, until nothing comes any more."""
    subscription = Subscription(
        topics.servers, topic, uuid.uuid4().hex, 5000, 0.2, session_timeout_s=6
    )
    source, bodies = KafkaSource(subscription, SystemClock()), list[dict[str, Any]]()
    last_s = time.monotonic()
    while time.monotonic() - last_s < QUIET_S:
        polled = source.poll()
        for partition in polled.assigned:
            source.start(partition, None)
        for chunk in polled.chunks:
            last_s = time.monotonic()
            bodies += [json.loads(value or b"") for value in chunk.values]
    source.close()
    return bodies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    broker: Broker = ApacheKafka() if "KAFKA_HOME" in os.environ else Tansu()
    broker.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = reload(
                broker, options.model, options.minutes, Path(folder), kill=options.kill
            )
    finally:
        broker.close()
    run_soak.BUILD.mkdir(exist_ok=True)
    text = json.dumps(figures, indent=2)
    (run_soak.BUILD / "reloads.json").write_text(text)
    print(text)
    return 1 if figures["repeated_or_broken"] or (figures["lost"] and not options.kill) else 0


if __name__ == "__main__":
    sys.exit(main())
