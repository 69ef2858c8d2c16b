"""Charts of a benchmark: a case along its rows, and what other thresholds would have brought."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from detector.records import Bools, Doubles
from training.benchmark.answers import Answer
from training.metrics.events import stretches
from training.report.curves import envelope
from training.report.svg import AMBER, BLUE, KINDS, MUTED, RED, canvas, inline
from training.report.words import number

STRIP = (7.0, 0.9)  # inches
HALF, HIGH = 4.4, 2.8
ROOM = 1.2  # of the axis, above the highest score that is drawn; alarms have their lane there
RARE = 0.995  # of the rows score lower than what is drawn in full
TINY = 1e-6  # an axis has a height
LEVELS = 2.5  # times its level a score is drawn in full, at least


def draw_case(answer: Answer) -> str:
    """Draw a score over rows with its level, alarms as a lane on top, labels as a background."""
    case, score = answer.case, answer.score
    level = answer.level or 0.0
    top = max(LEVELS * level, float(np.quantile(score, RARE)), TINY)
    with canvas(*STRIP) as figure:
        axes = figure.add_subplot()
        _shade(axes, case.label, AMBER, 0, 1, alpha=0.3)
        _shade(axes, ~case.counts, MUTED, 0, 1, alpha=0.2)
        if answer.alarm is not None:
            _shade(axes, answer.alarm, RED, 0.9, 1, alpha=1)
        drawn = np.minimum(score, top)
        rows = envelope(drawn)
        axes.plot(rows, drawn[rows], color=BLUE, linewidth=0.9)
        axes.axhline(level, color=BLUE, linewidth=0.7, linestyle="--")
        axes.set(xlim=(0, len(score)), ylim=(0, ROOM * top))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: number(x, 6)))
        return inline(figure)


def draw_rates(
    rates: Sequence[float], shares: Mapping[str, Sequence[float]], asked: float, unit: str
) -> str:
    """Draw figures over the rates of false openings that might have been asked for.

    Args:
        rates: R of them, a 1,000 readings.
        shares: By name, R each.
        asked: The rate in use.
        unit: Of the figures.
    """
    with canvas(HALF, HIGH) as figure:
        axes = figure.add_subplot()
        for n, (name, values) in enumerate(shares.items()):
            axes.plot(rates, values, "o-", color=KINDS[n % len(KINDS)], markersize=3, label=name)
        axes.axvline(asked, color=RED, linewidth=1, label="in use")
        axes.set(xscale="log", xlabel="asked for: false openings per 1,000 readings", ylabel=unit)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: number(x)))
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside upper left", ncols=3)
        return inline(figure)


def draw_openings(rates: Sequence[float], seen: Sequence[float], asked: float) -> str:
    """Draw the rate of openings on quiet rows over the one that was asked for, R each."""
    with canvas(HALF, HIGH) as figure:
        axes = figure.add_subplot()
        axes.plot(rates, seen, "o-", color=BLUE, markersize=3, label="seen on quiet rows")
        axes.plot(rates, rates, color=MUTED, linestyle=":", label="as asked for")
        axes.axvline(asked, color=RED, linewidth=1, label="in use")
        axes.set(xscale="log", xlabel="asked for: false openings per 1,000 readings")
        axes.set(ylabel="seen, per 1,000", ylim=(0, 1.1 * max(*seen, *rates)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: number(x)))
        figure.legend(loc="outside upper left", ncols=3)
        return inline(figure)


def draw_thresholds(thresholds: Doubles, told: Doubles, best: float) -> str:
    """Draw NAB's figure over thresholds that hold for all files, [N] each; `best` is the one used.

    Figures below 0 are drawn as 0: to say nothing is better there.
    """
    with canvas(HALF, HIGH) as figure:
        axes = figure.add_subplot()
        axes.plot(thresholds, np.maximum(told, 0), color=BLUE, label="standard profile")
        axes.axvline(best, color=RED, linewidth=1, label="the best one")
        axes.set(xlabel="threshold on the score, one for all files", ylabel="figure", ylim=(0, 100))
        figure.legend(loc="outside upper left", ncols=2)
        return inline(figure)


def _shade(axes: Axes, flags: Bools, colour: str, low: float, high: float, alpha: float) -> None:
    """Fill where [T] flags are set, from `low` to `high` of the axes' height."""
    runs = [(start, stop - start) for start, stop in stretches(flags)]
    if runs:
        axes.broken_barh(
            runs, (low, high - low), transform=axes.get_xaxis_transform(), facecolor=colour,
            alpha=alpha, linewidth=0,
        )  # fmt: skip
