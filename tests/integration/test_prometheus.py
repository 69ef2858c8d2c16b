"""A real Prometheus scrapes the daemon, and promtool finds nothing to mend."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
from brokers import Tansu
from conftest import tool
from daemons import Daemon, Topics, reading, until

from training.demo.broker import free_port

pytestmark = pytest.mark.broker

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: detector
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def ask(port: int, query: str) -> list[float]:
    url = f"http://127.0.0.1:{port}/api/v1/query?query={query}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            result = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return [float(sample["value"][1]) for sample in result]


def test_a_real_prometheus_scrapes_it_and_promtool_is_content(
    tansu: Tansu, small_model: Path, tmp_path: Path
) -> None:
    prometheus, promtool = tool("prometheus", "prometheus"), tool("promtool", "prometheus")
    topics = Topics(tansu.bootstrap_servers).create()
    with Daemon(small_model, topics, tmp_path) as daemon:
        daemon.ready()
        topics.write([(b"pump", reading(1_760_000_000 + t, {"flow": 20})) for t in range(7)])
        topics.write([(b"pump", b"nonsense")])
        until(lambda: daemon.metric("detector_records_total") == 8, "all read")
        status, body = daemon.get("/metrics")
        assert status == 200
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=body, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")

        port = free_port()
        config = tmp_path / "prometheus.yml"
        config.write_text(CONFIG.format(port=daemon.port))
        command = [
            prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        scraper = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            until(lambda: ask(port, "detector_readings_total") == [7.0], "the counter, scraped")
            until(lambda: ask(port, "up") == [1.0], "the target, up")
            assert ask(port, "sum(detector_dead_letters_total)") == [1.0]
            assert ask(port, "detector_broker_connected") == [1.0]
        finally:
            scraper.terminate()
            scraper.wait()


def test_no_metric_names_a_stream(tansu: Tansu, small_model: Path, tmp_path: Path) -> None:
    topics = Topics(tansu.bootstrap_servers).create()
    with Daemon(small_model, topics, tmp_path) as daemon:
        daemon.ready()
        topics.write([(b"a-very-special-stream", reading(1_760_000_000, {"flow": 20}))])
        until(lambda: daemon.metric("detector_readings_total") == 1, "it was scored")
        assert "special" not in daemon.get("/metrics")[1]
