"""Readings in from Kafka: poll, assign, revoke, commit."""

import warnings
from typing import Any

import numpy as np

from detector.clock import Clock
from detector.errors import ConnectionLost, Displaced, MembershipLost
from detector.group import ANSWER_MS, Growth, Moves, Subscription, persevere
from detector.records import Bounds, Chunk, Partition, Polled
from detector.topics import connection_lost, probe

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaConsumer  # type: ignore[import-untyped]
    from kafka.errors import (  # type: ignore[import-untyped]
        CommitFailedError,
        FencedInstanceIdError,
        IllegalGenerationError,
        KafkaError,
        RebalanceInProgressError,
        UnknownMemberIdError,
    )
    from kafka.structs import MemberState, OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]

# An idle consumer cannot tell silence from a dead broker, so it asks this often.
ASK_INTERVAL_S = 2.0
# A partition whose last owner died in a transaction has no position until that is over; it is
# asked for again and again, and others must not wait long for it.
BOUNDS_MS = 1000
NOT_A_MEMBER = (
    CommitFailedError,
    FencedInstanceIdError,
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


class KafkaSource:
    """A member of a consumer group; a `Source`. Connects at its first poll."""

    def __init__(self, subscription: Subscription, clock: Clock) -> None:
        """Remember what to join."""
        self._subscription = subscription
        self._clock = clock
        self._consumer: Any = None
        self._moves: Moves | None = None
        self._asked_s = self._looked_s = 0.0
        self._growth: Growth | None = None
        self._member: Any = None

    def poll(self, timeout_s: float | None = None) -> Polled:
        """Return new records; see `Source.poll`."""
        consumer = self._consumer or self._connect()
        if timeout_s is None:
            timeout_s = self._subscription.poll_timeout_s
        assert self._moves is not None  # noqa: S101 - made with the consumer
        fetched: dict[Any, list[Any]] = {}
        try:
            self._look_for_partitions()  # first: an error after the poll would lose its records
            persevere(consumer)
            fetched = consumer.poll(timeout_ms=int(timeout_s * 1000))
            if fetched:
                self._asked_s = self._clock.monotonic_s()
            else:
                self._ask_if_alive(consumer)
        except FencedInstanceIdError as error:
            raise self._not_a_member(error) from error
        except KafkaError as error:
            if not self._moves.pending:  # who moved must be known, whatever else failed
                raise self._lost(error) from error
        self._member = consumer.group_metadata()
        assigned, revoked, lost = self._moves.take()
        headers = self._subscription.headers
        chunks = [chunk_of(Partition(*tp), records, headers) for tp, records in fetched.items()]
        return Polled(chunks, assigned, revoked, lost)

    @property
    def settled(self) -> bool:
        """Whether the group has assigned partitions to us at least once."""
        if self._moves is None or self._moves.settled:
            return self._moves is not None
        # The client does not tell that there were none for us.
        self._moves.settled = self._consumer.group_metadata().state == MemberState.STABLE
        return self._moves.settled

    def bounds(self, partition: Partition) -> Bounds:
        """Ask for a partition's offsets; see `Source.bounds`."""
        tp, consumer, timeout_ms = TopicPartition(*partition), self._consumer, ANSWER_MS
        try:
            # Under read_committed the coordinator answers when no offsets are pending.
            committed = consumer.committed(tp, timeout_ms=BOUNDS_MS)
            start = first = consumer.beginning_offsets([tp], timeout_ms=timeout_ms)[tp]
            if not self._subscription.from_beginning:
                first = consumer.end_offsets([tp], timeout_ms=timeout_ms)[tp]
        except KafkaError as error:
            raise self._lost(error) from error
        return Bounds(first, start, committed)

    def hold(self, partition: Partition) -> None:
        """Let none of its records come; see `Source.hold`."""
        tp = TopicPartition(*partition)
        if tp in self._consumer.assignment():
            self._consumer.pause(tp)

    def start(self, partition: Partition, offset: int | None) -> None:
        """Let a partition's records come; see `Source.start`."""
        tp, consumer = TopicPartition(*partition), self._consumer
        if tp not in consumer.assignment():
            return  # gone already; the next poll says so
        if offset is not None:
            consumer.seek(tp, offset)
        consumer.resume(tp)

    def position(self, partition: Partition) -> int | None:
        """Return the offset of the next record; see `Source.position`."""
        tp = TopicPartition(*partition)
        if tp not in self._consumer.assignment():
            return None
        position = self._position(tp)
        return None if position is None else int(position)

    def commit(self, positions: dict[Partition, int]) -> None:
        """Commit; see `Source.commit`."""
        offsets = {
            TopicPartition(*p): OffsetAndMetadata(offset, "", -1) for p, offset in positions.items()
        }
        try:
            self._consumer.commit(offsets, timeout_ms=ANSWER_MS)
        except NOT_A_MEMBER as error:
            raise self._not_a_member(error) from error
        except KafkaError as error:
            raise self._lost(error) from error

    def membership(self) -> object:
        """Return who we were in the group at the last poll; see `Source.membership`.

        Not who we are now: the client forgets its place when it learns that it has lost it, and
        the broker takes a commit by nobody for one without a group.
        """
        if self._member is None or self._member.generation_id < 0:
            raise self._not_a_member(UnknownMemberIdError("no generation"))
        return self._member

    def note(self, partition: Partition) -> str:
        """Ask for the note of the last commit; see `Source.note`."""
        tp = TopicPartition(*partition)
        try:
            kept = self._consumer.committed(tp, metadata=True, timeout_ms=ANSWER_MS)
        except KafkaError as error:
            raise self._lost(error) from error
        return (kept.metadata or "") if kept is not None else ""

    def lag(self) -> dict[Partition, int]:
        """Return the lag, from what the last fetch told; see `Source.lag`."""
        if self._consumer is None:
            return {}
        behind = {}
        for tp in self._consumer.assignment():
            end = self._consumer.highwater(tp)
            position = self._position(tp) if end is not None else None
            if position is not None:
                behind[Partition(*tp)] = max(end - position, 0)
        return behind

    def close(self) -> None:
        """Leave the group; see `Source.close`."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=ANSWER_MS)
            self._consumer = None

    def _connect(self) -> Any:  # noqa: ANN401 - the client ships no types
        probe(self._subscription.bootstrap_servers)
        try:
            consumer = KafkaConsumer(**self._subscription.client_options())
        except KafkaError as error:
            raise self._lost(error) from error
        self._moves = Moves(consumer)
        consumer.subscribe(**self._subscription.topics, listener=self._moves)
        if self._subscription.group_instance_id:
            self._growth = Growth(consumer)
        self._consumer = consumer
        return consumer

    def _ask_if_alive(self, consumer: Any) -> None:  # noqa: ANN401
        """Ask the broker something cheap, now and then; raises a KafkaError if it is silent."""
        now_s = self._clock.monotonic_s()
        if now_s - self._asked_s < ASK_INTERVAL_S:
            return
        known = sorted(consumer.subscription() or ())
        numbers = {topic: consumer.partitions_for_topic(topic) for topic in known}
        there = [TopicPartition(topic, min(some)) for topic, some in numbers.items() if some]
        if not there:
            named = self._subscription.inputs.text
            msg = f"topic {named!r} does not exist; create it, or name another in the settings"
            raise KafkaError(msg)
        consumer.end_offsets(there[:1], timeout_ms=ANSWER_MS)
        self._asked_s = self._clock.monotonic_s()

    def _position(self, tp: TopicPartition) -> int | None:
        try:
            position: int | None = self._consumer.position(tp, timeout_ms=0)
        except KafkaError:
            return None  # the next poll says why
        return position

    def _look_for_partitions(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._growth is not None and self.settled and now_s - self._looked_s >= ASK_INTERVAL_S:
            self._looked_s = now_s
            self._growth.look()

    def _not_a_member(self, error: KafkaError) -> MembershipLost:
        msg = (
            f"expected to be a member of group {self._subscription.group!r}, saw {_said(error)}: "
            "this process stood still for longer than session_timeout_s, or another one has "
            "its group_instance_id; start it again"
        )
        displaced = isinstance(error, FencedInstanceIdError)
        return Displaced(msg) if displaced else MembershipLost(msg)

    def _lost(self, error: KafkaError) -> ConnectionLost:
        return connection_lost(self._subscription.bootstrap_servers, error)


def _said(error: KafkaError) -> str:
    return f"{type(error).__name__}: {' '.join(map(str, error.args))}"


def chunk_of(partition: Partition, records: list[Any], headers: tuple[str, ...]) -> Chunk:
    """Return the client's records of a partition as columns, with the headers that are named."""
    return Chunk(
        partition,
        np.array([r.offset for r in records], np.int64),
        np.array([r.timestamp for r in records], np.int64) * 1000,
        [r.key for r in records],
        [r.value for r in records],
        # Of several headers of one name the last counts, as it does for Kafka's own clients.
        {name: [dict(r.headers).get(name) for r in records] for name in headers},
    )
