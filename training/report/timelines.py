"""Charts along time: a stream's surprise with its alerts and labels, and a moment's channels."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from detector.artifact import Channel
from detector.records import US_PER_S, Bools, Doubles, Floats
from training.evaluate import Track
from training.figures import stretches
from training.report.curves import envelope, surprise
from training.report.svg import AMBER, INK, KINDS, MUTED, RED, TEAL, canvas, inline
from training.report.words import DAY_S, HOUR_S, MINUTE_S, one_in_power, with_unit

STRIP = (7.0, 0.82)  # inches
CARD, PANEL = 4.6, 0.72  # inches: width of a moment's chart, height of each of its panels
LOWEST_TOP, HIGHEST_TOP = 6, 12  # surprise at the top of a chart
FINEST = 1 / 500  # of a chart's width; stretches closer than that are drawn as one
LANES = 0.14  # of a chart's height, for the alerts of all kinds
BEFORE, AFTER = 120, 60  # readings around a moment
NORMAL = 3  # standard deviations that a reading may be off
SECOND = 1 / DAY_S  # of an axis of days; so that one of a single reading has a width
UNITS = (("days", DAY_S), ("h", HOUR_S), ("min", MINUTE_S), ("s", 1))


class Scale(NamedTuple):
    """What charts of surprise share.

    Attributes:
        thresholds: [K] surprise above which a reading counts against its stream.
        top: Highest surprise that is drawn, an even number.
    """

    thresholds: Doubles
    top: int


def scale_of(tracks: Iterable[Track], thresholds: Doubles) -> Scale:
    """Return the scale on which the most surprising reading of all tracks has room."""
    rarest = min((float(t.probability.min(initial=1)) for t in tracks), default=1.0)
    even = 2 * math.ceil(float(surprise(np.array(rarest))) / 2)
    return Scale(thresholds, min(max(even, LOWEST_TOP), HIGHEST_TOP))


def draw_strip(track: Track, scale: Scale) -> str:
    """Draw a stream: its surprise over time, where it was in alert, where it is labelled."""
    with canvas(*STRIP) as figure:
        axes = figure.add_subplot()
        times = np.asarray(date2num(track.ts_us.astype("datetime64[us]")))  # type: ignore[no-untyped-call]
        _draw_surprise(axes, times, track, scale)
        locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        formatter = ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_formatter(formatter)
        axes.set_xlim(times[0], times[-1] + SECOND)
        return inline(figure)


def draw_moment(
    track: Track, row: int, channels: Sequence[tuple[int, Channel]], scale: Scale
) -> str:
    """Draw what was seen and expected of some channels around a reading, and the surprise.

    Args:
        track: The stream.
        row: The reading.
        channels: Those to draw, each with its number.
        scale: Of the surprise.
    """
    part = slice(max(row - BEFORE, 0), row + AFTER + 1)
    seconds = (track.ts_us[part] - track.ts_us[row]) / US_PER_S
    unit, size = next(
        (unit, size) for unit, size in UNITS if seconds[-1] - seconds[0] >= 10 * size or size == 1
    )
    times = seconds / size
    with canvas(CARD, PANEL * (len(channels) + 1) + 0.35) as figure:
        panels = figure.subplots(len(channels) + 1, 1, sharex=True, squeeze=False)[:, 0]
        for axes, (c, channel) in zip(panels, channels, strict=False):
            _draw_channel(axes, times, track, part, c)
            axes.set_title(with_unit(channel.name, channel.unit), fontsize=8)
        _draw_surprise(panels[-1], times, _cut(track, part), scale)
        panels[-1].set_title("surprise", fontsize=8)
        panels[-1].set_xlabel(f"{unit} from the moment")
        panels[-1].set_xlim(times[0], times[-1] + SECOND)
        for axes in panels:
            axes.axvline(0, color=INK, linewidth=0.7, linestyle=":")
        return inline(figure)


def _draw_channel(axes: Axes, times: Doubles, track: Track, part: slice, c: int) -> None:
    seen, expected = track.x[part, c], _broken(track.expected[part, c], track.restarted[part])
    spread = NORMAL * deviation(track, c)
    axes.fill_between(
        times, expected - spread, expected + spread, color=TEAL, alpha=0.22, linewidth=0
    )
    axes.plot(times, expected, color=TEAL, linewidth=1)
    axes.plot(times, seen, color=INK, linewidth=1)
    _shade(axes, times, track.label[part], AMBER, alpha=0.25)
    axes.yaxis.set_major_locator(MaxNLocator(3))


def deviation(track: Track, c: int) -> float:
    """Return a channel's standard deviation of normal errors, engineering units."""
    residual = track.residual[:, c]
    off = np.abs(track.expected[:, c] - track.x[:, c])
    told = np.isfinite(off) & (np.abs(residual) > 0.1)  # noqa: PLR2004 - well above rounding
    return float(np.median(off[told] / np.abs(residual[told]))) if told.any() else 0.0


def _draw_surprise(axes: Axes, times: Doubles, track: Track, scale: Scale) -> None:
    """Draw surprise and thresholds, labels as a background and alerts as lanes on top."""
    _shade(axes, times, track.label, AMBER, alpha=0.25)
    _shade(axes, times, ~(track.warm & track.counts), MUTED, alpha=0.2)
    told = np.minimum(surprise(track.probability), scale.top)
    kinds = told.shape[1]
    for k in range(kinds):
        colour = KINDS[k % len(KINDS)]
        rows = np.union1d(envelope(told[:, k]), np.flatnonzero(track.restarted))
        broken = _broken(told[rows, k], track.restarted[rows])
        axes.plot(times[rows], broken, color=colour, linewidth=0.9)
        axes.axhline(scale.thresholds[k], color=colour, linewidth=0.7, linestyle="--")
        lane = LANES / kinds
        low, high = 1 - (k + 1) * lane, 1 - k * lane - 0.02
        _shade(axes, times, track.alerting[:, k], RED, low=low, high=high)
    axes.set_ylim(0, scale.top / (1 - LANES))
    axes.yaxis.set_major_locator(FixedLocator([0, scale.top / 2, scale.top]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: one_in_power(y)))


def _shade(
    axes: Axes,
    times: Doubles,
    flags: Bools,
    colour: str,
    *,
    low: float = 0,
    high: float = 1,
    alpha: float = 1,
) -> None:
    """Fill where [T] flags are set, from `low` to `high` of the axes' height."""
    runs = _merged(stretches(flags), FINEST * len(flags))
    if not runs:
        return
    start, stop = np.array(runs).T
    left, right = times[start], times[np.minimum(stop, len(times) - 1)]
    bottom, top = np.full_like(left, low), np.full_like(left, high)
    x, y = [left, right, right, left], [bottom, bottom, top, top]
    # One path for all: a hundred rectangles of their own are ten times as long in a page.
    path = Path.make_compound_path_from_polys(np.stack([np.stack(x, 1), np.stack(y, 1)], 2))
    where = axes.get_xaxis_transform()
    axes.add_patch(PathPatch(path, transform=where, color=colour, alpha=alpha, linewidth=0))


def _merged(runs: list[tuple[int, int]], closest: float) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in runs:
        if merged and start - merged[-1][1] < closest:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return merged


def _broken(y: Doubles | Floats, restarted: Bools) -> Doubles:
    """Return [T] with NaN where a line must not go on."""
    return np.where(restarted, np.nan, y)


def _cut(track: Track, part: slice) -> Track:
    return Track(**{name: getattr(track, name)[part] for name in Track.__slots__})
