"""/metrics, /livez and /readyz over HTTP, and readiness to systemd."""

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from detector.clock import Clock
from detector.guard import Guard
from detector.protection import HttpSecurity
from detector.records import US_PER_S


def notifier(address: str | None) -> Callable[[str], None]:
    """Return what tells systemd READY=1, WATCHDOG=1 and so on, a line each (sd_notify).

    Args:
        address: Its socket, a path or an abstract name; None where nobody listens.
    """
    if not address:
        return lambda _: None
    where = "\0" + address[1:] if address.startswith("@") else address

    def notify(state: str) -> None:
        # A manager that does not listen any more is no reason to stop.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(state.encode(), where)

    return notify


@dataclass(slots=True)
class Health:
    """What the probes tell; the loop writes it, the server reads it.

    Attributes:
        stall_s: A loop that made no progress for this long is dead.
        notify: Tells the service manager.
        connected: The broker answers.
        registry: The schema registry answers, where one is needed.
        assigned: The group has given us our partitions (none is an answer, too).
        restoring: Partitions whose readings are not judged yet.
        beat_s: When the loop last made progress, on the clock's stopwatch.
        started: It was ready once: the service manager's start job is done.
        said: Why it was ready, or not, when the service manager was last told.
    """

    clock: Clock
    stall_s: float
    notify: Callable[[str], None]
    connected: bool = False
    registry: bool = True
    assigned: bool = False
    restoring: int = 0
    beat_s: float = 0.0
    started: bool = False
    said: str = ""

    def beat(self) -> None:
        """Note progress: waiting for a broker counts, standing still does not.

        Until it is ready for the first time, every beat asks the service manager for as much
        time to start as the next may take: neither an outage nor a long restore is a failure.
        """
        self.beat_s = self.clock.monotonic_s()
        ready, why = self.ready()
        lines = ["WATCHDOG=1"]
        if not self.started:
            lines.append("READY=1" if ready else f"EXTEND_TIMEOUT_USEC={self._patience_us}")
            self.started = ready
        if why != self.said:
            lines.append(f"STATUS={why}")
            self.said = why
        self.notify("\n".join(lines))

    def live(self) -> tuple[bool, str]:
        """Say whether the loop goes round, and why."""
        stood_s = self.clock.monotonic_s() - self.beat_s
        alive = stood_s < self.stall_s
        return alive, f"the loop went round {stood_s:.1f} s ago; the limit is {self.stall_s:g} s"

    def ready(self) -> tuple[bool, str]:
        """Say whether readings are being scored, and why not."""
        if not self.connected:
            return False, "the broker does not answer"
        if not self.registry:
            return False, "the schema registry does not answer"
        if not self.assigned:
            return False, "waiting for the consumer group to assign partitions"
        if self.restoring:
            return False, f"restoring the state of {self.restoring} partitions"
        return True, "scoring"

    @property
    def _patience_us(self) -> int:
        return int(self.stall_s * US_PER_S)


class _Threaded(ThreadingMixIn, WSGIServer):
    """A thread a connection: a client that says nothing holds nobody else up."""

    daemon_threads = True
    block_on_close = False
    guard = Guard(HttpSecurity())

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a connection; the handshake, too, holds up nobody else."""
        with self.guard.encrypt(request) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle is no event."""


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds; then a client that sends nothing is let go

    def log_message(self, *_: object) -> None:
        """Probes come every few seconds: no line for each."""


class Server:
    """Serves the probes and the metrics from a thread of its own.

    Example:
        >>> from detector.clock import SystemClock
        >>> from prometheus_client import CollectorRegistry
        >>> server = Server("127.0.0.1", 0, CollectorRegistry(), Health(SystemClock(), 60, print))
        >>> server.port > 0
        True
        >>> server.close()
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        health: Health,
        security: HttpSecurity | None = None,
    ) -> None:
        """Listen on `host` and `port` (0 takes a free one).

        The probes are open to all; the metrics, to those whom `security` lets in.

        Raises:
            OSError: If the address cannot be had, or the certificate not be used.
        """
        guard = Guard(security or HttpSecurity())
        metrics = make_wsgi_app(registry)
        probes: dict[str, Callable[[], tuple[bool, str]]] = {
            "/livez": health.live,
            "/readyz": health.ready,
        }

        def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics" and not guard.allows(environ.get("HTTP_AUTHORIZATION", "")):
                start("401 Unauthorized", [("WWW-Authenticate", guard.challenge)])
                return [b"expected the user or token that http.* names\n"]
            if path == "/metrics":
                answer: Iterable[bytes] = metrics(environ, start)
                return answer
            if path not in probes:
                start("404 Not Found", [("Content-Type", "text/plain")])
                return [b"/metrics /livez /readyz\n"]
            good, why = probes[path]()
            status = "200 OK" if good else "503 Service Unavailable"
            start(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{why}\n".encode()]

        self._server = make_server(host, port, app, _Threaded, _Quiet)
        self._server.guard = guard
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
