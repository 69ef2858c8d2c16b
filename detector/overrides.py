"""What operators say of single streams: mutes, and thresholds of their own. Pure.

A record of the control topic: its key is a stream's id, or a pattern of ids in the shell's way
(`pump-*`); its value one JSON object, an `Override`; no value takes it back. The last record of a
key counts, so any replica knows all from the topic's beginning.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import repeat
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from detector.records import Alert, Ints

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE_ALL_US = -(1 << 63)
PATTERN = frozenset("*?[")
REMEMBERED = 1 << 16  # streams whose patterns are not matched again

Time = Annotated[datetime, Meta(tz=True)]
# An alert tells the reason: it must stay small enough for a broker.
Reason = Annotated[str, Meta(max_length=1000)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
PerDay = Annotated[float, Meta(gt=0, le=1000)]


class Mute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stretch of event time whose alerts nobody wants to hear.

    Attributes:
        until: It ends before this time.
        at: When it was said.
        by: Who said it.
        why: For those who find a muted alert.
        begins: It begins with this time; None: at once, however late readings are.
    """

    until: Time
    at: Time
    by: Name
    why: Reason
    begins: Time | None = msgspec.field(default=None, name="from")

    def covers(self, alert: Alert) -> bool:
        """Say whether a message is muted, by the time of the reading that caused it.

        A closing is so only if the opening was made under the mute: whoever heard of an alert
        must hear its end.
        """
        begins_us = microseconds(self.begins) if self.begins else BEFORE_ALL_US
        if not begins_us <= alert.at_us < microseconds(self.until):
            return False
        return alert.status != "close" or alert.opened_us >= microseconds(self.begins or self.at)

    def phase(self, now: datetime) -> str:
        """Return `planned`, `muted` or `ended`."""
        if now >= self.until:
            return "ended"
        return "planned" if self.begins and now < self.begins else "muted"


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often a stream may give a false alarm; see `judge.rules`.

    Attributes:
        false_alarms_per_day: In place of the setting `judge.false_alarms_per_stream_day`.
        at: When it was said.
        by: Who said it.
        why: For those who wonder.
    """

    false_alarms_per_day: PerDay
    at: Time
    by: Name
    why: Reason = ""


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is said of one stream, or of those that match one pattern."""

    mute: Mute | None = None
    threshold: Threshold | None = None


NOTHING = Override()
encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Override).decode


class Overrides:
    """The last override of each key."""

    def __init__(self) -> None:
        """Start with none."""
        self._said: dict[str, Override] = {}
        self._stale = False  # what follows is made of it, when it is asked for
        self._rates: tuple[float, ...] = ()
        self._patterns: list[str] = []
        self._own: dict[bytes, int] = {}
        self._matched = lru_cache(REMEMBERED)(self._place)

    def __iter__(self) -> Iterator[tuple[str, Override]]:
        """Yield keys and what is said of them, sorted."""
        return iter(sorted(self._said.items()))

    def take(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> list[str]:
        """Take records; one that cannot be read leaves nothing said of its key.

        Args:
            records: Keys and values, in the order of the topic.

        Returns:
            What is wrong with some of them, for a person.
        """
        wrong = [self._note(key, value) for key, value in records]
        self._stale |= bool(wrong)
        return list(filter(None, wrong))

    def get(self, key: str) -> Override:
        """Return what is said of a stream or a pattern itself."""
        return self._said.get(key, NOTHING)

    def mute(self, alert: Alert) -> Mute | None:
        """Return what mutes a message, if anything does."""
        self._index()
        mutes = (one.mute for one in self._of(alert.stream))
        return next((mute for mute in mutes if mute and mute.covers(alert)), None)

    @property
    def rates(self) -> tuple[float, ...]:
        """False alarms a day that some stream or pattern has for itself, rising."""
        self._index()
        return self._rates

    def places(self, streams: list[bytes]) -> Ints:
        """Return the place of each stream's rate in `rates`, from 1 on; 0 where it has none."""
        self._index()
        if self._patterns:
            return np.array(list(map(self._matched, streams)), np.int64)
        return np.array(list(map(self._own.get, streams, repeat(0))), np.int64)

    def muted(self, now: datetime) -> int:
        """Return how many mutes are in force."""
        mutes = (one.mute for one in self._said.values())
        return sum(mute is not None and mute.phase(now) == "muted" for mute in mutes)

    @property
    def thresholds(self) -> int:
        """How many streams and patterns have a threshold of their own."""
        return sum(one.threshold is not None for one in self._said.values())

    def _note(self, key: bytes | None, value: bytes | None) -> str:
        try:
            name, override, wrong = (key or b"").decode(), NOTHING, ""
        except UnicodeDecodeError:
            name, override, wrong = "", NOTHING, ""
        if not name:
            return f"expected a stream's id as the key, saw {key!r:.200}"
        if value is not None:
            try:
                override = _decode(value)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                wrong = f"expected a mute or a threshold, saw {value[:200]!r}: {error}"
        if override == NOTHING:
            self._said.pop(name, None)
        else:
            self._said[name] = override
        return wrong

    def _of(self, stream: str) -> Iterator[Override]:
        """Yield what is said of a stream: of itself first, then of patterns, sorted."""
        if stream in self._said:
            yield self._said[stream]
        for pattern in self._patterns:
            if pattern != stream and fnmatchcase(stream, pattern):
                yield self._said[pattern]

    def _place(self, stream: bytes) -> int:
        thresholds = (one.threshold for one in self._of(stream.decode()))
        own = next((one for one in thresholds if one), None)
        return 0 if own is None else 1 + self._rates.index(own.false_alarms_per_day)

    def _index(self) -> None:
        if not self._stale:
            return
        own = {
            key: one.threshold.false_alarms_per_day
            for key, one in self._said.items()
            if one.threshold
        }
        self._rates = tuple(sorted(set(own.values())))
        places = {rate: place for place, rate in enumerate(self._rates, 1)}
        self._own = {key.encode(): places[rate] for key, rate in own.items()}
        self._patterns = sorted(key for key in self._said if not PATTERN.isdisjoint(key))
        self._matched.cache_clear()
        self._stale = False


def microseconds(time: datetime) -> int:
    """Return a time as microseconds since the epoch."""
    return (time - EPOCH) // timedelta(microseconds=1)
