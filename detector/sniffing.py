"""A guess at where a producer's records have what, to be looked at by a person. Pure."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detector.layout import write_place
from detector.mapping import Input
from detector.matching import (
    MOST,
    VALUE_NAMES,
    Fields,
    Match,
    fields_of,
    letters,
    match,
    texts,
)
from detector.paths import MISSING, Path, follow, write_path
from detector.records import US_PER_S, Chunk, Ints
from detector.tag_guess import guess_tags
from detector.tags import DAY_S, LEAST_PERIOD_S, Tags
from detector.times import microseconds
from detector.validate import EARLIEST_US

MOST_READINGS = 2000
AHEAD_US = 86_400 * US_PER_S  # a producer's clock may be wrong
DEEPEST = 3
TIME_NAMES = ("ts", "timestamp", "time", "eventtime", "datetime", "date", "at", "t")
STREAM_NAMES = (
    "stream", "streamid", "deviceid", "device", "devicename", "machineid", "machine", "assetid",
    "asset", "sensorid", "sensor", "equipmentid", "equipment", "serial", "id", "host", "name",
)  # fmt: skip
TIME_FORMATS = ("auto", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Guess:
    """What was understood.

    Attributes:
        mapping: Fields of `[input]` that are not as by default.
        found: Where the channels are; in the long layout, what tags call them.
        ranges: Lowest and highest number that was seen at each path.
    """

    mapping: dict[str, Any]
    found: Match
    ranges: dict[Path, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Seen:
    """N readings, and the whole value, the key, the headers and the time of each."""

    nodes: list[Any]
    wholes: list[Any]
    keys: list[bytes | None]
    headers: dict[str, list[bytes | None]]
    stamps_us: Ints


def guess(
    chunks: Sequence[Chunk],
    channels: Sequence[str],
    period_s: float,
    unpack: Callable[[bytes], Any],
) -> Guess:
    """Guess a mapping from some records: the long layout, where tags name more of the channels.

    Args:
        chunks: With all their headers.
        channels: The model's, in its order.
        period_s: Of the readings that it was trained on.
        unpack: Bytes to a document.
    """
    readings, seen = _readings(chunks, unpack)
    inside = fields_of(seen.nodes)
    places = _places(inside, readings, seen)
    time, time_format = _time(places, seen.stamps_us)
    mapping: dict[str, Any] = {
        "time": time, "time_format": time_format, "readings": write_path(readings),
    }  # fmt: skip
    stream = _stream(places, {time})
    found = match(inside, channels, {p for p in inside if write_place(p) in {time, stream}})
    tagged = guess_tags(inside, places, channels, time)
    if tagged and len(tagged.found.missed) < len(found.missed):
        found, fields = tagged.found, tagged.fields
        period_s = min(max(period_s, LEAST_PERIOD_S), DAY_S)
        tags = Tags(tag=tagged.place, pattern=tagged.pattern, period_s=period_s)
        stream = "key" if tags.name_streams else _stream(places, {time, tagged.place})
        mapping |= {"values": write_path(tagged.values), "tags": tags}
    else:
        fields = inside
        mapping |= {"values": write_path(found.values)}
    mapping |= {"stream": stream, "channels": _channels(found)}
    defaults = {name: info.default for name, info in Input.model_fields.items()}
    mapping = {name: value for name, value in mapping.items() if value != defaults[name]}
    return Guess(mapping, found, _ranges(fields, found))


def _places(inside: Fields, readings: Path, seen: _Seen) -> dict[str, list[Any]]:
    """Return what N readings have at every place that a setting can name."""
    outside = fields_of(seen.wholes) if readings else Fields()
    return {
        "key": list[Any](seen.keys),
        **{f"header:{name}": list[Any](got) for name, got in seen.headers.items()},
        **{write_place(path): got for path, got in inside.items() if path},
        **{
            write_place(path, whole=True): got
            for path, got in outside.items()
            if path[: len(readings)] != readings
        },
    }


def _readings(chunks: Sequence[Chunk], unpack: Callable[[bytes], Any]) -> tuple[Path, _Seen]:
    """Find the readings of records; those that cannot be unpacked have none."""
    documents, where = [], []
    for chunk in chunks:
        for n, value in enumerate(chunk.values):
            try:
                documents.append(unpack(value or b""))
            except (ValueError, RecursionError):
                continue
            where.append((chunk, n))
    path = _path_of_readings(documents)
    headers: dict[str, list[bytes | None]] = {name: [] for c in chunks for name in c.headers}
    seen, stamps = _Seen([], [], [], headers, np.array([], np.int64)), list[int]()
    for document, (chunk, n) in zip(documents, where, strict=True):
        place = follow(document, path)
        for node in place if isinstance(place, list) else [place]:
            if node is MISSING or len(seen.nodes) >= MOST_READINGS:
                continue
            seen.nodes.append(node)
            seen.wholes.append(document)
            seen.keys.append(chunk.keys[n])
            for name, got in seen.headers.items():
                got.append(chunk.headers[name][n] if name in chunk.headers else None)
            stamps.append(int(chunk.stamps_us[n]))
    return path, replace(seen, stamps_us=np.array(stamps, np.int64))


def _path_of_readings(documents: list[Any]) -> Path:
    """Return the path to an array of readings, or values; the empty one where there is none."""
    counts: dict[Path, int] = {}
    for document in documents:
        for path in _arrays(document, ()):
            counts[path] = counts.get(path, 0) + 1
    often = [path for path, count in counts.items() if count >= MOST * len(documents)]
    return min(often, key=len, default=())


def _arrays(node: Any, path: Path) -> list[Path]:  # noqa: ANN401 - a document is anything
    if isinstance(node, list):
        return [path] if node and isinstance(node[0], dict) and _is_sample(node[0]) else []
    if not isinstance(node, dict) or len(path) >= DEEPEST:
        return []
    return [found for name, one in node.items() for found in _arrays(one, (*path, str(name)))]


def _is_sample(node: dict[str, Any]) -> bool:
    """Return whether an object has a time, or is a value and says of what."""
    named = {letters(name): one for name, one in node.items()}
    told = any(isinstance(named.get(name), int | float) for name in VALUE_NAMES)
    return not named.keys().isdisjoint(TIME_NAMES) or (
        told and any(isinstance(one, str) for one in named.values())
    )


def _time(places: dict[str, list[Any]], arrived_us: Ints) -> tuple[str, str]:
    """Return the place of the time and its format; the record's own where there is none."""
    latest_us = np.where(arrived_us < 0, np.inf, arrived_us + AHEAD_US)
    candidates = []
    for place, seen in places.items():
        for form in TIME_FORMATS if place != "key" else ():
            us, wrong = microseconds(seen, form)
            good = ~wrong & (us >= EARLIEST_US) & (us <= latest_us)
            if len(good) and good.mean() >= MOST:
                candidates.append((_rank(place, TIME_NAMES), place.count("."), place, form))
                break
    if not candidates:
        return "record", "auto"
    *_, place, form = min(candidates)
    return place, form


