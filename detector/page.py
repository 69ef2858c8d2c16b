"""One page for people that is whole in itself: nothing to load, no script. Pure."""

from collections.abc import Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #59636e; --grid: #d8dee4;
  --paper: #fff; --s0: #c98500; --s1: #cf222e; --s2: #1f6feb; --s3: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --muted: #9198a1;
  --grid: #30363d; --paper: #0d1117; --s0: #d29922; --s1: #f85149; --s2: #58a6ff; --s3: #3fb950; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem } p, dt { color: var(--muted) }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem }
dd { margin: 0; font-size: 1.3rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .2rem .5rem; border-bottom: 1px solid var(--grid) }
th:first-child, td:first-child { text-align: left } tr.chosen td { font-weight: 700 }
svg { width: 100% } svg text { font: 11px system-ui, sans-serif; fill: var(--muted) }
svg .grid { stroke: var(--grid) } svg .mark { stroke: var(--muted); stroke-dasharray: 4 3 }
svg .s0 { fill: var(--s0) } svg .s1 { fill: var(--s1) } svg .s2 { fill: var(--s2) }
svg .s3 { fill: var(--s3) } svg path { fill: none; stroke-width: 1.5 }
svg .l0 { stroke: var(--s0) } svg .l1 { stroke: var(--s1) } svg .l2 { stroke: var(--s2) }
svg .l3 { stroke: var(--s3) }
"""


def page(title: str, lead: str, blocks: Sequence[str]) -> str:
    """Return a page of blocks.

    >>> "<h1>Pumps &amp; fans</h1>" in page("Pumps & fans", "All of them.", [])
    True
    """
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n"
        + "\n".join(blocks)
        + "</body></html>\n"
    )


def section(title: str, says: str, *inside: str) -> str:
    """Return blocks below a title and a sentence."""
    body = "\n".join(inside)
    return f"<h2>{escape(title)}</h2>\n<p>{escape(says)}</p>\n{body}"


def figures(named: Sequence[tuple[str, str]]) -> str:
    """Return figures side by side, each with its name."""
    cells = (f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in named)
    return f"<dl>{''.join(cells)}</dl>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], chosen: int = -1) -> str:
    """Return a table; the row of that number stands out."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        ('<tr class="chosen">' if n == chosen else "<tr>")
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>\n"
        for n, row in enumerate(rows)
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
