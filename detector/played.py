"""What a backtest saw, in figures: of one part of the past, and of all of it. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from detector.artifact import Manifest
from detector.drift import Bins
from detector.engine import Outcome
from detector.messages import rfc3339
from detector.past import Heard
from detector.records import US_PER_S, Doubles

DAY_US = 86_400 * US_PER_S


class Drifted(msgspec.Struct):
    """Scores of a day and a kind of evidence: how many in each of `drift.Bins`."""

    day: str
    kind: str
    counts: list[float]


class Played(msgspec.Struct):
    """What came of a part of the past, or of all of it.

    Attributes:
        records: Read.
        readings: Valid ones, within the span.
        bad: Records without a valid reading, by reason.
        first_us, last_us: Event times of the first and the last reading that was scored.
        drifted: For each day and kind.
    """

    records: int = 0
    readings: int = 0
    scored: int = 0
    warming: int = 0
    late: int = 0
    streams: int = 0
    bad: dict[str, int] = {}
    first_us: int | None = None
    last_us: int | None = None
    drifted: list[Drifted] = []


class About(msgspec.Struct, frozen=True):
    """What a backtest was of: `backtest.json`, which is written last.

    Attributes:
        model: The file, as it was named.
        version: Of the model.
        past: What was played, in words.
        judge: The settings by which it was judged.
        alerts: That opened, by worst severity.
    """

    model: str
    name: str
    version: str
    past: str
    judge: dict[str, float | str]
    played: Played
    alerts: dict[str, int]

    @property
    def days(self) -> float:
        """How long it was, in days of event time; 0 where nothing was scored."""
        first_us, last_us = self.played.first_us, self.played.last_us
        return (last_us - first_us) / DAY_US if first_us is not None and last_us else 0.0


@dataclass(slots=True)
class Tally:
    """Counts what comes of a part of the past, bit by bit."""

    manifest: Manifest
    said: Played = field(default_factory=Played)
    _bad: Counter[str] = field(default_factory=Counter)
    _days: dict[tuple[int, int], Doubles] = field(default_factory=dict)

    def add(self, heard: Heard, outcome: Outcome) -> None:
        """Take some records and what came of them, its trace kept."""
        said = self.said
        said.records += heard.records
        said.readings += len(heard.readings.ts_us)
        said.scored += outcome.scored
        said.warming += outcome.warming
        said.late += outcome.late
        self._bad.update(one.reason for one in heard.bad)
        assert outcome.trace is not None  # noqa: S101 - it was asked for
        ts_us = heard.readings.ts_us[outcome.trace.scored]
        if len(ts_us):
            low, high = int(ts_us.min()), int(ts_us.max())
            said.first_us = low if said.first_us is None else min(said.first_us, low)
            said.last_us = high if said.last_us is None else max(said.last_us, high)
        warm = outcome.trace.warm
        score, day = outcome.trace.score[warm], heard.readings.ts_us[warm] // DAY_US
        for one in np.unique(day).tolist():
            for k, tail in enumerate(self.manifest.calibration):
                found = Bins(tail).count(score[day == one, k])
                self._days[one, k] = self._days.get((one, k), 0) + found

    def close(self, streams: int) -> Played:
        """Return all of it; of so many streams."""
        self.said.streams, self.said.bad = streams, dict(self._bad)
        self.said.drifted = [
            Drifted(rfc3339(day * DAY_US)[:10], self.manifest.kinds[k], counts.tolist())
            for (day, k), counts in sorted(self._days.items())
        ]
        return self.said


def join(parts: Sequence[Played]) -> Played:
    """Return what came of all parts."""
    said, bad = Played(), Counter[str]()
    days: dict[tuple[str, str], Doubles] = {}
    for part in parts:
        for name in ("records", "readings", "scored", "warming", "late", "streams"):
            setattr(said, name, getattr(said, name) + getattr(part, name))
        bad.update(part.bad)
        for one in part.drifted:
            days[one.day, one.kind] = days.get((one.day, one.kind), 0) + np.array(one.counts)
    said.bad = dict(bad)
    said.first_us = min((p.first_us for p in parts if p.first_us is not None), default=None)
    said.last_us = max((p.last_us for p in parts if p.last_us is not None), default=None)
    said.drifted = [Drifted(*key, days[key].tolist()) for key in sorted(days)]
    return said
