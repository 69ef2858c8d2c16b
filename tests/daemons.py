"""The daemon as a process of its own, as systemd or Kubernetes would run it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from detector.clock import SystemClock
from detector.consumer import KafkaSource
from detector.emit import KafkaSink
from detector.group import Subscription
from detector.records import Chunk, Message
from detector.topics import create_topics
from training.demo.broker import free_port
from training.demo.fleet import CHANNELS, simulate

BEGAN_S = 1_760_000_000
FAR_OFF = 500.0  # bar; a broken sensor, which any model notices within readings


def until(true: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"expected within {timeout_s} s: {what}"
        time.sleep(0.1)


class Topics:
    """Topics of one test on a broker, with names of their own."""

    def __init__(self, servers: str, partitions: int = 2) -> None:
        mark = uuid.uuid4().hex[:8]
        self.servers = servers
        self.readings, self.alerts, self.dead, self.scores = (
            f"{name}-{mark}" for name in ("readings", "alerts", "dead", "scores")
        )
        self._partitions = partitions

    def create(self) -> Self:
        create_topics(self.servers, [self.readings], self._partitions)
        create_topics(self.servers, [self.alerts, self.dead, self.scores], 1)
        return self

    def write(self, records: list[tuple[bytes | None, bytes | None]]) -> None:
        sink = KafkaSink(self.servers, [])
        sink.send([Message(self.readings, key, value) for key, value in records])  # type: ignore[arg-type]
        sink.close()

    def read(self, topic: str, count: int, timeout_s: float = 60) -> list[tuple[bytes, bytes]]:
        """Return at least `count` records of a topic, as keys and values."""
        pairs: list[tuple[bytes, bytes]] = []
        for chunk in self.chunks(topic, count, timeout_s):
            pairs += [(k or b"", v or b"") for k, v in zip(chunk.keys, chunk.values, strict=True)]
        return pairs

    def chunks(self, topic: str, count: int, timeout_s: float = 60) -> list[Chunk]:
        subscription = Subscription(
            self.servers, topic, uuid.uuid4().hex, 5000, 0.2, session_timeout_s=6
        )
        source, chunks = KafkaSource(subscription, SystemClock()), list[Chunk]()
        deadline = time.monotonic() + timeout_s
        try:
            while sum(len(c.values) for c in chunks) < count:
                seen = sum(len(c.values) for c in chunks)
                assert time.monotonic() < deadline, f"{topic}: expected {count} records, saw {seen}"
                polled = source.poll()
                chunks += polled.chunks
                for partition in polled.assigned:
                    source.start(partition, None)
        finally:
            source.close()
        return chunks


class Daemon:
    """`detector run` with settings for a test."""

    def __init__(
        self,
        model: Path,
        topics: Topics,
        folder: Path,
        *,
        log: Path | None = None,
        command: Sequence[str | Path] = (sys.executable, "-m", "detector", "run"),
        **settings: object,
    ) -> None:
        self.port = free_port()
        self.log = log or folder / f"detector-{self.port}.log"
        ours = {
            "model": model,
            "kafka__bootstrap_servers": topics.servers,
            "kafka__topic": topics.readings,
            "kafka__group": f"group-{topics.readings}",
            "kafka__session_timeout_s": 6,
            "kafka__poll_timeout_s": 0.2,
            "output__alerts_topic": topics.alerts,
            "output__dead_letters_topic": topics.dead,
            "delivery__commit_interval_s": 0.5,
            "http__port": self.port,
            **settings,
        }
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DETECTOR_")}
        environment |= {f"DETECTOR_{name}".upper(): str(value) for name, value in ours.items()}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stderr=out,
                stdout=subprocess.PIPE,
            )

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels; name may hold labels, too."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def ready(self) -> Self:
        until(lambda: self.get("/readyz")[0] == 200 or not self.running, "readiness")
        assert self.running, self.said
        return self

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        if self.running:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(signal.SIGKILL)
        if self.process.stdout:
            self.process.stdout.close()


def detector(
    topics: Topics,
    model: Path,
    *arguments: str,
    command: Sequence[str] = (sys.executable, "-m", "detector"),
) -> "subprocess.CompletedProcess[str]":
    """Run a command with the settings of a test's daemon."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DETECTOR_")}
    environment |= {
        "DETECTOR_MODEL": str(model),
        "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": topics.servers,
        "DETECTOR_KAFKA__TOPIC": topics.readings,
        "DETECTOR_KAFKA__GROUP": f"group-{topics.readings}",
    }
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def reading(ts_s: float, values: object) -> bytes:
    return json.dumps({"ts": ts_s, "values": values}).encode()


def story(
    pumps: int, seconds: int, broken: tuple[int, int, int] | None = None
) -> list[tuple[bytes, bytes]]:
    """Return records of a fleet, second by second.

    Args:
        broken: A pump whose pressure sensor breaks, at which second, and when it is mended.
    """
    x = simulate(pumps, seconds, seed=3)
    if broken:
        pump, start, stop = broken
        x[pump, start:stop, list(CHANNELS).index("pressure")] = FAR_OFF
    return [
        (
            b"pump-%d" % p,
            reading(BEGAN_S + t, dict(zip(CHANNELS, x[p, t].round(5).tolist(), strict=True))),
        )
        for t in range(seconds)
        for p in range(pumps)
    ]
