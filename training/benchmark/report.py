"""The page about a benchmark: figures beside goals and peers, cases, what thresholds bring."""

from collections.abc import Sequence

import numpy as np

from training.benchmark.answers import Answer, ours
from training.benchmark.benchmarks import NAB
from training.benchmark.charts import draw_case, draw_openings, draw_rates, draw_thresholds
from training.benchmark.measures import FIGURES, Told, nab_thresholds
from training.benchmark.play import FALSE_PER_1000, RATES
from training.benchmark.results import Results, Single
from training.benchmark.table import (
    NOTHING,
    caution,
    rows,
    said,
    said_spread,
    shown_columns,
    sources,
)
from training.report.page import (
    Block,
    Columns,
    Fold,
    Key,
    Legend,
    Mood,
    Number,
    Numbers,
    Picture,
    Section,
    Strip,
    Table,
    Text,
    page,
)

WORST, BEST = 6, 4  # cases whose pictures are shown at once
PERCENT = 100
LEGEND = Legend(
    [
        Key("blue", "line", "score"),
        Key("blue", "dash", "level of an alert"),
        Key("red", "lane", "in alert"),
        Key("amber", "band", "labelled anomalous"),
        Key("muted", "band", "does not count"),
    ]
)


def report(results: Results) -> str:
    """Return the page."""
    benchmark = results.benchmark
    singles = _one_a_case(results)
    first = results.ours.get(benchmark.headline)
    title = FIGURES[benchmark.headline].title
    lead = f"{title} {said_spread(benchmark.headline, first)}" if first else "Nothing to tell"
    lead = f"{lead}. {caution(results)}".strip()
    sections = [
        Section("glance", "At a glance", benchmark.says, [_numbers(results)]),
        _table(results),
        _cases(results, singles),
        _thresholds(results, singles),
        _each(results),
    ]
    runs = f"{len(results.cases)} cases, {results.seeds} seeds"
    asked = f"asked for: {FALSE_PER_1000:g} false opening per 1,000 readings"
    return page(f"Benchmark: {benchmark.title}", sections, lead=lead, facts=[runs, asked])


def _numbers(results: Results) -> Numbers:
    """Return figures that have a goal or head the page, each beside its goal and the best peer."""
    benchmark, shown = results.benchmark, []
    for name in benchmark.columns:
        value = results.ours.get(name)
        if value is None or (name not in benchmark.goals and name != benchmark.headline):
            continue
        figure, says = FIGURES[name], [FIGURES[name].meaning]
        mood: Mood = ""
        goals = benchmark.goals.get(name, ())
        if goals:
            sign = "at least" if figure.better > 0 else "at most"
            told = " then ".join(said(name, goal) for goal in goals)
            says.append(f"goal: {sign} {told}")
            mood = "good" if _reached(name, value.middle, goals[0]) else "bad"
        peers = [peer for peer in benchmark.peers(results.cases) if name in peer.figures]
        if peers:
            best = max(peers, key=lambda peer: figure.better * peer.figures[name])
            says.append(f"best peer: {best.name} {said(name, best.figures[name])}")
        if value.low < value.high:
            says.append(f"seeds: {said(name, value.low)} to {said(name, value.high)}")
        shown.append(Number(figure.title, said(name, value.middle), "; ".join(says), mood))
    return Numbers(shown)


def _reached(name: str, value: float, goal: float) -> bool:
    return value >= goal if FIGURES[name].better > 0 else value <= goal


def _table(results: Results) -> Section:
    names, shown = shown_columns(results), rows(results)
    notes = sources(shown)
    cells = [
        (
            row.name,
            *(row.cells.get(name, NOTHING).split(" (")[0] for name in names),
            f"[{notes.index(row.source)}]",
        )
        for row in shown
    ]
    blocks: list[Block] = [
        Table(("", *(FIGURES[name].title for name in names), "source"), cells),
        *(Text(f"[{n}] {note}") for n, note in enumerate(notes)),
        Fold("Ours with their range, and what the columns mean", [_ranges(results, names)]),
    ]
    if not results.benchmark.chosen:
        blocks.append(Text("Nothing is chosen here in view of labels, so there are no halves."))
    return Section(
        "table",
        "Beside others",
        "Ours over all seeds, what is asked for, what is reached by those who hardly look and by "
        "the nearest neighbour, and what others published. Published figures are comparable as "
        "far as their source says.",
        blocks,
    )


def _ranges(results: Results, names: Sequence[str]) -> Table:
    made = []
    for row in rows(results):
        if row.group == "ours":
            made += [
                (f"{row.name}: {FIGURES[name].title}", row.cells[name], FIGURES[name].meaning)
                for name in names
                if name in row.cells
            ]
    return Table(("figure", "over seeds or draws", "what it is"), made, words=1)


