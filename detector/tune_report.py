"""What a tuned threshold shows: what each setting would have brought, as a table and a page."""

from collections.abc import Sequence
from dataclasses import fields
from math import isnan

from detector.page import page, section, table
from detector.plots import lines
from detector.tune import Curve, Point

SHOWN_OVER = 5.0  # times what was asked: laxer settings would only make the picture flat


def rows(curve: Curve, kinds: Sequence[str], *, labelled: bool) -> list[tuple[str, ...]]:
    """Return a curve as cells: the titles, then a row for each point."""
    known = ("incidents found", "recall", "precision", "median delay") if labelled else ()
    levels = [f"threshold ({kind})" for kind in kinds]
    head = ("false alarms a stream and day", *levels, "alerts", "a week", *known)
    return [head, *(_row(point, labelled=labelled) for point in curve.points)]


def as_csv(curve: Curve, kinds: Sequence[str]) -> str:
    """Return a curve as CSV, every figure in full; empty where it is not known."""
    names = [field.name for field in fields(Point) if field.name != "levels"]
    lines = [",".join([*names, *(f"level_{kind}" for kind in kinds)])]
    for point in curve.points:
        values = [*(getattr(point, name) for name in names), *point.levels]
        lines.append(",".join("" if value != value else str(value) for value in values))  # noqa: PLR0124 - NaN
    return "\n".join(lines) + "\n"


def _row(point: Point, *, labelled: bool) -> tuple[str, ...]:
    known = (
        str(point.found),
        f"{point.recall:.0%}",
        "" if isnan(point.precision) else f"{point.precision:.0%}",
        "" if isnan(point.delay_s) else f"{point.delay_s:,.0f} s",
    )
    levels = [f"{level:.3g}" for level in point.levels]
    cells = (f"{point.rate:g}", *levels, str(point.alerts), f"{point.a_week:,.1f}")
    return (*cells, *known) if labelled else cells


def report(curve: Curve, kinds: Sequence[str], asked: float, past: str, incidents: int) -> str:
    """Return the page.

    Args:
        curve: What was tried.
        kinds: Of evidence.
        asked: Alerts a week.
        past: Where the scores are from, in words.
        incidents: How many are known.
    """
    labelled = incidents > 0
    shown = [point for point in curve.points if point.a_week <= SHOWN_OVER * asked]
    shown = shown or list(curve.points[:1])
    rates = [f"{point.rate:g}" for point in shown]
    blocks = [
        section(
            "Alerts a week",
            "Over the whole fleet, by the false alarms a stream and day that are accepted on "
            f"normal data. The dashed line is what was asked for: {asked:g}.",
            lines(rates, {"alerts a week": [p.a_week for p in shown]}, "Alerts a week", asked),
        )
    ]
    if labelled:
        known = {"recall": [p.recall for p in shown], "precision": [p.precision for p in shown]}
        delay = {"median delay (s)": [p.delay_s for p in shown]}
        blocks.append(
            section(
                "Incidents",
                f"Of {incidents} known ones. Recall: those with an alert open at some time. "
                "Precision: alerts open at some time of one. Delay: from an incident's begin to "
                "its first alert.",
                lines(rates, known, "Recall and precision"),
                lines(rates, delay, "Median delay in seconds"),
            )
        )
    head, *cells = rows(curve, kinds, labelled=labelled)
    chosen = -1 if curve.chosen is None else curve.chosen
    blocks.append(
        section("All settings", "The proposed one stands out.", table(head, cells, chosen))
    )
    return page("What a threshold brings", past, blocks)
