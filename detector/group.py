"""How to join a consumer group, and what moves while we are in it."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from detector.cluster import Cluster, client_options
from detector.inputs import Inputs
from detector.records import Partition

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import ConsumerRebalanceListener  # type: ignore[import-untyped]
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor  # type: ignore[import-untyped]
    from kafka.structs import TopicPartition  # type: ignore[import-untyped]


ANSWER_MS = 5000
NEW_TOPICS_MS = 30_000  # how often to look for topics that fit a pattern


@dataclass(frozen=True, slots=True)
class Subscription:
    """How to join a consumer group; see `settings.Kafka` for the fields.

    Attributes:
        headers: The records' headers that are wanted.
        never: Topics that no pattern takes.
    """

    bootstrap_servers: str | Cluster
    topic: str
    group: str
    max_poll_records: int = 5000
    poll_timeout_s: float = 0.5
    session_timeout_s: float = 45.0
    from_beginning: bool = True
    group_instance_id: str | None = None
    headers: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """The topics that are read."""
        return Inputs(self.topic, self.never)

    @property
    def topics(self) -> dict[str, Any]:
        """What the client is to subscribe to."""
        pattern = self.inputs.pattern
        return {"topics": self.inputs.parts} if pattern is None else {"pattern": pattern}

    def client_options(self) -> dict[str, Any]:
        """Return what kafka-python calls these, and the defaults of its that do harm."""
        return {
            **client_options(self.bootstrap_servers),
            "group_id": self.group,
            "group_instance_id": self.group_instance_id,
            "enable_auto_commit": False,
            # Also where new records only are wanted: what is out of range was read, or is of a
            # topic made anew. Where a new group begins is said explicitly.
            "auto_offset_reset": "earliest",
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
            **({"metadata_max_age_ms": NEW_TOPICS_MS} if self.inputs.pattern else {}),
        }


def persevere(consumer: Any) -> None:  # noqa: ANN401 - the client ships no types
    """Let the next poll wait for a join that an earlier one has begun.

    When topics or partitions have changed the client joins anew, and takes what it has sent for
    joined: a poll that ends before the group answers is not followed by one that waits for it.
    Without heartbeats the group then drops the member, and nobody notices.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - there is no public way
    if coordinator.rejoining:
        coordinator.request_rejoin()


class Moves(ConsumerRebalanceListener):  # type: ignore[misc]  # the client is untyped
    """Notes what moved; it runs on the client's thread, inside our poll."""

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 - the client ships no types
        self._consumer = consumer
        self.assigned: set[Partition] = set()
        self.revoked: set[Partition] = set()
        self.lost: set[Partition] = set()
        self.settled = False

    @property
    def pending(self) -> bool:
        """Whether `take` would tell anything."""
        return bool(self.assigned or self.revoked or self.lost)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note what came; nothing of it is fetched yet."""
        self.settled = True
        self._consumer.pause(*assigned)  # until its state is here
        self.assigned |= {Partition(*tp) for tp in assigned}

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Note what was given back."""
        gone = {Partition(*tp) for tp in revoked}
        self.assigned -= gone
        self.revoked |= gone

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Note what was taken: another may have it already."""
        gone = {Partition(*tp) for tp in lost}
        self.assigned -= gone
        self.lost |= gone

    def take(self) -> tuple[frozenset[Partition], frozenset[Partition], frozenset[Partition]]:
        """Return what was assigned, revoked and lost since the last call."""
        moved = frozenset(self.assigned), frozenset(self.revoked), frozenset(self.lost)
        self.assigned, self.revoked, self.lost = set(), set(), set()
        return moved


class Growth:
    """Joins anew when the topics have grown, and nobody else would notice.

    The group's leader looks for new partitions; but not one that was restarted under its static
    name, because it is not told that it leads (KAFKA-13435).
    """

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 - the client is untyped
        """Look at the topics of a consumer that has joined."""
        self._consumer = consumer
        self._partitions = 0

    def look(self) -> None:
        """Look; the first time, for partitions that came while we were away: nobody has read
        them, so they have no position yet.

        Raises:
            KafkaError: If the broker does not answer.
        """
        consumer, before = self._consumer, self._partitions
        parts = {
            TopicPartition(topic, number)
            for topic in consumer.subscription() or ()
            for number in consumer.partitions_for_topic(topic) or ()
        }
        grown = len(parts) > before
        if not before:
            others = parts - consumer.assignment()
            grown = any(consumer.committed(tp, timeout_ms=ANSWER_MS) is None for tp in others)
        if grown:
            consumer._coordinator.request_rejoin()  # noqa: SLF001 - there is no public way
        self._partitions = len(parts)
