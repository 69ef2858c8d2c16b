"""Charts as inline SVG: bars and lines, in the colours of their page. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, isfinite, log10

WIDE, HIGH = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 24, 34  # margins, for axes and legend
TICKS = 4
LABELS = 8  # along the x axis, at most

Series = Mapping[str, Sequence[float]]


def bars(labels: Sequence[str], series: Series, alt: str) -> str:
    """Return stacked bars.

    Args:
        labels: One a bar.
        series: A name, and its part of each bar, 0 and more.
        alt: What it shows, for those who cannot see it.

    >>> bars(["Mon", "Tue"], {"warning": [1, 2]}, "Alerts a day").count("<rect")
    3
    """
    totals = [sum(parts) for parts in zip(*series.values(), strict=True)]
    _, top, unit = _range(totals)
    step = (WIDE - LEFT - RIGHT) / max(len(labels), 1)
    drawn = [_scale_y(0, top, unit)]
    for i in range(len(labels)):
        base = 0.0
        for n, (name, values) in enumerate(series.items()):
            high = (HIGH - TOP - BOTTOM) * values[i] / top
            y = HIGH - BOTTOM - (HIGH - TOP - BOTTOM) * base / top - high
            if values[i]:
                drawn.append(
                    f'<rect class="s{n}" x="{LEFT + step * (i + 0.1):.1f}" y="{y:.1f}" '
                    f'width="{step * 0.8:.1f}" height="{high:.1f}">'
                    f"<title>{escape(labels[i])}: {values[i]:g} {escape(name)}</title></rect>"
                )
            base += values[i]
        if i % ceil(len(labels) / LABELS) == 0:
            drawn.append(_text(LEFT + step * (i + 0.5), HIGH - BOTTOM + 16, labels[i]))
    return _svg(alt, [*drawn, _legend(series)])


def lines(x: Sequence[str], series: Series, alt: str, mark: float | None = None) -> str:
    """Return lines with a point at each value; none where a value is not finite.

    Args:
        x: A label for each place, at equal distances.
        series: A name, and its values at these places.
        alt: What it shows.
        mark: A level to draw across.
    """
    known = [v for values in series.values() for v in (*values, mark or 0.0) if isfinite(v)]
    low, top, unit = _range(known)
    step = (WIDE - LEFT - RIGHT) / max(len(x), 1)
    drawn = [_scale_y(low, top, unit)]
    if mark is not None:
        drawn.append(f'<path class="mark" d="M{LEFT} {_y(mark, low, top):.1f}H{WIDE - RIGHT}"/>')
    for n, (name, values) in enumerate(series.items()):
        at = [
            (LEFT + step * (i + 0.5), _y(value, low, top), x[i], value)
            for i, value in enumerate(values)
            if isfinite(value)
        ]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py, _, _ in at)
        drawn.append(f'<path class="l{n}" d="M{path}"/>' if at else "")
        drawn += [
            f'<circle class="s{n}" cx="{px:.1f}" cy="{py:.1f}" r="3">'
            f"<title>{escape(where)}: {escape(name)} {value:.4g}</title></circle>"
            for px, py, where, value in at
        ]
    for i in range(0, len(x), ceil(len(x) / LABELS) or 1):
        drawn.append(_text(LEFT + step * (i + 0.5), HIGH - BOTTOM + 16, x[i]))
    return _svg(alt, [*drawn, _legend(series)])


def _svg(alt: str, drawn: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDE} {HIGH}">'
        f"<title>{escape(alt)}</title>{''.join(drawn)}</svg>"
    )


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    """Return lower and upper end of a scale with a zero, and the round step between its ticks."""
    least, most = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    most = most if most > least else 1.0  # nothing: a scale to 1
    wanted = (most - least) / TICKS
    power = 10.0 ** floor(log10(wanted))
    unit = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= wanted * (1 - 1e-9))
    return -unit * ceil(-least / unit - 1e-9), unit * max(ceil(most / unit - 1e-9), 1), unit


def _y(value: float, low: float, top: float) -> float:
    return HIGH - BOTTOM - (HIGH - TOP - BOTTOM) * (value - low) / (top - low)


def _scale_y(low: float, top: float, unit: float) -> str:
    drawn = []
    for n in range(round(low / unit), round(top / unit) + 1):
        value = unit * n
        y = _y(value, low, top)
        drawn.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDE - RIGHT}"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.4g}</text>')
    return "".join(drawn)


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{escape(text)}</text>'


def _legend(series: Series) -> str:
    drawn, x = [], LEFT
    for n, name in enumerate(series):
        drawn.append(f'<rect class="s{n}" x="{x}" y="6" width="10" height="10"/>')
        drawn.append(f'<text x="{x + 14}" y="15">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    return "".join(drawn)
