"""What the promise costs: exactly once beside at least once, on Apache Kafka; asserts nothing.

`make bench-delivery` prints a table and writes build/delivery.json. Both guarantees run in turn,
on the same records; KAFKA_HOME names the broker.
"""

import json
import os
import statistics
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import played
from bench import BUILD, PARTITIONS, SECONDS, STREAMS, apart, table
from brokers import ApacheKafka
from consumers import Pace, Play
from daemon import daemon
from daemons import Daemon, Topics, until
from rich.console import Console

from detector.emit import KafkaSink
from detector.records import Message
from detector.topics import create_topics

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaConsumer  # type: ignore[import-untyped]

GUARANTEES = ("exactly_once", "at_least_once")
ROUNDS = 5
RATES = (1_000, 10_000)  # readings a second, of as many streams
LEAD_S, MEASURE_S, LONG_S = 12, 25, 65
BREAKING = 30  # streams a second that go off, for a few readings
OFF_READINGS = 4
MANY = 100_000
SLICE_S = 0.02

Figures = dict[str, float]

GOALS: dict[str, tuple[str, float]] = {
    "exactly_once_over_at_least_once": (">=", 0.9),
    "latency_p99_ms_exactly_once_1k": ("<=", 150.0),
    "latency_p99_ms_exactly_once_10k": ("<=", 150.0),
    "latency_p99_ms_at_least_once_1k": ("<=", 50.0),
    "latency_p99_ms_at_least_once_10k": ("<=", 50.0),
    "restore_seconds_100k": ("<=", 5.0),
}


