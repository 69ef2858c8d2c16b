"""The image: small, nobody's, read-only, and an alert comes out of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Tansu
from conftest import ROOT
from containers import MODEL, Image
from daemons import Daemon, Topics, story

LARGEST = 350e6  # bytes, unpacked


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    made = Image()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/demo.Dockerfile"])
def test_hadolint_finds_nothing_to_mend(name: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", ROOT / name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_says_what_it_is_and_who_runs_it(image: Image) -> None:
    config = image.config
    assert config["User"] == "65532:65532"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "/livez" in config["Healthcheck"]["Test"][-1]
    assert f"DETECTOR_MODEL={MODEL}" in config["Env"]
    assert image.size < LARGEST, f"{image.size / 1e6:.0f} MB"


def test_it_holds_nothing_to_build_with_and_nothing_to_train_with(image: Image) -> None:
    if image.docker:
        pytest.skip("its files are looked at where buildah can mount them")
    root = Path(image.root)
    programs = {path.name for folder in ("bin", "usr/bin", "usr/local/bin", "opt/detector/bin")
                for path in (root / folder).glob("*")}  # fmt: skip
    assert not programs & {"cc", "gcc", "g++", "ld", "make", "pip", "training"}
    packages = {path.name for path in root.glob("opt/detector/lib/python3*/site-packages/*")}
    assert {"detector", "onnxruntime"} <= packages
    assert not packages & {"torch", "training", "pip", "pyarrow"}
    own = [path for path in root.glob("opt/detector/**/*") if path.lstat().st_uid != 0]
    assert own == []


@pytest.mark.broker
def test_an_alert_comes_out_of_it_and_it_stops_when_asked(
    image: Image, tansu: Tansu, small_model: Path, tmp_path: Path
) -> None:
    small_model.chmod(0o644)
    topics = Topics(tansu.bootstrap_servers).create()
    command = image.command(small_model)
    with Daemon(Path(MODEL), topics, tmp_path, command=command) as daemon:
        daemon.ready()
        assert _healthy(image, small_model, daemon.port)
        if not image.docker:
            _is_confined(daemon.process.pid)
        topics.write(story(2, 120, broken=(1, 60, 90)))
        opened = json.loads(topics.read(topics.alerts, 1)[0][1])
        assert (opened["stream"], opened["status"]) == ("pump-1", "open")
        assert daemon.stop(signal.SIGTERM) == 0
        assert not _healthy(image, small_model, daemon.port)


def _healthy(image: Image, model: Path, port: int) -> bool:
    """Run the image's own health check in it."""
    check = image.config["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    command = image.command(model)
    if image.docker:
        command[-1:-1] = [f"--env=DETECTOR_HTTP__PORT={port}", f"--entrypoint={check[1]}"]
        command += check[2:]
    else:
        command[-2:] = check[1:]
    environment = {**os.environ, "DETECTOR_HTTP__PORT": str(port)}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return done.returncode == 0


def _is_confined(pid: int) -> None:
    status = Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":\t", 1) for line in status.splitlines())
    assert lines["Uid"].split()[0] == "65532"
    assert int(lines["CapEff"], 16) == int(lines["CapBnd"], 16) == 0
    assert lines["NoNewPrivs"] == "1"
    root = next(
        line for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        if line.split()[4] == "/"
    )  # fmt: skip
    assert "ro" in root.split()[5].split(",")
