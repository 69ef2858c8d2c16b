"""compose.yaml: compose reads it, and what it starts works together, as processes of ours."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import ApacheKafka, steady_port
from conftest import ROOT
from daemons import Daemon, Topics, until

from detector.settings import describe
from detector.topics import topics_of
from training.demo import live

FILE = ROOT / "deploy" / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """What compose itself makes of the file."""
    command = [Path(sys.executable).parent / "docker-compose", "--file", FILE, "config"]
    done = subprocess.run([*command, "--format=json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout)["services"])


class ComposedKafka(ApacheKafka):
    """An Apache Kafka with the configuration that the file gives its own, but for addresses."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__()
        text = ""
        for name, value in environment.items():  # as the image's start script does
            text += f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}\n"
        controller, outside = steady_port(), steady_port()
        for theirs, ours in (
            ("//:9092", f"//127.0.0.1:{self.port}"), ("kafka:9092", self.bootstrap_servers),
            ("//:9093", f"//127.0.0.1:{outside}"), ("localhost:9095", f"127.0.0.1:{outside}"),
            ("//:9094", f"//127.0.0.1:{controller}"), ("kafka:9094", f"127.0.0.1:{controller}"),
            ("/var/lib/kafka", self._folder.name),
        ):  # fmt: skip
            assert theirs in text, theirs
            text = text.replace(theirs, ours)
        self._properties.write_text(text)


@pytest.fixture(scope="module")
def kafka(services: dict[str, Any]) -> Iterator[ApacheKafka]:
    if "KAFKA_HOME" not in os.environ:
        pytest.skip("KAFKA_HOME does not point at an Apache Kafka")
    broker = ComposedKafka(services["kafka"]["environment"])
    broker.start()
    yield broker
    broker.close()


def test_every_file_that_is_mounted_is_there(services: dict[str, Any]) -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            source = Path(volume.get("source", ""))
            assert volume["type"] == "volume" or source.exists(), source
        if "build" in service:
            build = service["build"]
            assert (Path(build["context"]) / build["dockerfile"]).exists()


def test_nobody_outside_reaches_a_port_and_ours_are_confined(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    for name in ("detector", "fleet", "relay"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_its_settings_are_settings(services: dict[str, Any]) -> None:
    known = {variable for variable, _, _ in describe()}
    for name in ("detector", "relay"):
        assert services[name]["environment"].keys() <= known


@pytest.mark.broker
def test_the_fleet_is_heard_through_its_kafka(
    services: dict[str, Any], kafka: ApacheKafka, small_model: Path, tmp_path: Path
) -> None:
    servers = kafka.bootstrap_servers
    healthy = " ".join(services["kafka"]["healthcheck"]["test"][1:])
    healthy = healthy.replace("/opt/kafka", os.environ["KAFKA_HOME"]).replace("kafka:9092", servers)
    subprocess.run(["sh", "-c", healthy], check=True, stdout=subprocess.DEVNULL)

    command = [word.replace("kafka:9092", servers) for word in services["fleet"]["command"]]
    fleet = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    topics = Topics(servers)
    topics.readings, topics.alerts, topics.dead = "readings", "alerts", "dead-letters"
    ours = {"detector_model", "detector_kafka__bootstrap_servers"}
    settings = {
        name.lower().removeprefix("detector_"): value
        for name, value in services["detector"]["environment"].items()
        if name.lower() not in ours
    }
    try:
        until(lambda: _readings(servers), "the fleet's topics")
        with Daemon(small_model, topics, tmp_path, **settings) as daemon:
            daemon.ready()
            past = live.LEAD_S * 20
            until(lambda: daemon.metric("detector_readings_total") > past, "its past, and more")
            assert daemon.metric("detector_dead_letters_total") == 0
            assert daemon.metric("detector_late_readings_total") == 0
            assert json.loads(topics.read(topics.alerts, 1)[0][1])["status"] == "open"
            assert daemon.stop() == 0
    finally:
        fleet.terminate()
        said, _ = fleet.communicate()
    assert "breaks: " in said


def _readings(servers: str) -> bool:
    return {"readings", "alerts"} <= set(topics_of(servers))


def test_a_round_of_the_fleet_breaks_every_pump_in_turn() -> None:
    faults = live.faults()
    assert [fault.start for fault in faults] == sorted(fault.start for fault in faults)
    assert faults[-1].stop <= live.ROUND_S
    assert len({fault.pump for fault in faults}) > len(faults) / 4
