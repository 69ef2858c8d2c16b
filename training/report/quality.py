"""How right it is: settings and what they cost, precision, calibration, channels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from detector.artifact import Manifest
from detector.judge import rules
from detector.records import Floats
from detector.retrial import RATES, usable
from training.evaluate import Track
from training.figures import Figures, measure
from training.rejudge import rejudge
from training.report.charts import (
    draw_precision_recall,
    draw_rates,
    draw_tail,
)
from training.report.curves import precision_recall
from training.report.page import Block, Columns, Picture, Section, Table, Text
from training.report.svg import KINDS
from training.report.words import duration, number, percent

ALL = "all together"


def rates(manifest: Manifest, tracks: Mapping[str, Track], asked: float) -> Section:
    """Return what stricter and laxer settings would have brought."""
    settings = usable(manifest, sorted({*RATES, asked}))
    told = _rejudged(manifest, list(tracks.values()), settings)
    blocks: list[Block] = [Text("There are no normal readings to count false alerts on.")]
    if settings and told[ALL][0].normal_days:
        own = told if len(manifest.kinds) > 1 else {manifest.kinds[0]: told[ALL]}
        alt = "; ".join(
            f"asked for {number(rate)}: {number(one.false_a_day, 2)} seen, "
            f"{one.found} of {one.events} found"
            for rate, one in zip(settings, told[ALL], strict=True)
        )
        picture = Picture(draw_rates(settings, own, asked), f"False alerts a day. {alt}.")
        blocks = [picture, _rates_table(manifest, settings, told[ALL], asked)]
    return Section(
        "settings",
        "Threshold and false alerts",
        "What other thresholds would have brought: for each, the same scores judged again by the "
        "daemon's own rules (alerts, not single readings). The line of points should lie on the "
        "dotted one or below it; the further left, the fewer stretches are found.",
        blocks,
    )


def _rejudged(
    manifest: Manifest, tracks: Sequence[Track], settings: Sequence[float]
) -> dict[str, list[Figures]]:
    """Return figures for every setting, of each kind of evidence and of all together."""
    again = rejudge(manifest, tracks, settings)
    kinds = {kind: slice(k, k + 1) for k, kind in enumerate(manifest.kinds)} | {ALL: slice(None)}
    return {
        name: [
            measure(
                replace(track, alerting=alerting[:, part])
                for track, alerting in zip(tracks, said, strict=True)
            )
            for said in again
        ]
        for name, part in kinds.items()
    }


def _rates_table(
    manifest: Manifest, settings: Sequence[float], told: Sequence[Figures], asked: float
) -> Table:
    rows = []
    for rate, one in zip(settings, told, strict=True):
        levels = rules(manifest, rate).open_level
        rows.append(
            (
                f"{number(rate)} (in use)" if rate == asked else number(rate),
                *(number(float(level)) for level in levels),
                f"{number(one.false_a_day, 2)} ({one.opened})",
                f"{one.found} of {one.events}",
                duration(one.delay_s),
                f"{one.f1:.2f}",
            )
        )
    head = (
        "asked for a stream and day",
        *(f"threshold ({kind})" for kind in manifest.kinds),
        "false alerts a day (count)",
        "stretches found",
        "median delay",
        "F1",
    )
    return Table(head, rows)


def precision(manifest: Manifest, tracks: Mapping[str, Track], figures: Figures) -> Section:
    """Return the precision-recall curve of readings, for each kind of evidence and for all."""
    says = (
        "Readings one by one, for every possible threshold on the score. The daemon's alerts need "
        "not lie on a curve: they open after several readings, and last until all is quiet."
    )
    blocks: list[Block] = [Text("No reading that counts is labelled anomalous.")]
    if figures.anomalous:
        label = np.concatenate([t.label[t.counts] for t in tracks.values()])
        score = np.concatenate([t.score[t.counts] for t in tracks.values()])
        curves = {
            kind: precision_recall(label, score[:, k]) for k, kind in enumerate(manifest.kinds)
        }
        if len(curves) > 1:
            rarest = [t.probability[t.counts].min(1) for t in tracks.values()]
            curves[ALL] = precision_recall(label, -np.concatenate(rarest))
        share = figures.anomalous / figures.readings
        rows = [
            *((f"average precision: {name}", f"{c.average:.2f}") for name, c in curves.items()),
            ("precision of an alarm that never ends", f"{share:.2f}"),
            ("precision of the daemon's alerts", f"{figures.precision:.2f}"),
            ("recall of the daemon's alerts", f"{figures.recall:.2f}"),
        ]
        alt = "; ".join(f"{name} {value}" for name, value in rows).capitalize()
        reached = (figures.recall, figures.precision)
        picture = Picture(draw_precision_recall(curves, share, reached), alt)
        blocks = [Columns([picture, Table(("", "value"), rows)])]
    return Section("precision", "Precision and recall", says, blocks)


def scores(manifest: Manifest, tracks: Mapping[str, Track], asked: float) -> Section:
    """Return the distribution of every kind's scores, and the calibration they should follow."""
    blocks: list[Block] = []
    for k, tail in enumerate(manifest.calibration):
        threshold = float(rules(manifest, asked).open_level[k])
        normal, anomalous = (_scores(tracks, k, labelled=labelled) for labelled in (False, True))
        over = {
            name: percent(float((told > threshold).mean())) if len(told) else "none"
            for name, told in (("normal", normal), ("labelled", anomalous))
        }
        alt = (
            f"Scores of {tail.kind}: above the threshold {number(threshold)} are {over['normal']} "
            f"of the normal readings and {over['labelled']} of the labelled ones."
        )
        colour = KINDS[k % len(KINDS)]
        picture = Picture(draw_tail(tail, normal, anomalous, threshold, colour), alt)
        rows = [
            ("threshold", number(threshold)),
            (
                "normal readings above it, by the calibration",
                percent(_promised(manifest, k, asked)),
            ),
            ("normal readings above it, as seen", over["normal"]),
            ("labelled readings above it", over["labelled"]),
            ("the fitted tail begins at", number(tail.levels[-1])),
            ("its scale", number(tail.scale)),
            ("its shape (0: exponential, more: heavier)", number(tail.shape)),
            ("readings of one cluster above it", number(1 / tail.extremal_index)),
        ]
        blocks.append(Columns([picture, Table((f"evidence: {tail.kind}", "value"), rows)]))
    return Section(
        "scores",
        "Scores and the fitted tail",
        "How many readings score above a level. Readings without a label should follow the dashed "
        "calibration, which comes from held-out history; where they lie above it, there are more "
        "false alerts than asked for, a stream still settles after a label, or labels miss "
        "something.",
        blocks,
    )


def _promised(manifest: Manifest, k: int, asked: float) -> float:
    return manifest.calibration[k].reading_probability(asked, manifest.period_s)


def _scores(tracks: Mapping[str, Track], k: int, *, labelled: bool) -> Floats:
    chosen = [t.score[t.counts & t.warm & (t.label == labelled), k] for t in tracks.values()]
    return np.concatenate(chosen)
