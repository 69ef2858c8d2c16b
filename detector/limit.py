"""When bad records are no accident any more. Pure."""

from dataclasses import dataclass, field

import numpy as np

from detector.errors import DeadLetterLimit
from detector.records import BadRecord, Partition

WINDOW_S = 60.0
# Below this many records in a minute a share of them says little.
FEW = 100


@dataclass(slots=True)
class DeadLetters:
    """Counts bad records in a row, and their share of a minute.

    Attributes:
        consecutive: How many in a row (of a partition) are too many.
        share: Which part of a minute's records is too much, 0 to 1.
    """

    consecutive: int
    share: float
    _run: dict[Partition, int] = field(default_factory=dict)
    _window_start_s: float = field(default=float("-inf"))
    _seen: int = 0
    _bad: int = 0

    def note(self, partition: Partition, records: int, bad: list[BadRecord], now_s: float) -> None:
        """Count one chunk.

        Args:
            partition: Where it is from.
            records: How many records it had.
            bad: Those that were bad, by rising index.
            now_s: Seconds on any clock that does not go back.

        Raises:
            DeadLetterLimit: If there are too many; nothing of this chunk was sent on yet.
        """
        if now_s - self._window_start_s >= WINDOW_S:
            self._window_start_s, self._seen, self._bad = now_s, 0, 0
        self._seen += records
        self._bad += len(bad)
        longest = self._longest_run(partition, records, [b.index for b in bad])
        if longest >= self.consecutive:
            msg = f"{longest} bad records in a row, the limit is {self.consecutive}"
        elif self._seen >= FEW and self._bad > self.share * self._seen:
            msg = (
                f"{self._bad} of {self._seen} records in a minute are bad, "
                f"the limit is {self.share:.0%}"
            )
        else:
            return
        last = bad[-1] if bad else None
        why = f"; the last one ({last.reason}): {last.detail}" if last else ""
        remedy = (
            "; mend the producer, or raise DETECTOR_DEAD_LETTER_LIMIT__CONSECUTIVE and __SHARE "
            "to set all of them aside"
        )
        raise DeadLetterLimit(msg + why + remedy)

    def _longest_run(self, partition: Partition, records: int, bad: list[int]) -> int:
        """Return the longest run in this chunk, counting the one it may continue."""
        good = np.setdiff1d(np.arange(records), bad)
        if not len(good):
            self._run[partition] = self._run.get(partition, 0) + records
            return self._run[partition]
        edges = np.concatenate([[-1 - self._run.get(partition, 0)], good, [records]])
        self._run[partition] = records - 1 - int(good[-1])
        return int(np.diff(edges).max()) - 1