def _stream(places: dict[str, list[Any]], taken: Collection[str]) -> str:
    """Return the place of the stream id: the key, unless a field is a better one."""
    candidates = []
    for place, seen in places.items():
        rank = -1 if place == "key" else _rank(place, STREAM_NAMES)
        if place in taken or rank == len(STREAM_NAMES) or not _are_ids(seen):
            continue
        distinct = len(set(seen))
        once = distinct > max(len(seen) / 2, 3)  # an id of the message, not of its stream
        candidates.append((once, distinct == 1, rank, place.count("."), place))
    return min(candidates)[-1] if candidates else "key"


def _are_ids(seen: list[Any]) -> bool:
    good = [
        type(one) is int or (isinstance(one, str) and one != "" and one.isprintable())
        for one in texts(seen)
    ]
    return sum(good) >= MOST * len(seen) and len(seen) > 0


def _rank(place: str, names: tuple[str, ...]) -> int:
    """Return how far down a list of names a place's is; their number where it is not there."""
    steps = [letters(step) for step in place.removeprefix("header:").split(".")]
    joined = {steps[-1], "".join(steps[-2:])}
    return next((rank for rank, name in enumerate(names) if name in joined), len(names))


def _channels(found: Match) -> dict[str, str]:
    """Return the paths of channels that are not found by their names."""
    start = len(found.values)
    paths = {name: path[start:] for name, path in found.channels.items()}
    return {name: write_path(path) for name, path in paths.items() if path != (name,)}


def _ranges(fields: Fields, found: Match) -> dict[Path, tuple[float, float]]:
    ranges = {}
    for path in (*found.channels.values(), *found.unknown):
        seen = [float(one) for one in fields[path] if one is not None]
        ranges[path] = min(seen), max(seen)
    return ranges
