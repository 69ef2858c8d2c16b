"""The whole path in two minutes: train, start the daemon, break pumps, watch the alerts."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from threading import Event

from rich.console import Console

from detector.clock import SystemClock
from detector.consumer import KafkaSource
from detector.emit import KafkaSink
from detector.group import Subscription
from detector.topics import create_topics
from training.__main__ import main as train
from training.demo.broker import TansuBroker, free_port
from training.demo.fleet import Fault, break_down, drop_some, schedule, simulate
from training.demo.story import PARTITIONS, PUMPS, TOPIC, messages, write_history
from training.demo.tally import Tally

SPEED = 60  # simulated seconds a second
LEAD_S = 600  # simulated seconds before the first fault
READY_S = 60.0
DRAIN_S = 10.0
SILENCE_S = 3.0  # without a new alert after the last reading: the daemon has read it all

console = Console(highlight=False)
interrupted = Event()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 unless something of it does not work."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=75, help="how long to play (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="%(default)s")
    parser.add_argument(
        "--only-train", action="store_true", help="unless its model is there, then end"
    )
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.only_train:
        return 0 if (options.folder / "run" / "model.onnx").exists() else _train(options.folder)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        with ExitStack() as stack:
            return _demo(options.folder, options.seconds, stack)
    except KeyboardInterrupt:
        console.print("\nstopped")
        return 0


def _interrupt(*_: object) -> None:
    interrupted.set()
    raise KeyboardInterrupt


def _check_interrupted() -> None:
    """Raise again what the Kafka client swallows while it connects."""
    if interrupted.is_set():
        raise KeyboardInterrupt


def _demo(folder: Path, seconds: float, stack: ExitStack) -> int:
    code = _train(folder)
    if code:
        return code
    console.rule("2. start a broker and the daemon")
    broker = stack.enter_context(TansuBroker())
    create_topics(broker.bootstrap_servers, [TOPIC], PARTITIONS)
    create_topics(broker.bootstrap_servers, ["alerts", "dead-letters"], 1)
    port = _start_daemon(folder, broker.bootstrap_servers, stack)
    console.print(f"broker  {broker.bootstrap_servers} (Tansu, in memory)")
    console.print(f"metrics http://127.0.0.1:{port}/metrics")
    console.rule(f"3. play {PUMPS} pumps at {SPEED} times their speed; some will break")
    return _play(broker.bootstrap_servers, seconds, stack)


def _train(folder: Path) -> int:
    console.rule("1. train on two hours of sixteen healthy pumps")
    return train(["fit", str(write_history(folder)), "--output", str(folder / "run")])


def _start_daemon(folder: Path, servers: str, stack: ExitStack) -> int:
    """Start the daemon as a process of its own; return the port of its metrics."""
    port = free_port()
    settings = {
        "DETECTOR_MODEL": str(folder / "run" / "model.onnx"),
        "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": servers,
        "DETECTOR_KAFKA__SESSION_TIMEOUT_S": "6",
        "DETECTOR_KAFKA__POLL_TIMEOUT_S": "0.2",
        "DETECTOR_HTTP__PORT": str(port),
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("DETECTOR_")}
    log = stack.enter_context((folder / "detector.log").open("wb"))
    command = [sys.executable, "-m", "detector", "run"]
    process = subprocess.Popen(  # noqa: S603 - our own module
        command, env=inherited | settings, stderr=log, start_new_session=True
    )
    stack.callback(_stop, process)
    console.print(f"detector run: process {process.pid}, log {folder / 'detector.log'}")
    deadline = time.monotonic() + READY_S
    while not _ready(port):
        _check_interrupted()
        if process.poll() is not None or time.monotonic() > deadline:
            said = (folder / "detector.log").read_text(errors="replace")[-2000:]
            msg = f"expected the daemon to be ready, saw exit code {process.poll()}:\n{said}"
            raise RuntimeError(msg)
        time.sleep(0.2)
    return port


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's OK
    except (urllib.error.URLError, OSError):
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    console.print(f"daemon stopped, exit code {code}")


def _play(servers: str, seconds: float, stack: ExitStack) -> int:
    length = max(int(seconds * SPEED), 1)
    x = simulate(PUMPS, length, seed=7)
    faults = schedule(PUMPS, length, min(LEAD_S, length // 4))
    for seed, fault in enumerate(faults):
        break_down(x, fault, seed)
    x = drop_some(x, seed=8)
    # The story ends now, so that no reading is from the future.
    start_s = int(time.time()) - length
    tally = Tally(faults, start_s)
    sink = KafkaSink(servers, [])
    stack.callback(sink.close)
    alerts = KafkaSource(
        Subscription(servers, "alerts", "demo", poll_timeout_s=0.1, session_timeout_s=6),
        SystemClock(),
    )
    stack.callback(alerts.close)
    began, sent = time.monotonic(), 0
    untold = list(faults)
    while sent < length:
        due = min(int((time.monotonic() - began) * SPEED), length)
        if due > sent:
            sink.send(messages(x[:, sent:due], start_s + sent))
            sent = due
        while untold and untold[0].start < sent:
            _tell_fault(untold.pop(0), start_s)
        _show(alerts, tally)
    last = time.monotonic()
    while time.monotonic() - max(last, tally.heard_s) < SILENCE_S + DRAIN_S * (not tally.count):
        _show(alerts, tally)
    console.rule()
    console.print(tally.closing(PUMPS * length / 86_400), soft_wrap=True)
    return 0


def _tell_fault(fault: Fault, start_s: int) -> None:
    console.print(f"{_clock(start_s + fault.start)} [dim]pump-{fault.pump:02} breaks: {fault.name}")


def _show(alerts: KafkaSource, tally: Tally) -> None:
    _check_interrupted()
    polled = alerts.poll()
    for partition in polled.assigned:
        alerts.start(partition, None)
    for chunk in polled.chunks:
        for value in filter(None, chunk.values):
            alert = json.loads(value)
            tally.note(alert)
            console.print(_line(alert), soft_wrap=True)


def _line(alert: dict[str, object]) -> str:
    """Put an alert into a line: stream, what, since when, the worst channels."""
    raw: Callable[[str], object] = alert.__getitem__
    at = datetime.fromisoformat(str(raw("at"))).timestamp()
    head = f"{_clock(at)} [bold]{raw('stream')}[/bold] "
    if alert["status"] == "close":
        return f"{head}[green]quiet again[/green] after {float(str(raw('duration_s'))):.0f} s"
    colour = "red" if alert["severity"] == "critical" else "yellow"
    opened = _clock(datetime.fromisoformat(str(raw("opened_at"))).timestamp())
    if alert["kind"] == "silent":
        return f"{head}[{colour}]{alert['severity']}[/{colour}] silent since {opened}"
    channels = raw("channels")
    assert isinstance(channels, list)  # noqa: S101 - by the alert's schema
    worst = "; ".join(
        f"{c['name']} {'missing' if c['value'] is None else format(c['value'], '.4g')} "
        f"{c['unit']}, expected {c['expected']:.4g}"
        for c in channels[:2]
    )
    what = "unlike itself" if alert["status"] == "open" else "worse"
    return f"{head}[{colour}]{alert['severity']}[/{colour}] {what} since {opened}: {worst}"


def _clock(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s).astimezone().strftime("%H:%M:%S")


if __name__ == "__main__":
    sys.exit(main())
