"""A daemon that people watch: a fleet that breaks, and the Prometheus, Alertmanager and Grafana of
`deploy/` around it."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from conftest import ROOT, tool
from daemons import Topics, reading, until

from detector.emit import KafkaSink
from detector.records import Message
from training.demo.broker import free_port
from training.demo.fleet import CHANNELS, Fault, break_down, drop_some, simulate

DEPLOY = ROOT / "deploy"
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--no-first-run", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--force-device-scale-factor=1", "--enable-logging=stderr",
]  # fmt: skip


def get(url: str) -> Any:
    """Return what a server answers, as JSON; None where it does not."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
            return json.load(answer)
    except (urllib.error.URLError, OSError):
        return None


class Fleet(threading.Thread):
    """Pumps that send a reading a second, from `past_s` ago on and then as time goes by.

    Some break, and some of their records are no readings at all.
    """

    BAD = (b"", b"nonsense", b'{"ts": 1, "values": {"flow": 1}}', b'{"values": {}}')

    def __init__(
        self, topics: Topics, pumps: int, past_s: int, faults: list[Fault], bad_share: float = 0.01
    ) -> None:
        super().__init__(daemon=True)
        self._topics, self._past_s, self._bad_share = topics, past_s, bad_share
        self._x = simulate(pumps, past_s + 3600, seed=7)
        for seed, fault in enumerate(faults):
            break_down(self._x, fault, seed)
        self._x = drop_some(self._x, seed=8).round(4)
        self._random = np.random.default_rng(9)
        self._over = threading.Event()

    def run(self) -> None:
        sink, sent = KafkaSink(self._topics.servers, []), 0
        start_s = time.time() - self._past_s
        while not self._over.wait(0.25):
            due = min(int(time.time() - start_s), self._x.shape[1])
            sink.send([m for t in range(sent, due) for m in self._second(t, start_s + t)])
            sent = due
        sink.close()

    def _second(self, t: int, at_s: float) -> list[Message]:
        said = []
        for pump, row in enumerate(self._x[:, t].tolist()):
            values = {
                name: None if value != value else value  # noqa: PLR0124 - NaN
                for name, value in zip(CHANNELS, row, strict=True)
            }
            value = reading(round(at_s, 3), values)
            if self._random.random() < self._bad_share:
                value = self._random.choice([*self.BAD, reading(at_s - 3600, values)])
            said.append(Message(self._topics.readings, b"pump-%02d" % pump, bytes(value)))
        return said

    def stop(self) -> None:
        self._over.set()
        self.join()


