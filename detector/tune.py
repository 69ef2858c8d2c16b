"""The threshold that gives so many alerts a week, found by judging kept scores again. Pure."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np

from detector.artifact import Manifest
from detector.errors import SettingsRejected
from detector.judge import rules
from detector.records import US_PER_S, Readings
from detector.retrial import RATES, Retrial, Told, usable
from detector.telling import Judge
from detector.validate import epoch_us

BETWEEN = 8  # settings that are tried between the best of `RATES` and the next
DIGITS = 3
COLUMNS = ("stream", "from", "to")


class Incident(NamedTuple):
    """A machine was broken: from the one event time to the other, in microseconds."""

    stream: str
    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True)
class Point:
    """What one setting would have brought.

    Attributes:
        rate: `judge.false_alarms_per_stream_day`.
        levels: Scores above which a reading counts, one a kind of evidence.
        alerts: That would have opened.
        a_week: As many, over the whole fleet.
        found: Of the incidents; with an alert open at some time of it.
        recall: Part of the incidents found; NaN where there are none.
        precision: Part of the alerts that were open at some time of an incident; likewise.
        delay_s: Median, from an incident's begin to its first alert; NaN where none is found.
    """

    rate: float
    levels: tuple[float, ...]
    alerts: int
    a_week: float
    found: int
    recall: float
    precision: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What stricter and laxer settings would have brought.

    Attributes:
        points: By rising rate.
        chosen: Number of the laxest that keeps to what was asked, as all stricter ones do; None
            where not even the strictest does.
    """

    points: tuple[Point, ...]
    chosen: int | None


def tune(
    manifest: Manifest,
    settings: Judge,
    scores: Callable[[], Iterable[Readings]],
    weeks: float,
    asked: float,
    incidents: Sequence[Incident] = (),
) -> Curve:
    """Judge history at several settings, then at some more around the best.

    Args:
        manifest: Of the model that scored it.
        settings: All but the rate is taken from here.
        scores: Yields the scored readings from the beginning, each time it is called.
        weeks: How long the history is.
        asked: Alerts a week, over the whole fleet.
        incidents: That are known.
    """

    def points(rates: Sequence[float]) -> list[Point]:
        several = [
            rules(
                manifest, rate, close_share=settings.close_share, open_after=settings.open_after,
                close_after=settings.close_after, cool_down_s=settings.cool_down_s,
            )
            for rate in rates
        ]  # fmt: skip
        retrial = Retrial(manifest, several)
        for scored in scores():
            retrial.judge(scored)
        told: list[list[Told]] = [[] for _ in rates]
        for alert in retrial.told:
            told[alert.setting].append(alert)
        return [
            _point(rate, one.open_level.tolist(), alerts, weeks, incidents)
            for rate, one, alerts in zip(rates, several, told, strict=True)
        ]

    coarse = points(usable(manifest, RATES))
    best = _chosen(coarse, asked)
    if best is None or best + 1 == len(coarse):
        return Curve(tuple(coarse), best)
    low, high = coarse[best].rate, coarse[best + 1].rate
    between = np.geomspace(low, high, BETWEEN + 2)[1:-1]
    fine = points([float(f"{rate:.{DIGITS}g}") for rate in between])
    every = sorted([*coarse, *fine], key=lambda point: point.rate)
    return Curve(tuple(every), _chosen(every, asked))


def _chosen(points: Sequence[Point], asked: float) -> int | None:
    kept = 0
    while kept < len(points) and points[kept].a_week <= asked:
        kept += 1
    return kept - 1 if kept else None


def _point(
    rate: float,
    levels: Sequence[float],
    told: Sequence[Told],
    weeks: float,
    incidents: Sequence[Incident],
) -> Point:
    of: dict[str, list[Told]] = defaultdict(list)
    for alert in told:
        of[alert.stream].append(alert)
    delays, right = [], set[int]()
    for incident in incidents:
        hits = [
            alert
            for alert in of[incident.stream]
            if alert.opened_us <= incident.to_us
            and (alert.closed_us is None or alert.closed_us >= incident.from_us)
        ]
        right |= set(map(id, hits))
        if hits:
            first_us = min(alert.opened_us for alert in hits)
            delays.append(max(first_us - incident.from_us, 0) / US_PER_S)
    nothing = float("nan")
    return Point(
        rate,
        tuple(levels),
        len(told),
        len(told) / weeks,
        len(delays),
        len(delays) / len(incidents) if incidents else nothing,
        len(right) / len(told) if incidents and told else nothing,
        float(np.median(delays)) if delays else nothing,
    )


def read_incidents(lines: Iterable[str], name: str) -> list[Incident]:
    """Return the incidents of a CSV file with the columns stream, from, to.

    Args:
        lines: Of the file; times are RFC 3339, UTC where they do not say.
        name: Of the file, for messages.

    Raises:
        SettingsRejected: If a column is missing, or a line is none.

    >>> read_incidents(["stream,from,to", "pump,1970-01-01,1970-01-01T00:00:01Z"], "x.csv")
    [Incident(stream='pump', from_us=0, to_us=1000000)]
    """
    reader = csv.DictReader(lines, restval="")
    lacking = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if lacking:
        msg = f"{name}: expected columns {', '.join(COLUMNS)}; saw none called {lacking[0]}"
        raise SettingsRejected(msg)
    found = []
    for row in reader:
        try:
            from_us, to_us = _time_us(row["from"]), _time_us(row["to"])
        except ValueError as error:
            msg = f"{name}, line {reader.line_num}: expected RFC 3339 times, saw: {error}"
            raise SettingsRejected(msg) from error
        if to_us < from_us:
            msg = f"{name}, line {reader.line_num}: expected `from` before `to`"
            raise SettingsRejected(msg)
        found.append(Incident(row["stream"], from_us, to_us))
    return found


def within(
    incidents: Iterable[Incident], first_us: int, last_us: int, streams: Iterable[str]
) -> list[Incident]:
    """Return the incidents that history can tell of: of its streams, and of its time."""
    known = set(streams)
    return [
        incident
        for incident in incidents
        if incident.stream in known and incident.from_us <= last_us and incident.to_us >= first_us
    ]


def _time_us(text: str) -> int:
    return int(epoch_us([datetime.fromisoformat(text.strip())])[0])


def toml(settings: Judge, rate: float, says: Sequence[str]) -> str:
    """Return a table of settings that `detector run --config` takes, below some comments."""
    chosen = settings.model_copy(update={"false_alarms_per_stream_day": rate})
    entries = [f"{name} = {json.dumps(value)}" for name, value in chosen.model_dump().items()]
    return "\n".join([*(f"# {line}" for line in says), "[judge]", *entries]) + "\n"
