"""Messages and offsets out, both or neither: Kafka's transactions."""

import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from detector.cluster import Cluster
from detector.emit import ACKNOWLEDGE_TIMEOUT_S, KafkaSink, Sink
from detector.errors import Displaced, MembershipLost
from detector.records import Message, Partition
from detector.topics import connection_lost

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka.errors import (  # type: ignore[import-untyped]
        CommitFailedError,
        FencedInstanceIdError,
        KafkaError,
        KafkaTimeoutError,
    )
    from kafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]


class Transactions(Sink, Protocol):
    """A sink that can also deliver messages and offsets, both or neither."""

    def fence(self) -> None:
        """Make sure that no earlier transaction of ours is under way: it is done, or undone.

        Raises:
            ConnectionLost: If the broker does not answer.
        """
        ...

    def transact(
        self,
        messages: Sequence[Message],
        positions: dict[Partition, int],
        note: str,
        membership: object,
    ) -> None:
        """Deliver messages and commit positions in one transaction.

        Args:
            messages: In order for each key and partition.
            positions: Offsets of the first records not done with.
            note: Kept beside the positions: tells this transaction from all others.
            membership: Of the source; proves that the partitions are ours.

        Raises:
            ConnectionLost: If it is not known whether it was done; `fence` decides it.
            MembershipLost: If the partitions are, or may be, another's; it was not done.
            OutputRefused: If a message is larger than the broker takes; it was not done.
        """
        ...


class TransactionalSink(KafkaSink):
    """A transactional producer; `Transactions`. One that fails is fenced by its successor."""

    def __init__(
        self,
        bootstrap_servers: str | Cluster,
        topics: Sequence[str],
        transactional_id: str,
        timeout_s: float,
    ) -> None:
        """Remember who we are to the broker, and how long it waits for us in a transaction."""
        super().__init__(bootstrap_servers, topics)
        self._id = transactional_id
        self._timeout_s = timeout_s

    def fence(self) -> None:
        """Connect anew; see `Transactions.fence`."""
        self.drop()
        try:
            self.connect()
        except KafkaError as error:
            self.drop()
            raise connection_lost(self._servers, error) from error

    def transact(
        self,
        messages: Sequence[Message],
        positions: dict[Partition, int],
        note: str,
        membership: object,
    ) -> None:
        """Deliver all in one transaction; see `Transactions.transact`."""
        offsets = {
            TopicPartition(*p): OffsetAndMetadata(offset, note, -1)
            for p, offset in positions.items()
        }
        try:
            producer = self._producer or self.connect()
            producer.begin_transaction()
            self.deliver(producer, messages)
            self._within(lambda: producer.send_offsets_to_transaction(offsets, membership))
            self._within(producer.commit_transaction)
        except (CommitFailedError, FencedInstanceIdError) as error:
            self._undo()
            msg = (
                "expected to be a member of the consumer group, saw its partitions given to "
                f"others ({type(error).__name__}: {error}); nothing of this transaction counts"
            )
            displaced = isinstance(error, FencedInstanceIdError)
            raise Displaced(msg) if displaced else MembershipLost(msg) from error
        except KafkaError as error:
            self.drop()
            raise self.explain(error, messages) from error

    def connect(self, **options: object) -> Any:  # noqa: ANN401
        """Make a transactional producer; its predecessor's transaction is done or undone."""
        # Shorter than the transaction, or a batch could be retried after its end.
        delivery_ms = int(min(self._timeout_s, ACKNOWLEDGE_TIMEOUT_S) * 1000) - 1000
        producer = super().connect(
            transactional_id=self._id,
            transaction_timeout_ms=int(self._timeout_s * 1000),
            delivery_timeout_ms=delivery_ms,
            request_timeout_ms=min(10_000, delivery_ms // 2),
            max_block_ms=int(self._timeout_s * 1000),
            **options,
        )
        producer.init_transactions()
        return producer

    def _undo(self) -> None:
        """Abort, so that readers of our topics need not wait for the transaction's timeout."""
        with suppress(KafkaError):
            self._within(self._producer.abort_transaction)
            return
        self.drop()

    def _within(self, act: Callable[[], object]) -> None:
        """Call what the client would wait for without an end, for as long as a transaction may."""
        outcome: list[KafkaError | None] = []

        def call() -> None:
            try:
                act()
            except KafkaError as error:
                outcome.append(error)
            else:
                outcome.append(None)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        if not outcome:
            msg = f"no answer in {self._timeout_s:g} s"
            raise KafkaTimeoutError(msg)
        if outcome[0] is not None:
            raise outcome[0]
