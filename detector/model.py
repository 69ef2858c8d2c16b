"""One ONNX step: the only place that knows onnxruntime."""

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from detector.artifact import (
    GOLDEN_TOLERANCE,
    MANIFEST_KEY,
    Manifest,
    check_graph_hash,
    parse_manifest,
)
from detector.errors import ArtifactRejected
from detector.graph import check_contents, check_tail
from detector.records import Floats, Step
from detector.signature import Trust, check_signature

# Read on import. Without it, onnxruntime keeps a database of what it did and sends it to Microsoft.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort  # type: ignore[import-untyped]

MAX_BYTES = 256 << 20  # a hundred times the largest that the benchmarks made
UNSIGNED = Trust()
OUTPUTS = ("expected", "residual", "score", "state_next")


class StepModel(Protocol):
    """What scores one tick; the exported autoencoder, or a stub in tests."""

    @property
    def manifest(self) -> Manifest:
        """What the model says of itself."""
        ...

    def step(self, x: Floats, state: Floats) -> Step:
        """Score one tick: one reading from each of B distinct streams.

        Args:
            x: Readings, [B, C] float32, engineering units; NaN where a channel is missing.
            state: What each stream left behind, [B, S] float32; zeros for a new stream.
                Not modified.

        Returns:
            Score [B, K], residual and expected [B, C], and the state to keep [B, S].

        Raises:
            ValueError: If `x` and `state` differ in B.
        """
        ...


class OnnxModel:
    """A model file, loaded, checked and replayed; a `StepModel`."""

    def __init__(self, session: ort.InferenceSession, manifest: Manifest) -> None:
        """Wrap a session that `load` has checked."""
        self._session = session
        self._manifest = manifest

    @property
    def manifest(self) -> Manifest:
        """What the model says of itself."""
        return self._manifest

    def step(self, x: Floats, state: Floats) -> Step:
        """Score one tick; see `StepModel.step`."""
        if len(x) != len(state):
            msg = f"expected as many rows of state as of x, saw {len(state)} and {len(x)}"
            raise ValueError(msg)
        return Step(*self._session.run(OUTPUTS, {"x": x, "state": state}))


def load(
    path: Path, threads: int = 1, *, max_bytes: int = MAX_BYTES, trust: Trust = UNSIGNED
) -> OnnxModel:
    """Load a model file and prove that it does here what it did where it was trained.

    Args:
        path: The ONNX file.
        threads: How many cores one step may use.
        max_bytes: A larger file is not read.
        trust: Whose signature it must have.

    Returns:
        The model, its golden trace replayed.

    Raises:
        ArtifactRejected: If the file is missing, damaged, of another manifest version or of
            wrong shapes, too large, not signed as asked, or if its golden trace differs.
    """
    content = _read(path, max_bytes)
    check_signature(content, path, trust)
    check_contents(content, path)
    session = _session(content, path, threads)
    manifest = parse_manifest(session.get_modelmeta().custom_metadata_map.get(MANIFEST_KEY), path)
    check_graph_hash(content, manifest, path)
    check_tail(content, manifest.graph_bytes, path)
    _check_shapes(session, manifest, path)
    model = OnnxModel(session, manifest)
    _replay_golden(model, path)
    return model


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(max_bytes + 1)
    except OSError as error:
        msg = (
            f"{path}: expected a model file, saw: {error.strerror}; "
            "set DETECTOR_MODEL to the file that `training fit` wrote"
        )
        raise ArtifactRejected(msg) from error
    if len(content) > max_bytes:
        msg = (
            f"{path}: expected a model of at most {max_bytes} bytes, saw more; is it a model? If "
            "so, raise DETECTOR_MODEL_MAX_BYTES"
        )
        raise ArtifactRejected(msg)
    return content


def _session(content: bytes, path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is said by our own errors
    # Idle cores must not spin between two polls.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # onnxruntime's errors share no base class but Exception.
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error) else "nothing"
        msg = (
            f"{path}: expected an ONNX model, saw {len(content)} bytes of which onnxruntime says: "
            f"{first_line[:200]}; the file is damaged or not a model: copy it again"
        )
        raise ArtifactRejected(msg) from error


def _check_shapes(session: ort.InferenceSession, manifest: Manifest, path: Path) -> None:
    channels, width, kinds = len(manifest.channels), manifest.state_width, len(manifest.kinds)
    expected = {
        "x": channels,
        "state": width,
        "expected": channels,
        "residual": channels,
        "score": kinds,
        "state_next": width,
    }
    ports: list[Any] = [*session.get_inputs(), *session.get_outputs()]
    seen = {p.name: (p.type, p.shape) for p in ports}
    for name, last in expected.items():
        kind, shape = seen.get(name, ("nothing", []))
        dynamic = len(shape) == 2 and not isinstance(shape[0], int)  # noqa: PLR2004 - [B, last]
        if kind != "tensor(float)" or not dynamic or shape[1] != last:
            msg = (
                f"{path}: expected {name} to be tensor(float) of shape [B, {last}] with a free B, "
                f"saw {kind} of shape {shape}; export the model again"
            )
            raise ArtifactRejected(msg)


def _replay_golden(model: OnnxModel, path: Path) -> None:
    golden = model.manifest.golden
    x = np.array(golden.x, np.float32)  # null -> NaN
    state = np.zeros((1, model.manifest.state_width), np.float32)
    units = {"expected": np.maximum(golden.unit or 1.0, 1.0), "residual": 1.0, "score": 1.0}
    for t in range(len(x)):
        step = model.step(x[t : t + 1], state)
        state = step.state
        for name, unit in units.items():
            want = np.array(getattr(golden, name)[t])
            got = getattr(step, name)[0]
            off = np.abs(got - want) / (np.abs(want) + unit)
            if not (off <= GOLDEN_TOLERANCE).all():
                worst = int(np.argmax(off))
                msg = (
                    f"{path}: expected the golden trace to give {name}[{worst}] = "
                    f"{want[worst]:.6g} at reading {t}, saw {got[worst]:.6g}; this machine's "
                    "onnxruntime does not compute what the model was trained to: use the release "
                    "named in the manifest's training record, or export again"
                )
                raise ArtifactRejected(msg)
