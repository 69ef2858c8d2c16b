"""Paths into a document: `device.id`, `cells.0.value`, `"a name. with dots".v`. Pure.

Inside of quotes, a quote is written twice.

A document is what JSON or Avro holds: objects (dict), arrays (list), text, numbers, None.
"""

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

Path = tuple[str, ...]

SHOWN = 8  # names of an object, enough to recognise it by
MISSING: Final = object()  # what is at a path that is not there: null is something

_STEP = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


def parse_path(text: str) -> Path:
    """Return the steps of a path; none of the empty one, which is the document itself.

    Raises:
        ValueError: If it is no path.

    Example:
        >>> parse_path('device."serial.no"')
        ('device', 'serial.no')
    """
    steps, at = [], 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or text[step.end() : step.end() + 1] not in {"", "."}:
            break
        steps.append(step[2] if step[1] is None else step[1].replace('""', '"'))
        at = step.end() + 1
        if at == len(text):  # it ends in a dot
            break
    else:
        return tuple(steps)
    msg = f'expected a path such as device.id or device."a.b", saw {text!r}'
    raise ValueError(msg)


def write_path(path: Path) -> str:
    """Return a path as text: what `parse_path` reads.

    >>> write_path(("device", "serial.no"))
    'device."serial.no"'
    """
    return ".".join(map(_write_step, path))


def _write_step(step: str) -> str:
    plain = step and not {".", '"'} & set(step)
    return step if plain else '"' + step.replace('"', '""') + '"'


def follow(node: Any, path: Path, default: Any = MISSING) -> Any:  # noqa: ANN401 - a document is anything
    """Return what is at a path; a number steps into an array, counting from 0."""
    for step in path:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return default
    return node


def column(nodes: Sequence[Any], path: Path, default: Any = MISSING) -> list[Any]:  # noqa: ANN401
    """Return what is at a path of each of N nodes."""
    found = list(nodes)
    try:
        for step in path:
            number = step.isdecimal() and set(map(type, found)) == {list}
            found = list(map(itemgetter(int(step) if number else step), found))
    except (KeyError, TypeError, IndexError):  # it is not everywhere
        return [follow(node, path, default) for node in nodes]
    return found


def names_at(node: Any, path: Path) -> str:  # noqa: ANN401
    """Say what there is where a path comes to its end before time: for an error's message."""
    for step in path:
        further = follow(node, (step,))
        if further is MISSING:
            break
        node = further
    if isinstance(node, dict):
        names = sorted(map(str, node))
        text = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        return f"{{{text[:160]}}}".encode(errors="backslashreplace").decode()
    return f"an array of {len(node)}" if isinstance(node, list) else repr(node)[:48]
