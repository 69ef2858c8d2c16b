"""One page for people: blocks in sections, one style, nothing to load and no script."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, Literal, Union

from jinja2 import Environment, PackageLoader, StrictUndefined

Mood = Literal["", "good", "bad"]


@dataclass(frozen=True, slots=True)
class Number:
    """A headline figure: what it is, its value, one sentence on it."""

    name: str
    value: str
    says: str = ""
    mood: Mood = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Headline figures side by side."""

    block: ClassVar[str] = "numbers"
    numbers: Sequence[Number]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    block: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first column names its row, the others are set as numbers.

    Attributes:
        head: One title a column.
        rows: Cells as they are shown.
        words: Number of columns at the end that hold words.
    """

    block: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart.

    Attributes:
        svg: From `svg.inline`.
        alt: What it shows, for those who cannot see it.
        caption: Below it.
    """

    block: ClassVar[str] = "picture"
    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: a colour of the style, how it is drawn, what it means."""

    colour: str
    mark: Literal["line", "dash", "band", "lane"]
    text: str


@dataclass(frozen=True, slots=True)
class Legend:
    """What the marks of the charts below it mean."""

    block: ClassVar[str] = "legend"
    keys: Sequence[Key]


@dataclass(frozen=True, slots=True)
class Strip:
    """A chart with its name and notes on its left; strips stand below each other."""

    block: ClassVar[str] = "strip"
    title: str
    notes: Sequence[str]
    picture: Picture


@dataclass(frozen=True, slots=True)
class Columns:
    """Blocks side by side, where the screen has room for them."""

    block: ClassVar[str] = "columns"
    blocks: Sequence["Block"]


@dataclass(frozen=True, slots=True)
class Card:
    """Blocks in a frame, with a title and tags."""

    title: str
    tags: Sequence[tuple[str, Mood]]
    blocks: Sequence["Block"]


@dataclass(frozen=True, slots=True)
class Cards:
    """Cards side by side, as many as the screen has room for."""

    block: ClassVar[str] = "cards"
    title: str
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks that are shown when somebody asks for them."""

    block: ClassVar[str] = "fold"
    title: str
    blocks: Sequence["Block"]


Block = Union[Numbers, Text, Table, Picture, Legend, Strip, Columns, Cards, Fold]  # noqa: UP007 - it is recursive


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Attributes:
        name: A word, for its anchor and the table of contents.
        title: Of the section.
        says: What one sees there, in a sentence or two.
        blocks: In their order.
    """

    name: str
    title: str
    says: str
    blocks: Sequence[Block]


def page(
    title: str, sections: Sequence[Section], *, lead: str = "", facts: Sequence[str] = ()
) -> str:
    """Return a page that is whole in itself.

    Args:
        title: Of the page.
        sections: In their order.
        lead: What came out, in a sentence.
        facts: What it is about: model, data, when.

    >>> "<h1>Pumps</h1>" in page("Pumps", [Section("all", "All", "Ours.", [Text("12")])])
    True
    """
    environment = Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = count(1)

    def placed(svg: str) -> str:
        """Give the ids inside a chart names that no other chart of the page has."""
        return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>c{next(charts)}-", svg)

    environment.filters["placed"] = placed
    template = environment.get_template("page.html.j2")
    return template.render(title=title, sections=sections, lead=lead, facts=facts)
