"""How far each partition has been read and committed. Pure: it only keeps the books."""

from dataclasses import dataclass, field

from detector.records import Partition


@dataclass(slots=True)
class Ledger:
    """Positions a partition: the offset of the next record to read, and to commit.

    Always read >= committed. A partition that was never read has no entry.
    """

    read: dict[Partition, int] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)

    def note_read(self, partition: Partition, next_offset: int) -> None:
        """Move a partition's read position forward.

        Raises:
            ValueError: If it would go back: the source promised rising offsets.
        """
        before = self.read.get(partition, 0)
        if next_offset < before:
            msg = f"{partition} was read up to {before} and now only up to {next_offset}"
            raise ValueError(msg)
        self.read[partition] = next_offset

    def due(self) -> dict[Partition, int]:
        """Return the positions that were read and are not committed yet."""
        return {p: n for p, n in self.read.items() if self.committed.get(p) != n}

    def note_committed(self, positions: dict[Partition, int]) -> None:
        """Note what the broker has acknowledged."""
        self.committed.update(positions)

    def forget(self, partition: Partition) -> None:
        """Drop a partition that is no longer ours."""
        self.read.pop(partition, None)
        self.committed.pop(partition, None)