def _one_a_case(results: Results) -> list[Single]:
    """Return the first seed of each case, roles told where they matter."""
    chosen: dict[str, Single] = {}
    for single in results.singles:
        task = single.run.task
        if task.seed == 0 and (task.case.name not in chosen or task.roles):
            chosen[task.case.name] = single
    return list(chosen.values())


def _cases(results: Results, singles: Sequence[Single]) -> Section:
    by = results.benchmark.ranked_by
    ranked = sorted(
        (one for one in singles if by in one.told),
        key=lambda one: FIGURES[by].better * one.told[by],
    )
    others = [one for one in singles if by not in one.told]
    worst, best = ranked[:WORST], ranked[WORST:][-BEST:]
    left = ranked[WORST : len(ranked) - len(best)] + others
    blocks: list[Block] = [LEGEND, *(_strip(results, one) for one in worst)]
    if best:
        blocks += [Text("The best ones:"), *(_strip(results, one) for one in best)]
    if left:
        blocks.append(Fold(f"{len(left)} others", [_strip(results, one) for one in left]))
    return Section(
        "cases",
        "Cases",
        f"Scores of the first seed, cut off where they would flatten the rest; the worst cases by "
        f"{FIGURES[by].title} first.",
        blocks,
    )


def _strip(results: Results, one: Single) -> Strip:
    answer = _answer(results, one)
    told, by = one.told, results.benchmark.ranked_by
    notes = [f"{FIGURES[by].title} {said(by, told[by])}"] if by in told else []
    if told.get("events"):
        notes.append(f"found {told['events_found']:.0f} of {told['events']:.0f}")
    if "openings_per_1000" in told:
        notes.append(f"{told['openings_per_1000']:.2f} openings / 1,000 quiet")
    name = one.run.task.case.name
    alt = f"Score of {name} over its rows. {'; '.join(notes)}."
    return Strip(name, notes, Picture(draw_case(answer), alt))


def _answer(results: Results, one: Single) -> Answer:
    return ours(one.run.task.case, one.run.played, results.benchmark.kind)


def _thresholds(results: Results, singles: Sequence[Single]) -> Section:
    names = [n for n in ("f1", "far", "mar", "standard_alerts") if n in results.by_rate[0]]
    shares = {FIGURES[name].title: _by_rate(results, name) for name in names}
    if "f1" in names:
        shares["F1"] = [PERCENT * value for value in shares["F1"]]
    if "events_found" in results.by_rate[0]:
        found, events = _by_rate(results, "events_found"), _by_rate(results, "events")
        shares["found"] = [PERCENT * a / max(b, 1) for a, b in zip(found, events, strict=True)]
    charts: list[Block] = []
    if shares:
        unit = "points, or %" if "standard_alerts" in names else "%"
        picture = draw_rates(RATES, shares, FALSE_PER_1000, unit)
        charts.append(Picture(picture, _alt(shares)))
    if "openings_per_1000" in results.by_rate[0]:
        seen = _by_rate(results, "openings_per_1000")
        picture = draw_openings(RATES, seen, FALSE_PER_1000)
        charts.append(Picture(picture, _alt({"openings per 1,000": seen})))
    if results.benchmark is NAB and any(one.run.task.case.windows for one in singles):
        thresholds, told = nab_thresholds([_answer(results, one) for one in singles])
        best = float(thresholds[int(np.argmax(told))])
        alt = f"NAB's figure over thresholds; the best, {told.max():.1f}, is at {best:.3g}."
        charts.append(Picture(draw_thresholds(thresholds, told, best), alt))
    return Section(
        "thresholds",
        "What other thresholds bring",
        "The same scores judged again by the daemon's own judge, had another rate of false "
        "openings been asked for.",
        [Columns(charts)] if charts else [Text("There are no alerts to judge.")],
    )


def _alt(shares: dict[str, list[float]]) -> str:
    told = (
        f"{name}: {', '.join(f'{value:.1f}' for value in values)}"
        for name, values in shares.items()
    )
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    return f"At {rates} false openings per 1,000 readings, {'; '.join(told)}."


def _by_rate(results: Results, name: str) -> list[float]:
    return [told[name].middle for told in results.by_rate]


def _each(results: Results) -> Section:
    def cells(told: Told) -> tuple[str, ...]:
        return tuple(said(name, told[name]) if name in told else NOTHING for name in names)

    names = [n for n in FIGURES if any(n in single.told for single in results.singles)]
    shown = [
        (single.run.task.name, *cells(single.told), f"{single.run.took_s:.1f}")
        for single in results.singles
    ]
    head = ("case", *(FIGURES[name].title for name in names), "took, s")
    return Section(
        "runs",
        "Every run",
        "One fit and one stream, measured by itself; figures of a whole benchmark are not the "
        "means of these, but where it says so.",
        [Fold(f"{len(shown)} runs", [Table(head, shown)])],
    )
