"""What is promised: messages and positions, exactly once or at least once."""

import uuid
from collections.abc import Sequence
from typing import Protocol

from detector.emit import Sink
from detector.errors import MembershipLost
from detector.records import Message, Partition
from detector.source import Source
from detector.transactions import Transactions


class Delivery(Protocol):
    """How what was said and how far was read become one fact."""

    def deliver(self, messages: Sequence[Message], positions: dict[Partition, int]) -> None:
        """Make messages and positions durable.

        Args:
            messages: All that the readings before `positions` have caused.
            positions: Offsets of the first records not done with, at least one.

        Raises:
            ConnectionLost: If that is not known to have happened; call it again with the same.
            MembershipLost: If the partitions are another's: nothing of it counts.
            OutputRefused: If the broker never takes one of the messages.
        """
        ...


class AtLeastOnce:
    """Messages first, then positions: a crash in between says it twice, with the same ids."""

    def __init__(self, source: Source, sink: Sink) -> None:
        """Wire the two ends."""
        self._source = source
        self._sink = sink

    def deliver(self, messages: Sequence[Message], positions: dict[Partition, int]) -> None:
        """Send, then commit; see `Delivery.deliver`."""
        self._sink.send(messages)
        self._source.commit(positions)


class ExactlyOnce:
    """Both in one transaction, bound to the membership in the group (KIP-447).

    When the answer to a commit is lost, nobody knows whether it was done. Then the transaction
    is brought to its end, and the note that stands beside the group's positions tells.
    """

    def __init__(self, source: Source, sink: Transactions) -> None:
        """Wire the two ends."""
        self._source = source
        self._sink = sink
        self._doubted: tuple[str, Sequence[Message]] | None = None

    def deliver(self, messages: Sequence[Message], positions: dict[Partition, int]) -> None:
        """Do it in a transaction, unless it is found done; see `Delivery.deliver`."""
        note = uuid.uuid4().hex
        if self._doubted is not None:
            self._sink.fence()
            earlier, what = self._doubted
            if what is messages and self._source.note(next(iter(positions))) == earlier:
                self._doubted = None
                return
        self._doubted = note, messages
        try:
            self._sink.transact(messages, positions, note, self._source.membership())
        except MembershipLost:
            self._doubted = None  # it was not done
            raise
        self._doubted = None
