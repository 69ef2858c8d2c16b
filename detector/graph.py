"""What a model file holds, read from its bytes before onnxruntime runs any of it.

Only the frame of protobuf is read: numbers of fields and lengths, by the published `onnx.proto`.
"""

from collections.abc import Iterator
from pathlib import Path

from detector.errors import ArtifactRejected

DEEPEST = 32  # graphs in graphs; the exporter nests none
DOMAINS = frozenset({"", "ai.onnx"})
VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
EXTERNAL = 1  # TensorProto.DataLocation
# What is in a group is read as if it were outside: protobuf would skip it.
SIZES = {FIXED32: 4, FIXED64: 8, GROUP: 0, GROUP_END: 0}
METADATA = 14  # ModelProto.metadata_props
# message -> number of field -> message in it, "domain", or "external"
FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "opset": {1: "domain"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 9: "opset", 10: "domain", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "location"},
}


def check_contents(content: bytes, path: Path) -> None:
    """Make sure that a model is complete in itself and made of ONNX's own operators.

    Raises:
        ArtifactRejected: If it names other files, or operators of another domain.
    """
    try:
        found = set(_find(memoryview(content), "model", 0))
    except (ValueError, IndexError):
        return  # not protobuf; onnxruntime says so, with what it is
    if "external" in {kind for kind, _ in found}:
        msg = (
            f"{path}: expected all weights inside the file, saw some that it would read from "
            "other files; export the model again, without external data"
        )
        raise ArtifactRejected(msg)
    strange = sorted(text for kind, text in found if kind == "domain" and text not in DOMAINS)
    if strange:
        msg = (
            f"{path}: expected ONNX's own operators alone, saw those of {', '.join(strange)!r}; "
            "their code would be a library's: export the model again, with `training export`"
        )
        raise ArtifactRejected(msg)


def check_tail(content: bytes, graph_bytes: int, path: Path) -> None:
    """Make sure that nothing but metadata follows the graph whose digest is the version.

    Raises:
        ArtifactRejected: If it does: protobuf would add it to the graph.
    """
    try:
        numbers = {number for number, _ in _fields(memoryview(content)[graph_bytes:])}
    except (ValueError, IndexError):
        numbers = {0}
    if not numbers <= {METADATA}:
        msg = (
            f"{path}: expected nothing but the manifest behind the graph's {graph_bytes} bytes, "
            "saw more; the file was changed after its export: copy it again"
        )
        raise ArtifactRejected(msg)


def _find(message: memoryview, kind: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield domains, and where data is said to lie outside."""
    if depth > DEEPEST:
        yield "domain", "graphs nested too deep"
        return
    for number, value in _fields(message):
        what = FIELDS[kind].get(number)
        if what == "external" or (what == "location" and value == EXTERNAL):
            yield "external", ""
        elif isinstance(value, memoryview) and what == "domain":
            yield what, bytes(value).decode(errors="replace")
        elif isinstance(value, memoryview) and what in FIELDS:
            yield from _find(value, what, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field.

    Raises:
        ValueError: If these bytes are not protobuf.
        IndexError: If they end too early.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(message, at)
        elif wire in SIZES:
            size = SIZES[wire]
        else:
            msg = f"wire type {wire}"
            raise ValueError(msg)
        if at + size > len(message):
            msg = "a field longer than its message"
            raise ValueError(msg)
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the last byte of a number
            return value, at
        shift += 7
        if shift > 63:  # noqa: PLR2004 - numbers have 64 bits
            msg = "a number of more than 64 bits"
            raise ValueError(msg)
