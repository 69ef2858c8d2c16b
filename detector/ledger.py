"""How far each partition has been read, committed and checkpointed. Pure: it keeps the books."""

from dataclasses import dataclass, field

from detector.records import Partition


@dataclass(slots=True)
class Ledger:
    """Positions a partition: the offset of the next record to read, to commit, to checkpoint.

    Once a partition is live, read >= committed >= checkpointed. Before, read is behind: what
    was said already is read again in silence. A partition that was never read has no entry.
    """

    read: dict[Partition, int] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)
    checkpointed: dict[Partition, int] = field(default_factory=dict)

    def begin(self, partition: Partition, checkpointed: int, committed: int) -> None:
        """Note where a restored partition goes on."""
        self.read[partition] = self.checkpointed[partition] = checkpointed
        self.committed[partition] = committed

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
        return {p: n for p, n in self.read.items() if n > self.committed.get(p, -1)}

    def note_committed(self, positions: dict[Partition, int]) -> None:
        """Note what the broker has acknowledged."""
        self.committed.update(positions)

    def forget(self, partition: Partition) -> None:
        """Drop a partition that is no longer ours."""
        for positions in (self.read, self.committed, self.checkpointed):
            positions.pop(partition, None)
