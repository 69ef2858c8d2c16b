"""What several tests need: brokers, a small model that was really trained, the shared data."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import torch
from brokers import ApacheKafka, Broker, Tansu
from small_model import train_small

torch.set_num_threads(1)  # as the command line does

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Let no test say its lines where an earlier one, which ran a command, has put them."""
    yield
    structlog.reset_defaults()


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


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small model of the pumps, really trained, for three passes."""
    folder = tmp_path_factory.mktemp("small")
    train_small(folder / "run")
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


def tool(name: str, package: str) -> str:
    """Return a program's path; skip where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here; Debian's package {package} has it")
    return found
