"""The bytes of a record's value, as a document. Pure."""

import json
from typing import Any

import msgspec

# Confluent's wire format: a zero byte, the schema's id (4 bytes, big-endian), the body.
MAGIC = b"\0"
HEADER_BYTES = 5

_decode = msgspec.json.Decoder().decode


class Unreadable(ValueError):
    """Bytes that are not what they should be.

    Attributes:
        reason: One of `validate.REASONS`.
    """

    reason = "not_json"


class NotAvro(Unreadable):
    """They are not what their schema says."""

    reason = "not_avro"


class UnknownSchema(Unreadable):
    """They name a schema that the registry does not have, or that nobody here can read."""

    reason = "unknown_schema"


def body_of(value: bytes) -> bytes:
    """Return a value without the header that serializers with a schema registry write.

    No JSON begins with a zero byte.

    >>> body_of(bytes([0, 0, 0, 0, 7]) + b"{}")
    b'{}'
    """
    return value[HEADER_BYTES:] if value[:1] == MAGIC else value


def from_json(value: bytes) -> Any:  # noqa: ANN401 - a document is anything
    """Return the document that JSON holds, be it written with the words NaN and Infinity.

    Raises:
        ValueError: If it is no JSON.
        RecursionError: If it is nested too deeply.
    """
    body = body_of(value)
    try:
        return _decode(body)
    except msgspec.DecodeError:
        return json.loads(body)
