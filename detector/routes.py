"""Which model takes which stream: of the routes that fit, the first one. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache, partial

import numpy as np

from detector.layout import Layout, Place, Tagging
from detector.records import Bools, Chunk, Partition
from detector.scorer import Scorer
from detector.snapshot import END

REMEMBERED = 1 << 16  # streams that are not matched again
ALL = "*"
KEY = Place("key", "key")


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
        layout: Where its records have their stream's id; None: in their key.
    """

    scorers: tuple[Scorer, ...]
    alerts: str
    name: str = ""
    topic: str = ALL
    streams: str = ALL
    share: float = 1.0
    layout: Layout | None = None

    @property
    def all_of_topic(self) -> bool:
        """Whether it takes any stream."""
        return self.streams == ALL and self.share >= 1

    @property
    def sees_streams(self) -> bool:
        """Whether a record's key or headers tell its stream, before it is decoded."""
        return _place_in(self.layout).kind in {"key", "header"}

    def takes(self, stream: bytes | None) -> bool:
        """Return whether it takes a stream; it does take records that name none."""
        if not stream:
            return True
        fits = fnmatchcase(stream.decode(errors="replace"), self.streams)
        return fits and zlib.crc32(stream) < self.share * 2**32


class Routes:
    """All routes, in the order in which they are asked."""

    def __init__(self, routes: Sequence[Route], *, topics: bool = False) -> None:
        """Wire them.

        Args:
            routes: The first that fits takes a stream.
            topics: Whether there may be several, whose state shares a changelog.
        """
        self.each = tuple(routes)
        self._topics = topics
        self._takes = lru_cache(REMEMBERED)(Route.takes)

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
        parts, left = [], np.ones(len(chunk.values), np.bool_)
        for route in fitting:
            ours = left & (route.all_of_topic or self._taken(route, _ids(chunk, route.layout)))
            if ours.any():
                parts.append((route, chunk.only(np.flatnonzero(ours).tolist())))
            left &= ~ours
        return parts

    def takes(self, name: str, partition: Partition, streams: list[bytes]) -> Bools:
        """Return which streams [distinct] of a partition go to the route of this name."""
        left = np.ones(len(streams), np.bool_)
        for route in self.of(partition):
            taken = self._taken(route, streams)
            if route.name == name:
                return left & taken
            left &= ~taken
        return np.zeros(len(streams), np.bool_)

    def _taken(self, route: Route, streams: Sequence[bytes | None]) -> Bools:
        """Return which streams [N] a route takes."""
        return np.fromiter(map(partial(self._takes, route), streams), np.bool_, len(streams))


def _place_in(layout: Layout | None) -> Place:
    """Return where a record names its stream."""
    if layout is None:
        return KEY
    return layout.tags.place if layout.tags and _tag_names(layout.tags) else layout.stream


def _tag_names(tags: Tagging) -> bool:
    """Return whether tags name their stream."""
    return "stream" in tags.pattern.groupindex


def _ids(chunk: Chunk, layout: Layout | None) -> list[bytes | None]:
    """Return the stream id of each record, as far as key and headers tell it."""
    place = _place_in(layout)
    column = chunk.headers[place.name] if place.kind == "header" else chunk.keys
    if layout is None or layout.tags is None or not _tag_names(layout.tags):
        return column
    match = layout.tags.pattern.fullmatch
    tags = [(tag or b"").decode(errors="replace") for tag in column]
    return [found["stream"].encode() if (found := match(tag)) else None for tag in tags]
