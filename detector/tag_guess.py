"""A guess at what tags name, where each record is the value of one: the long layout. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from detector.layout import write_place
from detector.matching import MOST, VALUE_NAMES, Fields, Match, letters, match, texts
from detector.paths import Path

SEPARATORS = "/.:|_"


@dataclass(frozen=True, slots=True)
class Tagged:
    """What was understood.

    Attributes:
        place: Of the tag.
        pattern: Of a whole tag.
        values: Path to the value.
        fields: What the tags of each channel said, by the channel as tags call it.
        found: Which of these are the model's.
    """

    place: str
    pattern: str
    values: Path
    fields: Fields
    found: Match


def guess_tags(
    inside: Fields, places: dict[str, list[Any]], channels: Sequence[str], time: str
) -> Tagged | None:
    """Guess which place holds a tag, and how it names a channel; None where none does.

    Args:
        inside: What N nodes have at every path.
        places: What they have at every place: text, or bytes of keys and headers.
        channels: The model's, in its order.
        time: The place of the time.
    """
    values = _values(inside, time)
    if values is None:
        return None
    best: Tagged | None = None
    for place, seen in places.items():
        tags = texts(seen)
        if place == time or sum(isinstance(tag, str) for tag in tags) < MOST * len(tags):
            continue
        for pattern in _patterns():
            fields = _by_channel(tags, inside[values], re.compile(pattern))
            found = match(fields, channels, ())
            if len(found.channels) > (len(best.found.channels) if best else 0):
                best = Tagged(place, pattern, values, fields, found)
    return best


def _values(inside: Fields, time: str) -> Path | None:
    """Return the path to numbers that is called like a value's, or is the only one."""
    numbers = [
        path
        for path, seen in inside.items()
        if (not path or write_place(path) != time)
        and sum(isinstance(one, int | float) for one in seen) >= MOST * len(seen)
    ]
    called = [path for path in numbers if path and letters(path[-1]) in VALUE_NAMES]
    likely = called or numbers
    return likely[0] if len(likely) == 1 else None


def _patterns() -> Iterator[str]:
    """Yield what tags may be: stream and channel in either order, or a channel alone."""
    for sign in SEPARATORS:
        between, other = re.escape(sign), f"[^{sign}]+"
        yield f"(?P<stream>.+){between}(?P<channel>{other})"
        yield f"(?P<stream>{other}){between}(?P<channel>.+)"
        yield f"(?P<channel>{other}){between}(?P<stream>.+)"
    yield "(?P<channel>.+)"


def _by_channel(tags: Sequence[Any], values: Sequence[Any], pattern: re.Pattern[str]) -> Fields:
    """Return the values of each channel that is named."""
    channel = {tag: pattern.fullmatch(tag) for tag in {*tags} if isinstance(tag, str)}
    fields: Fields = {}
    for tag, value in zip(tags, values, strict=True):
        named = channel.get(tag)
        if named and '"' not in named["channel"]:  # a path is written with quotes
            fields.setdefault((named["channel"],), []).append(value)
    return fields
