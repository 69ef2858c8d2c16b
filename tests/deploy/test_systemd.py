"""The unit: systemd finds nothing to mend, little is exposed, and a real systemd runs it."""

import json
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from booted import Booted
from brokers import Tansu
from conftest import ROOT
from daemons import Daemon, Topics, story, until
from relays import SECRET, Receiver, alert, tell

from detector.settings import Delivery, Http
from training.demo.broker import free_port

UNIT = ROOT / "deploy" / "systemd" / "detector@.service"
RELAY = UNIT.with_name("detector-relay@.service")
EXPOSURE = 15  # tenths; systemd calls up to 2 "OK"

PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")

SETTINGS = """
[kafka]
bootstrap_servers = "{servers}"
topic = "{readings}"
group = "group-{readings}"
session_timeout_s = 6
[output]
alerts_topic = "{alerts}"
[http]
port = {port}
"""
IMPATIENT = """
[Service]
WatchdogSec=3
TimeoutAbortSec=1
RestartSec=1
"""


def systemd_analyze(*arguments: str | Path) -> tuple[int, str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here; Debian's package systemd has it")
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def value(name: str, unit: Path = UNIT) -> str:
    found = re.search(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)
    assert found, name
    return found[1]


def installation() -> str:
    """Return what the page says to do, but for what pip does."""
    block = re.search(r"### systemd.*?```sh\n(.*?)```", PAGE, re.DOTALL)
    assert block
    lines = block[1].splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["python3", "/opt/detector/bin/pip"]
    return "\n".join(lines[2:])


@pytest.mark.parametrize("file", [UNIT, RELAY], ids=lambda file: file.name)
def test_systemd_finds_nothing_to_mend(file: Path, tmp_path: Path) -> None:
    unit = tmp_path / file.name
    # What is not installed here cannot be verified: any program stands in for it.
    unit.write_text(file.read_text().replace("/opt/detector/bin/detector", "/bin/true"))
    assert systemd_analyze("verify", unit) == (0, "")


@pytest.mark.parametrize("file", [UNIT, RELAY], ids=lambda file: file.name)
def test_little_is_exposed(file: Path) -> None:
    code, said = systemd_analyze("security", "--offline=true", f"--threshold={EXPOSURE}", file)
    assert code == 0, said


def test_a_relay_is_confined_as_the_daemon_is() -> None:
    confined = UNIT.read_text().partition("# Nothing is written")[2].partition("# It speaks")
    assert confined[1]
    assert confined[0] in RELAY.read_text()


def test_a_relays_watchdog_and_its_shutdown_come_before_systemds() -> None:
    requests_s = 2 * 60  # of relay.timeout_s at its most
    assert float(value("WatchdogSec", RELAY)) > Delivery().watchdog_s > requests_s
    assert float(value("TimeoutStopSec", RELAY)) > requests_s + Delivery().shutdown_timeout_s
    assert float(value("TimeoutStartSec", RELAY)) > Http().stall_s
    assert value("RestartPreventExitStatus", RELAY) == "2"


def test_its_own_watchdog_and_its_own_shutdown_come_before_systemds() -> None:
    delivery = Delivery()
    assert float(value("WatchdogSec")) > delivery.watchdog_s
    assert float(value("TimeoutStopSec")) > delivery.shutdown_timeout_s
    assert float(value("TimeoutStartSec")) > Http().stall_s
    assert value("RestartPreventExitStatus") == "2 3"


@pytest.mark.broker
def test_a_real_socket_hears_how_it_starts_and_stops(
    tansu: Tansu, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = Topics(tansu.bootstrap_servers).create()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with Daemon(small_model, topics, tmp_path) as daemon:
            told = [systemd.recv(1000).decode().splitlines()]
            while "READY=1" not in told[-1]:
                told.append(systemd.recv(1000).decode().splitlines())
            assert told[-1] == ["WATCHDOG=1", "READY=1", "STATUS=scoring"]
            assert all("EXTEND_TIMEOUT_USEC=60000000" in lines for lines in told[:-1])
            assert "STATUS=the broker does not answer" in told[0]
            waits = "STATUS=waiting for the consumer group to assign partitions"
            assert [lines[-1] for lines in told].count(waits) == 1
            assert systemd.recv(1000) == b"WATCHDOG=1"
            daemon.process.send_signal(signal.SIGTERM)
            last = b""
            while last != b"STOPPING=1":
                assert last in {b"", b"WATCHDOG=1"}
                last = systemd.recv(1000)
            assert daemon.process.wait(timeout=30) == 0


@pytest.mark.broker
def test_a_real_systemd_starts_it_guards_it_and_lets_it_go(
    tansu: Tansu, small_model: Path, tmp_path: Path
) -> None:
    topics, port = Topics(tansu.bootstrap_servers).create(), free_port()
    files = {"/checkout/deploy": ROOT / "deploy", "/checkout/model.onnx": small_model}
    settings = SETTINGS.format(
        servers=topics.servers, readings=topics.readings, alerts=topics.alerts, port=port
    )
    with Booted(files) as machine:
        machine.write("/checkout/pumps.toml", settings)
        machine.write("/etc/systemd/system/detector@pumps.service.d/impatient.conf", IMPATIENT)
        machine.run("sh", "-ec", f"cd /checkout\n{installation()}")
        assert machine.show("detector@pumps", "UnitFileState") == "enabled"
        assert machine.show("detector@pumps", "StatusText") == "scoring"
        _is_confined(machine)
        assert "onnxruntime" not in machine.journal, "it misses something that is hidden from it"

        topics.write(story(2, 120, broken=(1, 60, 90)))
        opened = json.loads(topics.read(topics.alerts, 1)[0][1])
        assert (opened["stream"], opened["status"]) == ("pump-1", "open")

        machine.write("/etc/detector/pumps.toml", f"{settings}\n[log]\nlevel = 'debug'\n")
        assert machine.systemctl("reload", "detector@pumps") == 0
        until(lambda: '"new": "log.level"' in machine.journal, "settings are read again")

        # It stands still: systemd ends it and starts it again, and it has its state.
        machine.run("systemctl", "kill", "--signal=SIGSTOP", "detector@pumps")
        until(lambda: machine.show("detector@pumps", "NRestarts") == "1", "a restart")
        assert "Watchdog timeout" in machine.journal
        until(lambda: machine.show("detector@pumps", "StatusText") == "scoring", "ready again")
        assert "state restored" in machine.journal

        assert machine.systemctl("stop", "detector@pumps") == 0
        assert machine.show("detector@pumps", "Result") == "success"
        assert '"why": "asked to"' in machine.journal


@pytest.mark.broker
def test_a_real_systemd_does_not_start_again_what_is_configured_wrong(tansu: Tansu) -> None:
    with Booted({f"/etc/systemd/system/{UNIT.name}": UNIT}) as machine:
        machine.write("/etc/detector/pumps.toml", "[kafka]\ntopics = 'readings'\n", 0o600)
        assert machine.systemctl("start", "detector@pumps") != 0
        assert "kafka.topics (DETECTOR_KAFKA__TOPICS): Extra inputs" in machine.journal
        assert machine.show("detector@pumps", "ActiveState") == "failed"
        assert machine.show("detector@pumps", "ExecMainStatus") == "2"
        assert machine.show("detector@pumps", "NRestarts") == "0"


@pytest.mark.broker
def test_a_real_systemd_runs_a_relay_whose_secret_is_a_credential(tansu: Tansu) -> None:
    topics, receiver = Topics(tansu.bootstrap_servers).create(), Receiver()
    settings = SETTINGS.format(
        servers=topics.servers, readings=topics.readings, alerts=topics.alerts, port=0
    )
    settings += f"""
[relay]
to = "webhook"
url = "{receiver.url}"
secret_file = "webhook-secret"
from_beginning = true
port = {free_port()}
"""
    unit = "detector-relay@pumps"
    with Booted({f"/etc/systemd/system/{RELAY.name}": RELAY}) as machine:
        machine.write("/etc/detector/pumps.toml", settings, 0o600)
        machine.write("/etc/detector/webhook-secret", SECRET, 0o600)
        machine.write(
            f"/etc/systemd/system/{unit}.service.d/secret.conf",
            "[Service]\nLoadCredential=webhook-secret:/etc/detector/webhook-secret\n",
        )
        machine.run("systemctl", "daemon-reload")
        assert machine.systemctl("start", unit) == 0, machine.journal
        assert machine.show(unit, "StatusText") == "relaying"
        tell(topics, alert(1))
        until(lambda: receiver.seen() == [("pump-1", "open")], "the receiver hears of it")
        assert machine.systemctl("stop", unit) == 0
        assert machine.show(unit, "Result") == "success"
        assert '"why": "asked to"' in machine.journal
    receiver.close()


def _is_confined(machine: Booted) -> None:
    """Nobody's user, no capability, no new one, system calls filtered; and it runs."""
    pid = machine.show("detector@pumps", "MainPID")
    lines = machine.run("cat", f"/proc/{pid}/status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert int(status["Uid"][0]) >= 61184  # systemd's range of dynamic users
    assert int(status["CapBnd"][0], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
