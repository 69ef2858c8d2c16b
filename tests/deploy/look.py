"""Plays a fleet that breaks, and takes pictures of the dashboards on it.

`make look MINUTES=15` writes build/look/*.png; it takes Prometheus, Chromium and a Grafana for
tests, which GRAFANA_HOME names. `--stay` waits for Enter and takes them again.
"""

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from brokers import Tansu
from daemons import Daemon, Topics
from relays import SECRET, Receiver, Relay
from watched import Fleet, Monitoring, grafana_start

from training.demo.fleet import FAULTS, Fault

PUMPS, PAST_S, LASTING_S = 60, 900, 240
LEAD_MINUTES = 3  # of catching up, which a picture need not show
# Dashboard -> size of its picture.
SIZES = {"detector-machines": "1280,1390", "detector-operation": "1280,3000"}


def faults(seconds: int) -> list[Fault]:
    """Return faults one after the other, and again, each on a pump of its own."""
    names = list(FAULTS)
    return [
        Fault(names[n % len(names)], (7 * n + 1) % PUMPS, start, start + LASTING_S)
        for n, start in enumerate(range(PAST_S // 2, seconds, 30))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--folder", type=Path, default=Path("build/look"))
    parser.add_argument("--stay", action="store_true", help="until Enter; then pictures again")
    options = parser.parse_args()
    start = grafana_start()
    if start is None:
        sys.exit("no Grafana: GRAFANA_HOME names its folder")
    options.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that all that was started ends
    with ExitStack() as stack:
        broker = Tansu()
        stack.callback(broker.close)
        broker.start()
        topics = Topics(broker.bootstrap_servers, partitions=4).create()
        folder = Path(stack.enter_context(TemporaryDirectory()))
        daemons = [stack.enter_context(Daemon(options.model, topics, folder)) for _ in range(2)]
        for daemon in daemons:
            daemon.ready()
        monitoring = Monitoring(folder, stack, hurry=False)
        monitoring.route()
        receiver, secret = Receiver(), folder / "secret"
        stack.callback(receiver.close)
        secret.write_text(SECRET)
        hook = {"relay__url": receiver.url, "relay__secret_file": secret}
        relay = stack.enter_context(Relay(topics, folder, relay__to="webhook", **hook))
        monitoring.scrape(*(daemon.port for daemon in daemons), relay=relay.port)
        monitoring.draw(start, list(SIZES))
        fleet = Fleet(topics, PUMPS, PAST_S, faults(PAST_S + int(options.minutes * 60)), 0.002)
        fleet.start()
        stack.callback(fleet.stop)
        print(f"http://127.0.0.1:{monitoring.grafana}/dashboards", flush=True)
        time.sleep(options.minutes * 60)
        while True:
            for uid, size in SIZES.items():
                path = (options.folder / f"{uid}.png").absolute()
                to_ms = int(time.time() * 1000)
                from_ms = to_ms - int(max(options.minutes - LEAD_MINUTES, 1) * 60_000)
                span = f"&from={from_ms}&to={to_ms}&theme=light"
                monitoring.look(uid, f"--screenshot={path}", size=size, budget_s=30, query=span)
                print(f"wrote {path}", flush=True)
            if not (options.stay and sys.stdin.readline()):
                return


if __name__ == "__main__":
    main()
