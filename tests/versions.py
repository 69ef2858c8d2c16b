"""The same model under another version: a file whose graph differs in a byte that means nothing."""

import hashlib
from pathlib import Path
from typing import Any

import onnx

from detector.artifact import MANIFEST_KEY, Manifest


def another_version(path: Path, to: Path, mark: str = "another", **changes: Any) -> str:
    """Write a model with another graph (to the byte), or manifest; return its version.

    Args:
        path: The model.
        to: Where the other one goes, in place of whatever is there, at once.
        mark: Tells graphs apart; the same one gives the same version.
        changes: Of the manifest.
    """
    content = path.read_bytes()
    loaded = onnx.load_from_string(content)
    (entry,) = [one for one in loaded.metadata_props if one.key == MANIFEST_KEY]
    manifest = Manifest.model_validate_json(entry.value)
    graph = onnx.load_from_string(content[: manifest.graph_bytes])
    graph.producer_version = mark
    raw = graph.SerializeToString()
    version = hashlib.sha256(raw).hexdigest()
    changed = manifest.model_copy(update={"version": version, "graph_bytes": len(raw), **changes})
    tail = onnx.ModelProto()
    added = tail.metadata_props.add()
    added.key, added.value = MANIFEST_KEY, changed.model_dump_json()
    beside = to.with_name(f".{to.name}.new")
    beside.write_bytes(raw + tail.SerializeToString())
    beside.replace(to)
    return version
