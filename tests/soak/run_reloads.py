"""A new model every ten seconds under a steady rate: is anything lost, said twice, or held on to?

`make reloads MINUTES=2`: by default each file is of the same graph, so state moves over, and what
is said must be what an undisturbed run says, alert by alert; `--kill` ends the process after every
third file, and that must not be seen either. With `--graphs` each file is another model to the
daemon: it warms up beside the one before, and judges with a younger memory of its streams, so
single alerts differ; each must still begin once and end once, and each reading be scored once.
Writes build/reloads.json.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import run_soak
from brokers import ApacheKafka, Broker, Tansu
from daemons import Daemon, Topics, until
from versions import another_version

from detector.clock import SystemClock
from detector.consumer import KafkaSource
from detector.decode import decode
from detector.equip import equip
from detector.group import Subscription
from detector.model import load
from detector.overrides import Overrides
from detector.settings import Settings

STREAMS, RATE = 100, 400  # readings a second: a stream is past its warm-up in five
EVERY_S = 10.0
QUIET_S = 15.0


def undisturbed(model: Path, topics: Topics, sent: int) -> Counter[tuple[str, str]]:
    """Return id and status of all that one model says of what was written, in one go."""
    loaded = load(model)
    settings = Settings(model=model)
    scorer = equip(settings, loaded, overrides=Overrides())
    engine, form = scorer.engine, scorer.form
    arenas: dict[object, Any] = {}
    said: Counter[tuple[str, str]] = Counter()
    for chunk in topics.chunks(topics.readings, sent, 600):
        arena = arenas.setdefault(chunk.partition, engine.new_arena())
        outcome = engine.run(arena, decode(chunk, form).readings, chunk.partition)
        said.update((alert.id, alert.status) for alert in outcome.alerts)
    return said


def reload(
    broker: Broker, model: Path, minutes: float, folder: Path, *, kill: bool, graphs: bool
) -> dict[str, Any]:
    """Play; return the figures."""
    run_soak.STREAMS, run_soak.RATE = STREAMS, RATE
    topics = Topics(broker.bootstrap_servers, partitions=4).create()
    live = folder / "live.onnx"
    another_version(model, live, mark="0")
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
            mark = str(files) if graphs else "0"
            another_version(model, live, mark=mark, training={"file": files})
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
    want = undisturbed(live, topics, producer.sent)
    have = Counter((body["id"], body["status"]) for body in bodies)
    wrong = [told for told in lives.values() if not _one_life(told)]
    return {
        "minutes": minutes, "files": files, "models_taken": taken, "partitions_gone_over": over,
        "kills": kills, "sent": producer.sent, "readings_of_the_last_process": read, "late": late,
        "stream_starts_of_the_last_process": starts,
        "alerts": len(lives), "alerts_undisturbed": len({id_ for id_, _ in want}),
        "broken_lives": len(wrong),
        "lost": (want - have).total(), "strange": (have - want).total(),
        "wrong_examples": wrong[:5], "rss_mb": [round(x) for x in rss_mb],
    }  # fmt: skip


def _one_life(told: list[str]) -> bool:
    """Return whether an alert was opened once, and closed once or not yet."""
    once = told.count("open") == 1 and told.count("update") <= 2 and told.count("close") <= 1
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
    parser.add_argument("--graphs", action="store_true")
    options = parser.parse_args()
    broker: Broker = ApacheKafka() if "KAFKA_HOME" in os.environ else Tansu()
    broker.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = reload(
                broker,
                options.model,
                options.minutes,
                Path(folder),
                kill=options.kill,
                graphs=options.graphs,
            )
    finally:
        broker.close()
    run_soak.BUILD.mkdir(exist_ok=True)
    text = json.dumps(figures, indent=2)
    (run_soak.BUILD / "reloads.json").write_text(text)
    print(text)
    differs = figures["lost"] + figures["strange"]
    return 1 if figures["broken_lives"] or (differs and not options.graphs) else 0


if __name__ == "__main__":
    sys.exit(main())
