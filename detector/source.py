"""Readings in: poll, assign, revoke, commit. The consuming half of what knows kafka-python."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from detector.clock import Clock
from detector.errors import ConnectionLost
from detector.records import Chunk, Partition, Polled

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import ConsumerRebalanceListener, KafkaConsumer  # type: ignore[import-untyped]
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor  # type: ignore[import-untyped]
    from kafka.errors import KafkaError  # type: ignore[import-untyped]
    from kafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]

# An idle consumer cannot tell silence from a dead broker, so it asks this often.
ASK_INTERVAL_S = 2.0
ANSWER_TIMEOUT_S = 5.0


class Source(Protocol):
    """Where readings come from."""

    def poll(self) -> Polled:
        """Return new records, and the partitions that came or went since the last poll.

        Records of a partition come in the order of their offsets, each once; a partition's
        records come after its assignment and never after its revocation.

        Raises:
            ConnectionLost: If the broker does not answer. Poll again later: it goes on where
                it was.
        """
        ...

    def commit(self, positions: dict[Partition, int]) -> None:
        """Keep, for whoever reads next, the offset of the first record not done with.

        Raises:
            ConnectionLost: If that was not acknowledged.
        """
        ...

    @property
    def settled(self) -> bool:
        """Whether partitions were assigned at least once, be it none."""
        ...

    def lag(self) -> dict[Partition, int]:
        """Return how many records of each assigned partition are not read yet, where known."""
        ...

    def close(self) -> None:
        """Leave the group; idempotent. Nothing is committed."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """How to join a consumer group; see `settings.Kafka` for the fields."""

    bootstrap_servers: str
    topic: str
    group: str
    max_poll_records: int = 5000
    poll_timeout_s: float = 0.5
    session_timeout_s: float = 45.0
    from_beginning: bool = True

    def client_options(self) -> dict[str, Any]:
        """Return what kafka-python calls these, and the defaults of its that do harm."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "group_id": self.group,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest" if self.from_beginning else "latest",
            "allow_auto_create_topics": False,
            "isolation_level": "read_committed",
            "partition_assignment_strategy": (CooperativeStickyAssignor,),
            "max_poll_records": self.max_poll_records,
            "session_timeout_ms": int(self.session_timeout_s * 1000),
            "heartbeat_interval_ms": int(self.session_timeout_s * 1000 / 10),
            "max_partition_fetch_bytes": 4 << 20,
            "reconnect_backoff_max_ms": 2000,
            "bootstrap_timeout_ms": 5000,
            "metrics_enabled": False,  # ours say what matters
        }


class _Moves(ConsumerRebalanceListener):  # type: ignore[misc]  # the client is untyped
    """Notes what moved; it runs on the client's thread, inside our poll."""

    def __init__(self) -> None:
        self.assigned: set[Partition] = set()
        self.revoked: set[Partition] = set()
        self.settled = False

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.settled = True
        self.assigned |= {Partition(*tp) for tp in assigned}

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        gone = {Partition(*tp) for tp in revoked}
        self.assigned -= gone
        self.revoked |= gone

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.on_partitions_revoked(lost)

    def take(self) -> tuple[frozenset[Partition], frozenset[Partition]]:
        moved = frozenset(self.assigned), frozenset(self.revoked)
        self.assigned, self.revoked = set(), set()
        return moved


class KafkaSource:
    """A member of a consumer group; a `Source`. Connects at its first poll."""

    def __init__(self, subscription: Subscription, clock: Clock) -> None:
        """Remember what to join."""
        self._subscription = subscription
        self._clock = clock
        self._consumer: Any = None
        self._moves = _Moves()
        self._asked_s = 0.0

    def poll(self) -> Polled:
        """Return new records; see `Source.poll`."""
        consumer = self._consumer or self._connect()
        try:
            timeout_ms = int(self._subscription.poll_timeout_s * 1000)
            fetched = consumer.poll(timeout_ms=timeout_ms)
            if fetched:
                self._asked_s = self._clock.monotonic_s()
            else:
                self._ask_if_alive(consumer)
        except KafkaError as error:
            raise self._lost(error) from error
        assigned, revoked = self._moves.take()
        chunks = [_chunk(Partition(*tp), records) for tp, records in fetched.items()]
        return Polled(chunks, assigned, revoked)

    @property
    def settled(self) -> bool:
        """Whether the group has assigned partitions to us at least once."""
        return self._moves.settled

    def commit(self, positions: dict[Partition, int]) -> None:
        """Commit; see `Source.commit`."""
        offsets = {
            TopicPartition(*p): OffsetAndMetadata(offset, "", -1) for p, offset in positions.items()
        }
        try:
            self._consumer.commit(offsets, timeout_ms=int(ANSWER_TIMEOUT_S * 1000))
        except KafkaError as error:
            raise self._lost(error) from error

    def lag(self) -> dict[Partition, int]:
        """Return the lag, from what the last fetch told; see `Source.lag`."""
        if self._consumer is None:
            return {}
        behind = {}
        for tp in self._consumer.assignment():
            end = self._consumer.highwater(tp)
            position = self._consumer.position(tp, timeout_ms=0) if end is not None else None
            if position is not None:
                behind[Partition(*tp)] = max(end - position, 0)
        return behind

    def close(self) -> None:
        """Leave the group; see `Source.close`."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=int(ANSWER_TIMEOUT_S * 1000))
            self._consumer = None

    def _connect(self) -> Any:  # noqa: ANN401 - the client ships no types
        try:
            consumer = KafkaConsumer(**self._subscription.client_options())
        except KafkaError as error:
            raise self._lost(error) from error
        consumer.subscribe([self._subscription.topic], listener=self._moves)
        self._consumer = consumer
        return consumer

    def _ask_if_alive(self, consumer: Any) -> None:  # noqa: ANN401
        """Ask the broker something cheap, now and then; raises a KafkaError if it is silent."""
        now_s = self._clock.monotonic_s()
        if now_s - self._asked_s < ASK_INTERVAL_S:
            return
        topic = self._subscription.topic
        partitions = consumer.partitions_for_topic(topic)
        if not partitions:
            msg = f"topic {topic!r} does not exist; create it or set DETECTOR_KAFKA__TOPIC"
            raise KafkaError(msg)
        one = [TopicPartition(topic, min(partitions))]
        consumer.end_offsets(one, timeout_ms=int(ANSWER_TIMEOUT_S * 1000))
        self._asked_s = self._clock.monotonic_s()

    def _lost(self, error: KafkaError) -> ConnectionLost:
        where = self._subscription.bootstrap_servers
        return ConnectionLost(f"expected Kafka at {where} to answer, saw {_said(error)}")


def _said(error: KafkaError) -> str:
    return f"{type(error).__name__}: {' '.join(map(str, error.args))}"


def _chunk(partition: Partition, records: list[Any]) -> Chunk:
    return Chunk(
        partition,
        np.array([r.offset for r in records], np.int64),
        np.array([r.timestamp for r in records], np.int64) * 1000,
        [r.key for r in records],
        [r.value for r in records],
    )
