"""Answers to figures, as each benchmark has them: the same for ours and for the rivals.

Figures are told by name, see `FIGURES`; one that cannot be told is left out.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from detector.records import Doubles
from training.benchmark.answers import Answer
from training.benchmark.halves import carried_over
from training.benchmark.sets import SKAB_NORMAL
from training.metrics import events, nab, ranges, skab
from training.metrics.attribution import hit_rate

Told = dict[str, float]
PERCENT = 100
THRESHOLDS = 40  # of a curve
RARE = 0.05  # of all rows score above the lowest of them
SKAB_PROFILES = {"nab_standard": "Standard", "nab_low_fp": "LowFP", "nab_low_fn": "LowFN"}


class Figure(NamedTuple):
    """How a figure is called and read.

    Attributes:
        title: Over its column.
        digits: After the point.
        better: 1 if more is better, -1 if less is, 0 if it is only told.
        meaning: In a line.
    """

    title: str
    digits: int
    better: int
    meaning: str


FIGURES: Mapping[str, Figure] = {
    "f1": Figure("F1", 3, 1, "harmonic mean of precision and recall of rows"),
    "far": Figure("FAR %", 1, -1, "part of the normal rows that are in alarm"),
    "mar": Figure("MAR %", 1, -1, "part of the anomalous rows that are not"),
    "far_normal": Figure("FAR % normal file", 1, -1, "the same, on the file without anomalies"),
    "nab_standard": Figure("CP standard", 1, 1, "changepoints, NAB's standard profile"),
    "nab_low_fp": Figure("CP low FP", 1, 1, "changepoints, false ones cost more"),
    "nab_low_fn": Figure("CP low FN", 1, 1, "changepoints, missed ones cost more"),
    "standard": Figure("standard", 1, 1, "NAB's figure at the best threshold for the corpus"),
    "reward_low_FP_rate": Figure("low FP", 1, 1, "the same, false positives cost more"),
    "reward_low_FN_rate": Figure("low FN", 1, 1, "the same, missed windows cost more"),
    "standard_carried": Figure(
        "carried over", 1, 1, "standard, at the best threshold of the other half of the files"
    ),
    "standard_own": Figure(
        "own level", 1, 1, "standard, at each model's own level from its training rows"
    ),
    "standard_alerts": Figure("alerts", 1, 1, "standard, of the rows on which alerts opened"),
    "vus_pr": Figure("VUS-PR", 3, 1, "volume under the precision-recall surface"),
    "vus_roc": Figure("VUS-ROC", 3, 1, "volume under the ROC surface"),
    "average_precision": Figure("AP", 3, 1, "average precision of rows"),
    "hit_100": Figure("HitRate@100", 3, 1, "guilty channels among as many that were named first"),
    "hit_150": Figure("HitRate@150", 3, 1, "the same, among half as many again"),
    "openings_per_1000": Figure(
        "openings / 1,000", 2, -1, "alerts that opened on quiet rows, per 1,000 of them"
    ),
    "openings_per_1000_normal": Figure(
        "openings / 1,000 normal file", 2, -1, "the same, on the file without anomalies"
    ),
    "events_found": Figure("found", 0, 1, "labelled stretches with an alert in them"),
    "events": Figure("of", 0, 0, "labelled stretches"),
    "delay": Figure("delay", 0, -1, "median, rows from a found stretch's first to its alert"),
}


def of_skab(answers: Sequence[Answer]) -> Told:
    """Return SKAB's figures; FAR and MAR in percent, as its leaderboard has them."""
    normal = [one for one in answers if one.case.name == SKAB_NORMAL]
    broken = [one for one in answers if one.case.name != SKAB_NORMAL]
    told: Told = {}
    if broken and all(one.alarm is not None for one in broken):
        series = [_skab_series(one) for one in broken]
        rows = skab.rows(series)
        told |= {"f1": rows.f1, "far": PERCENT * rows.far, "mar": PERCENT * rows.mar}
        if any(one.changepoint.any() for one in series):
            told |= {n: skab.nab(series, skab.PROFILES[p]) for n, p in SKAB_PROFILES.items()}
    quiet = of_events(normal)
    if quiet:
        told["far_normal"] = PERCENT * skab.rows(map(_skab_series, normal)).far
        told["openings_per_1000_normal"] = quiet["openings_per_1000"]
    return told | of_events(broken)


