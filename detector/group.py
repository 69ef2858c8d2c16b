"""How to join a consumer group, and what moves while we are in it."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from detector.records import Partition

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import ConsumerRebalanceListener  # type: ignore[import-untyped]
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor  # type: ignore[import-untyped]
    from kafka.structs import TopicPartition  # type: ignore[import-untyped]


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
    group_instance_id: str | None = None

    def client_options(self) -> dict[str, Any]:
        """Return what kafka-python calls these, and the defaults of its that do harm."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "group_id": self.group,
            "group_instance_id": self.group_instance_id,
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


class Moves(ConsumerRebalanceListener):  # type: ignore[misc]  # the client is untyped
    """Notes what moved; it runs on the client's thread, inside our poll."""

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 - the client ships no types
        self._consumer = consumer
        self.assigned: set[Partition] = set()
        self.revoked: set[Partition] = set()
        self.lost: set[Partition] = set()
        self.settled = False

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
