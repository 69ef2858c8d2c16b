"""Where a producer's records have the stream id, the time and the values. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from detector.paths import Path, parse_path, write_path
from detector.wire import from_json


@dataclass(frozen=True, slots=True)
class Place:
    """Where one thing is.

    Attributes:
        kind: The record's key, one of its headers, its timestamp, or its value.
        name: As it is written in the settings; of a header, its name.
        path: Into the value.
        whole: The path begins at the whole value, not at each reading in it.
    """

    kind: Literal["key", "header", "record", "value"]
    name: str
    path: Path = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a channel's value is, and what makes it the model's: seen * scale + offset.

    Attributes:
        path: From where the values are; None: the channel's name, or its place in an array.
            In the long layout, what the channel is called in tags.
        scale: Factor.
        offset: Added then, in the model's unit.
    """

    path: Path | None = None
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Tagging:
    """Where the value of one tag says which it is, and how values become readings.

    Attributes:
        place: Of the tag.
        pattern: Of a whole tag: its group `channel`, and `stream` where the tag names it.
        span_us: A reading's period, or how long it waits for its channels.
        complete: It waits for them; else it is of a period.
        carry_us: How much older than its reading a value may be that was told before.
    """

    place: Place
    pattern: re.Pattern[str]
    span_us: int
    complete: bool
    carry_us: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is in a record.

    Attributes:
        channels: The model's, in its order.
        stream: Of the stream id.
        time: Of the event time.
        time_format: `auto`, `rfc3339`, `s`, `ms`, `us`, `ns`, or as `strptime` has it.
        readings: To the array of readings, where the value is none itself.
        values: From a reading to its values; in the long layout, to its value.
        unpack: Bytes to a document; raises `wire.Unreadable`, ValueError or RecursionError.
        tags: Of the long layout; None: a record has whole readings.
    """

    channels: tuple[Cell, ...]
    stream: Place
    time: Place
    time_format: str = "auto"
    readings: Path = ()
    values: Path = ("values",)
    unpack: Callable[[bytes], Any] = from_json
    tags: Tagging | None = None

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers that are needed."""
        places = [self.stream, self.time, *([self.tags.place] if self.tags else [])]
        return tuple({p.name: 0 for p in places if p.kind == "header"})


def parse_place(text: str, word: Literal["key", "record"]) -> Place:
    """Return the place that a setting names: `word`, `header:NAME`, or a path.

    A path that begins with `/` begins at the whole value. A field that is called like a word is
    written in quotes.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> parse_place("header:device", "key")
        Place(kind='header', name='device', path=(), whole=False)
    """
    if text == word:
        return Place(word, text)
    head, colon, name = text.partition(":")
    header = head == "header" and bool(colon)
    if header and name:
        return Place("header", name)
    path = () if header else parse_path(text.removeprefix("/"))
    if not path:
        msg = f"expected {word}, header:NAME or a path such as device.id, saw {text!r}"
        raise ValueError(msg)
    return Place("value", text, path, text.startswith("/"))


def write_place(path: Path, *, whole: bool = False) -> str:
    """Return a path into the value as `parse_place` reads it.

    >>> write_place(("key",))
    '"key"'
    """
    text = write_path(path)
    if text in {"key", "record"} or text.startswith(("header:", "/")):
        text = ".".join([f'"{path[0]}"', *filter(None, [write_path(path[1:])])])
    return f"/{text}" if whole else text
