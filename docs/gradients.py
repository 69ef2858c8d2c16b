"""Makes the pictures of gradients.md anew: `python docs/gradients.py`, a minute on one core.

Axes: B streams, T readings, C channels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from detector.records import Doubles
from training.config import Network as Sizes
from training.networks.cells import Cell, Gru, Lstm, Rnn
from training.networks.contract import Network
from training.networks.recurrent import Recurrent
from training.plots import BLUE, GREY, ORANGE, RED

FOLDER = Path(__file__).parent / "gradients"
READINGS = 50
STREAMS = 64
HIDDEN = 32
UPDATES = 800
CELLS: dict[str, type[Cell]] = {"rnn": Rnn, "gru": Gru, "lstm": Lstm}
VARIANTS = {
    "RNN as torch draws it": ("rnn-uniform", RED, ":"),
    "RNN, orthogonal (ours)": ("rnn", RED, "-"),
    "RNN, twice orthogonal": ("rnn-larger", RED, "--"),
    "GRU": ("gru", GREY, "-"),
    "GRU, gate open": ("gru-open", GREY, "--"),
    "LSTM, gate half open (bias 0)": ("lstm-half", BLUE, ":"),
    "LSTM, bias 1 (ours)": ("lstm", BLUE, "-"),
    "LSTM, gate open (bias 3)": ("lstm-open", BLUE, "--"),
}


class Told(NamedTuple):
    """What a task shows, [B, T, 2], and what must be said after the last reading, [B]."""

    z: Tensor
    target: Tensor


class Run(NamedTuple):
    """Of each update: the loss, and the norm of the gradient before it is clipped."""

    loss: list[float]
    norm: list[float]


def made(variant: str) -> Recurrent:
    """Make a cell with its heads, as the family has it, and change how it begins."""
    kind, _, start = variant.partition("-")
    torch.manual_seed(0)
    network = Recurrent(2, Sizes(hidden=HIDDEN), dropout=0.0, cell=CELLS[kind])
    _, recurrent, bias, _ = network.cell.fused.all_weights[0]
    # The gate that keeps: the second of torch's, in an LSTM as in a GRU.
    keep = bias[HIDDEN : 2 * HIDDEN]
    with torch.no_grad():
        if start == "uniform":
            recurrent.uniform_(-(HIDDEN**-0.5), HIDDEN**-0.5)
        elif start == "larger":
            recurrent.mul_(2.0)
        elif start:
            keep.fill_({"half": 0.0, "open": 3.0}[start])
    return network


def recall(random: torch.Generator) -> Told:
    """Tell a number in the first reading, then noise; the number is asked for at the end."""
    z = 0.3 * torch.randn(STREAMS, READINGS, 2, generator=random)
    number = 2 * torch.rand(STREAMS, generator=random) - 1
    z[:, :, 1] = 0.0
    z[:, 0, 0], z[:, 0, 1] = number, 1.0
    return Told(z, number)


def through_time(network: Network, told: Told) -> Doubles:
    """Return the norm of the loss's gradient by the state k readings ago, [T]: k = 0, 1, ...

    The median over the streams; the loss is of the last reading alone.
    """
    states = [network.fresh(len(told.z)).requires_grad_()]
    features = states[0]
    for reading in told.z.unbind(1):
        features, state = network.step(reading, states[-1])
        states.append(state)
    loss = (network.ahead(features)[:, 0] - told.target).square().sum()
    gradients = torch.autograd.grad(loss, states[:-1])
    return np.array([float(g.norm(dim=1).median()) for g in reversed(gradients)])


def train(
    network: Network, updates: int, clip: float | None, optimiser: torch.optim.Optimizer
) -> Run:
    """Let a network learn to recall."""
    random, run = torch.Generator().manual_seed(1), Run([], [])
    for _ in range(updates):
        told = recall(random)
        features, _ = network.sequence(told.z, network.fresh(STREAMS))
        loss = (network.ahead(features[:, -1])[:, 0] - told.target).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), clip or float("inf"))
        optimiser.step()
        run.loss.append(float(loss.detach()))
        run.norm.append(float(norm))
    return run


def draw_start(path: Path) -> None:
    """Draw gradients through time before any training."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    plain, gated = figure.subplots(1, 2, sharey=True)
    told = recall(torch.Generator().manual_seed(2))
    for label, (variant, colour, style) in VARIANTS.items():
        norm = through_time(made(variant).eval(), told)
        axes = plain if variant.startswith("rnn") else gated
        axes.plot(norm / norm[0], color=colour, linestyle=style, label=label)
    plain.set(ylabel="gradient, relative to the last reading", yscale="log", ylim=(1e-11, 1e5))
    for axes in (plain, gated):
        _finish(axes, "readings back in time")
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def draw_recall(path: Path) -> None:
    """Draw who learns to recall, and the gradients through time of those that were trained."""
    figure = Figure(figsize=(9, 4.1), layout="constrained")
    losses, gradients = figure.subplots(1, 2)
    told = recall(torch.Generator().manual_seed(2))
    for label, (variant, colour, style) in VARIANTS.items():
        network = made(variant)
        run = train(network, UPDATES, 1.0, torch.optim.Adam(network.parameters(), 3e-3))
        losses.plot(_smooth(run.loss), color=colour, linestyle=style, label=label)
        norm = through_time(network.eval(), told)
        gradients.plot(norm / norm.max(), color=colour, linestyle=style)
    losses.axhline(1 / 3, color=ORANGE, linewidth=0.8, zorder=0)
    losses.set(yscale="log", ylim=(5e-5, 0.6), ylabel=f"squared error, {READINGS} readings later")
    gradients.set(yscale="log", ylim=(1e-12, 3), ylabel="gradient after training, largest = 1")
    losses.text(UPDATES, 0.36, "guessing", color=ORANGE, fontsize=8, ha="right")
    _finish(losses, "updates")
    _finish(gradients, "readings back in time")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def draw_clipping(path: Path) -> None:
    """Draw plain gradient descent with and without clipping."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    norms, losses = figure.subplots(1, 2)
    for name, variant, colour in (("RNN", "rnn", RED), ("LSTM, gate open", "lstm-open", BLUE)):
        for clip, style in ((None, ":"), (1.0, "-")):
            network = made(variant)
            run = train(network, UPDATES, clip, torch.optim.SGD(network.parameters(), 0.1))
            label = f"{name}, {'clipped at 1' if clip else 'not clipped'}"
            norms.plot(_smooth(run.norm), color=colour, linestyle=style, label=label)
            losses.plot(_smooth(run.loss), color=colour, linestyle=style, label=label)
    norms.set(yscale="log", ylim=(1e-2, 1e4), ylabel="norm of the gradient, before clipping")
    losses.set(yscale="log", ylim=(2e-2, 10), ylabel="squared error")
    losses.axhline(1 / 3, color=ORANGE, linewidth=0.8, zorder=0)
    _finish(norms, "updates")
    _finish(losses, "updates")
    losses.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def _smooth(values: list[float], over: int = 40) -> Doubles:
    """Return running medians: single updates are noise."""
    windows = np.lib.stride_tricks.sliding_window_view(np.array(values), over)
    return np.asarray(np.median(windows, axis=1))


def _finish(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draw all three."""
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    pictures: dict[str, Callable[[Path], None]] = {
        "start.png": draw_start,
        "recall.png": draw_recall,
        "clipping.png": draw_clipping,
    }
    for name, draw in pictures.items():
        draw(FOLDER / name)
        print(f"wrote {FOLDER / name}")


if __name__ == "__main__":
    main()
