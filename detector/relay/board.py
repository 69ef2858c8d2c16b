"""The alerts that Alertmanager should know, and what to tell it when. Pure.

Alertmanager knows an alert by its labels, lets it end when its `endsAt` is over, and forgets it
then. So one that is open is told again and again with an `endsAt` a little ahead, and one that has
closed for a while, too, with one that is past.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from detector.messages import rfc3339
from detector.records import BUDGET, GROUP, SILENT, US_PER_S, Partition
from detector.relay.alert import Told, summary
from detector.relay.outlet import Heard

NAMES = {SILENT: "StreamSilent", GROUP: "StreamsTogether", BUDGET: "AlertsWithheld"}
LASTS = 5  # times that telling again may fail before Alertmanager lets an alert end
Post = dict[str, object]
# Whose alert: topic of the input, stream, kind of evidence, model.
Who = tuple[str, str, str, str]


@dataclass(slots=True)
class Entry:
    """What stands under one set of labels; times in s since the epoch.

    Attributes:
        told: The last message, but for one that closes it.
        heard_s: When the topic got that.
        fired_s: When Alertmanager was first told.
        closed_us: Event time of the end; None while it is open.
        over_s: From when on Alertmanager is told of the end.
        due_s: When it is to be told again.
    """

    partition: Partition
    told: Told
    heard_s: float
    fired_s: float
    closed_us: int | None = None
    over_s: float = float("inf")
    due_s: float = 0.0


@dataclass(slots=True)
class Board:
    """A bounded table of alerts.

    Attributes:
        resend_s: An alert is told again after so long.
        least_firing_s: One that closes sooner fires on so long after it was first told: else
            Alertmanager, which waits before it tells anybody, would tell nobody.
        max_open: Beyond so many, the one heard of longest ago is forgotten.
        forget_after_s: So is one of which nothing was heard for so long.
        forgotten: How many that were open were.
    """

    resend_s: float
    least_firing_s: float
    max_open: int
    forget_after_s: float
    forgotten: int = 0
    # An alert that becomes critical changes its labels: it stands under two severities.
    _known: dict[Who, dict[str, Entry]] = field(default_factory=dict)
    _live: set[Partition] = field(default_factory=set)

    @property
    def open(self) -> int:
        """How many are open."""
        return sum(entry.closed_us is None for entry in self._entries())

    def take(self, heard: Heard, told: Told, now_s: float) -> list[Post]:
        """Note a message; return what to tell of it now, the same if it is taken once more.

        What an operator muted is not told of.
        """
        if told.muted:
            return []
        who = _who(told)
        under = self._known.pop(who, {})
        if told.over:
            posts = self._close(under, told, now_s)
        else:
            posts = self._fire(under, heard, told, now_s)
        if under:
            self._known[who] = under  # behind all others
        while len(self._known) > self.max_open:
            self._forget(next(iter(self._known)))
        return posts

    def learn(self, heard: Heard, told: Told, now_s: float) -> None:
        """Note a message that was handed on before; what has long been over is not kept."""
        self.take(heard, told, heard.stamp_s)
        if told.over and heard.stamp_s + self._lasts_s < now_s:
            self._known.pop(_who(told), None)
        for entry in self._known.get(_who(told), {}).values():
            entry.due_s = 0.0  # at once: who knows since when nobody has told it again

    def begin(self, partition: Partition) -> None:
        """From now on what is known of a partition may be told again."""
        self._live.add(partition)

    def drop(self, partition: Partition) -> None:
        """Forget a partition."""
        self._live.discard(partition)
        for who, under in list(self._known.items()):
            if any(entry.partition == partition for entry in under.values()):
                del self._known[who]

    def due(self, now_s: float, most: int) -> tuple[list[Entry], list[Post]]:
        """Return what is to be told by now: entries, and what to tell of each."""
        self._tidy(now_s)
        due = [e for e in self._entries() if e.due_s <= now_s and e.partition in self._live]
        return due[:most], [self._post(entry, now_s) for entry in due[:most]]

    def told(self, entries: list[Entry], now_s: float) -> None:
        """Note that Alertmanager has heard of these."""
        for entry in entries:
            self._delay(entry, now_s)

    def _fire(self, under: dict[str, Entry], heard: Heard, told: Told, now_s: float) -> list[Post]:
        before = under.get(told.severity)
        if before and before.told.id == told.id and before.closed_us is not None:
            return []  # a repeat of what is over
        entry = Entry(heard.partition, told, heard.stamp_s, now_s)
        under[told.severity] = entry
        self._delay(entry, now_s)
        posts = [self._post(entry, now_s)]
        for other in under.values():
            if other is not entry and other.told.id == told.id:  # what it was before
                self._end(other, told.at_us, now_s)
                posts.append(self._post(other, now_s))
        return posts

    def _close(self, under: dict[str, Entry], told: Told, now_s: float) -> list[Post]:
        same = [entry for entry in under.values() if entry.told.id == told.id]
        if not same:  # opened longer ago than anybody remembers; or there is a newer one
            return [] if under else [_ended(told, told.at_us, now_s)]
        for entry in same:
            self._end(entry, told.at_us, max(now_s, entry.fired_s + self.least_firing_s))
        return [self._post(entry, now_s) for entry in same if entry.over_s <= now_s]

    def _end(self, entry: Entry, closed_us: int, over_s: float) -> None:
        if entry.closed_us is None:
            entry.closed_us, entry.over_s = closed_us, over_s
            entry.due_s = over_s

    def _post(self, entry: Entry, now_s: float) -> Post:
        if entry.closed_us is None or entry.over_s > now_s:
            return _alert(entry.told, now_s, now_s + self._lasts_s)
        return _ended(entry.told, entry.closed_us, now_s)

    def _delay(self, entry: Entry, now_s: float) -> None:
        soon_s = now_s + self.resend_s
        entry.due_s = min(soon_s, entry.over_s) if entry.over_s > now_s else soon_s

    def _tidy(self, now_s: float) -> None:
        for who, under in list(self._known.items()):
            for severity, entry in list(under.items()):
                if entry.over_s + self._lasts_s < now_s:
                    del under[severity]
            last_s = max((entry.heard_s for entry in under.values()), default=float("-inf"))
            if last_s + self.forget_after_s < now_s:
                self._forget(who)

    def _forget(self, who: Who) -> None:
        under = self._known.pop(who)
        self.forgotten += any(entry.closed_us is None for entry in under.values())

    def _entries(self) -> Iterator[Entry]:
        for under in self._known.values():
            yield from under.values()

    @property
    def _lasts_s(self) -> float:
        return LASTS * self.resend_s


def _who(told: Told) -> Who:
    return told.source.topic, told.stream, told.kind, told.model.name


def _ended(told: Told, closed_us: int, now_s: float) -> Post:
    return _alert(told, now_s, min(closed_us / US_PER_S, now_s))


def _alert(told: Told, now_s: float, ends_s: float) -> Post:
    """Return an alert as `POST /api/v2/alerts` takes it; it refuses an end before the start."""
    starts_us = min(told.opened_us, int(now_s * US_PER_S))
    return {
        "labels": {
            "alertname": NAMES.get(told.kind, "StreamUnlikeItself"),
            "stream": told.stream,
            "kind": told.kind,
            "severity": told.severity,
            "model": told.model.name,
            "topic": told.source.topic,
        },
        "annotations": {
            "summary": summary(told),
            "alert_id": told.id,
            "score": f"{told.score:.4g}",
            "model_version": told.model.version,
            "source": f"{told.source.topic}/{told.source.partition}/{told.source.offset}",
        },
        "startsAt": rfc3339(starts_us),
        "endsAt": rfc3339(max(int(ends_s * US_PER_S), starts_us)),
    }
