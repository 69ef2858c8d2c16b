"""Which model takes which stream: of the routes that fit, the first one. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np

from detector.layout import Layout, Place
from detector.records import Bools, Chunk, Partition
from detector.scorer import Scorer
from detector.snapshot import END

REMEMBERED = 1 << 16  # streams that are not matched again
ALL = "*"


@dataclass(slots=True, eq=False)
class Route:
    """A place for models, and what comes to it.

    Attributes:
        scorers: Models that may judge its streams; the first one shall. None: its records are
            counted, and no more.
        alerts: Topic for its alerts.
        name: Empty for the route of all that no other takes.
        topic: Pattern, in the shell's way, of the topics it takes streams from.
        streams: Pattern of their ids.
        share: Of the streams that fit it takes so many, told by a hash of the id.
    """

    scorers: tuple[Scorer, ...]
    alerts: str
    name: str = ""
    topic: str = ALL
    streams: str = ALL
    share: float = 1.0

    @property
    def all_of_topic(self) -> bool:
        """Whether it takes any stream."""
        return self.streams == ALL and self.share >= 1

    def takes(self, stream: bytes | None) -> bool:
        """Return whether it takes a stream; it does take records that name none."""
        if not stream:
            return True
        fits = fnmatchcase(stream.decode(errors="replace"), self.streams)
        return fits and zlib.crc32(stream) < self.share * 2**32


class Routes:
    """All routes, in the order in which they are asked."""

    def __init__(
        self, routes: Sequence[Route], layout: Layout | None = None, *, topics: bool = False
    ) -> None:
        """Wire them.

        Args:
            routes: The first that fits takes a stream.
            layout: Where records have their stream's id; None: in their key.
            topics: Whether there may be several, whose state shares a changelog.
        """
        self.each = tuple(routes)
        self._layout = layout
        self._topics = topics
        self._place = lru_cache(REMEMBERED)(self._place_of)

    def of(self, partition: Partition) -> tuple[Route, ...]:
        """Return the routes that may take streams of a partition."""
        fitting = [one for one in self.each if fnmatchcase(partition.topic, one.topic)]
        last = next((n for n, one in enumerate(fitting) if one.all_of_topic), len(fitting))
        return tuple(fitting[: last + 1])

    def prefix(self, route: Route, partition: Partition) -> bytes:
        """Return what the changelog's keys of a route's state begin with."""
        topic = f"@{partition.topic}" if self._topics else ""
        name = f"{route.name}{topic}".encode()
        return name + END if name else b""

    def split(self, chunk: Chunk) -> list[tuple[Route, Chunk]]:
        """Return the records of each route that takes some, in their order."""
        fitting = self.of(chunk.partition)
        if len(fitting) == 1 and fitting[0].all_of_topic:
            return [(fitting[0], chunk)]
        topic = chunk.partition.topic
        place = np.array([self._place(topic, id_) for id_ in _ids(chunk, self._layout)])
        return [
            (route, chunk.only(np.flatnonzero(place == n).tolist()))
            for n, route in enumerate(fitting)
            if (place == n).any()
        ]

    def takes(self, name: str, partition: Partition, streams: list[bytes]) -> Bools:
        """Return which streams [distinct] of a partition go to the route of this name."""
        names = [*(one.name for one in self.of(partition)), None]
        places = (self._place(partition.topic, stream) for stream in streams)
        return np.array([names[place] == name for place in places], np.bool_)

    def _place_of(self, topic: str, stream: bytes | None) -> int:
        fitting = self.of(Partition(topic, 0))
        return next((n for n, route in enumerate(fitting) if route.takes(stream)), len(fitting))


def _ids(chunk: Chunk, layout: Layout | None) -> list[bytes | None]:
    """Return the stream id of each record, as far as it can be told before it is decoded."""
    if layout is None:
        return chunk.keys
    if layout.tags is None or "stream" not in layout.tags.pattern.groupindex:
        return _column(chunk, layout.stream)
    match = layout.tags.pattern.fullmatch
    tags = [(tag or b"").decode(errors="replace") for tag in _column(chunk, layout.tags.place)]
    return [found["stream"].encode() if (found := match(tag)) else None for tag in tags]


def _column(chunk: Chunk, place: Place) -> list[bytes | None]:
    return chunk.headers[place.name] if place.kind == "header" else chunk.keys


def names_streams_outside(layout: Layout | None) -> bool:
    """Return whether a record's key or headers tell its stream, so that routes can part them."""
    if layout is None:
        return True
    tagged = layout.tags is not None and "stream" in layout.tags.pattern.groupindex
    place = layout.tags.place if layout.tags is not None and tagged else layout.stream
    return place.kind in {"key", "header"}
