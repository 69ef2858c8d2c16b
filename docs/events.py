"""Makes all that events.md shows: `python docs/events.py`, half a minute on one core."""

import csv
from math import log as ln
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from detector.engine import Engine, Outcome
from detector.judge import rules
from detector.model import OnnxModel
from detector.records import US_PER_S, Alert, Floats, Ints, Partition, Readings
from training.config import read_config
from training.perplexity import lines
from training.plots import BLUE, GREY, ORANGE, RED
from training.run import Progress, run

CONFIG = Path(__file__).with_name("events.toml")
PICTURE = Path(__file__).parent / "events" / "faults.png"
PERIOD_S, START_S = 10, 1_700_000_000
DAILY = 0.1  # false alarms a stream and day that are acceptable, as in the daemon
AROUND = (45, 25)  # readings of the picture, before and after a fault


class Step(NamedTuple):
    """How many readings a step lasts, and what its controller logs when it is done."""

    shortest: int
    longest: int
    end: str = ""


STEPS = {
    "idle": Step(2, 8),
    "fill": Step(3, 5, "full"),
    "heat": Step(3, 6, "hot"),
    "mix": Step(2, 4),
    "drain": Step(3, 5),
    "clean": Step(2, 3),
}
PLAIN = ("idle", "fill", "heat", "mix", "drain")
THOROUGH = ("idle", "fill", "heat", "mix", "heat", "mix", "drain", "clean")
RECIPES = {PLAIN: 2 / 3, THOROUGH: 1 / 3}  # and how often each is asked for
FAULTS = {
    "drained without being heated": ("idle", "fill", "drain"),
    "not cleaned after a thorough batch": THOROUGH[:-1],
}


def batch(random: np.random.Generator, steps: tuple[str, ...]) -> list[str]:
    """Return what is logged over one batch: every ten seconds a symbol."""
    log: list[str] = []
    for name in steps:
        shortest, longest, end = STEPS[name]
        log += [name] * int(random.integers(shortest, longest + 1)) + [end] * bool(end)
    return log


def healthy(random: np.random.Generator, readings: int) -> list[str]:
    """Return the log of whole batches, as many readings or a few more."""
    log: list[str] = []
    while len(log) < readings:
        log += batch(random, PLAIN if random.random() < RECIPES[PLAIN] else THOROUGH)
    return log


def broken(random: np.random.Generator, readings: int) -> tuple[list[str], dict[str, int]]:
    """Return a log with each fault once, and the reading at which it can first be told."""
    log, begins = healthy(random, readings), {}
    for name, steps in FAULTS.items():
        bad = batch(random, steps)
        # What comes too early, or, after the batch, what comes instead of cleaning.
        begins[name] = len(log) + (bad.index("drain") if "heat" not in steps else len(bad))
        log += bad + healthy(random, readings)
    return log, begins


def least() -> float:
    """Return the perplexity that knowing the plant itself would leave: that of its choices."""
    nats = readings = 0.0
    for steps, often in RECIPES.items():
        lengths = [STEPS[name].longest - STEPS[name].shortest + 1 for name in steps]
        middle = [STEPS[name].shortest + STEPS[name].longest for name in steps]
        ends = sum(bool(STEPS[name].end) for name in steps)
        nats += often * (sum(map(ln, lengths)) - ln(often))
        readings += often * (sum(middle) / 2 + ends)
    return float(np.exp(nats / readings))


def pairs(codes: Ints, symbols: int) -> Floats:
    """Return how often each symbol follows each, as a part of what follows it, [K, K]."""
    counts = np.zeros((symbols, symbols), np.float32)
    np.add.at(counts, (codes[:-1], codes[1:]), 1)
    return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1))


def prepare(folder: Path, machines: int = 8, readings: int = 2500) -> None:
    """Write the logs of healthy machines as text, and the configuration beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG.name).write_bytes(CONFIG.read_bytes())
    random = np.random.default_rng(1)
    with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ts", "machine", "step"])
        for machine in range(machines):
            for t, symbol in enumerate(healthy(random, readings)):
                writer.writerow([START_S + PERIOD_S * t, f"mixer-{machine}", symbol])


def listen(model: OnnxModel, codes: Ints) -> Outcome:
    """Feed a log to the daemon's engine, as if it had come from Kafka: numbers, no names."""
    engine, rows = Engine(model, rules(model.manifest, DAILY)), np.arange(len(codes))
    ts_us = (START_S + PERIOD_S * rows) * US_PER_S
    x = codes.astype(np.float32)[:, np.newaxis]
    readings = Readings([b"mixer-8"], 0 * rows, ts_us, x, rows)
    return engine.run(engine.new_arena(), readings, Partition("steps", 0), keep_trace=True)


