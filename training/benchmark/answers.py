"""What one method says of one case: ours, or one of those that stand beside every result."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.records import Bools, Doubles, Floats
from training.benchmark import baselines
from training.benchmark.cases import Case
from training.benchmark.play import Played

NEAREST_ROWS = (5, 40)  # windows of the nearest neighbour
EVEN = 0.5  # a coin's chance of an alarm


@dataclass(frozen=True, slots=True)
class Answer:
    """Axes: T rows, C channels.

    Attributes:
        case: That was asked about.
        score: [T] higher = more anomalous.
        alarm: [T] in alarm; None where the method has no threshold.
        level: Of the score, above which it speaks; None likewise.
        residual: [T, C] what each channel has to do with it; None where that is not told.
    """

    case: Case
    score: Doubles
    alarm: Bools | None = None
    level: float | None = None
    residual: Floats | None = None


def ours(case: Case, played: Played, kind: str, rate: int | None = None) -> Answer:
    """Return what a played model says, by one kind of evidence.

    Args:
        case: That was played.
        played: What came of it.
        kind: Which column of the score.
        rate: Number of one of `play.RATES`, to be judged by; None: the nominal one.
    """
    column = played.kinds.index(kind)
    alarm = played.alerting[:, column] if rate is None else played.again[rate, :, column]
    score = played.column(kind).astype(np.float64)
    return Answer(case, score, alarm, float(played.level[column]), played.residual)


def rivals(case: Case, seed: int = 0) -> dict[str, Answer]:
    """Return what is said by those who hardly look, and by the nearest neighbour.

    The nearest neighbour sees the channels that are no commands, and its scores are told in
    units of the highest one that normal rows had.
    """
    always, chance = baselines.always(case), baselines.chance(case, seed)
    clock = baselines.clock(case)
    told = {
        "always": Answer(case, always, always > 0),
        "clock": Answer(case, clock.astype(np.float64), clock),
        "ramp (row number)": Answer(case, baselines.ramp(case)),
        "hump (nearness to the middle)": Answer(case, baselines.hump(case)),
        "random": Answer(case, chance, chance > EVEN, EVEN),
    }
    telemetry = [c for c in range(case.x.shape[1]) if c not in case.commands]
    train, x = case.train[:, telemetry], case.x[:, telemetry]
    for rows in NEAREST_ROWS:
        limit = max(baselines.nearest_limit(train, rows), float(np.finfo(np.float32).tiny))
        score = baselines.nearest(train, x, rows) / limit
        told[f"causal 1-NN, {rows} rows"] = Answer(case, score, score > 1, 1.0)
    return told


def columns(by_case: Sequence[dict[str, Answer]]) -> dict[str, list[Answer]]:
    """Turn methods of each case into cases of each method."""
    names = by_case[0] if by_case else {}
    return {name: [told[name] for told in by_case] for name in names}
