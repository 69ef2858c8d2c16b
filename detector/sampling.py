"""The last records of a topic, to be looked at: read without a group, and nothing committed."""

import warnings
from typing import Any

from detector.clock import Clock
from detector.cluster import Cluster, client_options
from detector.consumer import chunk_of
from detector.records import Chunk, Partition
from detector.topics import connection_lost, position_of, probe

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaConsumer  # type: ignore[import-untyped]
    from kafka.errors import KafkaError  # type: ignore[import-untyped]
    from kafka.structs import TopicPartition  # type: ignore[import-untyped]

ANSWER_MS = 5000
POLL_S = 0.25
MOST_HEADERS = 20


def sample(cluster: Cluster, topic: str, most: int, seconds: float, clock: Clock) -> list[Chunk]:
    """Return the last records of a topic, as many of each partition, with their headers.

    Args:
        cluster: Where it is.
        topic: One that exists.
        most: Records.
        seconds: To wait for them; those that come meanwhile are taken, too.
        clock: Measures these.

    Raises:
        ConnectionLost: If the broker does not answer.
    """
    probe(cluster)
    options = {
        **client_options(cluster),
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "allow_auto_create_topics": False,
        "isolation_level": "read_committed",
        "bootstrap_timeout_ms": ANSWER_MS,
        "metrics_enabled": False,
    }
    try:
        consumer = KafkaConsumer(**options)
        try:
            seen = _read(consumer, topic, most, clock.monotonic_s() + seconds, clock)
        finally:
            consumer.close(autocommit=False, timeout_ms=ANSWER_MS)
    except KafkaError as error:
        raise connection_lost(cluster, error) from error
    chunks = []
    for tp, records in seen.items():
        names = tuple({name: 0 for record in records for name, _ in record.headers})
        chunks.append(chunk_of(Partition(*tp), records, names[:MOST_HEADERS]))
    return chunks


def _read(
    consumer: Any,  # noqa: ANN401 - the client ships no types
    topic: str,
    most: int,
    until_s: float,
    clock: Clock,
) -> dict[Any, list[Any]]:
    parts = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(parts)
    first = consumer.beginning_offsets(parts, timeout_ms=ANSWER_MS)
    ends = consumer.end_offsets(parts, timeout_ms=ANSWER_MS)
    for tp in parts:
        consumer.seek(tp, max(first[tp], ends[tp] - max(most // len(parts), 1)))
    seen: dict[Any, list[Any]] = {}
    while sum(map(len, seen.values())) < most and clock.monotonic_s() < until_s:
        for tp, records in consumer.poll(timeout_ms=int(POLL_S * 1000)).items():
            room = most - sum(map(len, seen.values()))
            seen.setdefault(tp, []).extend(records[:room])
        if seen and all(position_of(consumer, tp, ANSWER_MS) >= ends[tp] for tp in parts):
            break
    return seen
