"""Networks with channels of symbols become files that the exporter proves."""

from pathlib import Path

import numpy as np
import pytest
import torch

import training.export
from detector.errors import ArtifactRejected
from detector.model import load
from training.config import Kind, Network, Score
from training.export import export
from training.model import Autoencoder

SYMBOLS = {1: 3, 3: 5}
NAMES = ("idle", "fill", "heat", "drain", "clean")
TAIL = {"levels": [0, 2], "exceedance": [1, 0.01], "scale": 1, "shape": 0, "extremal_index": 1}
CHANNELS = [
    {"name": "a"},
    {"name": "step", "role": "event", "symbols": NAMES[:3]},
    {"name": "b"},
    {"name": "fault", "role": "event", "symbols": NAMES},
]


@pytest.mark.parametrize("kind", ["lstm", "bidirectional", "persistence"])
def test_a_network_with_symbols_is_proven_step_by_step_and_bit_by_bit(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole trace, and ticks of 5,000, are the golden tests' business.
    monkeypatch.setattr(training.export, "LONG_TRACE", 1000)
    monkeypatch.setattr(training.export, "WIDTHS", (1, 2, 3, 5, 8, 17, 33, 64, 257, 1000))
    torch.manual_seed(1)
    sizes, score = Network(kind=kind, hidden=8, bottleneck=2, window=4), Score(windows=8, levels=4)
    model = Autoencoder(4, sizes, score, [0, 2], symbols=SYMBOLS).eval()
    symbols = model.scoring.symbols
    assert symbols is not None
    symbols.entropy.fill_(5)  # all that could be foretold, so that it speaks
    random = np.random.default_rng(0)
    x = random.normal(size=(1000, 4)).astype(np.float32)
    x[:, 1], x[:, 3] = random.integers(0, 3, 1000), random.integers(0, 5, 1000)
    about = {
        "name": "mixed",
        "channels": CHANNELS,
        "period_s": 1,
        "largest_gap_s": 60,
        "warm_up": 20,
        "calibration": [{"kind": kind, **TAIL} for kind in ("state", "onset")],
        "training": {},
    }
    manifest = export(model, about, x, tmp_path / "model.onnx").manifest
    assert manifest == load(tmp_path / "model.onnx").manifest
    assert manifest.state_width == model.state_width
    assert manifest.channels[3].symbols == NAMES
    assert {row[3] for row in manifest.golden.expected} <= {0, 1, 2, 3, 4}


class Undecided(Autoencoder):
    """Its sequence door names another symbol than its step, ever so often."""

    every = 2

    def sequence(self, x, carry):  # type: ignore[no-untyped-def]
        said, after = super().sequence(x, carry)
        other = torch.zeros_like(said.expected)
        other[:, 999 :: self.every, 0] = 1
        return said._replace(expected=said.expected + other), after


class SeldomUndecided(Undecided):
    every = 5000


@pytest.mark.parametrize("kind", [Undecided, SeldomUndecided])
def test_which_of_two_likely_symbols_is_named_may_be_a_matter_of_rounding(
    kind: type[Undecided], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = kind(1, Network(hidden=4), Score(windows=8, levels=4), [], symbols={0: 3}).eval()
    about = {
        "name": "lone",
        "channels": CHANNELS[1:2],
        "period_s": 1,
        "largest_gap_s": 60,
        "warm_up": 20,
        "calibration": [{"kind": "state", **TAIL}],
        "training": {},
    }
    x = np.random.default_rng(0).integers(0, 3, (1000, 1)).astype(np.float32)
    if kind is SeldomUndecided:
        assert export(model, about, x, tmp_path / "model.onnx", 4000)
        return
    with pytest.raises(ArtifactRejected, match="saw expected off by"):
        export(model, about, x, tmp_path / "model.onnx", 4000)
