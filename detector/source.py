"""Readings in: what the loop asks of wherever they come from."""

from typing import Protocol

from detector.records import Bounds, Partition, Polled


class Source(Protocol):
    """Where readings come from."""

    def poll(self, timeout_s: float | None = None) -> Polled:
        """Return new records, and the partitions that came or went since the last poll.

        Records of a partition come in the order of their offsets, each once: from `start` on
        and never after its revocation or loss.

        Args:
            timeout_s: How long to wait for records; as configured where None.

        Raises:
            ConnectionLost: If the broker does not answer. Poll again later: it goes on where
                it was.
            MembershipLost: If another process has taken our place in the group.
        """
        ...

    def bounds(self, partition: Partition) -> Bounds:
        """Return the offsets of an assigned partition.

        What an earlier owner has committed in a transaction counts, even if the transaction is
        being completed right now.

        Raises:
            ConnectionLost: If the broker does not answer.
        """
        ...

    def hold(self, partition: Partition) -> None:
        """Let none of a partition's records come until it is started again."""
        ...

    def start(self, partition: Partition, offset: int | None) -> None:
        """Let an assigned partition's records come.

        Args:
            partition: One that was assigned.
            offset: Of the first record to come; None: the first that the group has not done
                with.
        """
        ...

    def position(self, partition: Partition) -> int | None:
        """Return the offset of the next record to come, where it is known."""
        ...

    def commit(self, positions: dict[Partition, int]) -> None:
        """Keep, for whoever reads next, the offset of the first record not done with.

        Raises:
            ConnectionLost: If that was not acknowledged.
            MembershipLost: If the partitions are, or may be, another's.
        """
        ...

    def membership(self) -> object:
        """Return what proves to a transaction that the partitions are still ours.

        Raises:
            MembershipLost: If they are not.
        """
        ...

    def note(self, partition: Partition) -> str:
        """Return the note that stands beside the group's position; empty where there is none.

        Raises:
            ConnectionLost: If the broker does not answer.
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
