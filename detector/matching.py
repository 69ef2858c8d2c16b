"""What records are made of: their fields, and which of them are a model's channels. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from detector.paths import Path

DEEPEST = 6
MOST_FIELDS = 2000
MOST = 0.9  # of the readings must agree
VALUE_NAMES = {"value", "val", "v"}  # of a field whose parent says what it is
SHORTEST = 3  # letters by which a name may be told from its beginning

Fields = dict[Path, list[Any]]  # what N readings have at each path, None where they have nothing


@dataclass(frozen=True, slots=True)
class Match:
    """Channels that were found.

    Attributes:
        values: Path from a reading to what has them all.
        channels: Path of each that was found, from a reading; none for an array in their order.
        missed: Channels that were not.
        unknown: Paths of numbers that are none of them.
    """

    values: Path = ()
    channels: dict[str, Path] = field(default_factory=dict)
    missed: tuple[str, ...] = ()
    unknown: tuple[Path, ...] = ()


def fields_of(nodes: Sequence[Any]) -> Fields:
    """Return what N readings have at every path that leads to no object or array."""
    found: Fields = {}
    for n, node in enumerate(nodes):
        for path, seen in _flat(node, ()):
            if path in found or len(found) < MOST_FIELDS:
                found.setdefault(path, [None] * len(nodes))[n] = seen
    return found


def numbers(fields: Fields) -> list[Path]:
    """Return the paths where there are numbers, and nothing else."""
    kinds = {path: set(map(type, seen)) - {type(None)} for path, seen in fields.items()}
    return [path for path, kind in kinds.items() if kind and kind <= {int, float, bool, Decimal}]


def match(fields: Fields, channels: Sequence[str], taken: Collection[Path]) -> Match:
    """Find a model's channels among the fields of readings.

    By their names: the same, the same but for case and punctuation, or the only one that begins
    alike; else an array of as many numbers as there are channels.

    Args:
        fields: Of the readings.
        channels: The model's, in its order.
        taken: Paths that are something else.
    """
    free = [path for path in numbers(fields) if path not in taken]
    found: dict[str, Path] = {}
    for likeness in (_same, _alike, _begins_alike):
        for name in channels:
            several = [p for p in free if p not in found.values() and likeness(name, _name(p))]
            if name not in found and (len(several) == 1 or (several and likeness is _same)):
                found[name] = min(several, key=len)
    missed = tuple(name for name in channels if name not in found)
    unknown = tuple(path for path in free if path not in found.values())
    if found:
        values = _common([path[:-1] for path in found.values()])
        return Match(values, {n: found[n] for n in channels if n in found}, missed, unknown)
    for parent in {path[:-1]: 0 for path in free if path and path[-1].isdecimal()}:
        inside = [path for path in free if path[:-1] == parent]
        if len(inside) == len(channels):
            return Match(parent, unknown=tuple(p for p in unknown if p not in inside))
    return Match(missed=missed, unknown=unknown)


def texts(seen: Sequence[Any]) -> list[Any]:
    """Return what is at a place, bytes of keys and headers as text."""
    return [one.decode(errors="replace") if isinstance(one, bytes) else one for one in seen]


def letters(name: str) -> str:
    """Return a name without case and punctuation.

    >>> letters("Device-ID")
    'deviceid'
    """
    return "".join(filter(str.isalnum, name)).lower()


def _common(paths: Sequence[Path]) -> Path:
    """Return the steps that all paths begin with."""
    shared = min(paths, key=len)
    while any(path[: len(shared)] != shared for path in paths):
        shared = shared[:-1]
    return shared


def _name(path: Path) -> str:
    """Return the step that says what is there."""
    if not path:
        return ""
    return path[-2] if len(path) > 1 and letters(path[-1]) in VALUE_NAMES else path[-1]


def _same(channel: str, name: str) -> bool:
    return channel == name


def _alike(channel: str, name: str) -> bool:
    return letters(channel) == letters(name) != ""


def _begins_alike(channel: str, name: str) -> bool:
    short, long = sorted((letters(channel), letters(name)), key=len)
    return len(short) >= SHORTEST and long.startswith(short)


def _flat(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401 - a document is anything
    inside: Iterator[tuple[str, Any]] | None = None
    if isinstance(node, dict):
        inside = ((str(name), one) for name, one in node.items())
    elif isinstance(node, list):
        inside = ((str(n), one) for n, one in enumerate(node))
    if inside is None:
        yield path, node
    elif len(path) < DEEPEST:
        for step, one in inside:
            # A path is written with quotes around such names, and has none for these.
            if step and '"' not in step:
                yield from _flat(one, (*path, step))