def of_nab(answers: Sequence[Answer]) -> Told:
    """Return NAB's figures of a corpus."""
    told = of_events(answers)
    if not any(one.case.windows for one in answers):
        return told
    standard = nab.PROFILES["standard"]
    series = [nab.Series(one.score, one.case.windows) for one in answers]
    told |= {name: nab.optimise(series, p).figure for name, p in nab.PROFILES.items()}
    carried = nab_carried(answers).get("standard_carried")
    if carried:
        told["standard_carried"] = float(np.mean(carried))
    return told | _nab_by_itself(answers, standard)


def nab_carried(answers: Sequence[Answer]) -> dict[str, list[float]]:
    """Return the figure of each draw's half at the threshold of the other half."""
    profile = nab.PROFILES["standard"]

    def choose(half: list[nab.Series]) -> float:
        return nab.optimise(half, profile).threshold

    def tell(half: list[nab.Series], threshold: float) -> Told:
        return {"standard_carried": nab.figure_at(half, threshold, profile)}

    return carried_over([nab.Series(a.score, a.case.windows) for a in answers], choose, tell)


def nab_thresholds(answers: Sequence[Answer]) -> tuple[Doubles, Doubles]:
    """Return thresholds that rise, and the standard figure at each, [N] and [N]."""
    profile = nab.PROFILES["standard"]
    series = [nab.Series(one.score, one.case.windows) for one in answers]
    score = np.sort(np.concatenate([one.score for one in answers]))
    above = np.geomspace(1, RARE * len(score), THRESHOLDS).astype(np.int64)
    thresholds = np.unique(np.append(score[-above], nab.optimise(series, profile).threshold))
    thresholds = thresholds[np.isfinite(thresholds)]
    return thresholds, np.array([nab.figure_at(series, float(at), profile) for at in thresholds])


def of_nab_file(answers: Sequence[Answer]) -> Told:
    """Return figures of single files: those that need no threshold for the corpus."""
    if not any(one.case.windows for one in answers):
        return of_events(answers)
    return of_events(answers) | _nab_by_itself(answers, nab.PROFILES["standard"])


def of_ranks(answers: Sequence[Answer]) -> Told:
    """Return the mean over cases of figures without a threshold, and what alerts found."""
    told: dict[str, list[float]] = {}
    for one in answers:
        case = one.case
        assert case.window is not None  # noqa: S101 - these benchmarks have one
        volume = ranges.volume(case.label, one.score, case.window)
        told.setdefault("vus_pr", []).append(volume.vus_pr)
        told.setdefault("vus_roc", []).append(volume.vus_roc)
        precision = ranges.average_precision(case.label, one.score)
        told.setdefault("average_precision", []).append(precision)
        if one.residual is not None and case.guilty:
            blame = one.residual.astype(np.float64) ** 2
            for percent in (100, 150):
                rate = hit_rate(blame, case.guilty, percent)
                told.setdefault(f"hit_{percent}", []).append(rate)
    return {name: float(np.mean(values)) for name, values in told.items()} | of_events(answers)


def of_events(answers: Sequence[Answer]) -> Told:
    """Return what alerts made of the labelled stretches; nothing where there are no alerts."""
    pairs = [(a.case.scored_label, a.alarm[a.case.counts]) for a in answers if a.alarm is not None]
    if not pairs or len(pairs) < len(answers):
        return {}
    found = events.find(pairs)
    told = {
        "events": float(found.events),
        "events_found": float(found.found),
        "delay": found.delay,
        "openings_per_1000": found.openings_per_1000,
    }
    return {name: value for name, value in told.items() if np.isfinite(value)}


def _nab_by_itself(answers: Sequence[Answer], profile: nab.Profile) -> Told:
    """Return figures with each file's own level, and of the openings of alerts."""
    told: Told = {}
    levels = [one.level for one in answers if one.level is not None]
    if len(levels) == len(answers):
        over = [a.score > level for a, level in zip(answers, levels, strict=True)]
        series = [
            nab.Series(rows.astype(np.float64), a.case.windows)
            for a, rows in zip(answers, over, strict=True)
        ]
        told["standard_own"] = nab.figure_at(series, 1.0, profile)
    alarms = [one.alarm for one in answers if one.alarm is not None]
    if len(alarms) == len(answers):
        series = [
            nab.Series(np.diff(alarm.astype(np.float64), prepend=0), a.case.windows)
            for a, alarm in zip(answers, alarms, strict=True)
        ]
        told["standard_alerts"] = nab.figure_at(series, 1.0, profile)
    return told


def _skab_series(one: Answer) -> skab.Series:
    case = one.case
    assert one.alarm is not None  # noqa: S101 - the caller has looked
    counts = case.counts
    return skab.Series(
        case.ts_us[counts], case.scored_label, case.changepoint[counts], one.alarm[counts]
    )
