"""The fleet as it is told: its history as a file, its readings as records."""

import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from detector.records import US_PER_S, Doubles, Message
from training.demo.fleet import CHANNELS, simulate

PUMPS, HISTORY_PUMPS, HISTORY_S = 20, 16, 7200
PARTITIONS = 4
TOPIC = "readings"


def write_history(folder: Path) -> Path:
    """Write healthy history and the configuration beside it; return the latter's path."""
    x = simulate(HISTORY_PUMPS, HISTORY_S, seed=1)
    start_us = int(time.time() - 7 * 86_400) * US_PER_S
    columns = {
        "pump": np.repeat([f"pump-{p:02}" for p in range(HISTORY_PUMPS)], HISTORY_S),
        "ts": np.tile(start_us + np.arange(HISTORY_S) * US_PER_S, HISTORY_PUMPS),
        **{name: x[:, :, c].ravel() for c, name in enumerate(CHANNELS)},
    }
    pq.write_table(pa.table(columns), folder / "history.parquet")
    config = folder / "pump.toml"
    config.write_bytes((files("training") / "configs" / "pump.toml").read_bytes())
    return config


def messages(x: Doubles, start_s: int) -> list[Message]:
    """Return readings [P, T, C] as records, in the order of time."""
    pumps, seconds, _ = x.shape
    said = []
    for t in range(seconds):
        for p in range(pumps):
            row = x[p, t].round(4).tolist()
            values = {
                name: None if value != value else value  # noqa: PLR0124 - NaN
                for name, value in zip(CHANNELS, row, strict=True)
            }
            value = json.dumps({"ts": start_s + t, "values": values}).encode()
            said.append(Message(TOPIC, f"pump-{p:02}".encode(), value))
    return said
