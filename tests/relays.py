"""The relay as a process of its own, alerts for it, and places to hand them on to."""

import json
import shutil
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from conftest import tool
from daemons import Daemon, Topics, until

from detector.emit import KafkaSink
from detector.messages import alert_message
from detector.records import Alert, ChannelValue, Partition, Severity, Status
from training.demo.broker import free_port

SECRET = "whsec_" + "bm90IGEgc2VjcmV0LCBidXQgbG9uZyBlbm91Z2g="
OPENED_US = 1_700_000_000_000_000


def alert(n: int, status: Status = "open", **changes: Any) -> Alert:
    """Return a message about the n-th alert, of the n-th stream."""
    severity: Severity = "critical" if status == "update" else "warning"
    one = Alert(
        id=str(uuid.UUID(int=n)), stream=f"pump-{n}", status=status, kind="state",
        severity=severity, opened_us=OPENED_US, at_us=OPENED_US + 1_500_000, score=4.25,
        probability=1e-4, threshold=3.0,
        channels=(
            ChannelValue("flow", "l/min", 25.99, 22.85, -5.0, 0.75),
            ChannelValue("temp", "°C", None, 20.0, 0.0, 0.25),
        ),
        peak=6.5, cause="normal", model="pumps", version="0" * 64,
        partition=Partition("readings", 3), offset=42,
    )  # fmt: skip
    return replace(one, **changes)


def tell(topics: Topics, *alerts: Alert) -> None:
    """Write messages to the topic of alerts, as the daemon does."""
    sink = KafkaSink(topics.servers, [])
    sink.send([alert_message(one, topics.alerts) for one in alerts])
    sink.close()


class Relay(Daemon):
    """`detector relay` with settings for a test."""

    def __init__(self, topics: Topics, folder: Path, **settings: object) -> None:
        port = free_port()
        log = folder / f"relay-{port}.log"
        ours = {"relay__port": port, "relay__from_beginning": True, "relay__timeout_s": 5}
        command = (sys.executable, "-m", "detector", "relay")
        super().__init__(Path("none"), topics, folder, log=log, command=command, **ours | settings)
        self.port = port


class Receiver:
    """A webhook's other end: notes what it is sent, and answers as it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[int], tuple[int, dict[str, str]]] = lambda _: (204, {})
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?plant=7"

    def start(self) -> None:
        receiver = self

        class Taking(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append(({"path": self.path, **headers}, body))
                status, extra = receiver.answer(len(receiver.requests))
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Taking)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]

    def seen(self) -> list[tuple[str, str]]:
        """Return stream and status of each, in the order they came."""
        return [(e["data"]["stream"], e["data"]["status"]) for e in self.events()]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Alertmanager:
    """A real one, on loopback, that may be stopped and started again."""

    def __init__(self, folder: Path, people: Receiver) -> None:
        """Let it tell `people`, two seconds after an alert began."""
        self.port = free_port()
        self._folder = folder
        self._config = folder / "alertmanager.yml"
        waits = "group_wait: 2s, group_interval: 1s, group_by: [stream]"
        self._config.write_text(
            f"route: {{receiver: people, {waits}}}\n"
            f"receivers: [{{name: people, webhook_configs: [{{url: '{people.url}'}}]}}]\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = tool("prometheus-alertmanager", "prometheus-alertmanager")
        with (self._folder / "alertmanager.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, f"--config.file={self._config}", "--cluster.listen-address=",
                 f"--storage.path={self._folder / 'alertmanager'}",
                 f"--web.listen-address=127.0.0.1:{self.port}"],
                stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: self.alerts() is not None, "Alertmanager answers")

    def stop(self) -> None:
        """Kill it; it forgets all alerts."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder / "alertmanager", ignore_errors=True)

    def alerts(self) -> list[dict[str, Any]] | None:
        """Return those that fire now; None where it does not answer."""
        try:
            address = f"{self.url}/api/v2/alerts"
            with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - ours
                return list(json.load(answer))
        except OSError:
            return None

    def firing(self) -> set[tuple[str, str]]:
        """Return stream and severity of those that fire."""
        labels = [one["labels"] for one in self.alerts() or []]
        return {(one["stream"], one["severity"]) for one in labels}
