"""Avro's bytes as a document, by the schema that they were written with. Pure."""

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import fastavro

from detector.wire import NotAvro


def reader_of(text: str, references: Sequence[str] = ()) -> Callable[[bytes], Any]:
    """Return a function from a body, without the header, to a document.

    Records and maps become objects, enumerations text, logical times datetimes, decimals Decimals.

    Args:
        text: The writer's schema.
        references: Schemas whose names it uses, each before those that use it.

    Raises:
        ValueError: If it is no schema.
    """
    try:
        named: dict[str, Any] = {}
        for reference in references:
            fastavro.parse_schema(json.loads(reference), named_schemas=named)
        schema = fastavro.parse_schema(json.loads(text), named_schemas=named)
    except Exception as error:  # fastavro names some of what it raises, not all
        msg = f"expected an Avro schema, saw {type(error).__name__}: {error!s:.200}"
        raise ValueError(msg) from error

    def read(body: bytes) -> Any:  # noqa: ANN401 - a document is anything
        stream = BytesIO(body)
        try:
            document = fastavro.schemaless_reader(stream, schema, None)
        except Exception as error:  # whatever it is, the bytes are to blame
            saw = f"{type(error).__name__}: {error!s:.100}"
            msg = f"expected what its schema says, saw {saw}"
            raise NotAvro(msg) from error
        left = len(body) - stream.tell()
        if left:
            msg = f"expected what its schema says, saw {left} bytes after it"
            raise NotAvro(msg)
        return document

    return read
