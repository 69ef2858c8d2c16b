"""`training benchmark`: plays a benchmark, tells its figures, leaves files behind."""

import argparse
import os
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from detector.errors import SettingsRejected
from training.benchmark.benchmarks import ALL, Benchmark
from training.benchmark.cases import Case
from training.benchmark.report import report
from training.benchmark.results import gather
from training.benchmark.runs import Plan, side_by_side
from training.benchmark.table import lines, write
from training.config import read_recipe

DEFAULTS = Path(__file__).parents[1] / "configs" / "benchmark.toml"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("benchmark", choices=tuple(ALL))
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder that holds all benchmarks"
    )
    parser.add_argument(
        "--model", type=Path, default=DEFAULTS, metavar="CONFIG.toml",
        help="tables network, fit and score of a training configuration (the defaults)",
    )  # fmt: skip
    parser.add_argument("--seeds", type=_count, default=3, help="how often each case is fitted (3)")
    parser.add_argument(
        "--halves", action="store_true",
        help="choose again on 20 random halves what was chosen, and tell the other halves",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("build/quality"), help="folder (build/quality)"
    )
    parser.add_argument(
        "--jobs", type=_count, default=os.cpu_count() or 1, help="processes (cores)"
    )
    # To try things out; figures of a part are not the benchmark's.
    parser.add_argument("--cases", default="", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Play a benchmark.

    Raises:
        SettingsRejected: If configuration or data cannot be used.
        ArtifactRejected: If a model file cannot be proven.
    """
    benchmark, folder = ALL[options.benchmark], options.output
    recipe = read_recipe(options.model)
    cases = _chosen(benchmark, options.data, options.cases)
    plan = Plan(cases, recipe, options.seeds, folder / "runs" / benchmark.name)
    with Shown(benchmark.name) as shown:
        runs, rivals = side_by_side(plan, options.jobs, shown.part)
    results = gather(benchmark, runs, rivals, halves=options.halves)
    print("\n".join([benchmark.title, benchmark.says, "", *lines(results)]))
    if options.halves and not benchmark.chosen:
        print("halves: nothing is chosen here in view of labels")
    page = folder / f"{benchmark.name}.html"
    written = [*write(results, folder), page]
    page.write_text(report(results), encoding="utf-8")
    print("wrote " + ", ".join(str(path) for path in written))
    return 0


class Shown:
    """A bar on a terminal, lines in a log."""

    def __init__(self, name: str) -> None:
        """Prepare for a benchmark."""
        self._console = Console()
        self._bar = Progress(
            TextColumn(name),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def part(self, done: int, total: int, name: str) -> None:
        """Tell that a part is done."""
        self._bar.update(self._task, completed=done, total=total, description=name)
        if not self._console.is_terminal:
            print(f"{done}/{total}: {name}", flush=True)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""
        self._bar.stop()


def _chosen(benchmark: Benchmark, root: Path, names: str) -> list[Case]:
    cases = list(benchmark.read(root))
    asked = [name for name in names.split(",") if name]
    unknown = set(asked) - {case.name for case in cases}
    if unknown:
        msg = (
            f"expected cases among {', '.join(case.name for case in cases)}, "
            f"saw {', '.join(sorted(unknown))}"
        )
        raise SettingsRejected(msg)
    return [case for case in cases if case.name in asked or not asked]


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        msg = f"expected at least 1, saw {number}"
        raise argparse.ArgumentTypeError(msg)
    return number
