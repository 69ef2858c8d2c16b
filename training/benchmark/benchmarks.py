"""The four benchmarks: what is read, which score answers, what is told, what it is held against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.benchmark import measures, peers, sets
from training.benchmark.answers import Answer
from training.benchmark.cases import Case
from training.benchmark.peers import Peer
from training.benchmark.play import FALSE_PER_1000

Measure = Callable[[Sequence[Answer]], measures.Told]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One of them.

    Attributes:
        name: On the command line, and of its files.
        title: For people.
        says: How it is measured, and what to know of it.
        size: How many cases it has.
        read: Yields its cases from the folder of all data.
        kind: Which evidence answers its question.
        measure: Answers of all cases to figures.
        each: The same of one case alone.
        alarms: Only figures that hang on the alarms.
        headline: The figure that heads it.
        ranked_by: The figure by which single cases are ordered.
        columns: Figures of its table, in their order.
        goals: What is to be reached, by figure; where there are several, one after the other.
        peers: What others published.
        chosen: What a person might have chosen in view of labels; empty: nothing.
    """

    name: str
    title: str
    says: str
    size: int
    read: Callable[[Path], Sequence[Case]]
    kind: str
    measure: Measure
    each: Measure
    alarms: Measure
    headline: str
    ranked_by: str
    columns: tuple[str, ...]
    peers: Callable[[Sequence[Case]], Sequence[Peer]]
    chosen: str = ""
    goals: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


QUIET = ("openings_per_1000", "events_found", "events", "delay")
PROMISED: Mapping[str, tuple[float, ...]] = {"openings_per_1000": (FALSE_PER_1000,)}
RATE = "the rate of false openings that is asked for"

SKAB = Benchmark(
    name="skab",
    title="SKAB v0.9",
    says=(
        "34 files of a water-pump rig, fitted on the first 400 rows of each. Rows are counted one "
        "by one over all files, without adjustment; changepoints are where an alert opens or "
        "closes. The file without anomalies is fitted and judged likewise."
    ),
    size=35,
    read=lambda root: [*sets.skab(root), sets.skab_normal(root)],
    kind="state",
    measure=measures.of_skab,
    each=measures.of_skab,
    alarms=measures.of_skab,
    headline="f1",
    ranked_by="f1",
    columns=("f1", "far", "mar", "nab_standard", "nab_low_fp", "nab_low_fn", "far_normal", *QUIET),
    goals={
        "f1": (0.85,),
        "far": (10.0,),
        "mar": (20.0,),
        "nab_standard": (40.0,),
        "far_normal": (5.0,),
        **PROMISED,
    },
    peers=lambda _: peers.SKAB,
    chosen=RATE,
)
NAB = Benchmark(
    name="nab",
    title="NAB v1.1",
    says=(
        "58 series, fitted on the probation of each. By the benchmark's rule one threshold for "
        "all files is chosen in view of their labels; beside it stands the figure at a threshold "
        "from the other half of the files, at each model's own level, and of the alerts."
    ),
    size=58,
    read=lambda root: list(sets.nab(root)),
    kind="onset",
    measure=measures.of_nab,
    each=measures.of_nab_file,
    alarms=measures.of_nab_file,
    headline="standard",
    ranked_by="standard_own",
    columns=(
        "standard",
        "reward_low_FP_rate",
        "reward_low_FN_rate",
        "standard_carried",
        "standard_own",
        "standard_alerts",
        *QUIET,
    ),
    goals={
        "standard": (73.0, 75.0),
        "reward_low_FP_rate": (65.0,),
        "reward_low_FN_rate": (78.0,),
        "standard_carried": (70.0,),
        **PROMISED,
    },
    peers=lambda _: peers.NAB,
    chosen="the threshold",
)
MSL = Benchmark(
    name="msl",
    title="MSL, as TSB-AD-M cuts it",
    says=(
        "14 channels of a Mars rover's telemetry with the commands it was given, scaled upstream "
        "by the test part's least and greatest value; the mean over channels, no threshold. Once "
        "it is said which channels are commands, once training finds out."
    ),
    size=14,
    read=lambda root: list(sets.msl(root)),
    kind="state",
    measure=measures.of_ranks,
    each=measures.of_ranks,
    alarms=measures.of_events,
    headline="vus_pr",
    ranked_by="vus_pr",
    columns=("vus_pr", "vus_roc", "average_precision", *QUIET),
    goals={"vus_pr": (0.68,), **PROMISED},
    peers=peers.msl,
)
SMD = Benchmark(
    name="smd",
    title="SMD, three machines",
    says=(
        "Three servers, 38 channels, fitted on five weeks and scored on five others; the mean "
        "over machines, no threshold, no choice of columns. HitRate holds the channels with the "
        "largest squared residuals against those that experts named."
    ),
    size=3,
    read=lambda root: list(sets.smd(root)),
    kind="state",
    measure=measures.of_ranks,
    each=measures.of_ranks,
    alarms=measures.of_events,
    headline="vus_pr",
    ranked_by="vus_pr",
    columns=("vus_pr", "vus_roc", "average_precision", "hit_100", "hit_150", *QUIET),
    goals={
        "vus_pr": (0.72,),
        "average_precision": (0.68,),
        "hit_150": (0.80,),
        **PROMISED,
    },
    peers=lambda _: peers.SMD,
)
ALL = {one.name: one for one in (SKAB, NAB, MSL, SMD)}