def main() -> int:
    if "KAFKA_HOME" not in os.environ:
        print("bench-delivery: expected KAFKA_HOME to name an Apache Kafka, saw none")
        return 2
    console, model = Console(), BUILD / "bench" / "model.onnx"
    with console.status("exporting a model"):
        apart(played.export_model, model)
    broker = ApacheKafka()
    broker.start()
    figures: Figures = {}
    try:
        with console.status("throughput of both guarantees in turn"):
            figures |= throughput(broker.bootstrap_servers, model)
        for rate in RATES:
            for guarantee in GUARANTEES:
                with console.status(f"latency: {guarantee}, {rate} readings/s"):
                    figures |= latency(broker.bootstrap_servers, model, guarantee, rate)
        with console.status(f"restoring {MANY} streams"):
            figures |= restore(broker.bootstrap_servers, model)
    finally:
        broker.close()
    (BUILD / "delivery.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console.print(table(figures, GOALS))
    return 0


def throughput(servers: str, model: Path) -> Figures:
    """Return how fast the daemon reads what is there, with either guarantee."""
    topic = "throughput"
    create_topics(servers, [topic], PARTITIONS)
    messages = played.messages(topic, STREAMS, SECONDS)
    sink = KafkaSink(servers, [])
    sink.send(messages)
    sink.close()

    def pace(guarantee: str) -> Pace:
        log = BUILD / "bench" / "delivery.log"
        settings = {"DELIVERY__GUARANTEE": guarantee}
        play = Play(servers, topic, uuid.uuid4().hex, len(messages), model, log, settings)
        return apart(daemon, play)

    rounds = [[pace(guarantee).rate for guarantee in GUARANTEES] for _ in range(ROUNDS)]
    return {
        "exactly_once_over_at_least_once": median(exactly / least for exactly, least in rounds),
        "exactly_once_per_s": median(exactly for exactly, _ in rounds),
        "at_least_once_per_s": median(least for _, least in rounds),
    }


def latency(servers: str, model: Path, guarantee: str, rate: int) -> Figures:
    """Return the time from a reading's send to its alert's arrival, at a steady rate."""
    topics, case = Topics(servers, partitions=2).create(), f"{guarantee}_{rate // 1000}k"
    seconds = LONG_S if (guarantee, rate) == ("exactly_once", RATES[-1]) else MEASURE_S
    folder = BUILD / "bench"
    with (
        running(Daemon(model, topics, folder, **_settings(guarantee))) as member,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        member.ready()
        alerts = _consumer(servers, topics.alerts)
        played_all = pool.submit(play, servers, topics.readings, rate, LEAD_S + seconds)
        begun_s, seen = time.time(), list[float]()
        while not played_all.done():
            for records in alerts.poll(timeout_ms=50).values():
                now_s = time.time()
                for record in records:
                    alert = json.loads(record.value)
                    if alert["status"] == "open" and now_s - begun_s > LEAD_S:
                        seen.append(now_s - _epoch_s(alert["at"]))
        alerts.close()
        behind_s = played_all.result()
        written = member.metric("detector_checkpoint_written_bytes_total")
        readings = member.metric("detector_readings_total")
    centiles = statistics.quantiles(seen, n=100)
    figures = {
        f"latency_p50_ms_{case}": 1000 * centiles[49],
        f"latency_p99_ms_{case}": 1000 * centiles[98],
        f"latency_alerts_{case}": len(seen),
        f"producer_behind_ms_{case}": 1000 * behind_s,
    }
    if seconds == LONG_S:
        figures["changelog_bytes_per_reading"] = written / readings
    return figures


def play(servers: str, topic: str, rate: int, seconds: int) -> float:
    """Send readings of `rate` streams, one a second each; return how late the sends became."""
    random = np.random.default_rng(0)
    bodies = [played._body(row) for row in played.values(1, played.BODIES)[0]]
    off = [played._body(row + played.OFF) for row in played.values(1, 64)[0]]
    sink = KafkaSink(servers, [])
    until_off = np.zeros(rate, np.int64)
    next_stream, start_s, behind_s, turn = 0, time.time(), 0.0, 0
    while (elapsed_s := time.time() - start_s) < seconds:
        due = int(elapsed_s * rate)
        turn += 1
        messages = []
        for number in range(next_stream, due):
            stream = number % rate
            if number > rate * 8 and random.random() < BREAKING / rate and not until_off[stream]:
                until_off[stream] = OFF_READINGS
            pool = off if until_off[stream] else bodies
            until_off[stream] = max(until_off[stream] - 1, 0)
            body = pool[number % len(pool)]
            value = b'{"ts":%.6f,"values":{%b}}' % (time.time(), body)
            messages.append(Message(topic, played.stream_id(stream), value))
        next_stream = due
        sink.send(messages)
        behind_s = max(behind_s, time.time() - start_s - elapsed_s) if turn > 20 else 0.0
        time.sleep(SLICE_S)
    sink.close()
    return behind_s


def restore(servers: str, model: Path) -> Figures:
    """Return how long a daemon needs for the state of many streams, and what it replays."""
    topics = Topics(servers, partitions=1).create()
    body = played._body(played.values(1, 1)[0][0])
    value = b'{"ts":%d,"values":{%b}}' % (played.START_S, body)
    sink = KafkaSink(servers, [])
    sink.send([Message(topics.readings, played.stream_id(n), value) for n in range(MANY)])
    sink.close()
    folder = BUILD / "bench"
    with running(Daemon(model, topics, folder, **_settings("exactly_once"))) as first:
        first.ready()
        until(lambda: first.metric("detector_readings_total") == MANY, "all read", 120)
    seconds = []
    for _ in range(3):
        with running(Daemon(model, topics, folder, **_settings("exactly_once"))) as again:
            again.ready()
            until(lambda: again.metric("detector_streams ") == MANY, "all restored")
            seconds.append(again.metric("detector_restore_seconds_sum"))
    return {"restore_seconds_100k": median(seconds)}


@contextmanager
def running(member: Daemon) -> Iterator[Daemon]:
    with member:
        yield member
        assert member.stop() == 0, member.said


def _settings(guarantee: str) -> dict[str, Any]:
    return {"delivery__guarantee": guarantee, "delivery__commit_interval_s": 5}


def _consumer(servers: str, topic: str) -> Any:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        group_id=None,
    )
    consumer.poll(timeout_ms=1000)
    return consumer


def _epoch_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    sys.exit(main())
