"""The probes and the metrics, over real HTTP; readiness, to a real socket."""

import base64
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes import ManualClock
from prometheus_client import CollectorRegistry, Counter

from detector.expose import Health, Server, notifier
from detector.protection import HttpSecurity


@dataclass
class Daemon:
    """What a daemon shows of itself, without the daemon."""

    clock: ManualClock = field(default_factory=ManualClock)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    told: list[str] = field(default_factory=list)
    security: HttpSecurity | None = None

    def __post_init__(self) -> None:
        self.health = Health(self.clock, 60, self.told.append)
        self.server = Server("127.0.0.1", 0, self.registry, self.health, self.security)

    def get(self, path: str, authorization: str = "") -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.server.port}{path}"
        asked = urllib.request.Request(url, headers={"Authorization": authorization})
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 - http, as above
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    yield made
    made.server.close()


def test_it_is_live_until_the_loop_stands_still(daemon: Daemon) -> None:
    daemon.health.beat()
    assert daemon.get("/livez") == (200, "the loop went round 0.0 s ago; the limit is 60 s\n")
    daemon.clock.seconds += 59.5
    assert daemon.get("/livez")[0] == 200
    daemon.clock.seconds += 0.5
    assert daemon.get("/livez") == (503, "the loop went round 60.0 s ago; the limit is 60 s\n")
    daemon.health.beat()
    assert daemon.get("/livez")[0] == 200


def test_it_is_ready_once_connected_and_assigned(daemon: Daemon) -> None:
    assert daemon.get("/readyz") == (503, "the broker does not answer\n")
    daemon.health.connected = True
    assert daemon.get("/readyz")[0] == 503
    assert "assign" in daemon.get("/readyz")[1]
    daemon.health.assigned = True
    assert daemon.get("/readyz") == (200, "scoring\n")


def test_a_broker_that_is_away_is_no_reason_to_be_killed(daemon: Daemon) -> None:
    daemon.health.assigned = daemon.health.connected = True
    daemon.health.connected = False
    daemon.health.beat()
    assert (daemon.get("/readyz")[0], daemon.get("/livez")[0]) == (503, 200)


def test_metrics_are_what_the_registry_holds(daemon: Daemon) -> None:
    Counter("detector_pumps", "Pumps.", registry=daemon.registry).inc(3)
    status, body = daemon.get("/metrics")
    assert status == 200
    assert "detector_pumps_total 3.0\n" in body
    assert "python_info" not in body


@pytest.mark.parametrize("path", ["/", "/live", "/livez/", "/metrics/x"])
def test_other_paths_lead_nowhere_and_say_which_exist(daemon: Daemon, path: str) -> None:
    assert daemon.get(path) == (404, "/metrics /livez /readyz\n")


def test_a_client_that_says_nothing_does_not_hold_the_server(daemon: Daemon) -> None:
    daemon.health.beat()
    with socket.create_connection(("127.0.0.1", daemon.server.port)):
        assert daemon.get("/livez")[0] == 200


def test_a_port_that_is_taken_is_an_error(daemon: Daemon) -> None:
    with pytest.raises(OSError, match="in use"):
        Server("127.0.0.1", daemon.server.port, daemon.registry, daemon.health)


def test_every_beat_feeds_the_watchdog() -> None:
    clock, told = ManualClock(), list[str]()
    health = Health(clock, 60, told.append)
    for _ in range(2):
        clock.seconds += 5
        health.beat()
        assert health.beat_s == clock.seconds
    assert all("WATCHDOG=1" in message.splitlines() for message in told)


def test_it_asks_for_time_to_start_until_it_is_ready_and_says_why_once() -> None:
    told = list[str]()
    health = Health(ManualClock(), 60, told.append)
    more = "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000"

    def said() -> str:
        health.beat()
        return told[-1]

    assert said() == f"{more}\nSTATUS=the broker does not answer"
    assert said() == more
    health.connected = health.assigned = True
    health.restoring = 3
    assert said() == f"{more}\nSTATUS=restoring the state of 3 partitions"
    health.restoring = 0
    assert said() == "WATCHDOG=1\nREADY=1\nSTATUS=scoring"
    assert said() == "WATCHDOG=1"
    health.restoring = 1  # a rebalance: it has started, and stays so
    assert said() == "WATCHDOG=1\nSTATUS=restoring the state of 1 partitions"


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_states_reach_systemds_socket(tmp_path: Path, *, abstract: bool) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(5)
        systemd.bind(f"\0{path}" if abstract else path)
        notify = notifier(f"@{path}" if abstract else path)
        for state in ("READY=1", "STOPPING=1"):
            notify(state)
            assert systemd.recv(100) == state.encode()


@pytest.mark.parametrize("address", [None, ""])
def test_where_nobody_listens_nothing_is_told(address: str | None) -> None:
    notifier(address)("READY=1")


def header(kind: str, text: str) -> str:
    return f"{kind} {base64.b64encode(text.encode()).decode() if kind == 'Basic' else text}"


@pytest.mark.parametrize(
    ("settings", "good", "bad"),
    [
        ("password", header("Basic", "prom:horse"), header("Basic", "prom:house")),
        ("password", header("basic", "cHJvbTpob3JzZQ=="), header("Bearer", "horse")),
        ("token", header("Bearer", "horse"), header("Bearer", "house")),
        ("token", header("Bearer", "horse"), header("Basic", "prom:horse")),
        ("token", header("Bearer", "horse"), "Bearer \xff"),
    ],
)
def test_metrics_are_for_those_who_know_the_secret_and_probes_for_all(
    tmp_path: Path, settings: str, good: str, bad: str
) -> None:
    file = tmp_path / "secret"
    file.write_text("horse\n")
    security = (
        HttpSecurity(username="prom", password_file=file)
        if settings == "password"
        else HttpSecurity(token_file=file)
    )
    made = Daemon(security=security)
    try:
        made.health.beat()
        assert made.get("/livez")[0] == 200
        assert made.get("/readyz")[0] == 503
        for refused in ("", bad, "Basic", "Basic ?"):
            status, said = made.get("/metrics", refused)
            assert (status, "horse" in said) == (401, False)
        assert made.get("/metrics", good)[0] == 200
        file.write_text("other")  # rotated
        assert made.get("/metrics", good)[0] == 401
        file.unlink()
        assert made.get("/metrics", good)[0] == 401
    finally:
        made.server.close()


def test_a_port_with_a_certificate_speaks_tls_alone(tmp_path: Path) -> None:
    authority = pytest.importorskip("secured").Authority(tmp_path)
    made = Daemon(security=HttpSecurity(certfile=authority.issue("detector")))
    try:
        with socket.create_connection(("127.0.0.1", made.server.port)):  # says nothing
            url = f"https://localhost:{made.server.port}/metrics"
            trusting = ssl.create_default_context(cafile=authority.file)
            with urllib.request.urlopen(url, timeout=5, context=trusting) as answer:
                assert answer.status == 200
            with pytest.raises(OSError, match=r"."):
                made.get("/metrics")
            authority.issue("detector", days=-1)  # the file was replaced
            with pytest.raises(urllib.error.URLError, match="expired"):
                urllib.request.urlopen(url, timeout=5, context=trusting)
    finally:
        made.server.close()
