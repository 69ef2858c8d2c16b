"""Hours in minutes: a steady rate, rebalances, and what the daemon holds on to meanwhile.

`make soak MINUTES=30`: one member is watched; a second one comes and goes beside it. Writes
build/soak.csv, build/soak.png and build/soak.json: resident memory, file descriptors and threads
over time, and their slopes after the first third.
"""

import argparse
import csv
import json
import os
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib as mpl
import numpy as np
from brokers import ApacheKafka, Broker, Tansu
from daemons import Daemon, Topics

from detector.emit import KafkaSink
from detector.records import Message
from training.demo.fleet import CHANNELS, simulate

mpl.use("Agg")
from matplotlib import pyplot as plt

BUILD = Path(__file__).parents[2] / "build"
STREAMS, RATE = 500, 1500  # readings a second
BATCH_S = 0.1
SAMPLE_S = 2.0
CHURN_S = 40.0  # the other member comes, and goes, this often
FAULTY = 20  # streams that are off for a while, again and again


@dataclass(frozen=True)
class Sample:
    """What the watched process has."""

    seconds: float
    rss_mb: float
    descriptors: int
    threads: int
    readings: float
    partitions: float


class Producer(threading.Thread):
    """Writes readings of many streams at a steady rate until it is stopped."""

    def __init__(self, topics: Topics) -> None:
        super().__init__(daemon=True)
        self._topics = topics
        self._stopped = threading.Event()
        self.sent = 0

    def run(self) -> None:
        rows = simulate(20, 600, seed=5).round(3)
        names = list(CHANNELS)
        sink, start_s = KafkaSink(self._topics.servers, []), time.monotonic()
        base_s = time.time()
        while not self._stopped.wait(BATCH_S):
            due = int((time.monotonic() - start_s) * RATE)
            messages = []
            for number in range(self.sent, due):
                stream, turn = number % STREAMS, number // STREAMS
                row = rows[stream % 20, turn % 600]
                if stream < FAULTY and turn % 120 < 15:
                    row = row * 3
                values = dict(zip(names, row.tolist(), strict=True))
                body = json.dumps({"ts": base_s + turn / 10, "values": values}).encode()
                messages.append(Message(self._topics.readings, b"stream-%04d" % stream, body))
            sink.send(messages)
            self.sent = due
        sink.close()

    def close(self) -> None:
        self._stopped.set()
        self.join()


def sample(member: Daemon, start_s: float) -> Sample:
    """Look at a process from outside."""
    proc = Path(f"/proc/{member.process.pid}")
    fields = dict(
        line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
    )
    return Sample(
        time.monotonic() - start_s,
        int(fields["VmRSS"].split()[0]) / 1024,
        len(list((proc / "fd").iterdir())),
        int(fields["Threads"]),
        member.metric("detector_readings_total"),
        member.metric("detector_assigned_partitions"),
    )


def soak(broker: Broker, model: Path, minutes: float, folder: Path) -> tuple[list[Sample], int]:
    """Watch one member for so long; return the samples, and how often the other moved."""
    topics = Topics(broker.bootstrap_servers, partitions=4).create()
    settings = {"kafka__session_timeout_s": 10, "delivery__checkpoint_interval_s": 10}
    producer, samples, moves = Producer(topics), list[Sample](), 0
    other: Daemon | None = None
    with Daemon(model, topics, folder, **settings) as member:
        member.ready()
        producer.start()
        start_s = time.monotonic()
        while time.monotonic() - start_s < minutes * 60:
            samples.append(sample(member, start_s))
            _tell(samples[-1], minutes)
            if time.monotonic() - start_s > (moves + 1) * CHURN_S:
                moves += 1
                if other is None:
                    other = Daemon(model, topics, folder, **settings)
                else:
                    other.stop(signal.SIGTERM if moves % 4 else signal.SIGKILL)
                    other = None
            time.sleep(SAMPLE_S)
        producer.close()
        if other is not None:
            other.stop()
        code = member.stop()
        assert code == 0, member.said[-2000:]
        assert "Traceback" not in member.said
    print()
    return samples, moves


def slope(samples: list[Sample], name: str) -> float:
    """Return the growth an hour, by least squares, after the first third."""
    late = samples[len(samples) // 3 :]
    hours = np.array([one.seconds for one in late]) / 3600
    return float(np.polyfit(hours, [getattr(one, name) for one in late], 1)[0])


def draw(samples: list[Sample], path: Path) -> None:
    """Draw what the process held over time."""
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(9, 7), constrained_layout=True)
    minutes = [one.seconds / 60 for one in samples]
    for axis, (name, label) in zip(
        axes,
        [("rss_mb", "resident memory, MB"), ("descriptors", "file descriptors"),
         ("threads", "threads")],
        strict=True,
    ):  # fmt: skip
        values = [getattr(one, name) for one in samples]
        axis.plot(minutes, values, color="tab:blue", linewidth=1.2)
        axis.set_ylabel(label)
        axis.set_ylim(0, max(values) * 1.15)
        axis.grid(visible=True, alpha=0.3)
        axis.set_title(f"{slope(samples, name):+.2f} an hour", loc="right", fontsize=9)
    held = axes[2].twinx()
    held.step(minutes, [one.partitions for one in samples], color="tab:orange", alpha=0.6)
    held.set_ylabel("partitions held", color="tab:orange")
    held.set_ylim(0, 5)
    axes[2].set_xlabel("minutes")
    figure.suptitle(f"{RATE} readings/s of {STREAMS} streams, another member coming and going")
    figure.savefig(path, dpi=110)


def _tell(last: Sample, minutes: float) -> None:
    line = (
        f"{last.seconds / 60:6.1f} of {minutes:g} min  {last.rss_mb:7.1f} MB  "
        f"{last.descriptors} descriptors  {last.threads} threads  {last.readings:.0f} readings"
    )
    print(line, end="\r" if sys.stdout.isatty() else "\n", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--model", type=Path, required=True)
    options = parser.parse_args()
    broker: Broker = ApacheKafka() if "KAFKA_HOME" in os.environ else Tansu()
    broker.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            samples, moves = soak(broker, options.model, options.minutes, Path(folder))
    finally:
        broker.close()
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "soak.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(Sample.__dataclass_fields__)
        writer.writerows([*vars(one).values()] for one in samples)
    draw(samples, BUILD / "soak.png")
    figures = {
        "minutes": options.minutes,
        "readings": samples[-1].readings,
        "moves_of_the_other": moves,
        "rss_mb_end": samples[-1].rss_mb,
        **{f"{n}_per_hour": slope(samples, n) for n in ("rss_mb", "descriptors", "threads")},
    }
    text = json.dumps(figures, indent=2)
    (BUILD / "soak.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
