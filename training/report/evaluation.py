"""The page about an evaluation: what came of it, where, how often, and why."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from detector.artifact import Manifest
from training.evaluate import Track
from training.figures import Figures, measure
from training.report.channels import channels
from training.report.charts import draw_losses
from training.report.curves import rate_limits
from training.report.page import (
    Block,
    Fold,
    Mood,
    Number,
    Numbers,
    Picture,
    Section,
    Table,
    Text,
    page,
)
from training.report.quality import precision, rates, scores
from training.report.story import moments, streams
from training.report.words import duration, number, percent, span

MEANING = {
    "readings": "readings that count: past the rows that the evaluation skips",
    "anomalous": "those that the data labels as anomalous",
    "f1": "harmonic mean of precision and recall",
    "precision": "part of the readings in alert that are labelled",
    "recall": "part of the labelled readings that are in alert",
    "far": "false alarm rate: part of the normal readings that are in alert",
    "mar": "missed alarm rate: part of the labelled readings that are not in alert",
    "events": "labelled stretches",
    "found": "labelled stretches with an alert somewhere in them",
    "delay_s": "median time from a found stretch's begin to its first reading in alert",
    "opened": "false alerts: those that began on a normal reading",
    "normal_days": "stream-days of normal readings",
    "false_a_day": "false alerts a stream and day",
}
GLANCE = (
    "Alerts are those that the daemon would raise on these readings; labels come from the data. "
    "Rates of false alarms are counted where nothing is labelled."
)
RECORDED = ("date", "rows", "streams", "seed", "data_sha256", "packages")  # of a training


def report(
    manifest: Manifest, tracks: Mapping[str, Track], asked: float, run: Path | None = None
) -> str:
    """Return the page about an evaluation.

    Args:
        manifest: Of the model.
        tracks: What it said of each stream.
        asked: False alarms a stream and day that the alerts were judged by.
        run: The run folder, for `losses.csv`; it may lack it.
    """
    figures = measure(tracks.values())
    sections = [
        Section("glance", "At a glance", GLANCE, [_numbers(figures, asked)]),
        streams(manifest, tracks, asked),
        moments(manifest, tracks, asked),
        rates(manifest, tracks, asked),
        precision(manifest, tracks, figures),
        scores(manifest, tracks, asked),
        channels(manifest, tracks),
        _training(run),
        Section(
            "figures",
            "All figures",
            "Readings are counted one by one, without any adjustment in favour of the model.",
            [_table(figures), _model(manifest)],
        ),
    ]
    return page(
        f"{manifest.name}: evaluation",
        sections,
        lead=_lead(figures),
        facts=_facts(manifest, tracks, figures),
    )


def _lead(figures: Figures) -> str:
    if not figures.readings:
        return "No reading counts: all of them are among the rows that the evaluation skips."
    found = f"{figures.found} of {figures.events} labelled stretches raised an alert"
    if figures.found:
        found += f", half of them within {duration(figures.delay_s)}"
    false = "no alert" if not figures.opened else f"{figures.opened} alerts"
    if figures.opened == 1:
        false = "one alert"
    return f"{found}; {false} began on normal readings, in {_days(figures)}."


def _days(figures: Figures) -> str:
    return f"{number(figures.normal_days, 2)} stream-days"


def _facts(manifest: Manifest, tracks: Mapping[str, Track], figures: Figures) -> list[str]:
    first = min(int(track.ts_us[0]) for track in tracks.values())
    last = max(int(track.ts_us[-1]) for track in tracks.values())
    labelled = percent(figures.anomalous / max(figures.readings, 1))
    return [
        f"model {manifest.name}, version {manifest.version[:12]}",
        f"{len(tracks)} {'stream' if len(tracks) == 1 else 'streams'}",
        f"{number(figures.readings, 9)} readings, {labelled} labelled anomalous",
        span(first, last),
    ]


def _numbers(figures: Figures, asked: float) -> Numbers:
    missed = figures.events - figures.found
    return Numbers(
        [
            Number(
                "Labelled stretches found",
                f"{figures.found} of {figures.events}",
                "with an alert somewhere in them",
                "good" if figures.events and not missed else "",
            ),
            Number(
                "Delay", duration(figures.delay_s), "median, from a stretch's begin to its alert"
            ),
            _false_alerts(figures, asked),
            Number(
                "F1 of readings",
                f"{figures.f1:.2f}",
                f"precision {figures.precision:.2f}, recall {figures.recall:.2f}",
            ),
            Number("False alarm rate", percent(figures.far), "of normal readings are in alert"),
            Number(
                "Missed alarm rate", percent(figures.mar), "of anomalous readings are not in alert"
            ),
        ]
    )


def _false_alerts(figures: Figures, asked: float) -> Number:
    name = "False alerts a stream and day"
    if not figures.normal_days:
        return Number(name, number(float("nan")), "no normal reading to tell it from")
    low, high = rate_limits(figures.opened, figures.normal_days)
    certain = f"between {number(low, 2)} and" if low else "at most"
    mood: Mood = ""  # few days prove neither
    if low > asked or high <= asked:
        mood = "bad" if low > asked else "good"
    return Number(
        name,
        number(figures.false_a_day, 2),
        f"{figures.opened} in {_days(figures)}, so {certain} {number(high, 2)} (90 % certain); "
        f"asked for: {number(asked)}",
        mood,
    )


def _training(run: Path | None) -> Section:
    return Section(
        "training",
        "Training",
        "How far the network's guesses were off, pass by pass. Validation is later time that the "
        "network was not fitted to; where it rises while training falls, the network learns by "
        "heart.",
        [_losses(run)],
    )


def _losses(run: Path | None) -> Block:
    path = run / "losses.csv" if run else None
    if path is None or not path.is_file():
        return Text("The model file does not lie in its run folder, so its losses are not known.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    train, valid = ([float(row[name]) for row in rows] for name in ("train", "valid"))
    best = int(np.argmin(valid))
    alt = (
        f"Loss over {len(rows)} passes: training from {number(train[0])} to {number(train[-1])}, "
        f"validation from {number(valid[0])} to {number(valid[-1])}; pass {best + 1} was kept, "
        f"at {number(valid[best])}."
    )
    return Picture(draw_losses(train, valid, best), alt, alt)


def _table(figures: Figures) -> Table:
    def said(name: str) -> str:
        value = getattr(figures, name)
        if name == "delay_s":
            return duration(value)
        return number(value, 9 if isinstance(value, int) else 4)

    rows = [(name, said(name), meaning) for name, meaning in MEANING.items()]
    return Table(("figure", "value", "what it is"), rows, words=1)


def _model(manifest: Manifest) -> Fold:
    """Return what the model file says of how it was made."""
    record = manifest.training
    rows = [
        ("version (sha256 of the graph)", manifest.version),
        ("a reading every", duration(manifest.period_s)),
        ("a longer silence starts a stream afresh", duration(manifest.largest_gap_s)),
        ("readings of warm-up", str(manifest.warm_up)),
        ("evidence", ", ".join(manifest.kinds)),
        *((name.replace("_", " "), _flat(record[name])) for name in RECORDED if name in record),
    ]
    return Fold(
        "The model and how it was trained", [Table(("of the model", "value"), rows, words=1)]
    )


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)
