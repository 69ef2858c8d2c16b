"""Networks side by side: their figures, which one to choose, and how people get to see it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from training.plots import BLUE, GREY, ORANGE

NO_NETWORK = "no network"
FLOAT_BYTES = 4
THREE_DIGITS = 100  # from here on, a figure needs no decimals


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one network.

    Attributes:
        network: Its kind, or `NO_NETWORK`.
        quality: One figure a seed.
        parameters: Numbers that training sets.
        trained_s: Seconds of training, the median over seeds.
        state_width: Floats that a stream leaves behind, the wrapper's included.
        alone_us: A step of one stream.
        wide_us: A step of 1,024 streams.
    """

    network: str
    quality: tuple[float, ...]
    parameters: int
    trained_s: float
    state_width: int
    alone_us: float
    wide_us: float

    @property
    def middle(self) -> float:
        """The median quality."""
        return median(self.quality)

    @property
    def noise(self) -> float:
        """Half the range of its quality over seeds."""
        return (max(self.quality) - min(self.quality)) / 2


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them.

    Attributes:
        measure: What the quality is.
        higher_is_better: Or the other way round.
        rows: In the order they were asked for.
        refused: Networks of which no file could be proven, and why.
    """

    measure: str
    higher_is_better: bool
    rows: tuple[Row, ...]
    refused: dict[str, str]

    def choose(self) -> tuple[Row, str]:
        """Return the cheapest network whose quality is the best but for noise, and a sentence.

        Cheap is the step of many streams: what a fleet costs.
        """
        sign = 1 if self.higher_is_better else -1
        best = max(self.rows, key=lambda row: sign * row.middle)
        near = [
            row
            for row in self.rows
            if sign * (best.middle - row.middle) <= max(best.noise, row.noise)
        ]
        chosen = min(near, key=lambda row: row.wide_us)
        return chosen, self._reason(chosen, best, len(near))

    def _reason(self, chosen: Row, best: Row, near: int) -> str:
        said, noise = f"{self.measure} of {chosen.middle:.3g}", max(chosen.noise, best.noise)
        if near == 1:
            why = f"its {said} is the best, and no other is within noise of it"
        elif chosen is best:
            why = f"its {said} is the best, and it is the cheapest of the {near} within noise"
        else:
            why = (
                f"its {said} is within noise ({noise:.2g}) of the best, {best.middle:.3g} by "
                f"{best.network}, and it is the cheapest of the {near} that are"
            )
        known = max(len(row.quality) for row in self.rows) > 1
        return f"Choose {chosen.network}: {why}{'' if known else ' (not known from one seed)'}."

    def table(self) -> Table:
        """Return it for a terminal of 80 columns."""
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("network")
        quality = "loss" if "loss" in self.measure else self.measure
        for heading in (quality, "range", "weights", "train s", "state B", "B=1 µs", "B=1024 µs"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(
                row.network,
                f"{row.middle:.3f}",
                f"{min(row.quality):.3f}-{max(row.quality):.3f}",
                f"{row.parameters}",
                f"{row.trained_s:.1f}",
                f"{FLOAT_BYTES * row.state_width}",
                f"{row.alone_us:.1f}",
                f"{row.wide_us:.0f}",
            )
        return table

    def write(self, folder: Path) -> None:
        """Write comparison.csv, comparison.json and comparison.png into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        names = ("network", "parameters", "trained_s", "state_width", "alone_us", "wide_us")
        with (folder / "comparison.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*names, self.measure, "lowest", "highest"])
            for row in self.rows:
                figures = [getattr(row, name) for name in names]
                writer.writerow([*figures, row.middle, min(row.quality), max(row.quality)])
        chosen, why = self.choose()
        told = {**asdict(self), "chosen": chosen.network, "why": why}
        (folder / "comparison.json").write_text(json.dumps(told, indent=2), encoding="utf-8")
        self._draw(folder / "comparison.png")

    def _draw(self, path: Path) -> None:
        figure = Figure(figsize=(11, 0.45 * len(self.rows) + 1.6), layout="constrained")
        quality, *costs = figure.subplots(1, 4, sharey=True)
        rows, places, chosen = self.rows, range(len(self.rows)), self.choose()[0]
        colours = [
            ORANGE if row is chosen else GREY if row.network == NO_NETWORK else BLUE for row in rows
        ]
        for place, row, colour in zip(places, rows, colours, strict=True):
            quality.plot(row.quality, [place] * len(row.quality), "o", color=colour, alpha=0.4)
            quality.plot(row.middle, place, "|", color=colour, markersize=16, markeredgewidth=2)
        quality.set(xlabel=f"{self.measure}, each seed", ylim=(len(rows) - 0.4, -0.6))
        quality.set_yticks(places, [row.network for row in rows])
        quality.grid(axis="x", alpha=0.3)
        quality.spines[["top", "right"]].set_visible(False)
        widths = [FLOAT_BYTES * row.state_width for row in rows]
        _bars(costs[0], [row.wide_us / 1024 for row in rows], colours, "µs a reading, B = 1024")
        _bars(costs[1], widths, colours, "bytes of state a stream")
        _bars(costs[2], [row.trained_s for row in rows], colours, "seconds of training")
        figure.suptitle("Networks side by side; orange: the one to choose", x=0.01, ha="left")
        figure.savefig(path, dpi=110)


def _bars(axes: Axes, values: Sequence[float], colours: Sequence[str], label: str) -> None:
    """Draw a bar a network, its figure beside it."""
    bars = axes.barh(range(len(values)), values, color=colours, height=0.6, alpha=0.8)
    axes.bar_label(
        bars,
        [f"{value:.3g}" if value < THREE_DIGITS else f"{value:.0f}" for value in values],
        padding=3,
        fontsize=8,
    )
    axes.set(xlabel=label, xlim=(0, 1.25 * max(*values, 1e-9)))
    axes.spines[["top", "right"]].set_visible(False)
