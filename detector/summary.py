"""Alerts of a partition as a whole: each stands for many that are not told. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from detector.artifact import Manifest
from detector.records import Alert, Ints, Partition, Readings, Status, alert_id

NAMED = 20  # streams that a summary names


class Sum(NamedTuple):
    """What a summary sums up.

    Attributes:
        kind: Of the summary.
        since: Event time and offset that no other of this kind has: its identity.
        opened_us: The partition's event time when it began.
        number: Of what it stands for.
        threshold: From how many on it is told.
        streams: Whose they are, as far as `NAMED`.
    """

    kind: str
    since: tuple[int, int]
    opened_us: int
    number: int
    threshold: int
    streams: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Summarist:
    """Puts sums into words.

    Attributes:
        manifest: Of the model.
        partition: Where the readings come from.
        readings: N of them, at least one.
        now_us: [N] the partition's event time.
        route: Whose streams they are; empty where all go to one model.
    """

    manifest: Manifest
    partition: Partition
    readings: Readings
    now_us: Ints
    route: str = ""

    def tell(self, n: int, status: Status, total: Sum) -> Alert:
        """Return what reading n made known."""
        manifest, partition = self.manifest, self.partition
        return Alert(
            id=alert_id(partition, self.route.encode(), total.kind, "", *total.since),
            stream="/".join(filter(None, (partition.topic, str(partition.number), self.route))),
            status=status,
            kind=total.kind,
            severity="warning",
            opened_us=total.opened_us,
            at_us=int(self.now_us[n]),
            score=float(total.number),
            probability=None,
            threshold=float(total.threshold),
            channels=(),
            peak=float(total.number),
            cause="normal",
            model=manifest.name,
            version=manifest.version,
            partition=partition,
            offset=int(self.readings.offset[n]),
            streams=tuple(stream.decode() for stream in total.streams),
        )
