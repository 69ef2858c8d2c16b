"""Pictures for people: how training went, what the threshold stands on, what was scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from detector.artifact import Calibration
from detector.records import US_PER_S, Bools, Doubles, Floats, Ints

if TYPE_CHECKING:
    from training.train import Losses

BLUE, ORANGE, GREY, RED = "#2563a8", "#d9822b", "#8a8f98", "#b8322a"
LONGEST = 20_000  # points a curve; more only make the picture slow


def draw_losses(path: Path, losses: Sequence["Losses"], best: int) -> None:
    """Draw training and validation loss of every pass."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    passes = np.arange(1, len(losses) + 1)
    axes.plot(passes, [loss.train for loss in losses], color=GREY, label="training (with noise)")
    axes.plot(passes, [loss.valid for loss in losses], color=BLUE, label="held-out time")
    axes.axvline(best + 1, color=ORANGE, linestyle=":", label="kept")
    axes.set(xlabel="pass", ylabel="loss a reading", yscale="log", title="Training")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def draw_calibration(path: Path, calibration: Sequence[Calibration], scores: Floats) -> None:
    """Draw how often held-out readings score how high, and the fitted tail beyond.

    Args:
        path: The PNG.
        calibration: One a kind of evidence.
        scores: [N, K] of held-out readings.
    """
    figure = Figure(figsize=(7, 4 * len(calibration)), layout="constrained")
    for k, tail in enumerate(calibration):
        axes = figure.add_subplot(len(calibration), 1, k + 1)
        seen = np.sort(scores[:, k])
        above = 1 - np.arange(len(seen)) / len(seen)
        axes.step(seen, above, color=GREY, where="post", label="held-out readings")
        grid = np.linspace(0, tail.level(1e-7), 300)
        axes.plot(grid, tail.probability(grid), color=BLUE, label="calibration")
        axes.axvline(tail.levels[-1], color=ORANGE, linestyle=":", label="tail begins")
        axes.set(yscale="log", ylim=(1e-7, 1.2), xlabel=f"score ({tail.kind})")
        axes.set(ylabel="share of readings above", title="Calibration")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def draw_scores(path: Path, streams: Mapping[str, tuple[Ints, Doubles, Bools, Bools]]) -> None:
    """Draw streams below each other: probability, where alerts were, where labels are.

    Args:
        path: The PNG.
        streams: For each, [T] times, probabilities, alerting and label.
    """
    figure = Figure(figsize=(11, 1.6 * len(streams) + 0.6), layout="constrained")
    axes_of = figure.subplots(len(streams), 1, squeeze=False)[:, 0]
    for axes, (name, (ts_us, probability, alerting, label)) in zip(
        axes_of, streams.items(), strict=True
    ):
        every = max(1, len(ts_us) // LONGEST)
        hours = (ts_us - ts_us[0])[::every] / US_PER_S / 3600
        surprise = -np.log10(np.maximum(probability[::every], 1e-12))
        axes.plot(hours, surprise, color=BLUE, linewidth=0.8)
        for flags, colour, low, high in ((label, GREY, 0, 1), (alerting, RED, 0, 0.08)):
            axes.fill_between(
                hours, low, high, where=flags[::every], color=colour, alpha=0.35, linewidth=0,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        axes.set_ylabel("-log10 p")
        axes.set_title(name, fontsize=9, loc="left")
    axes_of[-1].set_xlabel("hours; grey: labelled anomalous, red: in alert")
    figure.savefig(path, dpi=110)
