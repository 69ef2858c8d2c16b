"""The schemas that records were written with: learnt from a registry before they are read."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from detector.errors import RegistryLost, SettingsRejected
from detector.mapping import Input
from detector.records import Polled
from detector.registry import Registry, registry_of
from detector.source import Source
from detector.wire import HEADER_BYTES, MAGIC, UnknownSchema, body_of, from_json

MOST_SCHEMAS = 256

Reader = Callable[[bytes], Any]
Compile = Callable[[str, Sequence[str]], Reader]  # a schema, and those that it refers to


class Schemas:
    """Readers of records by the schema's id in their header; bounded."""

    def __init__(self, registry: Registry, compile_: Compile, most: int = MOST_SCHEMAS) -> None:
        """Learn from a registry; keep the `most` that were used last."""
        self._registry = registry
        self._compile = compile_
        self._most = most
        self._readers: OrderedDict[bytes, Reader] = OrderedDict()
        self._why: dict[bytes, str] = {}

    def learn(self, values: Iterable[bytes | None]) -> None:
        """Make sure that all schemas are known that values name.

        One that the registry does not have is asked for again the next time.

        Raises:
            RegistryLost: If it does not answer.
        """
        used = {v[1:HEADER_BYTES] for v in values if v and v[:1] == MAGIC}
        self._why = {}
        for name in used:
            if name in self._readers:
                self._readers.move_to_end(name)
            elif len(name) == HEADER_BYTES - 1:
                self._ask(name)
        while len(self._readers) > self._most and next(iter(self._readers)) not in used:
            self._readers.popitem(last=False)

    def unpack(self, value: bytes) -> Any:  # noqa: ANN401 - a document is anything
        """Return the document that a value holds: with a header as its schema says, else JSON.

        Raises:
            UnknownSchema: If its schema is not known.
            NotAvro: If it is not what its schema says.
            ValueError: If it is no JSON.
            RecursionError: If it is nested too deeply.
        """
        if value[:1] != MAGIC:
            return from_json(value)
        name = value[1:HEADER_BYTES]
        reader = self._readers.get(name)
        if reader is None:
            why = self._why.get(name, f"a value of {len(value)} bytes")
            msg = f"expected a schema of the registry, saw {why}"
            raise UnknownSchema(msg)
        return reader(body_of(value))

    def _ask(self, name: bytes) -> None:
        number = int.from_bytes(name, "big")
        schema = self._registry.schema(number)
        if schema is None:
            self._why[name] = f"id {number}, which it does not have"
        elif schema.kind == "AVRO":
            try:
                self._readers[name] = self._compile(schema.text, schema.references)
            except ValueError as error:
                self._why[name] = f"id {number}: {error}"
        elif schema.kind == "JSON":
            self._readers[name] = from_json
        else:
            self._why[name] = f"id {number} of type {schema.kind}; Avro and JSON are read"


def schemas_of(given: Input) -> Schemas | None:
    """Return the schemas of the registry that the settings name; None where they name none.

    Raises:
        SettingsRejected: If what reads Avro is not installed.
    """
    if given.registry_url is None:
        return None
    try:  # an extra: who has no registry does not need it
        from detector.avro import reader_of  # noqa: PLC0415
    except ModuleNotFoundError as error:
        msg = f"expected {error.name}, saw none; pip install 'sensor-anomaly-detector[avro]'"
        raise SettingsRejected(msg) from error
    return Schemas(registry_of(given), reader_of)


def understood(polled: Polled, source: Source, schemas: Schemas) -> Polled:
    """Return what was polled, once all schemas are known that it was written with.

    Args:
        polled: What `source` just brought.
        source: Goes back to before it where they are not; partitions that moved are told at once.
        schemas: Learns.

    Raises:
        RegistryLost: If the registry does not answer; the same records come with the next poll.
    """
    try:
        schemas.learn(value for chunk in polled.chunks for value in chunk.values)
    except RegistryLost:
        for chunk in polled.chunks:
            source.start(chunk.partition, int(chunk.offsets[0]))
        if not (polled.assigned or polled.revoked or polled.lost):
            raise
        return replace(polled, chunks=[])
    return polled
