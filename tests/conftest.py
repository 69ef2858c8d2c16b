"""What several tests need: brokers, a small model that was really trained, the shared data."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from brokers import ApacheKafka, Broker, Tansu

from training.demo.fleet import CHANNELS, simulate
from training.run import Progress, run

torch.set_num_threads(1)  # as the command line does

START_US = 1_700_000_000_000_000
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def tansu() -> Iterator[Tansu]:
    broker = Tansu()
    broker.start()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[ApacheKafka]:
    if "KAFKA_HOME" not in os.environ:
        pytest.skip("KAFKA_HOME does not point at an Apache Kafka")
    broker = ApacheKafka()
    broker.start()
    yield broker
    broker.close()


@pytest.fixture(params=["tansu", "apache_kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    made: Broker = request.getfixturevalue(request.param)
    return made


def write_fleet(path: Path, pumps: int, seconds: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    x = simulate(pumps, seconds, seed)
    columns = {
        "pump": np.repeat([f"pump-{p}" for p in range(pumps)], seconds),
        "ts": np.tile(START_US + np.arange(seconds) * 1_000_000, pumps),
        **{name: x[:, :, c].ravel() for c, name in enumerate(CHANNELS)},
    }
    pq.write_table(pa.table(columns), path)


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


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small model of the pumps, really trained, for three passes."""
    folder = tmp_path_factory.mktemp("small")
    write_fleet(folder / "history.parquet", pumps=4, seconds=1500, seed=1)
    (folder / "small.toml").write_text(SMALL)
    run(folder / "small.toml", folder / "run", Progress())
    return folder / "run"


@pytest.fixture(scope="session")
def small_model(small_run: Path) -> Path:
    return small_run / "model.onnx"


@pytest.fixture(scope="session")
def skab() -> Path:
    """The SKAB benchmark's folder; it is not part of the project."""
    folder = Path(os.environ.get("DETECTOR_DATA", ROOT / ".." / "shared" / "data")) / "skab"
    if not folder.is_dir():
        pytest.skip(f"no SKAB data in {folder}; DETECTOR_DATA names the folder that holds it")
    return folder
