"""How fast the daemon is beside simpler loops, and how much memory it takes; asserts nothing.

`make bench` prints a table and writes build/bench.json. Machines differ and are busy: compare
ratios, not rates. Both sides of a ratio run in turn, and it is the median over the turns.
"""

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TypeVar

import played
import stages
from consumers import Pace, Play, bare_loop, naive_loop
from daemon import daemon
from rich.console import Console
from rich.table import Table

from detector.emit import KafkaSink
from detector.topics import create_topics
from training.demo.broker import TansuBroker

BUILD = Path(__file__).parents[2] / "build"
TOPIC = "readings"
PARTITIONS = 1
STREAMS, SECONDS = 1_000, 150
NAIVE_RECORDS = 30_000  # it is slow, and steady
ROUNDS_S = 110.0  # begin no other round after this
WIDTHS = (1, 64, 1024, 8192)
ALERT_WIDTH = 1024  # measured once more with a stream in alert

Result = TypeVar("Result")
Figures = dict[str, float]

# Figure, what is better, and where it should be.
GOALS: dict[str, tuple[str, float]] = {
    "daemon_over_consume_loop": (">=", 0.70),
    "daemon_over_naive_loop": (">=", 8.0),
    "engine_over_session_run_b1024": (">=", 0.80),
    "engine_over_session_run_b8192": (">=", 0.80),
    "bytes_per_stream": ("<=", 8000.0),
    "rate_200k_over_1k_streams": (">=", 0.85),
}


def main() -> None:
    console = Console()
    model = BUILD / "bench" / "model.onnx"
    with console.status("exporting a model"):
        apart(played.export_model, model)
    figures: Figures = {}
    with console.status("the stages without Kafka"):
        figures |= apart(stages.memory, model)
        for width in WIDTHS:
            figures |= apart(stages.engine_beside_session, model, width)
        figures |= apart(partial(stages.engine_beside_session, alert=True), model, ALERT_WIDTH)
        figures |= apart(stages.many_beside_few, model)
    with console.status("the daemon and other consumers"), TansuBroker() as broker:
        figures |= consumers(broker.bootstrap_servers, model)
    (BUILD / "bench.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console.print(table(figures))


def consumers(servers: str, model: Path) -> Figures:
    """Let three consumers read the same records in turn, again and again."""
    create_topics(servers, [TOPIC], PARTITIONS)
    start_s = time.monotonic()
    records = produce(servers)
    produce_s = time.monotonic() - start_s
    log = BUILD / "bench" / "daemon.log"

    def run(consumer: Callable[[Play], Pace], count: int) -> Pace:
        return apart(consumer, Play(servers, TOPIC, uuid.uuid4().hex, count, model, log))

    rounds: list[tuple[Pace, Pace, Pace]] = []
    start_s = time.monotonic()
    while time.monotonic() - start_s < ROUNDS_S:
        rounds.append(
            (run(bare_loop, records), run(daemon, records), run(naive_loop, NAIVE_RECORDS))
        )
    stages_seen = sorted({stage for _, ours, _ in rounds for stage in ours.shares})
    return {
        "daemon_over_consume_loop": median(ours.rate / bare.rate for bare, ours, _ in rounds),
        "daemon_over_naive_loop": median(ours.rate / naive.rate for _, ours, naive in rounds),
        "rounds": len(rounds),
        "produce_per_s": records / produce_s,
        "consume_loop_per_s": median(bare.rate for bare, _, _ in rounds),
        "daemon_per_s": median(ours.rate for _, ours, _ in rounds),
        "naive_loop_per_s": median(naive.rate for _, _, naive in rounds),
        **{
            f"daemon_share_{stage}": median(ours.shares.get(stage, 0.0) for _, ours, _ in rounds)
            for stage in stages_seen
        },
    }


def produce(servers: str) -> int:
    """Write the records that all read; return how many."""
    messages = played.messages(TOPIC, STREAMS, SECONDS)
    sink = KafkaSink(servers, [])
    sink.send(messages)
    sink.close()
    return len(messages)


def apart(act: Callable[..., Result], *arguments: object) -> Result:
    """Run something in a fresh process, which owes nothing to what ran before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(act, *arguments).result()


def table(figures: Figures, goals: dict[str, tuple[str, float]] = GOALS) -> Table:
    """Return the figures for people, and whether they are where they should be."""
    shown = Table("figure", "measured", "goal", "")
    for name in sorted(figures, key=lambda name: name not in goals):
        value = figures[name]
        text = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        if name in goals:
            sign, goal = goals[name]
            good = value >= goal if sign == ">=" else value <= goal
            shown.add_row(name, text, f"{sign} {goal:g}", "ok" if good else "missed")
        else:
            shown.add_row(name, text, "", "")
    return shown


if __name__ == "__main__":
    main()
