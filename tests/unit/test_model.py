"""Loading a model file: everything that can be wrong with one, and what is said of it."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from detector.artifact import MANIFEST_KEY, MANIFEST_VERSION
from detector.errors import ArtifactRejected
from detector.model import load

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def content(small_model: Path) -> bytes:
    return small_model.read_bytes()


@pytest.fixture
def manifest(content: bytes) -> Manifest:
    written: Manifest = json.loads(onnx.load_from_string(content).metadata_props[0].value)
    return written


def write(path: Path, graph: bytes, manifest: object) -> Path:
    """A file as the exporter makes it: the graph, and the manifest appended to it."""
    addition = onnx.ModelProto()
    addition.metadata_props.add(key=MANIFEST_KEY, value=json.dumps(manifest))
    path.write_bytes(graph + addition.SerializeToString())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ArtifactRejected) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_the_file_as_it_was_made_is_loaded(
    content: bytes, manifest: Manifest, tmp_path: Path
) -> None:
    copy = write(tmp_path / "m.onnx", content[: manifest["graph_bytes"]], manifest)
    assert copy.read_bytes() != b""
    assert load(copy).manifest.version == manifest["version"]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    remedy = "set DETECTOR_MODEL to the file that `training fit` wrote"
    assert refusal(tmp_path / "no.onnx") == (
        f"expected a model file, saw: No such file or directory; {remedy}"
    )
    assert refusal(tmp_path) == f"expected a model file, saw: Is a directory; {remedy}"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_torn_file_is_refused(content: bytes, tmp_path: Path, share: float) -> None:
    path = tmp_path / "torn.onnx"
    path.write_bytes(content[: int(share * len(content))])
    message = refusal(path)
    assert ", saw " in message
    assert "; " in message


def test_what_is_not_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("not a model")
    message = refusal(path)
    assert message.startswith("expected an ONNX model, saw 11 bytes of which onnxruntime says: ")
    assert message.endswith("; the file is damaged or not a model: copy it again")


def test_a_graph_without_a_manifest_is_refused(
    content: bytes, manifest: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content[: manifest["graph_bytes"]])
    assert refusal(path) == (
        "expected metadata 'detector.manifest' in the ONNX file, saw none; "
        "make the file with `training export`"
    )


def test_a_changed_graph_is_refused(content: bytes, manifest: Manifest, tmp_path: Path) -> None:
    largest = max(onnx.load_from_string(content).graph.initializer, key=lambda i: len(i.raw_data))
    path, at = tmp_path / "m.onnx", content.index(largest.raw_data) + 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :])
    message = refusal(path)
    assert message.startswith(f"expected a graph with sha256 {manifest['version'][:12]}…, saw ")
    assert message.endswith("changed after its export: copy it again from where it was made")


def test_a_graph_with_another_answer_to_its_golden_trace_is_refused(
    content: bytes, manifest: Manifest, tmp_path: Path
) -> None:
    proto = onnx.load_from_string(content[: manifest["graph_bytes"]])
    largest = max(proto.graph.initializer, key=lambda i: len(i.raw_data))
    weights = onnx.numpy_helper.to_array(largest) * np.float32(1.01)
    largest.CopyFrom(onnx.numpy_helper.from_array(weights, largest.name))
    graph = proto.SerializeToString()
    signed = {"version": hashlib.sha256(graph).hexdigest(), "graph_bytes": len(graph)}
    message = refusal(write(tmp_path / "m.onnx", graph, manifest | signed))
    assert re.match(
        r"expected the golden trace to give \w+\[\d] = .* at reading \d+, saw ", message
    )
    assert message.endswith("release named in the manifest's training record, or export again")


def change(**entries: object) -> Callable[[Manifest], Manifest]:
    return lambda manifest: manifest | entries


def calibrated(**entries: object) -> Callable[[Manifest], Manifest]:
    return lambda m: m | {"calibration": [m["calibration"][0] | entries]}


def golden(
    name: str, column: Callable[[list[list[float]]], object]
) -> Callable[[Manifest], Manifest]:
    return lambda m: m | {"golden": m["golden"] | {name: column(m["golden"][name])}}


AGAIN = "export the model again"
UNKNOWN = f"expected a manifest of version {MANIFEST_VERSION}, saw "
WRONG = {
    "another version": (change(manifest_version=2), f"{UNKNOWN}manifest_version = '2'"),
    "an unknown field": (change(colour="red"), f"{UNKNOWN}colour = 'red'"),
    "no channels": (change(channels=[]), f"{UNKNOWN}channels = "),
    "no kinds": (change(calibration=[]), f"{UNKNOWN}calibration = "),
    "a list": (lambda _: [1, 2], UNKNOWN),
    "a state too narrow": (change(state_width=7), "expected state to be .*, 7] .* saw .*shape"),
    "a channel less": (
        lambda m: m | {"channels": m["channels"][1:]},
        r"golden\.x to be \[48, 5]",
    ),
    "a kind more": (
        lambda m: m | {"calibration": [*m["calibration"], m["calibration"][0] | {"kind": "drift"}]},
        r"golden\.score to be \[48, 3]",
    ),
    "levels without exceedance": (calibrated(exceedance=[0.02]), "exceedance"),
    "no levels": (calibrated(levels=[], exceedance=[]), "levels"),
    "levels that fall": (calibrated(levels=[3, 2, 1], exceedance=[1, 0.1, 0.02]), "levels"),
    "another golden value": (
        golden("score", lambda rows: [[rows[0][0] + 0.01], *rows[1:]]),
        "golden",
    ),
    "a golden trace cut short": (golden("expected", lambda rows: rows[:-1]), "golden"),
    "a golden trace of fewer channels": (golden("x", lambda x: [r[1:] for r in x]), "golden"),
    "a golden trace with a unit less": (
        golden("unit", lambda u: u[1:]),
        r"golden\.unit to be \[6]",
    ),
    "an expectation off": (
        golden("expected", lambda rows: [[rows[0][0] + 1.0, *rows[0][1:]], *rows[1:]]),
        r"expected\[0]",
    ),
    "a ragged golden trace": (golden("x", lambda x: [x[0][1:], *x[1:]]), "golden"),
    "no golden trace": (
        change(golden={name: [] for name in ("x", "expected", "residual", "score")}),
        "golden",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_manifest_is_refused(
    content: bytes, manifest: Manifest, tmp_path: Path, wrong: str
) -> None:
    changed, says = WRONG[wrong]
    graph = content[: manifest["graph_bytes"]]
    path = write(tmp_path / "m.onnx", graph, changed(manifest))
    message = refusal(path)
    assert re.search(says, message)
    assert ", saw " in message
    assert "export" in message.split(";")[-1]


def test_what_is_expected_may_be_off_by_a_little_of_what_a_channel_varies_by(
    content: bytes, manifest: Manifest, tmp_path: Path
) -> None:
    off = golden("expected", lambda rows: [[rows[0][0] + 1.0, *rows[0][1:]], *rows[1:]])
    pascals = golden("unit", lambda unit: [20_000, *unit[1:]])
    graph = content[: manifest["graph_bytes"]]
    load(write(tmp_path / "m.onnx", graph, pascals(off(manifest))))


def test_a_fixed_batch_is_refused(content: bytes, manifest: Manifest, tmp_path: Path) -> None:
    proto = onnx.load_from_string(content[: manifest["graph_bytes"]])
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    graph = proto.SerializeToString()
    signed = {"version": hashlib.sha256(graph).hexdigest(), "graph_bytes": len(graph)}
    message = refusal(write(tmp_path / "m.onnx", graph, manifest | signed))
    assert message.startswith("expected x to be tensor(float) of shape [B, 6] with a free B, saw ")


def test_a_state_of_other_streams_is_refused(small_model: Path) -> None:
    model = load(small_model)
    with pytest.raises(ValueError, match="expected as many rows of state as of x, saw 3 and 2"):
        model.step(np.zeros((2, 6), np.float32), np.zeros((3, 1), np.float32))


def test_onnxruntime_keeps_no_record_to_send_of_what_it_does(
    small_model: Path, tmp_path: Path
) -> None:
    code = "import pathlib, sys, detector.model; detector.model.load(pathlib.Path(sys.argv[1]))"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "ORT_"))}
    command = [sys.executable, "-c", code, small_model]
    subprocess.run(command, env=environment | home, check=True)
    assert [path.name for path in tmp_path.rglob("*")] == []
