"""What alerts got right and wrong, in figures."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from detector.records import US_PER_S, Bools
from training.evaluate import Track


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it; readings are counted one by one, without any adjustment.

    Attributes:
        f1: Harmonic mean of precision and recall.
        precision: Part of the readings in alert that were anomalous.
        recall: Part of the anomalous readings that were in alert.
        far: False alarm rate: part of the normal readings that were in alert.
        mar: Missed alarm rate: part of the anomalous readings that were not.
        events: Stretches of labelled readings.
        found: Those with an alert open somewhere in them.
        delay_s: Median, from a found stretch's begin to its first reading in alert.
        opened: Alerts that began on normal readings: false ones.
        normal_days: How long all streams together were heard and normal.
        false_a_day: The one by the other.
    """

    readings: int
    anomalous: int
    f1: float
    precision: float
    recall: float
    far: float
    mar: float
    events: int
    found: int
    delay_s: float
    opened: int
    normal_days: float
    false_a_day: float

    def lines(self) -> list[str]:
        """Return each figure as a line."""
        return [f"{field.name:<12} {_said(getattr(self, field.name))}" for field in fields(self)]


def _said(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def measure(tracks: Iterable[Track]) -> Figures:
    """Count what the alerts of all tracks got right and wrong."""
    hits = false = missed = quiet = events = opened = 0
    normal_us, delays = 0, []
    for track in tracks:
        counts = track.counts
        alerting, label, ts_us = track.in_alert[counts], track.label[counts], track.ts_us[counts]
        hits += int((alerting & label).sum())
        false += int((alerting & ~label).sum())
        missed += int((~alerting & label).sum())
        quiet += int((~label).sum())
        opens = np.diff(alerting.astype(np.int8), prepend=0) == 1
        opened += int((opens & ~label).sum())
        heard = ~(label | track.restarted[counts])[1:]
        normal_us += int(np.diff(ts_us)[heard].sum())
        for start, stop in stretches(label):
            events += 1
            inside = np.flatnonzero(alerting[start:stop])
            if len(inside):
                delays.append(float(ts_us[start + inside[0]] - ts_us[start]) / US_PER_S)
    days = normal_us / US_PER_S / 86_400
    return Figures(
        readings=hits + missed + quiet,
        anomalous=hits + missed,
        f1=2 * hits / max(2 * hits + false + missed, 1),
        precision=hits / max(hits + false, 1),
        recall=hits / max(hits + missed, 1),
        far=false / max(quiet, 1),
        mar=missed / max(hits + missed, 1),
        events=events,
        found=len(delays),
        delay_s=float(np.median(delays)) if delays else float("nan"),
        opened=opened,
        normal_days=days,
        false_a_day=opened / days if days else float("nan"),
    )


def stretches(flags: Bools) -> list[tuple[int, int]]:
    """Return where [T] flags are set: (first, one past the last) of each run."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
