"""Trains the small pump model that tests and harnesses share: `python small_model.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.demo.fleet import CHANNELS, simulate
from training.run import Progress, run

START_US = 1_700_000_000_000_000

SMALL = """
name = "small"
[data]
files = ["history.parquet"]
time = "ts"
stream = "pump"
channels = ["speed", "flow", "pressure", "current", "temperature", "vibration"]
[network]
hidden = 24
bottleneck = 2
[fit]
epochs = 3
lanes = 16
[score]
warm_up = 20
"""


def write_fleet(path: Path, pumps: int, seconds: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    x = simulate(pumps, seconds, seed)
    columns = {
        "pump": np.repeat([f"pump-{p}" for p in range(pumps)], seconds),
        "ts": np.tile(START_US + np.arange(seconds) * 1_000_000, pumps),
        **{name: x[:, :, c].ravel() for c, name in enumerate(CHANNELS)},
    }
    pq.write_table(pa.table(columns), path)


def train_small(folder: Path) -> None:
    """Write model.onnx and all that a run leaves behind into a folder."""
    data = folder.parent
    write_fleet(data / "history.parquet", pumps=4, seconds=1500, seed=1)
    (data / "small.toml").write_text(SMALL)
    run(data / "small.toml", folder, Progress())


if __name__ == "__main__":
    train_small(Path(sys.argv[1]))
