"""How many alerts a partition may open in an hour; what is beyond is counted, and told. Pure.

Hours are those of the partition's newest reading, from record to record; so what is told hangs
on the order of the readings alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detector.artifact import Manifest
from detector.records import BUDGET, US_PER_S, Alert, Ints, Partition, Readings, Status, alert_id

HOUR_US = 3600 * US_PER_S
UNLIMITED = 1 << 53  # whole as a float, too
NAMED = 20  # streams that a summary names

Key = tuple[bytes, str]  # a stream, and the kind of its alert


class Tally(NamedTuple):
    """What a partition opened in an hour.

    Attributes:
        hour: Since the epoch.
        told: Openings that were told.
        withheld: And those that were not.
        since_us: When the first of these was, the partition's event time.
        streams: Their streams, as far as `NAMED`.
    """

    hour: int = -1
    told: int = 0
    withheld: int = 0
    since_us: int = 0
    streams: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Ration:
    """Lets pass what may be told of the alerts of some readings.

    An opening that is withheld withholds all of its alert. The first of an hour opens a summary,
    which closes with the first reading after that hour.

    Attributes:
        tally: Of the partition, as the readings before left it; moves on.
        withheld: Its alerts that are open and untold; modified.
        limit: Openings an hour.
        manifest: Of the model.
        partition: Where the readings come from.
        readings: N of them, at least one.
        now_us: [N] the partition's event time.
        told: What may be told so far.
    """

    tally: Tally
    withheld: set[Key]
    limit: int
    manifest: Manifest
    partition: Partition
    readings: Readings
    now_us: Ints
    told: list[Alert] = field(default_factory=list)

    def take(self, alerts: Iterable[tuple[int, Alert]]) -> None:
        """Take alerts, each with the index of its reading, in order."""
        for n, alert in alerts:
            self._turn_hour(n)
            if self._may(n, alert):
                self.told.append(alert)
        if self.tally.withheld:  # or the next opening sees to it
            self._turn_hour(len(self.now_us) - 1)

    def _may(self, n: int, alert: Alert) -> bool:
        key = (alert.stream.encode(), alert.kind)
        if alert.status != "open":
            known = key not in self.withheld
            if alert.status == "close":
                self.withheld.discard(key)
            return known
        if self.tally.told < self.limit:
            self.tally = self.tally._replace(told=self.tally.told + 1)
            return True
        self.withheld.add(key)
        self._count(n, key[0])
        return False

    def _count(self, n: int, stream: bytes) -> None:
        tally, streams = self.tally, self.tally.streams
        if len(streams) < NAMED and stream not in streams:
            streams = (*streams, stream)
        since_us = tally.since_us if tally.withheld else int(self.now_us[n])
        self.tally = Tally(tally.hour, tally.told, tally.withheld + 1, since_us, streams)
        if not tally.withheld:
            self.told.append(self._summary(n, "open"))

    def _turn_hour(self, n: int) -> None:
        """Begin another hour where reading n is in one; tell what was withheld in the last."""
        if self._hour(n) > self.tally.hour and self.tally.withheld:
            first = int(np.searchsorted(self.now_us, (self.tally.hour + 1) * HOUR_US))
            self.told.append(self._summary(first, "close"))
            self.tally = Tally(self._hour(first))
        if self._hour(n) > self.tally.hour:
            self.tally = Tally(self._hour(n))

    def _hour(self, n: int) -> int:
        return int(self.now_us[n]) // HOUR_US

    def _summary(self, n: int, status: Status) -> Alert:
        tally, partition = self.tally, self.partition
        began_us = tally.hour * HOUR_US
        return Alert(
            id=alert_id(partition, b"", BUDGET, "", began_us, 0),
            stream=f"{partition.topic}/{partition.number}",
            status=status,
            kind=BUDGET,
            severity="warning",
            opened_us=tally.since_us,
            at_us=int(self.now_us[n]),
            score=float(tally.withheld),
            probability=None,
            threshold=float(self.limit),
            channels=(),
            peak=float(tally.withheld),
            cause="normal",
            model=self.manifest.name,
            version=self.manifest.version,
            partition=partition,
            offset=int(self.readings.offset[n]),
            streams=tuple(stream.decode() for stream in tally.streams),
        )
