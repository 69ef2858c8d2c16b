"""How many alerts a partition may open in an hour; what is beyond is counted, and told. Pure.

Hours are those of the partition's newest reading, from record to record; so what is told hangs
on the order of the readings alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detector.flood import Flood
from detector.records import BUDGET, GROUP, US_PER_S, Alert, Status
from detector.summary import NAMED, Sum, Summarist

HOUR_US = 3600 * US_PER_S
UNLIMITED = 1 << 53  # whole as a float, too

Key = tuple[bytes, str]  # a stream, and the kind of its alert


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a partition tells.

    Attributes:
        opens_per_hour: Openings; None: all.
        group_streams: So many streams that open together are told as one; None: none are.
        group_within_us: How close together (event time).
        route: Whose streams they are; empty where all go to one model.
    """

    opens_per_hour: int | None = None
    group_streams: int | None = None
    group_within_us: int = 60 * US_PER_S
    route: str = ""


class Tally(NamedTuple):
    """What a partition opened in an hour, and together.

    Attributes:
        hour: Since the epoch.
        told: Openings that were told.
        withheld: And those that were not.
        since_us: When the first of these was, the partition's event time.
        streams: Their streams, as far as `NAMED`.
        flood: What its streams opened together.
    """

    hour: int = -1
    told: int = 0
    withheld: int = 0
    since_us: int = 0
    streams: tuple[bytes, ...] = ()
    flood: Flood = Flood()


@dataclass(slots=True)
class Ration:
    """Lets pass what may be told of the alerts of some readings.

    An opening that is withheld withholds all of its alert. The first of an hour opens a summary,
    which closes with the first reading after that hour. A group is an opening like others, but
    never withheld: it is a summary itself.

    Attributes:
        tally: Of the partition, as the readings before left it; moves on, but for its flood.
        withheld: Its alerts that are open and untold; modified.
        limit: Openings an hour.
        summarist: Has the readings.
        told: What may be told so far.
    """

    tally: Tally
    withheld: set[Key]
    limit: int
    summarist: Summarist
    told: list[Alert] = field(default_factory=list)

    def take(self, alerts: Iterable[tuple[int, Alert]]) -> None:
        """Take alerts, each with the index of its reading, in order."""
        for n, alert in alerts:
            self._turn_hour(n)
            if self._may(n, alert):
                self.told.append(alert)
        if self.tally.withheld:  # or the next opening sees to it
            self._turn_hour(len(self.summarist.now_us) - 1)

    def _may(self, n: int, alert: Alert) -> bool:
        key = (alert.stream.encode(), alert.kind)
        if alert.status != "open":
            known = key not in self.withheld
            if alert.status == "close":
                self.withheld.discard(key)
            return known
        if alert.kind == GROUP or self.tally.told < self.limit:
            self.tally = self.tally._replace(told=self.tally.told + 1)
            return True
        self.withheld.add(key)
        self._count(n, key[0])
        return False

    def _count(self, n: int, stream: bytes) -> None:
        tally, streams = self.tally, self.tally.streams
        if len(streams) < NAMED and stream not in streams:
            streams = (*streams, stream)
        since_us = tally.since_us if tally.withheld else int(self.summarist.now_us[n])
        self.tally = Tally(tally.hour, tally.told, tally.withheld + 1, since_us, streams)
        if not tally.withheld:
            self.told.append(self._summary(n, "open"))

    def _turn_hour(self, n: int) -> None:
        """Begin another hour where reading n is in one; tell what was withheld in the last."""
        if self._hour(n) > self.tally.hour and self.tally.withheld:
            first = int(np.searchsorted(self.summarist.now_us, (self.tally.hour + 1) * HOUR_US))
            self.told.append(self._summary(first, "close"))
            self.tally = Tally(self._hour(first))
        if self._hour(n) > self.tally.hour:
            self.tally = Tally(self._hour(n))

    def _hour(self, n: int) -> int:
        return int(self.summarist.now_us[n]) // HOUR_US

    def _summary(self, n: int, status: Status) -> Alert:
        tally, since = self.tally, (self.tally.hour * HOUR_US, 0)
        opened_us, number = tally.since_us, tally.withheld
        total = Sum(BUDGET, since, opened_us, number, self.limit, tally.streams)
        return self.summarist.tell(n, status, total)
