"""Results as rows: for a terminal, for a spreadsheet, for a machine."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.benchmark.measures import FIGURES
from training.benchmark.play import FALSE_PER_1000
from training.benchmark.results import Results, Spread

Group = Literal["ours", "goal", "rival", "peer"]
NOTHING = "-"
OURS = "this detector"


@dataclass(frozen=True, slots=True)
class Row:
    """One method.

    Attributes:
        name: Of the method.
        group: Whose it is.
        cells: Its figures as text, by name; of ours with their range.
        source: Where they come from.
    """

    name: str
    group: Group
    cells: Mapping[str, str]
    source: str


def rows(results: Results) -> list[Row]:
    """Return ours, goals, rivals and peers, best known first."""
    benchmark = results.benchmark
    seeds = f"ours, {results.seeds} seed{'s' if results.seeds > 1 else ''}: median (range)"
    made = [Row(OURS, "ours", _spread_cells(results.ours), seeds)]
    if results.roles_found is not None:
        made[0] = Row(f"{OURS}, roles told", "ours", made[0].cells, seeds)
        cells = _spread_cells(results.roles_found)
        alike = not any(single.run.task.roles for single in results.singles)
        note = f"{seeds}; training finds the roles that would be told" if alike else seeds
        made.append(Row(f"{OURS}, roles found", "ours", cells, note))
    if results.halves is not None:
        told = f"{benchmark.chosen} chosen on random halves, told on the others: mean (range)"
        made.append(Row(f"{OURS}, halves", "ours", _spread_cells(results.halves), told))
    goals = {
        name: " then ".join(said(name, value) for value in values)
        for name, values in benchmark.goals.items()
    }
    made.append(Row("goal", "goal", goals, "what this project asks of itself"))
    for name, figures in results.rivals.items():
        made.append(Row(name, "rival", _cells(figures), "measured here, on the same rows"))
    for peer in benchmark.peers(results.cases):
        source = f"{peer.source}; {peer.note}" if peer.note else peer.source
        made.append(Row(peer.name, "peer", _cells(peer.figures), source))
    return made


def said(name: str, value: float) -> str:
    """Return a figure as text, with the digits that suit it."""
    return f"{value:.{FIGURES[name].digits}f}" if math.isfinite(value) else NOTHING


def said_spread(name: str, value: Spread) -> str:
    """Return the middle, and the range where there is one."""
    middle, low, high = (said(name, part) for part in value)
    return middle if low == high else f"{middle} ({low} to {high})"


def caution(results: Results) -> str:
    """Return that these are not a benchmark's figures, where cases are left out; else nothing."""
    played, size = len(results.cases), results.benchmark.size
    if played == size:
        return ""
    return f"Only {played} of {size} cases were played: these are not the benchmark's figures."


def lines(results: Results) -> list[str]:
    """Return the table as text, columns aligned, with the sources below it."""
    shown = rows(results)
    names = shown_columns(results)
    notes = sources(shown)
    body = [
        [
            row.name,
            *(row.cells.get(name, NOTHING) for name in names),
            f"[{notes.index(row.source)}]",
        ]
        for row in shown
    ]
    head = ["", *(FIGURES[name].title for name in names), ""]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    text = []
    for cells in (head, *body):
        first, *others = (
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        text.append("  ".join([first, *others]).rstrip())
    told = [f"[{n}] {note}" for n, note in enumerate(notes)]
    return [line for line in (*text, *told, caution(results)) if line]


def sources(shown: Sequence[Row]) -> list[str]:
    """Return where figures come from, each once; a row's note is its place there."""
    return list(dict.fromkeys(row.source for row in shown))


def shown_columns(results: Results) -> list[str]:
    """Return the figures of the table that at least one method has."""
    told = [row.cells for row in rows(results)]
    return [name for name in results.benchmark.columns if any(name in cells for cells in told)]


def flat(results: Results) -> dict[str, float | int | None]:
    """Return our figures, each with its lowest and highest, under plain names."""
    made: dict[str, float | int | None] = {
        "cases": len(results.cases),
        "of_cases": results.benchmark.size,
        "seeds": results.seeds,
        "asked_per_1000": FALSE_PER_1000,
    }
    parts = {"": results.ours, "roles_found_": results.roles_found, "halves_": results.halves}
    for prefix, figures in parts.items():
        for name, value in (figures or {}).items():
            for ending, part in zip(("", "_low", "_high"), value, strict=True):
                made[f"{prefix}{name}{ending}"] = part if math.isfinite(part) else None
    return made


def write(results: Results, folder: Path) -> list[Path]:
    """Write `NAME.json` and `NAME.csv`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    name = results.benchmark.name
    paths = [folder / f"{name}.json", folder / f"{name}.csv"]
    paths[0].write_text(json.dumps(flat(results), indent=1) + "\n", encoding="utf-8")
    with paths[1].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        figures = _figures_of_singles(results)
        writer.writerow(["case", "seed", "roles_told", "took_s", *figures])
        for run, told in results.singles:
            cells = [told.get(name, "") for name in figures]
            task = run.task
            writer.writerow(
                [task.case.name, task.seed, int(task.roles), round(run.took_s, 1), *cells]
            )
    return paths


def _figures_of_singles(results: Results) -> Sequence[str]:
    known = [single.told for single in results.singles]
    return [name for name in FIGURES if any(name in told for told in known)]


def _cells(figures: Mapping[str, float]) -> dict[str, str]:
    return {name: said(name, value) for name, value in figures.items() if name in FIGURES}


def _spread_cells(figures: Mapping[str, Spread]) -> dict[str, str]:
    return {name: said_spread(name, value) for name, value in figures.items()}
