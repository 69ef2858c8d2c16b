"""State in: a partition of the changelog, read from its beginning to its end.

The reading half of what keeps state in Kafka; it is written by the sink, in the transactions
that say what the state led to.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

from detector.clock import Clock
from detector.cluster import Cluster, client_options
from detector.inputs import Inputs
from detector.topics import connection_lost, ensure_changelog, position_of, probe

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaConsumer  # type: ignore[import-untyped]
    from kafka.errors import KafkaError  # type: ignore[import-untyped]
    from kafka.structs import TopicPartition  # type: ignore[import-untyped]

ANSWER_TIMEOUT_S = 5.0
FETCH_BYTES = 4 << 20
FETCH_WAIT_MS = 50  # an empty partition says so soon


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one read brought.

    Attributes:
        records: Partition number, key, value; in the order of each partition.
        ended: Partitions that were read to the end they had when they were begun.
        left: Records (at most) of the others that are still to come.
        stuck: Those of `ended` of which the last part stays hidden: behind a transaction that
            nobody will ever end.
    """

    records: list[tuple[int, bytes, bytes | None]] = field(default_factory=list)
    ended: frozenset[int] = frozenset()
    left: int = 0
    stuck: frozenset[int] = frozenset()


class Changelog(Protocol):
    """Where kept state comes from."""

    def begin(self, number: int) -> None:
        """Begin to read a partition; from its beginning, even if it was begun before.

        What was written, and committed, before this call is read for certain.

        Raises:
            ConnectionLost: If the broker does not answer.
            SettingsRejected: If the topic is not one that can hold the input's state.
        """
        ...

    def read(self, timeout_s: float) -> Loaded:
        """Return what comes next of the partitions that were begun and have not ended.

        Raises:
            ConnectionLost: If the broker does not answer; go on with `read`.
        """
        ...

    def drop(self, number: int) -> None:
        """Stop reading a partition; idempotent."""
        ...

    def close(self) -> None:
        """Let go of what is held; idempotent."""
        ...


class KafkaChangelog:
    """A compacted topic with a partition for each number of the inputs'; a `Changelog`."""

    def __init__(
        self,
        bootstrap_servers: str | Cluster,
        topic: str,
        inputs: Inputs,
        clock: Clock,
        hang_s: float,
    ) -> None:
        """Remember where the state is kept; connects at the first `begin`.

        Args:
            bootstrap_servers: Of the cluster.
            topic: Of the changelog.
            inputs: Whose state it is.
            clock: For how long a partition did not move.
            hang_s: A partition that did not move for longer is stuck: the broker would have
                ended any transaction of ours.
        """
        self._servers = bootstrap_servers
        self._topic = topic
        self._inputs = inputs
        self._consumer: Any = None
        self._looker: Any = None  # sees the end that transactions still open will have, too
        self._ends: dict[int, int] = {}
        self._clock = clock
        self._hang_s = hang_s
        self._moves: dict[int, tuple[int, float]] = {}  # number -> records left, since when

    def begin(self, number: int) -> None:
        """Begin to read a partition; see `Changelog.begin`."""
        try:
            if self._consumer is None:
                self._connect()
            consumer, tp = self._consumer, TopicPartition(self._topic, number)
            if number not in (consumer.partitions_for_topic(self._topic) or ()):
                ensure_changelog(self._servers, self._topic, self._inputs)
            self.drop(number)
            # The outcome of a transaction that is still open will be waited for.
            ends = self._looker.end_offsets([tp], timeout_ms=int(ANSWER_TIMEOUT_S * 1000))
            self._ends[number] = int(ends[tp])
            self._assign()
            consumer.seek_to_beginning(tp)
        except KafkaError as error:
            raise connection_lost(self._servers, error) from error

    def read(self, timeout_s: float) -> Loaded:
        """Return what comes next; see `Changelog.read`."""
        if not self._ends:
            return Loaded()
        try:
            fetched = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
            records = [
                (tp.partition, record.key, record.value)
                for tp, several in fetched.items()
                for record in several
            ]
            left = {number: self._left(number) for number in self._ends}
        except KafkaError as error:
            raise connection_lost(self._servers, error) from error
        ended = frozenset(n for n, count in left.items() if count is not None and count <= 0)
        stuck = frozenset(number for number, count in left.items() if self._hangs(number, count))
        for number in ended | stuck:
            self.drop(number)
        still = sum(count or 0 for number, count in left.items() if number not in stuck)
        return Loaded(records, ended | stuck, still, stuck)

    def drop(self, number: int) -> None:
        """Stop reading a partition; see `Changelog.drop`."""
        if number in self._ends:
            del self._ends[number]
            self._moves.pop(number, None)
            self._assign()

    def close(self) -> None:
        """Disconnect; see `Changelog.close`."""
        for consumer in filter(None, (self._consumer, self._looker)):
            consumer.close(autocommit=False, timeout_ms=int(ANSWER_TIMEOUT_S * 1000))
        self._consumer = self._looker = None
        self._ends, self._moves = {}, {}

    def _hangs(self, number: int, left: int | None) -> bool:
        """Say whether a partition has not moved for too long.

        A broker that dies at the wrong moment may leave a transaction open on a partition that
        its coordinator takes for ended; then readers wait there for ever.
        """
        if not left or left < 0:
            return False
        now_s = self._clock.monotonic_s()
        before, since_s = self._moves.setdefault(number, (left, now_s))
        if left != before:
            self._moves[number] = (left, now_s)
            return False
        return now_s - since_s > self._hang_s

    def _left(self, number: int) -> int | None:
        """Return how many records a partition lacks; None before that is known.

        By position: markers and aborted records are passed over unread.
        """
        tp = TopicPartition(self._topic, number)
        # Tansu names an end that is too early; what a fetch says of it is right.
        highwater = self._consumer.highwater(tp)
        if highwater is None:
            return None
        position = position_of(self._consumer, tp, int(ANSWER_TIMEOUT_S * 1000))
        return int(max(self._ends[number], highwater)) - position

    def _assign(self) -> None:
        self._consumer.assign([TopicPartition(self._topic, number) for number in self._ends])

    def _connect(self) -> None:
        ensure_changelog(self._servers, self._topic, self._inputs)
        options = {
            **client_options(self._servers),
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "allow_auto_create_topics": False,
            "fetch_max_wait_ms": FETCH_WAIT_MS,
            # A session leaves out partitions without news; then their end is never told.
            "enable_incremental_fetch_sessions": False,
            "max_partition_fetch_bytes": FETCH_BYTES,
            "fetch_max_bytes": 4 * FETCH_BYTES,
            "reconnect_backoff_max_ms": 2000,
            "bootstrap_timeout_ms": 5000,
            "metrics_enabled": False,
        }
        probe(self._servers)
        self._looker = self._looker or KafkaConsumer(isolation_level="read_uncommitted", **options)
        self._consumer = KafkaConsumer(isolation_level="read_committed", **options)
