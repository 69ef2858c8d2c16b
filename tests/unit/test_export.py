"""A run to a file: what is in it, that it can be made again, and what is never written."""

import hashlib
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from detector.artifact import MANIFEST_KEY, OPSET, Manifest, parse_manifest
from detector.errors import ArtifactRejected
from detector.model import load
from training.config import Network, Score
from training.evidence.scoring import Evidence
from training.export import _metadata, export
from training.model import SEEN_LIMIT, Autoencoder
from training.run import restore
from training.told import Carry, Scored

CHANNELS = ["speed", "flow", "pressure", "current", "temperature", "vibration"]


def test_the_manifest_says_what_the_design_asks(small_model: Path) -> None:
    manifest = load(small_model).manifest
    assert (manifest.manifest_version, manifest.name) == (1, "small")
    assert [channel.name for channel in manifest.channels] == CHANNELS
    assert {channel.role for channel in manifest.channels} == {"telemetry"}
    assert (manifest.period_s, manifest.largest_gap_s, manifest.warm_up) == (1, 60, 20)
    assert manifest.kinds == ("state", "onset")
    assert len(manifest.golden.x) == len(manifest.golden.score) >= 32
    assert None in {cell for row in manifest.golden.x for cell in row}
    record = manifest.training
    assert record.keys() >= {"date", "config", "data_sha256", "rows", "seed", "packages", "quality"}
    assert (record["rows"], record["seed"], record["streams"]) == (6000, 0, 4)
    assert re.fullmatch("[0-9a-f]{64}", str(record["data_sha256"]))


def test_the_version_is_the_digest_of_the_graph_that_any_tool_can_read(small_model: Path) -> None:
    content, manifest = small_model.read_bytes(), load(small_model).manifest
    graph = content[: manifest.graph_bytes]
    assert manifest.version == hashlib.sha256(graph).hexdigest()
    alone, whole = onnx.load_from_string(graph), onnx.load(small_model)
    assert [entry.key for entry in whole.metadata_props] == [MANIFEST_KEY]
    assert not alone.metadata_props
    assert alone.graph == whole.graph
    assert {opset.domain: opset.version for opset in whole.opset_import}[""] == OPSET


def test_the_file_knows_nothing_of_the_machine(small_run: Path) -> None:
    for name in ("model.onnx", "about.json", "weights.npz"):
        content = (small_run / name).read_bytes()
        for place in ("/site-packages", ".py", str(Path.home()) + "/", sys.prefix, str(small_run)):
            assert place.encode() not in content, name


def test_a_run_exported_again_is_the_same_file(small_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.onnx"
    again = export(*restore(small_run), path)
    assert again.manifest == load(small_run / "model.onnx").manifest
    assert path.read_bytes() == (small_run / "model.onnx").read_bytes()
    assert list(path.parent.iterdir()) == [path]


def test_weights_are_plain_arrays(small_run: Path) -> None:
    with zipfile.ZipFile(small_run / "weights.npz") as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())
    with np.load(small_run / "weights.npz", allow_pickle=False) as weights:
        assert {weights[name].dtype.name for name in weights.files} == {"float32", "int64"}


def test_a_bound_may_be_infinite(small_model: Path, tmp_path: Path) -> None:
    written = load(small_model).manifest.model_dump()
    written["channels"][0]["valid"] = (0.0, float("inf"))
    manifest = Manifest.model_validate(written)
    entry = onnx.load_from_string(_metadata(manifest)).metadata_props[0]
    assert parse_manifest(entry.value, tmp_path) == manifest


TAIL = {"levels": [0, 2], "exceedance": [1, 0.01], "scale": 1, "shape": 0, "extremal_index": 1}
ABOUT = {
    "name": "toy",
    "channels": [{"name": "c"}],
    "period_s": 1,
    "largest_gap_s": 60,
    "warm_up": 3,
    "calibration": [{"kind": "state", **TAIL}],
    "training": {},
}


SCORE = Score(warm_up=20, windows=16, levels=0)
Stepped = tuple[tuple[Tensor, Tensor, Tensor, Tensor], Evidence]


@pytest.mark.parametrize("channels", [3, 5])
def test_a_row_keeps_its_bits_whatever_the_number_of_channels(
    channels: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    sizes = Network(hidden=5, bottleneck=1, window=1)
    model = Autoencoder(channels, sizes, SCORE)
    about = ABOUT | {"channels": [{"name": f"c{c}"} for c in range(channels)]}
    history = np.random.default_rng(0).normal(size=(500, channels)).astype(np.float32)
    assert export(model, about, history, tmp_path / "m.onnx").manifest.state_width


def test_what_is_expected_is_proven_in_what_a_channel_varies_by(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Autoencoder(1, Network(hidden=2, bottleneck=1, window=1), SCORE)
    model.scale.fill_(1e8)  # bytes a second: rounding near 0 is far more than a ten-thousandth
    history = np.random.default_rng(0).normal(size=(2000, 1)).astype(np.float32) * 1e8
    assert export(model, ABOUT, history, tmp_path / "m.onnx", readings=2000)


class Different(Autoencoder):
    """Its sequence door says something else than its step, from reading `since` on."""

    since = 0

    def sequence(self, x: Tensor, carry: Carry) -> tuple[Scored, Carry]:
        said, after = super().sequence(x, carry)
        later = (torch.arange(x.shape[1]) >= self.since).reshape(1, -1, 1)
        return said._replace(expected=said.expected + 1e-3 * later), after


class DifferentLater(Different):
    since = 9000


class Dependent(Autoencoder):
    """A row's score depends on the others in its tick, alone it is right."""

    def step(self, x: Tensor, state: Tensor) -> Stepped:
        (expected, residual, score, after), weighed = super().step(x, state)
        return (expected, residual, (score + score.amax(0, keepdim=True)) / 2, after), weighed


class Lonely(Autoencoder):
    """One row in ten has another score among others than alone in its tick."""

    def step(self, x: Tensor, state: Tensor) -> Stepped:
        (expected, residual, score, after), weighed = super().step(x, state)
        among = (torch.ones_like(x[:, :1]).sum(0, keepdim=True) - 1).clamp(max=1)
        odd = (x[:, :1] > 1.3).to(x.dtype)  # a tenth of them
        return (expected, residual, score + 1e-3 * among * odd, after), weighed


class Infinite(Autoencoder):
    """An extreme reading has no finite score."""

    def step(self, x: Tensor, state: Tensor) -> Stepped:
        (expected, residual, score, after), weighed = super().step(x, state)
        far = x.abs().amax(-1, keepdim=True) >= SEEN_LIMIT
        return (expected, residual, torch.where(far, torch.inf, score), after), weighed


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Different, r"expected the golden trace to give expected\[\d\] = .*, saw "),
        (
            DifferentLater,
            r"expected onnxruntime to step as torch .* expected off by 0\.001 at read",
        ),
        (Dependent, r"expected the same bits of score for a row in a tick of \d+ as of 5000 "),
        (Lonely, r"expected the same bits of score for a row in a tick of 1 as of 5000 "),
        (Infinite, r"expected finite scores for readings of .*, saw "),
    ],
)
def test_no_file_is_written_of_a_model_that(
    kind: type[Autoencoder], says: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = kind(1, Network(hidden=2, bottleneck=1, window=1), SCORE)
    path = tmp_path / "model.onnx"
    path.write_text("the file before")
    history = np.random.default_rng(0).normal(size=(500, 1)).astype(np.float32)
    with pytest.raises(ArtifactRejected, match=says):
        export(model, ABOUT, history, path)
    assert path.read_text() == "the file before"
    assert list(tmp_path.iterdir()) == [path]
