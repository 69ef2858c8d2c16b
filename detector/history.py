"""A stretch of a topic, read again without a group: nothing is joined, committed or written."""

import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.cluster import Cluster, client_options
from detector.consumer import chunk_of
from detector.errors import ConnectionLost, SettingsRejected
from detector.records import Chunk, Partition, Readings
from detector.schemas import Schemas
from detector.topics import connection_lost, position_of, probe

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaConsumer  # type: ignore[import-untyped]
    from kafka.errors import KafkaError  # type: ignore[import-untyped]
    from kafka.structs import TopicPartition  # type: ignore[import-untyped]

ANSWER_MS = 10_000
POLL_MS = 500
POLL_RECORDS = 5000
# So long without a record, and it is asked whether the broker is there; if so, what is left is
# behind a transaction that is still open.
SILENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time: since <= t < until, in microseconds; None where it is open.

    Attributes:
        by_record: The time is the records' own; otherwise it is that of the readings.
    """

    since_us: int | None = None
    until_us: int | None = None
    by_record: bool = False

    def of(self, readings: Readings) -> Readings:
        """Return the readings within; all of them where the records' time counts."""
        if self.by_record or (self.since_us is None and self.until_us is None):
            return readings
        within = np.ones(len(readings.ts_us), np.bool_)
        if self.since_us is not None:
            within &= readings.ts_us >= self.since_us
        if self.until_us is not None:
            within &= readings.ts_us < self.until_us
        return readings.only(within)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where records come from, and what must be known to understand them.

    Attributes:
        cluster: Its servers, or how it knows us, too.
        headers: That a mapping asks for.
        schemas: By which they were written.
    """

    cluster: str | Cluster
    headers: tuple[str, ...] = ()
    schemas: Schemas | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive records of a partition: start <= offset < stop."""

    partition: Partition
    start: int
    stop: int

    def __len__(self) -> int:
        """Return how many offsets it spans."""
        return max(self.stop - self.start, 0)


def stretches(
    servers: str | Cluster, topic: str, span: Span, max_future_us: int = 0
) -> list[Stretch]:
    """Return the records of each of a topic's partitions that a span asks for.

    Where readings' own times count, it ends where the topic ends now, because a reading may come
    late; but none is further ahead of its record than `max_future_us`, so it need not begin with
    the topic.

    Raises:
        ConnectionLost: If the broker does not answer.
        SettingsRejected: If there is no such topic.
    """
    try:
        with _connect(servers) as consumer:
            numbers = consumer.partitions_for_topic(topic)
            if not numbers:
                msg = f"expected topic {topic!r} at {servers}, saw no such topic; mend --topic"
                raise SettingsRejected(msg)
            parts = [TopicPartition(topic, number) for number in sorted(numbers)]
            starts = consumer.beginning_offsets(parts, timeout_ms=ANSWER_MS)
            ends = _ends(consumer, parts, starts)
            since_us = span.since_us
            if since_us is not None:
                ahead_us = 0 if span.by_record else max_future_us
                starts = _offsets_at(consumer, since_us - ahead_us, ends)
            stops = ends
            if span.by_record and span.until_us is not None:
                stops = _offsets_at(consumer, span.until_us, ends)
    except KafkaError as error:
        raise connection_lost(servers, error) from error
    return [Stretch(Partition(*tp), int(starts[tp]), int(stops[tp])) for tp in parts]


def read(origin: Origin, stretch: Stretch) -> Iterator[Chunk]:
    """Yield a stretch's records in their order, as the daemon would read them.

    Raises:
        ConnectionLost: If the broker or the registry of schemas does not answer.
    """
    if not len(stretch):
        return
    tp = TopicPartition(*stretch.partition)
    try:
        with _connect(origin.cluster) as consumer:
            consumer.assign([tp])
            consumer.seek(tp, stretch.start)
            heard_s = time.monotonic()
            while position_of(consumer, tp, ANSWER_MS) < stretch.stop:
                records = consumer.poll(POLL_MS, max_records=POLL_RECORDS).get(tp, [])
                if records:
                    heard_s = time.monotonic()
                    chunk = chunk_of(stretch.partition, records, origin.headers)
                    known, _ = chunk.split(stretch.stop)
                    if origin.schemas:
                        origin.schemas.learn(known.values)
                    if known.values:
                        yield known
                elif time.monotonic() - heard_s > SILENCE_S:
                    consumer.end_offsets([tp], timeout_ms=ANSWER_MS)
                    return
    except KafkaError as error:
        raise connection_lost(origin.cluster, error) from error


def _ends(consumer: Any, parts: list[TopicPartition], starts: dict[Any, int]) -> dict[Any, int]:  # noqa: ANN401 - the client ships no types
    """Return where partitions end now; Tansu names an end too early, a fetch is told the right one.

    Raises:
        ConnectionLost: If a partition's leader does not answer.
    """
    consumer.assign(parts)
    for tp in parts:
        consumer.seek(tp, starts[tp])
    deadline_s = time.monotonic() + ANSWER_MS / 1000
    while any(consumer.highwater(tp) is None for tp in parts):
        if time.monotonic() > deadline_s:
            msg = "expected every partition's leader to answer, saw silence; try again later"
            raise ConnectionLost(msg)
        consumer.poll(POLL_MS, max_records=1)
    return {tp: int(consumer.highwater(tp)) for tp in parts}


def _offsets_at(consumer: Any, ts_us: int, ends: dict[Any, int]) -> dict[Any, int]:  # noqa: ANN401
    """Return each partition's first offset from a time on, its end where there is none."""
    first_ms = -(-ts_us // 1000)
    found = consumer.offsets_for_times(dict.fromkeys(ends, max(first_ms, 0)), timeout_ms=ANSWER_MS)
    # Tansu says that there is none by a timestamp of -1 where an offset is asked for too late.
    return {
        tp: at.offset if at is not None and at.timestamp >= 0 else ends[tp]
        for tp, at in found.items()
    }


def _connect(servers: str | Cluster) -> Any:  # noqa: ANN401
    probe(servers)
    consumer = KafkaConsumer(
        **client_options(servers),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
        isolation_level="read_committed",
        # A session leaves out partitions without news; then their end is never told.
        enable_incremental_fetch_sessions=False,
        max_partition_fetch_bytes=4 << 20,
        bootstrap_timeout_ms=5000,
        metrics_enabled=False,
    )
    return closing(consumer)
