"""Labelled streams for tests of figures and reports, scored by a stub of a model."""

import csv
from pathlib import Path

import numpy as np
from fakes import StubModel, manifest

from detector.artifact import Calibration, Manifest
from training.config import Config, Evaluate
from training.evaluate import Track, evaluate

START = 1_700_000_000


def kinds(*names: str) -> tuple[Calibration, ...]:
    return tuple(
        Calibration(
            kind=name, levels=(0.0, 1.0, 2.0), exceedance=(1.0, 0.1, 0.01),
            scale=0.5 + 0.2 * k, shape=0.1 * k, extremal_index=0.5 / (k + 1),
        )
        for k, name in enumerate(names)
    )  # fmt: skip


def write_streams(path: Path, streams: int, rows: int, seed: int = 0) -> None:
    """Noise of two channels; each but the first stream is broken for a while, and has a gap."""
    random = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts", "stream", "c0", "c1", "anomaly"])
        for s in range(streams):
            own = rows - 7 * s
            x = random.normal(0, 0.3, (own, 2))
            broken = (np.arange(own) // (rows // 8) == 5) & (s > 0)
            x[broken, 1] += 12
            x[rows // 5] += 9 * (s == 1)  # a spike that is nobody's fault
            for t, (a, b) in enumerate(x.tolist()):
                ts = START + t + 1000 * (t > rows // 3 and s > 0)
                cell = "" if t % 50 == 7 else a
                writer.writerow([ts, f"<pump> {s}", cell, b, int(broken[t])])


def tracks_of(
    folder: Path,
    made: Manifest | None = None,
    *,
    streams: int = 3,
    rows: int = 400,
    rate: float = 0.1,
    skip_rows: int = 0,
) -> dict[str, Track]:
    write_streams(folder / "labelled.csv", streams, rows)
    data = {"files": ["labelled.csv"], "channels": ["c0", "c1"], "stream": "stream"}
    settings = {"files": ["labelled.csv"], "skip_rows": skip_rows}
    return evaluate(
        StubModel(made or manifest()),
        Config.model_validate({"name": "stub", "data": data}),
        Evaluate.model_validate(settings | {"false_alarms_per_stream_day": rate}),
        folder,
    )
