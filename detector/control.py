"""Overrides in: the control topic, read from its beginning and then followed."""

import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

from detector.cluster import Cluster, client_options
from detector.topics import connection_lost, ensure_control, position_of, probe

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaConsumer  # type: ignore[import-untyped]
    from kafka.errors import KafkaError  # type: ignore[import-untyped]
    from kafka.structs import TopicPartition  # type: ignore[import-untyped]

ANSWER_TIMEOUT_MS = 5000
CLOSE_TIMEOUT_MS = 1000
FETCH_WAIT_MS = 50


@dataclass(frozen=True, slots=True)
class Heard:
    """What one read brought.

    Attributes:
        records: Keys and values, in their order.
        current: All that the topic held, as far as is known, has been read.
    """

    records: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    current: bool = False


class Control(Protocol):
    """Where overrides come from."""

    def read(self, timeout_s: float) -> Heard:
        """Return what comes next; the first read begins with the oldest record.

        Raises:
            ConnectionLost: If the broker does not answer, or lets us not; go on with `read`.
        """
        ...

    def close(self) -> None:
        """Let go of what is held; idempotent."""
        ...


class KafkaControl:
    """A compacted topic of one partition; a `Control`. Connects at its first read."""

    def __init__(self, bootstrap_servers: str | Cluster, topic: str) -> None:
        """Remember where it is; the topic is made where it is missing."""
        self._servers = bootstrap_servers
        self._place = TopicPartition(topic, 0)
        self._consumer: Any = None
        self._next: int | None = None

    def read(self, timeout_s: float) -> Heard:
        """Return what comes next; see `Control.read`."""
        try:
            consumer = self._consumer or self._connect()
            fetched = consumer.poll(timeout_ms=int(timeout_s * 1000))
            records = [(record.key, record.value) for record in fetched.get(self._place, [])]
            self._next = position_of(consumer, self._place, ANSWER_TIMEOUT_MS)
            end = consumer.highwater(self._place)
        except KafkaError as error:
            self.close()  # its thread may raise the same for ever
            raise connection_lost(self._servers, error) from error
        return Heard(records, end is not None and self._next >= end)

    def close(self) -> None:
        """Disconnect; see `Control.close`."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)

    def _connect(self) -> Any:  # noqa: ANN401 - the client ships no types
        ensure_control(self._servers, self._place.topic)
        probe(self._servers)
        consumer = self._consumer = KafkaConsumer(
            **client_options(self._servers),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            # A session leaves out partitions without news; then their end is never told.
            enable_incremental_fetch_sessions=False,
            reconnect_backoff_max_ms=2000,
            bootstrap_timeout_ms=5000,
            metrics_enabled=False,
        )
        consumer.assign([self._place])
        if self._next is None:
            consumer.seek_to_beginning(self._place)
        else:  # from the beginning again, a deletion could be gone meanwhile
            consumer.seek(self._place, self._next)
        return consumer
