"""Charts of how a model does, each an <svg>; what they show is said in words beside them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator

from detector.artifact import Calibration
from detector.records import Doubles, Floats
from training.figures import Figures
from training.report.curves import PrecisionRecall, exceedance, rate_limits
from training.report.svg import BLUE, INK, KINDS, MUTED, ORANGE, RED, canvas, inline
from training.report.words import number, one_in_power

WIDE, HALF, HIGH = 9.0, 4.4, 2.8  # inches; a page scales them to its width
LEAST = 1e-7  # share of readings at the bottom of a chart
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TICKS = [-1e4, -1e3, -100, -30, -10, -6, -3, 0, 3, 6, 10, 30, 100, 1e3, 1e4]  # of residuals
NORMAL = 3  # standard deviations; beyond, a single residual is unusual


def draw_losses(train: Sequence[float], valid: Sequence[float], best: int) -> str:
    """Draw training and validation loss of every pass; `best` is the pass that was kept."""
    with canvas(WIDE, HIGH) as figure:
        axes = figure.add_subplot()
        passes = np.arange(1, len(train) + 1)
        axes.plot(passes, train, color=MUTED, label="training (with noise added)")
        axes.plot(passes, valid, color=BLUE, label="validation (later time, no noise)")
        axes.plot(best + 1, valid[best], "o", color=ORANGE, label="kept: the best pass")
        axes.set(xlabel="pass over the training data", ylabel="loss a reading", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        _plain(axes, "y")
        axes.legend()
        return inline(figure)


def draw_tail(
    tail: Calibration, normal: Floats, anomalous: Floats, threshold: float, colour: str
) -> str:
    """Draw how often readings score how high, and what the calibration says of it.

    Args:
        tail: Of one kind of evidence.
        normal: [N] scores of readings without a label.
        anomalous: [A] of labelled ones.
        threshold: Score above which a reading counts against its stream.
        colour: Of the kind.
    """
    with canvas(HALF, HIGH) as figure:
        axes = figure.add_subplot()
        right = 1.1 * max(tail.level(LEAST), threshold, float(normal.max(initial=0)))
        for scores, shade, label in (
            (anomalous, ORANGE, "labelled anomalous"),
            (normal, colour, "without a label"),
        ):
            levels, share = exceedance(scores)
            axes.step(levels, share, color=shade, where="pre", label=label)
        grid = np.linspace(tail.levels[0], right, 300)
        axes.plot(grid, tail.probability(grid), color=INK, linestyle="--", label="calibration")
        axes.axvline(tail.levels[-1], color=MUTED, linestyle=":", label="its tail begins")
        axes.axvline(threshold, color=RED, linewidth=1, label="threshold")
        axes.set(yscale="log", ylim=(LEAST, 1.5), xlim=(0, right))
        axes.set(xlabel=f"score ({tail.kind})", ylabel="readings that score above")
        axes.yaxis.set_major_locator(LogLocator(numticks=9))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: one_in_power(-np.log10(y))))
        axes.yaxis.set_minor_locator(FixedLocator([]))
        figure.legend(loc="outside upper left", ncols=3)
        return inline(figure)


def draw_channels(names: Sequence[str], normal: Doubles, anomalous: Doubles) -> str:
    """Draw the spread of every channel's residual, without and with a label.

    Args:
        names: C channels.
        normal: [5, C] the `QUANTILES` of residuals of readings without a label, NaN where none.
        anomalous: [5, C] of labelled ones.
    """
    with canvas(WIDE, 0.9 + 0.32 * len(names)) as figure:
        axes = figure.add_subplot()
        rows = np.arange(len(names))
        axes.axvspan(-NORMAL, NORMAL, color=MUTED, alpha=0.12, linewidth=0)
        for ends, colour, label, shift in (
            (normal, BLUE, "without a label", -0.16),
            (anomalous, ORANGE, "labelled anomalous", 0.16),
        ):
            for low, width, part in ((0, 1.5, "90 %"), (1, 5.0, "half")):
                axes.hlines(
                    rows + shift, ends[low], ends[-1 - low], color=colour, linewidth=width,
                    label=f"{part} of readings {label}",
                )  # fmt: skip
        axes.set_xscale("symlog", linthresh=10, linscale=2)
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.set_xlabel("residual, in standard deviations of held-out normal data")
        axes.set_yticks(rows, names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        _plain(axes, "x")
        figure.legend(loc="outside upper left", ncols=2)
        return inline(figure)


def draw_precision_recall(
    curves: Mapping[str, PrecisionRecall], share: float, alerts: tuple[float, float]
) -> str:
    """Draw precision against recall.

    Args:
        curves: By kind of evidence; where there are several, the last is of all together.
        share: Of the readings that are anomalous: the precision of an alarm that never ends.
        alerts: Recall and precision of the daemon's alerts.
    """
    with canvas(HALF, HIGH * 1.2) as figure:
        axes = figure.add_subplot()
        for (name, curve), look in zip(curves.items(), _looks(len(curves)), strict=True):
            axes.plot(curve.recall, curve.precision, **look, label=name)
        axes.axhline(share, color=MUTED, linestyle=":", label="always in alert")
        axes.plot(*alerts, "o", color=RED, label="the daemon's alerts", clip_on=False)
        axes.set(xlim=(0, 1.005), ylim=(0, 1.03))
        axes.set(xlabel="recall: part of the anomalous readings that is found")
        axes.set(ylabel="precision: part of what is found\nthat is anomalous")
        figure.legend(loc="outside upper left", ncols=3)
        return inline(figure)


def draw_rates(rates: Sequence[float], told: Mapping[str, Sequence[Figures]], asked: float) -> str:
    """Draw what other settings would have brought: false openings, and stretches found.

    Args:
        rates: R false alarms a stream and day that were asked for.
        told: By kind of evidence, R each; where there are several, the last is of all together.
        asked: The setting that was used.
    """
    with canvas(WIDE, HIGH * 1.1) as figure:
        left, right = figure.subplots(1, 2)
        floor = _draw_limits(left, rates, list(told.values())[-1])
        for (name, figures), look in zip(told.items(), _looks(len(told)), strict=True):
            seen = [max(one.false_a_day, floor) for one in figures]
            left.plot(rates, seen, "o-", **look, markersize=3, label=name, clip_on=False)
            found = [100 * one.found / max(one.events, 1) for one in figures]
            right.plot(rates, found, "o-", **look, markersize=3)
        left.plot(rates, rates, color=MUTED, linestyle=":", label="as asked for")
        left.set_ylabel("seen: false alerts a stream and day")
        right.set(ylim=(0, 104), ylabel="labelled stretches found (%)")
        for axes in (left, right):
            axes.axvline(asked, color=RED, linewidth=1, label="setting in use")
            axes.set(xscale="log", xlabel="asked for: false alarms a stream and day")
            _plain(axes, "x")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=5)
        return inline(figure)


def _looks(count: int) -> list[dict[str, Any]]:
    """Return how to draw the lines of so many kinds; of several, the last is of all together."""
    looks: list[dict[str, Any]] = [{"color": KINDS[k % len(KINDS)]} for k in range(count)]
    if count > 1:
        looks[-1] = {"color": INK, "linewidth": 4, "alpha": 0.3}  # others lie on it, often
    return looks


def _draw_limits(axes: Axes, rates: Sequence[float], figures: Sequence[Figures]) -> float:
    """Draw what rates each count agrees with: so few days say little of a rare event.

    Returns:
        The rate at the bottom of the axis, which stands for none.
    """
    limits = [rate_limits(one.opened, one.normal_days) for one in figures]
    high = np.array([limit for _, limit in limits])
    floor = float(high.min()) / 100
    low = np.array([max(limit, floor) for limit, _ in limits])
    axes.fill_between(
        rates,
        low,
        high,
        color=MUTED,
        alpha=0.2,
        linewidth=0,
        label="agrees with what was seen (90 %)",
    )
    top = max(high.max(), *rates) * 1.5
    axes.set(yscale="log", ylim=(floor, top))
    decades = 10.0 ** np.arange(np.ceil(np.log10(floor * 3)), np.log10(top))
    axes.yaxis.set_major_locator(FixedLocator([floor, *decades]))
    _plain(axes, "y")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: number(y) if y > floor else "none"))
    return floor


def _plain(axes: Axes, which: Literal["x", "y"]) -> None:
    """Write the numbers of an axis without exponents."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_locator(FixedLocator([]))