def coded(log: list[str]) -> Ints:
    """Return the codes of symbols, [T]."""
    symbols = read_config(CONFIG).data.channels[0].symbols
    return np.array([symbols.index(symbol) for symbol in log])


class Found(NamedTuple):
    """A fault: what was logged when it began, how usual that pair is, and the alert."""

    name: str
    before: str
    now: str
    usual: float
    alert: Alert | None
    later: int  # readings from the fault to the alert


def find(model: OnnxModel) -> tuple[list[Found], int]:
    """Play a log with all faults; return them, and how many alerts were about something else."""
    symbols = model.manifest.channels[0].symbols
    following = pairs(coded(healthy(np.random.default_rng(2), 20_000)), len(symbols))
    log, begins = broken(np.random.default_rng(3), 400)
    opened = {
        (alert.at_us // US_PER_S - START_S) // PERIOD_S: alert
        for alert in listen(model, coded(log)).alerts
        if alert.status == "open"
    }
    found = []
    for name, begin in begins.items():
        before, now = log[begin - 1], log[begin]
        usual = following[symbols.index(before), symbols.index(now)]
        at = next((at for at in opened if 0 <= at - begin < AROUND[1]), -1)
        found.append(Found(name, before, now, float(usual), opened.pop(at, None), at - begin))
    return found, len(opened)


def tell(model: OnnxModel) -> None:
    """Print what the network foretells, and what it makes of healthy and of broken machines."""
    symbols = model.manifest.channels[0].symbols
    codes = coded(healthy(np.random.default_rng(2), 20_000))
    last, this = codes[:-1], codes[1:]
    nats = -np.log(pairs(codes, len(symbols))[last, this]).mean()
    print(f"perplexity by the symbol before {np.exp(nats):.3g}, by the plant itself {least():.3g}")
    heard, level = listen(model, codes), rules(model.manifest, DAILY).open_level[0]
    print(
        f"{len(codes)} healthy readings: {len(heard.alerts)} alerts; highest score "
        f"{heard.trace.score.max():.2f}, an alert needs {level:.2f}"
    )
    found, strays = find(model)
    for one in found:
        print(
            f"{one.name}: {one.now} after {one.before}, "
            f"in healthy logs {one.usual:.0%} of what comes there"
        )
        if one.alert is not None:
            step = one.alert.channels[0]
            print(
                f"  alert after {one.later} readings, score {one.alert.score:.2f}: "
                f"saw {symbols[int(step.value)]}, expected {symbols[int(step.expected)]}"
            )
    print(f"other alerts: {strays}")


def draw(model: OnnxModel, path: Path) -> None:
    """Draw both faults: what was logged, and the score."""
    log, begins = broken(np.random.default_rng(3), 400)
    trace = listen(model, coded(log)).trace
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    above, below = figure.subplots(2, 2, sharex="col", sharey="row", height_ratios=(3, 2))
    symbols, level = model.manifest.channels[0].symbols, rules(model.manifest, DAILY).open_level[0]
    for steps, score, (name, begin) in zip(above, below, begins.items(), strict=True):
        part = slice(begin - AROUND[0], begin + AROUND[1])
        at, alerting = np.arange(-AROUND[0], AROUND[1]), trace.alerting[part, 0]
        steps.scatter(at, coded(log)[part], c=np.where(alerting, RED, BLUE), s=12)
        steps.set_title(name, fontsize=10)
        score.plot(at, trace.score[part, 0], color=BLUE)
        score.axhline(level, color=ORANGE, linestyle="--", linewidth=1)
        score.set_xlabel("readings from the fault")
        for axes in (steps, score):
            axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
    above[0].set_yticks(range(len(symbols)), symbols)
    below[0].set_ylabel("score")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Train, tell and draw."""
    torch.set_num_threads(1)
    folder = Path("build/events")
    prepare(folder)
    model = run(folder / CONFIG.name, folder / "run", Progress(say=print))
    print("\n".join(lines(model.manifest.training)))
    tell(model)
    PICTURE.parent.mkdir(exist_ok=True)
    draw(model, PICTURE)
    print(f"wrote {PICTURE.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
