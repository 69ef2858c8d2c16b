"""Matplotlib's figures as SVG that lives inside a page and takes its colours and letters."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# What a chart is drawn with, and the variable of the page's style that it becomes: the page
# knows whether it is read on a light or a dark screen, or on paper; the chart does not.
INK, MUTED, GRID, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
BLUE, PURPLE, TEAL, ORANGE, RED, AMBER = (f"#0a0b{n:02x}" for n in range(5, 11))
KINDS = (BLUE, PURPLE, TEAL, ORANGE)  # the colour of a kind of evidence, everywhere
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    BLUE: "blue",
    PURPLE: "purple",
    TEAL: "teal",
    ORANGE: "orange",
    RED: "red",
    AMBER: "amber",
}
STYLE: dict[Any, Any] = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "font.size": 8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.3,
    "svg.fonttype": "none",  # letters stay letters: small, searchable, in the page's font
    "svg.hashsalt": "report",  # the same figure is the same bytes
    "text.color": INK,
    "text.parse_math": False,  # a channel's name is no formula
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
POINTS_AN_INCH = 72
LARGEST = 1.55  # pixels a point: beyond, letters are larger than those of the page
# Those that matplotlib writes about itself, which a browser need not know.
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Lend an empty figure of so many inches, in the style of a page; draw only inside."""
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def inline(figure: Figure) -> str:
    """Return a figure as an <svg> element; call it where the figure was lent."""
    file = StringIO()
    figure.savefig(file, format="svg", metadata=NO_METADATA)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for sentinel, name in VARIABLES.items():
        text = text.replace(sentinel, f"var(--{name})")
    wide, high = figure.get_size_inches() * POINTS_AN_INCH
    head = f'<svg viewBox="0 0 {wide:g} {high:g}" style="max-width: {LARGEST * wide:.0f}px">'
    return head + _short(text).strip()


def _short(text: str) -> str:
    """Return what is inside <svg>, without comments, styles, idle ids, fine digits."""
    _, rest = text.split(">", 1)
    rest = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    rest = re.sub(r"<style.*?</style>", "", rest, flags=re.DOTALL)  # it would rule the whole page
    rest = rest.replace("xlink:href", "href")
    rest = re.sub(r' d="[^"]*"', lambda path: _rounded(path[0]), rest)
    rest = re.sub(r'style="[^"]*"', lambda style: _in_the_pages_font(style[0]), rest)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', rest))
    rest = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", rest)
    return re.sub(r"\n\s*", "\n", rest)


def _rounded(path: str) -> str:
    return re.sub(r"\s*\n", " ", re.sub(r"(\.\d\d)\d+", r"\1", path))


def _in_the_pages_font(style: str) -> str:
    def size_alone(declaration: re.Match[str]) -> str:
        size = re.search(r"[\d.]+px", declaration[0])
        return f"font-size: {size[0]}; " if size else ""

    return re.sub(r'font(-family)?: [^;"]*;?\s*', size_alone, style)
