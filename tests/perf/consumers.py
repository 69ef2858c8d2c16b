"""Consumers to compare the daemon with, and how all of them are timed.

Each runs in a process of its own, in a group of its own. Its clock starts when the first `LEAD`
records are done: connecting and joining the group take seconds that say nothing of the rate.
"""

import contextlib
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from naive import Naive

from detector.group import Subscription
from detector.model import load
from detector.settings import Kafka

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaConsumer  # type: ignore[import-untyped]

LEAD = 10_000
SESSION_TIMEOUT_S = 6.0  # Tansu's join takes half of it


@dataclass(frozen=True, slots=True)
class Play:
    """What to read, where, as whom; and how many records of it."""

    servers: str
    topic: str
    group: str
    records: int
    model: Path
    log: Path
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pace:
    """Records a second, and the share of the time that each stage took, where known."""

    rate: float
    shares: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Lap:
    """Counts records that are done; its rate is that of all after the first `LEAD`."""

    records: int = 0
    _lead: int = 0
    _start_s: float = 0.0
    _end_s: float = 0.0

    def done(self, records: int) -> None:
        self.records += records
        self._end_s = time.perf_counter()
        if not self._lead and self.records >= LEAD:
            self._lead, self._start_s = self.records, self._end_s

    @property
    def rate(self) -> float:
        return (self.records - self._lead) / (self._end_s - self._start_s)


def bare_loop(play: Play) -> Pace:
    """Poll as the daemon does, and count."""
    lap = Lap()
    with contextlib.closing(_subscribe(play)) as consumer:
        while lap.records < play.records:
            lap.done(sum(map(len, _poll(consumer).values())))
    return Pace(lap.rate)


def naive_loop(play: Play) -> Pace:
    """Poll as the daemon does, and score one record after the other."""
    lap, naive = Lap(), Naive(load(play.model))
    with contextlib.closing(_subscribe(play)) as consumer:
        while lap.records < play.records:
            for records in _poll(consumer).values():
                for record in records:
                    naive.hear(record.key, record.value)
                lap.done(len(records))
    return Pace(lap.rate)


def _subscribe(play: Play) -> Any:
    subscription = Subscription(
        play.servers,
        play.topic,
        play.group,
        max_poll_records=Kafka().max_poll_records,
        session_timeout_s=SESSION_TIMEOUT_S,
    )
    consumer = KafkaConsumer(**subscription.client_options())
    consumer.subscribe([play.topic])
    return consumer


def _poll(consumer: Any) -> dict[Any, list[Any]]:
    polled: dict[Any, list[Any]] = consumer.poll(timeout_ms=int(Kafka().poll_timeout_s * 1000))
    return polled
