"""When many streams open alerts together: one alert with members instead of one of each. Pure.

The process industry calls it an alarm flood (ISA-18.2): nobody reads a hundred alerts, and that
they came together is the news. Together is meant in the partition's event time, which goes on
from record to record; so what is told hangs on the order of the readings alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detector.records import GROUP, SILENT, Alert, Status
from detector.summary import NAMED, Sum, Summarist

MEMBER = ""  # with a stream, instead of a kind: it is in the group


class Flood(NamedTuple):
    """What a partition's streams opened together; times are its event time.

    Attributes:
        recent: Streams whose openings were told one by one and may become a group; with the
            time, oldest first.
        offset: Of the reading with which the group opened; -1: there is none.
        since_us: When its first stream opened.
        joined_us: When its last one joined.
        members: How many there are.
        told: How many there were when it was last told of.
        told_us: When that was.
        streams: The first of them, as far as `NAMED`.
    """

    recent: tuple[tuple[bytes, int], ...] = ()
    offset: int = -1
    since_us: int = 0
    joined_us: int = 0
    members: int = 0
    told: int = 0
    told_us: int = 0
    streams: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Grouping:
    """Lets pass what is told one by one of the alerts of some readings; tells of groups.

    An opening that joins a group hides all of its alert. Streams join as long as one has within
    the bound; then openings are told one by one again, so that who stays hides nobody. The group
    closes when no hidden alert of a member is open, since whoever looks at what is open should
    see it as long as what it stands for; at the latest when the next one opens.

    Attributes:
        flood: Of the partition, as the readings before left it; moves on.
        hidden: Its alerts that are open and untold, and with `MEMBER` the streams of the group;
            modified.
        streams: So many make a group; None: none do.
        within_us: If no more lies between their openings.
        summarist: Has the readings.
        joined: Openings that joined.
        new: Streams that became members.
    """

    flood: Flood
    hidden: set[tuple[bytes, str]]
    streams: int | None
    within_us: int
    summarist: Summarist
    joined: int = 0
    new: set[bytes] = field(default_factory=set)

    def take(self, alerts: Iterable[tuple[int, Alert]]) -> Iterator[tuple[int, Alert]]:
        """Take alerts, each with the index of its reading, in order; yield what may be told.

        One at a time: who takes them must have noted what is hidden before it asks for the next.
        """
        at = 0
        for n, alert in alerts:
            yield from self._turn(at, n)
            if alert.status == "open" and alert.kind != SILENT:
                yield from self._open(n, alert)
            else:
                yield n, alert
            at = n
        yield from self._turn(at, len(self.summarist.now_us) - 1)

    def _turn(self, start: int, end: int) -> Iterator[tuple[int, Alert]]:
        """Tell what readings start to end (inclusive) make known of the group."""
        flood = self.flood
        if not flood.members:
            return
        n = self._after(flood.told_us, start)  # so no two updates have the same time
        if flood.members >= 2 * flood.told and n <= end:
            told_us = int(self.summarist.now_us[n])
            self.flood = flood._replace(told=flood.members, told_us=told_us)
            yield self._tell(n, "update" if flood.told else "open")
        n = self._after(flood.joined_us + self.within_us, start)
        if n <= end and not self._hides():
            yield self._close(n)

    def _open(self, n: int, alert: Alert) -> Iterator[tuple[int, Alert]]:
        """Let an opening join; tell of it where there is nothing to join."""
        stream, now_us = alert.stream.encode(), int(self.summarist.now_us[n])
        if not self._takes(now_us):
            recent = self._recent(stream, now_us)
            self.flood = self.flood._replace(recent=recent)
            if self.streams is None or len(recent) < self.streams:
                yield n, alert
                return
            if self.flood.members:
                yield self._close(n)
            offset, since_us = int(self.summarist.readings.offset[n]), recent[0][1]
            self.flood = Flood((), offset, since_us, now_us, told_us=now_us - 1)
            for one, _ in recent:
                self._join(one, now_us)
        self._join(stream, now_us)
        self.hidden.add((stream, alert.kind))
        self.joined += 1

    def _takes(self, now_us: int) -> bool:
        """Return whether there is a group that openings join."""
        return bool(self.flood.members) and now_us - self.flood.joined_us <= self.within_us

    def _recent(self, stream: bytes, now_us: int) -> tuple[tuple[bytes, int], ...]:
        """Return who opened within the bound, the stream that does so now last."""
        if self.streams is None:
            return ()
        since_us = now_us - self.within_us
        before = [(s, at) for s, at in self.flood.recent if at >= since_us and s != stream]
        return (*before, (stream, now_us))

    def _join(self, stream: bytes, now_us: int) -> None:
        if (stream, MEMBER) in self.hidden:  # it only opens again
            return
        self.hidden.add((stream, MEMBER))
        self.new.add(stream)
        members, streams = self.flood.members + 1, (*self.flood.streams, stream)[:NAMED]
        self.flood = self.flood._replace(joined_us=now_us, members=members, streams=streams)

    def _hides(self) -> bool:
        """Return whether an alert of a member is open and untold."""
        return any(kind and (stream, MEMBER) in self.hidden for stream, kind in self.hidden)

    def _close(self, n: int) -> tuple[int, Alert]:
        closed = self._tell(n, "close")
        self.flood = Flood(self.flood.recent)
        self.hidden -= {key for key in self.hidden if key[1] == MEMBER}
        return closed

    def _tell(self, n: int, status: Status) -> tuple[int, Alert]:
        flood, threshold = self.flood, self.streams or 0
        since = flood.since_us, flood.offset
        total = Sum(GROUP, since, flood.since_us, flood.members, threshold, flood.streams)
        return n, self.summarist.tell(n, status, total)

    def _after(self, us: int, start: int) -> int:
        """Return the index of the first reading, from start on, at a later time."""
        return max(start, int(np.searchsorted(self.summarist.now_us, us, side="right")))