class Webhook:
    """Takes what Alertmanager sends."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        told = self.told

        class Taking(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.extend((self.path, alert) for alert in json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Monitoring:
    """Prometheus, Alertmanager and Grafana on what `deploy/` says, on loopback and in a hurry."""

    def __init__(self, folder: Path, stack: ExitStack, *, hurry: bool = True) -> None:
        self._folder, self._stack, self._hurry = folder, stack, hurry
        self.prometheus = self.alertmanager = self.grafana = 0
        self.webhook = Webhook()
        stack.callback(self.webhook.close)

    def scrape(self, *ports: int, relay: int) -> None:
        """Start Prometheus on daemons at these ports, and a relay at its."""
        places = iter((ports, (relay,)))

        def listed(_: re.Match[str]) -> str:
            targets = json.dumps([f"127.0.0.1:{port}" for port in next(places)])
            return f"static_configs: [{{targets: {targets}}}]\n"

        config = (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
        config = config.replace("alertmanager:9093", f"127.0.0.1:{self.alertmanager}")
        config, found = re.subn(r"dns_sd_configs:\n( {6}.*\n)+", listed, config)
        assert found == 2
        rules = (DEPLOY / "prometheus" / "rules.yml").read_text("utf-8")
        if self._hurry:
            config = config.replace("15s", "1s")
            rules = re.sub(r"^ *for: .*\n", "", rules, flags=re.MULTILINE)
        self._write("prometheus.yml", config.replace("15s", "5s"))
        self._write("rules.yml", rules)
        self.prometheus = free_port()
        self._start(
            tool("prometheus", "prometheus"), f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'tsdb'}", "--enable-feature=exemplar-storage",
            f"--web.listen-address=127.0.0.1:{self.prometheus}",
        )  # fmt: skip
        until(lambda: len(self.ask("up == 1")) > len(ports), "Prometheus scrapes")

    def route(self) -> None:
        """Start Alertmanager; what it says comes to the webhook."""
        config = (DEPLOY / "prometheus" / "alertmanager.yml").read_text("utf-8")
        config = config.replace("127.0.0.1:9099", f"127.0.0.1:{self.webhook.port}")
        config = re.sub(r"group_wait: \d+s", "group_wait: 0s", config)
        self.alertmanager = free_port()
        self._start(
            tool("prometheus-alertmanager", "prometheus-alertmanager"),
            f"--config.file={self._write('alertmanager.yml', config)}",
            f"--storage.path={self._folder / 'alertmanager'}", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{self.alertmanager}",
        )  # fmt: skip
        url = f"http://127.0.0.1:{self.alertmanager}/api/v2/status"
        until(lambda: get(url) is not None, "Alertmanager answers")

    def draw(self, start: Path, uids: list[str]) -> None:
        """Start Grafana with the dashboards provisioned."""
        folder, boards = self._folder / "provisioning", self._folder / "dashboards"
        shutil.copytree(DEPLOY / "grafana" / "provisioning", folder)
        shutil.copytree(DEPLOY / "grafana" / "dashboards", boards)
        for path in boards.iterdir() if self._hurry else ():
            text = path.read_text("utf-8")  # bars of a minute would want some minutes
            path.write_text(text.replace('"interval": "1m"', '"interval": "5s"'), "utf-8")
        for path in folder.rglob("*.yaml"):
            text = path.read_text("utf-8").replace(
                "http://prometheus:9090", f"http://127.0.0.1:{self.prometheus}"
            )
            text = text.replace("/etc/grafana/dashboards", str(boards))
            path.write_text(text.replace("15s", "1s" if self._hurry else "5s"), encoding="utf-8")
        self.grafana = free_port()
        self._start(str(start), str(self.grafana), str(folder), str(self._folder / "grafana"))
        for uid in uids:
            url = f"http://127.0.0.1:{self.grafana}/api/dashboards/uid/{uid}"
            until(lambda url=url: get(url) is not None, f"Grafana has {uid}")  # type: ignore[misc]

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and values of a query's answer, now."""
        url = f"http://127.0.0.1:{self.prometheus}/api/v1/query?"
        told = get(url + urllib.parse.urlencode({"query": query}))
        if told is None:
            return []
        result = told["data"]["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    def exemplars(self, query: str) -> list[dict[str, str]]:
        """Return the labels of all exemplars of a query's series."""
        url = f"http://127.0.0.1:{self.prometheus}/api/v1/query_exemplars?"
        asked = {"query": query, "start": "0", "end": str(time.time() + 60)}
        told = get(url + urllib.parse.urlencode(asked)) or {"data": []}
        return [one["labels"] for series in told["data"] for one in series["exemplars"]]

    def look(self, uid: str, *options: str, size: str, budget_s: int = 10, query: str = "") -> str:
        """Open a dashboard in Chromium; return what the page became."""
        url = f"http://127.0.0.1:{self.grafana}/d/{uid}/x?orgId=1&kiosk&refresh={query}"
        done = subprocess.run(
            [tool("chromium", "chromium"), *QUIET, f"--user-data-dir={self._folder / 'profile'}",
             f"--window-size={size}", f"--virtual-time-budget={budget_s * 1000}",
             *(options or ["--dump-dom"]), url],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def _start(self, *command: str) -> None:
        log = self._stack.enter_context((self._folder / f"{Path(command[0]).name}.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log)
        self._stack.callback(_end, process)


def grafana_start() -> Path | None:
    """Return the program that starts a Grafana for tests, if there is one.

    GRAFANA_HOME names its folder; else it is looked for beside the repository.
    """
    home = os.environ.get("GRAFANA_HOME")
    unpack = ROOT / ".." / "shared" / "unpack.sh"
    if home is None and unpack.exists() and (unpack.parent / "grafana").is_dir():
        done = subprocess.run([unpack, "grafana"], capture_output=True, text=True, check=True)
        home = done.stdout.strip()
    return Path(home) / "start.sh" if home else None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
