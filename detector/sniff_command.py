"""`detector sniff`: looks at a topic, and proposes the settings that read it."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path as File
from typing import Any

from pydantic import BaseModel, SecretStr

from detector.artifact import Manifest
from detector.clock import SystemClock
from detector.cluster import Cluster
from detector.decode import decode
from detector.errors import SettingsRejected
from detector.mapping import Channel, Input, form_of
from detector.messages import rfc3339
from detector.paths import Path, write_path
from detector.records import Chunk
from detector.sampling import sample
from detector.schemas import schemas_of
from detector.settings import Settings
from detector.sniffing import Guess, guess
from detector.topics import topics_of
from detector.trusted import load_trusted
from detector.validate import Decoded
from detector.wire import MAGIC, from_json

BARE = re.compile(r"[A-Za-z0-9_-]+")
SHOWN = 5
MAPPING = {"stream", "time", "time_format", "readings", "values", "channels", "tags"}


def sniff(settings: Settings, records: int, seconds: float) -> int:
    """Print what was understood of a topic as comments, and the settings that read it.

    Args:
        settings: Of the topic, the model, perhaps the registry; a mapping in them is not used.
        records: To look at, at most.
        seconds: To wait for them.

    Returns:
        The exit code: 1 where no reading was understood.

    Raises:
        ConnectionLost: If the broker or the registry does not answer.
        Refused: If there is no such topic, or the model is none.
    """
    manifest, kafka = load_trusted(settings).manifest, settings.kafka
    cluster = Cluster(kafka.bootstrap_servers, kafka)
    topics = topics_of(cluster)
    if kafka.topic not in topics:
        saw = ", ".join(sorted(topics)[:20]) or "none"
        msg = f"expected topic {kafka.topic!r}, saw {saw}; name one with --topic"
        raise SettingsRejected(msg)
    chunks = sample(cluster, kafka.topic, records, seconds, SystemClock())
    schemas = schemas_of(settings.input)
    if schemas:
        schemas.learn(value for chunk in chunks for value in chunk.values)
    unpack = schemas.unpack if schemas else from_json
    channels = [channel.name for channel in manifest.channels]
    guessed = guess(chunks, channels, manifest.period_s, unpack)
    mapped = {n: v for n, v in _chosen(settings.input).items() if n not in MAPPING}
    given = type(settings.input).model_validate(mapped | guessed.mapping)
    form = form_of(manifest, given, unpack)
    decoded = [decode(chunk, form) for chunk in chunks]
    for line in _comments(settings, manifest, chunks, decoded, guessed):
        print(f"# {_plain(line)}")
    proposed = settings.model_copy(update={"input": given})
    print("\n".join(toml_of(proposed)))
    understood = any(len(one.readings.offset) for one in decoded)
    return 0 if understood or (given.tags and guessed.found.channels) else 1


def toml_of(settings: Settings) -> Iterator[str]:
    """Yield the lines of a file that sets what is not as by default; secrets are left out."""
    return _lines(_chosen(settings))


def _lines(table: dict[str, Any], *above: str) -> Iterator[str]:
    """Yield the lines of a table: its own settings first, then the tables in it."""
    inner = {name: value for name, value in table.items() if _is_table(value)}
    yield from (f"{_key(n)} = {_value(value)}" for n, value in table.items() if n not in inner)
    for name, value in inner.items():
        path, several = (*above, _key(name)), isinstance(value, tuple)
        title = ".".join(path)
        for one in value if several else (value,):
            yield f"\n[[{title}]]" if several else f"\n[{title}]"
            yield from _lines(_chosen(one) if isinstance(one, BaseModel) else one, *path)


def _is_table(value: object) -> bool:
    """Return whether it is a table, or several; a channel is written in a line."""
    first = value[0] if value and isinstance(value, tuple) else value
    return isinstance(first, BaseModel | dict) and not isinstance(first, Channel)


def _chosen(table: BaseModel) -> dict[str, Any]:
    """Return the fields that are not as by default, but no secrets."""
    return {
        name: getattr(table, name)
        for name, info in type(table).model_fields.items()
        if getattr(table, name) != info.default and not isinstance(getattr(table, name), SecretStr)
    }


def _value(value: object) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, BaseModel):
        inside = _chosen(value)
        if inside.keys() == {"path"}:
            return _value(inside["path"])
        return f"{{{', '.join(f'{_key(k)} = {_value(v)}' for k, v in inside.items())}}}"
    if isinstance(value, str | File):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else _value(name)


def _comments(
    settings: Settings,
    manifest: Manifest,
    chunks: Sequence[Chunk],
    decoded: Sequence[Decoded],
    guessed: Guess,
) -> Iterator[str]:
    records = sum(len(chunk.values) for chunk in chunks)
    streams = sorted({stream.decode() for one in decoded for stream in one.readings.streams})
    readings = sum(len(one.readings.offset) for one in decoded)
    yield (
        f"{records} records of {len(chunks)} partitions of {settings.kafka.topic}: "
        f"{readings} readings of {len(streams)} streams ({_some(streams)})"
    )
    times = [int(ts) for one in decoded if len(one.readings.ts_us)
             for ts in (one.readings.ts_us.min(), one.readings.ts_us.max())]  # fmt: skip
    if times:
        yield f"from {rfc3339(min(times))} to {rfc3339(max(times))}"
    given = Input.model_validate(guessed.mapping)
    yield from _naming(given)
    yield f"time: {given.time}, {given.time_format}"
    units = {channel.name: channel.unit for channel in manifest.channels}
    for name, path in guessed.found.channels.items():
        unit = f" ({units[name]})" if units[name] else ""
        yield f"channel {name}{unit}: {_range(guessed, path)}"
    if guessed.found.values and not guessed.found.channels:
        order = ", ".join(units)
        yield f"channels: the array {write_path(guessed.found.values)}, in the order {order}"
    if guessed.found.missed:
        yield f"the model misses: {', '.join(guessed.found.missed)}"
    if guessed.found.unknown:
        some = _some([_range(guessed, path) for path in guessed.found.unknown])
        yield f"it does not know: {some}"
    yield from _faults(chunks, decoded, registry=settings.input.registry_url is not None)
    yield "units: where one differs, a channel is {path = ..., scale = ..., offset = ...}"


def _naming(given: Input) -> Iterator[str]:
    """Yield where the stream's name is; and of the long layout, where the channel's is."""
    if given.tags is None or not given.tags.name_streams:
        yield f"stream: {given.stream}"
    if given.tags is not None:
        yield f"tag: {given.tags.tag}, as {given.tags.pattern}"
        yield (
            f"a reading: each {given.tags.period_s:g} s, as the model was trained; where all tags "
            f"of a machine come together, hold_s tells sooner"
        )


def _faults(
    chunks: Sequence[Chunk], decoded: Sequence[Decoded], *, registry: bool
) -> Iterator[str]:
    faults = [bad for one in decoded for bad in one.bad]
    for reason, count in Counter(bad.reason for bad in faults).most_common():
        example = next(bad.detail for bad in faults if bad.reason == reason)
        yield f"{count} bad records, {reason}: {example}"
    framed = any(value and value[:1] == MAGIC for chunk in chunks for value in chunk.values)
    if framed and not registry and faults:
        yield "records name a schema: say where the registry is, DETECTOR_INPUT__REGISTRY_URL"


def _range(guessed: Guess, path: Path) -> str:
    low, high = guessed.ranges[path]
    return f"{write_path(path)} {low:.6g} to {high:.6g}"


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")


def _plain(text: str) -> str:
    """Return text that can neither end a comment nor speak to a terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)[:400]
