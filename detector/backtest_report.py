"""What a backtest shows: how much would have been told, of whom, and whether the model fits."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np

from detector.artifact import Calibration
from detector.drift import MUCH, Bins
from detector.messages import rfc3339
from detector.page import figures, page, section, table
from detector.played import About
from detector.plots import bars, lines
from detector.records import SEVERITIES
from detector.volume import Volume

STREAMS_SHOWN = 20


def report(about: About, volume: Volume, calibration: Sequence[Calibration]) -> str:
    """Return the page.

    Args:
        about: What was played.
        volume: What would have been told.
        calibration: The model's.
    """
    played = about.played
    if played.first_us is None or played.last_us is None:
        lead = f"{about.past}: nothing was scored."
        return page(f"Backtest of {about.name}", lead, [_numbers(about)])
    days = _days(rfc3339(played.first_us)[:10], rfc3339(played.last_us)[:10])
    lead = (
        f"{about.past}, from {rfc3339(played.first_us)[:19]} to {rfc3339(played.last_us)[:19]} "
        f"UTC, by model {about.version[:12]}. Days are those of event time, UTC."
    )
    blocks = [_numbers(about), _by_day(days, volume), _by_stream(volume, about)]
    return page(f"Backtest of {about.name}", lead, [*blocks, _drift(days, about, calibration)])


def _numbers(about: About) -> str:
    played, alerts = about.played, about.alerts
    told = sum(alerts.values())
    weeks = about.days / 7
    named = [
        ("alerts", f"{told:,}"),
        *((severity, f"{alerts.get(severity, 0):,}") for severity in SEVERITIES),
        ("alerts a week", f"{told / weeks:,.1f}" if weeks else "unknown"),
        ("streams", f"{played.streams:,}"),
        ("readings scored", f"{played.scored:,}"),
        ("of these in warm-up", f"{played.warming:,}"),
        ("late", f"{played.late:,}"),
        *((f"bad: {reason}", f"{n:,}") for reason, n in sorted(played.bad.items())),
    ]
    return figures(named)


def _by_day(days: Sequence[str], volume: Volume) -> str:
    told: Counter[tuple[str, str]] = Counter()
    for (day, _, severity), count in volume.items():
        told[day, severity] += count
    series: dict[str, list[float]]
    series = {name: [float(told[day, name]) for day in days] for name in SEVERITIES}
    drawn = bars(days, series, f"Alerts a day; {sum(volume.values())} on {len(days)} days")
    return section("Alerts by day", "By the day they opened, and the worst they became.", drawn)


def _by_stream(volume: Volume, about: About) -> str:
    told: Counter[tuple[str, str]] = Counter()
    streams: Counter[str] = Counter()
    for (_, stream, severity), count in volume.items():
        told[stream, severity] += count
        streams[stream] += count
    most = streams.most_common(STREAMS_SHOWN)
    names = [stream for stream, _ in most]
    series: dict[str, list[float]]
    series = {name: [float(told[stream, name]) for stream in names] for name in SEVERITIES}
    silent = about.played.streams - len(streams)
    return section(
        "Alerts by stream",
        f"The {len(most)} streams with most of {len(streams)} that had any; {silent} had none. "
        "volume.csv has them all.",
        bars(names, series, "Alerts a stream"),
        table(
            ("stream", *SEVERITIES, "alerts"),
            [(s, *(str(told[s, name]) for name in SEVERITIES), str(n)) for s, n in most],
        ),
    )


def _drift(days: Sequence[str], about: About, calibration: Sequence[Calibration]) -> str:
    counts = {(one.day, one.kind): np.array(one.counts) for one in about.played.drifted}
    series = {}
    for tail in calibration:
        bins = Bins(tail)
        seen = [counts.get((day, tail.kind)) for day in days]
        series[tail.kind] = [float("nan") if n is None else bins.drift(n) for n in seen]
    return section(
        "Does the model still fit?",
        "How far the scores of each day are from those that the model was calibrated on "
        "(population stability index; below 0 where they are lower). Above the dashed line, "
        "train again on newer history.",
        lines(days, series, "Drift of scores a day", MUCH),
    )


def _days(first: str, last: str) -> list[str]:
    start, stop = date.fromisoformat(first), date.fromisoformat(last)
    return [str(start + timedelta(days=n)) for n in range((stop - start).days + 1)]
