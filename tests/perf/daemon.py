"""The daemon as `detector run` wires it, timed from within its source."""

import contextlib
import os
import re
import signal
import time
import urllib.request
from unittest.mock import patch

from consumers import LEAD, SESSION_TIMEOUT_S, Lap, Pace, Play

from detector import __main__ as command_line
from detector import daemon as wiring
from detector.clock import Clock
from detector.consumer import KafkaSource
from detector.group import Subscription
from detector.records import Polled
from training.demo.broker import free_port


def daemon(play: Play) -> Pace:
    """Run it with its defaults until it has read enough; stop it by SIGTERM, as ever."""
    port = free_port()
    _set_environment(play, port)
    sources: list[WatchedSource] = []

    def watch(subscription: Subscription, clock: Clock) -> WatchedSource:
        sources.append(WatchedSource(subscription, clock, play.records, port))
        return sources[0]

    with (
        play.log.open("a", encoding="utf-8") as log,
        contextlib.redirect_stderr(log),
        patch.object(wiring, "KafkaSource", watch),
    ):
        code = command_line.main(["run"])
    if code:
        msg = f"expected the daemon to end with 0, saw {code}; {play.log} says why"
        raise RuntimeError(msg)
    return sources[0].pace


class WatchedSource(KafkaSource):
    """The daemon's source; the next poll, or the end, says that all before it is done.

    Attributes:
        pace: Of the whole run, commits included; set when it is closed.
    """

    def __init__(
        self, subscription: Subscription, clock: Clock, records: int, metrics_port: int
    ) -> None:
        super().__init__(subscription, clock)
        self.pace = Pace(0.0)
        self._records = records
        self._metrics_port = metrics_port
        self._lap = Lap()
        self._newest = 0  # records of the newest poll
        self._first_s = 0.0
        self._before: dict[str, float] = {}  # seconds of each stage until then

    def poll(self, timeout_s: float | None = None) -> Polled:
        self._lap.done(self._newest)
        if not self._first_s and self._lap.records >= LEAD:
            self._before = _stage_seconds(self._metrics_port)
            self._first_s = time.perf_counter()
        polled = super().poll(timeout_s)
        self._newest = sum(len(chunk.values) for chunk in polled.chunks)
        if self._lap.records + self._newest >= self._records:
            signal.raise_signal(signal.SIGTERM)  # the daemon finishes this poll, and commits
        return polled

    def close(self) -> None:
        self._lap.done(self._newest)
        busy_s = time.perf_counter() - self._first_s
        seconds = _stage_seconds(self._metrics_port).items()
        shares = {stage: (s - self._before.get(stage, 0.0)) / busy_s for stage, s in seconds}
        shares["rest"] = 1 - sum(shares.values())
        self.pace = Pace(self._lap.rate, shares)
        super().close()


def _set_environment(play: Play, port: int) -> None:
    """Set what is not a default: names, and a session short enough to be joined soon."""
    ours = {
        "MODEL": play.model,
        "KAFKA__BOOTSTRAP_SERVERS": play.servers,
        "KAFKA__TOPIC": play.topic,
        "KAFKA__GROUP": play.group,
        "KAFKA__SESSION_TIMEOUT_S": SESSION_TIMEOUT_S,
        "OUTPUT__ALERTS_TOPIC": f"{play.topic}-alerts",
        "OUTPUT__DEAD_LETTERS_TOPIC": f"{play.topic}-dead-letters",
        "HTTP__PORT": port,
        **play.settings,
    }
    for name in [name for name in os.environ if name.startswith("DETECTOR_")]:
        del os.environ[name]
    os.environ.update({f"DETECTOR_{name}": str(value) for name, value in ours.items()})


def _stage_seconds(port: int) -> dict[str, float]:
    """Return what the stages took in all, as the daemon's metrics tell."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    sums = re.findall(r'^detector_stage_seconds_sum\{stage="(\w+)"\} (\S+)', text, re.MULTILINE)
    return {stage: float(spent) for stage, spent in sums}
