"""A fitted model to one file that the daemon can trust, or no file at all."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch

from detector.artifact import (
    GOLDEN_TOLERANCE,
    MANIFEST_KEY,
    MANIFEST_VERSION,
    Golden,
    Manifest,
)
from detector.errors import ArtifactRejected
from detector.model import OnnxModel, load
from detector.records import Floats
from training.graph import graph_of
from training.model import Autoencoder

GOLDEN_READINGS = 48
LONG_TRACE = 10_000
# Widths of ticks for which every row must come out the same, to the bit; most are no multiple
# of a vector register, where a kernel may switch to another order of additions.
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257, 1000, 1024, 3001, 5000)
TIES = 1e-3  # of the readings of a trace, whose likeliest symbol is one of two
ROWS_TRIED = 64  # of each width
EXTREMES = (0.0, 1e-38, 3.4e38, -3.4e38, np.nan)


def export(
    model: Autoencoder,
    about: Mapping[str, object],
    history: Floats,
    path: Path,
    readings: int | None = None,
) -> OnnxModel:
    """Write a model file, after proving that onnxruntime makes of it what torch does.

    Args:
        model: Fitted and calibrated.
        about: The manifest's fields but for the graph's own: version, bytes, width and golden.
        history: [T, C] real readings for the golden and the long trace.
        path: Where the file goes; it appears whole or not at all.
        readings: Length of the trace that torch and onnxruntime must agree on, `LONG_TRACE`
            unless given; after a shorter one than the widest tick, ticks are not compared.
            Benchmarks, which make hundreds of files of one architecture, take such a one.

    Returns:
        The file, loaded as the daemon does it.

    Raises:
        ArtifactRejected: If the file differs from torch (see `_prove_equal`), if a row depends on
            how many others are in its tick, or if an extreme reading gives no finite score.
    """
    readings = readings or LONG_TRACE
    model = model.eval().cpu()
    trace = _trace(history, model.scale.numpy(), readings)
    graph = graph_of(model)
    manifest = Manifest.model_validate(
        {
            "manifest_version": MANIFEST_VERSION,
            "version": hashlib.sha256(graph).hexdigest(),
            "graph_bytes": len(graph),
            "state_width": model.state_width,
            "delay": model.network.delay,
            "golden": _golden(model, trace[:GOLDEN_READINGS]),
            **about,
        }
    )
    content = graph + _metadata(manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        draft.write_bytes(content)
        loaded = load(draft)
        _prove_equal(model, loaded, trace)
        for threads in (1, 2) if readings >= max(WIDTHS) else ():
            _prove_independent(load(draft, threads), trace, threads)
        _prove_finite(loaded)
        draft.replace(path)
    return loaded


def _metadata(manifest: Manifest) -> bytes:
    """Return the bytes that, appended to a graph, give it the manifest."""
    addition = onnx.ModelProto()
    entry = addition.metadata_props.add()
    entry.key, entry.value = MANIFEST_KEY, manifest.model_dump_json()
    return bytes(addition.SerializeToString(deterministic=True))


def _trace(history: Floats, scale: Floats, readings: int) -> Floats:
    """Return so many readings: real ones, some channels missing, some far off."""
    random = np.random.default_rng(0)
    repeats = -(-readings // len(history))
    trace = np.tile(history, (repeats, 1))[:readings].astype(np.float32)
    kind = random.random(trace.shape)
    trace = np.where(kind < 0.01, trace + 20 * scale, trace)  # noqa: PLR2004 - a hundredth
    return np.where(kind > 0.95, np.nan, trace).astype(np.float32)  # noqa: PLR2004 - a twentieth


@torch.no_grad()
def _golden(model: Autoencoder, trace: Floats) -> Golden:
    said, _ = model.sequence(torch.from_numpy(trace).unsqueeze(0), model.fresh(1))
    columns = {name: getattr(said, name)[0].tolist() for name in said._fields}
    x = [[None if np.isnan(cell) else cell for cell in row] for row in trace.tolist()]
    return Golden.model_validate({"x": x, "unit": model.scale.tolist(), **columns})


@torch.no_grad()
def _prove_equal(model: Autoencoder, loaded: OnnxModel, trace: Floats) -> None:
    """Compare a whole-sequence run of torch with the steps of onnxruntime.

    They may differ by 1e-4, relative beyond 1 and beyond what a channel varies by, so that one in
    pascals is not held to a ten-thousandth of one, nor to that of a value that happens to be near
    0. Which of two symbols is likelier, if they are alike, is a matter of rounding.
    """
    said, _ = model.sequence(torch.from_numpy(trace).unsqueeze(0), model.fresh(1))
    state = np.zeros((1, model.state_width), np.float32)
    events = np.array([c.role == "event" for c in loaded.manifest.channels])
    stepped: dict[str, list[Floats]] = {name: [] for name in said._fields}
    for reading in trace:
        step = loaded.step(reading[np.newaxis], state)
        state = step.state
        for name, column in stepped.items():
            column.append(getattr(step, name))
    for name, column in stepped.items():
        want, got = getattr(said, name)[0].numpy(), np.concatenate(column)
        unit = np.maximum(loaded.manifest.golden.unit, 1) if name == "expected" else 1
        off = np.abs(want - got) / np.maximum(np.abs(want), unit)
        if name == "expected":
            off *= ~(events & ((off > GOLDEN_TOLERANCE).mean(0) < TIES))
        if not off.max() <= GOLDEN_TOLERANCE:
            at = int(np.nanargmax(off.max(axis=1)))
            msg = (
                f"expected onnxruntime to step as torch does over {len(trace)} readings, saw "
                f"{name} off by {off.max():.2g} at reading {at} (limit {GOLDEN_TOLERANCE:g}); "
                "a recurrence that amplifies rounding cannot be trusted: train again, with "
                "more noise or fewer hidden units"
            )
            raise ArtifactRejected(msg)


def _prove_independent(loaded: OnnxModel, trace: Floats, threads: int) -> None:
    """Compare rows of a wide tick with the same rows in ticks of other widths, bit by bit."""
    widest = max(WIDTHS)
    random = np.random.default_rng(0)
    state = np.zeros((widest, loaded.manifest.state_width), np.float32)
    x = trace[:widest]
    for _ in range(8):  # until the states differ as those of real streams do
        state = loaded.step(random.permutation(x), state).state
    whole = loaded.step(x, state)
    # A lone row that is off one time in ten must be found out, so narrow ticks are many.
    for width in np.repeat(WIDTHS, [max(1, ROWS_TRIED // wide) for wide in WIDTHS]).tolist():
        rows = random.permutation(widest)[:width]
        part = loaded.step(x[rows], state[rows])
        for name in ("expected", "residual", "score", "state"):
            if getattr(part, name).tobytes() != getattr(whole, name)[rows].tobytes():
                msg = (
                    f"expected the same bits of {name} for a row in a tick of {width} as of "
                    f"{widest} streams on {threads} threads, saw others; this onnxruntime picks "
                    "its kernel by width: use another release or another number of hidden units"
                )
                raise ArtifactRejected(msg)


def _prove_finite(loaded: OnnxModel) -> None:
    """Feed the largest numbers there are, then check that the state survived them."""
    channels = len(loaded.manifest.channels)
    state = np.zeros((len(EXTREMES), loaded.manifest.state_width), np.float32)
    for _ in range(100):
        x = np.repeat(np.array(EXTREMES, np.float32)[:, np.newaxis], channels, 1)
        step = loaded.step(x, state)
        state = step.state
    finite = [np.isfinite(part).all() for part in (step.score, step.residual, state)]
    if not all(finite):
        msg = f"expected finite scores for readings of {EXTREMES}, saw {step.score.ravel()}"
        raise ArtifactRejected(msg)
