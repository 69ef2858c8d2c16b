"""What a benchmark came to: figures of every seed, beside goals, rivals and peers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from training.benchmark.answers import Answer, columns, ours
from training.benchmark.benchmarks import NAB, Benchmark
from training.benchmark.cases import Case
from training.benchmark.halves import carried_over
from training.benchmark.measures import Told, nab_carried
from training.benchmark.play import RATES
from training.benchmark.runs import Run


class Spread(NamedTuple):
    """A figure over seeds (its median) or over draws (its mean), its lowest and its highest."""

    middle: float
    low: float
    high: float


class Single(NamedTuple):
    """One run by itself."""

    run: Run
    told: Told


@dataclass(frozen=True, slots=True)
class Results:
    """All that came out.

    Attributes:
        benchmark: Which.
        cases: That were played.
        seeds: How often each.
        ours: Our figures; where roles can be told, they were.
        roles_found: The same where training found them out; None where nothing could be told.
        rivals: Figures of those that stand beside every result.
        singles: Each run and its own figures.
        by_rate: Figures had another rate been asked for: one for each of `RATES`.
        halves: Figures of halves, by a choice on other halves; None where that was not asked for.
    """

    benchmark: Benchmark
    cases: Sequence[Case]
    seeds: int
    ours: dict[str, Spread]
    roles_found: dict[str, Spread] | None
    rivals: dict[str, Told]
    singles: list[Single]
    by_rate: list[dict[str, Spread]]
    halves: dict[str, Spread] | None


def gather(
    benchmark: Benchmark,
    runs: Sequence[Run],
    rivals: Sequence[dict[str, Answer]],
    *,
    halves: bool = False,
) -> Results:
    """Measure what was played.

    Args:
        benchmark: Which.
        runs: Of each case every seed; where roles matter, told and found.
        rivals: Of each case.
        halves: Also choose again on halves.
    """
    seeds = sorted({run.task.seed for run in runs})
    told, found = ([_of(runs, seed, roles) for seed in seeds] for roles in (True, False))

    def nominal(chosen: Sequence[Run]) -> list[Answer]:
        return [ours(run.task.case, run.played, benchmark.kind) for run in chosen]

    commanded = any(run.task.case.commands for run in runs)
    return Results(
        benchmark=benchmark,
        cases=[run.task.case for run in told[0]],
        seeds=len(seeds),
        ours=spreads([benchmark.measure(nominal(of)) for of in told]),
        roles_found=spreads([benchmark.measure(nominal(of)) for of in found])
        if commanded
        else None,
        rivals=_measured(benchmark, rivals),
        singles=[Single(run, benchmark.each(nominal([run]))) for run in runs],
        by_rate=[
            spreads([_at_rate(benchmark)(of, rate) for of in told]) for rate in range(len(RATES))
        ],
        halves=_halves(benchmark, told) if halves and benchmark.chosen else None,
    )


def _measured(benchmark: Benchmark, rivals: Sequence[dict[str, Answer]]) -> dict[str, Told]:
    """Return figures of those that have any: some have no threshold, and so no alarm."""
    told = {name: benchmark.measure(said) for name, said in columns(rivals).items()}
    return {name: figures for name, figures in told.items() if figures}


def spreads(told: Sequence[Told]) -> dict[str, Spread]:
    """Return the spread of each figure that all have."""
    names = [name for name in told[0] if all(name in one for one in told)] if told else []
    return {name: spread([one[name] for one in told]) for name in names}


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and greatest."""
    return Spread(median(values), min(values), max(values))


def _of(runs: Sequence[Run], seed: int, roles: bool) -> list[Run]:  # noqa: FBT001
    """Return one run a case: with roles told if asked for, where they matter."""
    chosen: dict[str, Run] = {}
    for run in runs:
        name = run.task.case.name
        if run.task.seed == seed and (name not in chosen or run.task.roles == roles):
            chosen[name] = run
    return list(chosen.values())


def _halves(benchmark: Benchmark, by_seed: Sequence[Sequence[Run]]) -> dict[str, Spread]:
    told: dict[str, list[float]] = {}
    for runs in by_seed:
        if benchmark is NAB:
            figures = nab_carried([ours(r.task.case, r.played, benchmark.kind) for r in runs])
        else:
            figures = carried_over(runs, _best_rate(benchmark), _at_rate(benchmark))
        for name, values in figures.items():
            told.setdefault(name, []).extend(values)
    return {
        name: Spread(float(np.mean(values)), min(values), max(values))
        for name, values in told.items()
    }


def _best_rate(benchmark: Benchmark) -> Callable[[list[Run]], int]:
    tell = _at_rate(benchmark)
    return lambda runs: max(
        range(len(RATES)), key=lambda rate: tell(runs, rate).get(benchmark.headline, 0.0)
    )


def _at_rate(benchmark: Benchmark) -> Callable[[list[Run], int], Told]:
    def tell(runs: list[Run], rate: int) -> Told:
        said = [ours(run.task.case, run.played, benchmark.kind, rate) for run in runs]
        return benchmark.alarms(said)

    return tell
