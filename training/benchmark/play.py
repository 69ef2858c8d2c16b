"""One stream of a benchmark, as a user would have it: fitted, exported, run through the daemon.

Every stream is fitted afresh from the rows its protocol allows and one configuration, which is
the same for all. The exported file then reads these rows, which is the warm-up, and the rows to
score, through the detector's own stages. Readings are numbered, a minute each: what a benchmark's
clock says (repeats, summer time) is no matter of detection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detector.engine import Engine
from detector.judge import Rules, rules
from detector.model import OnnxModel
from detector.records import US_PER_S, Bools, Floats, Partition, Readings
from training.benchmark.cases import Case
from training.config import Config
from training.data import History, Report
from training.run import Progress, build

PERIOD_S = 60.0
FALSE_PER_1000 = 1.0  # openings that are acceptable, per 1,000 normal readings of a stream
PROOF_READINGS = 300  # of each of hundreds of files of one architecture
PART = 4096  # readings scored together


@dataclass(frozen=True, slots=True)
class Played:
    """What a model said of a case. Axes: T rows, C channels, K kinds.

    Attributes:
        score: [T, K].
        level: [K] above which an alert opens.
        alerting: [T, K] an alert is open.
        residual: [T, C].
        kinds: [K] names.
    """

    score: Floats
    level: Floats
    alerting: Bools
    residual: Floats
    kinds: tuple[str, ...]

    def column(self, kind: str) -> Floats:
        """Return the score of one kind, [T]."""
        return np.asarray(self.score[:, self.kinds.index(kind)])

    def alarm(self, kind: str) -> Bools:
        """Return where an alert of one kind is open, [T]."""
        return np.asarray(self.alerting[:, self.kinds.index(kind)])


def play(case: Case, recipe: Mapping[str, Any], seed: int, folder: Path, roles: bool) -> Played:  # noqa: FBT001
    """Fit on the case's training rows, export, and score all of its rows.

    Args:
        case: Of any benchmark.
        recipe: Tables `network`, `fit` and `score` of a training configuration.
        seed: Of every random number.
        folder: Where the run's folder is left.
        roles: Say which channels are commands; else training must find out.
    """
    model = build(_config(case, recipe, seed, roles), _history(case), folder, Progress(),
                  PROOF_READINGS)  # fmt: skip
    return listen(model, case)


def listen(model: OnnxModel, case: Case) -> Played:
    """Score a case with a model, through the daemon's stages."""
    engine = Engine(model, nominal(model))
    arena, parts = engine.new_arena(), []
    x = case.x if _begins_with(case) else np.concatenate([case.train, case.x])
    for start in range(0, len(x), PART):
        rows = x[start : start + PART]
        number = np.arange(start, start + len(rows))
        ts_us = (number * int(PERIOD_S * US_PER_S)).astype(np.int64)
        readings = Readings([b"case"], np.zeros(len(rows), np.int64), ts_us, rows, number)
        outcome = engine.run(arena, readings, Partition(case.name, 0), keep_trace=True)
        assert outcome.trace is not None  # noqa: S101 - it was asked for
        parts.append(outcome.trace)
    columns = (
        np.concatenate([getattr(part, name) for part in parts])[-len(case.x) :]
        for name in ("score", "alerting", "residual")
    )
    score, alerting, residual = columns
    return Played(score, engine.rules.open_level, alerting, residual, model.manifest.kinds)


def nominal(model: OnnxModel) -> Rules:
    """Return the one rule for every threshold: so many false openings per 1,000 readings."""
    a_day = FALSE_PER_1000 / 1000 * 86_400 / model.manifest.period_s
    return rules(model.manifest, a_day)


def _config(case: Case, recipe: Mapping[str, Any], seed: int, roles: bool) -> Config:  # noqa: FBT001
    told = dict.fromkeys(case.commands, "command") if roles else {}
    channels = [
        {"name": name, "role": told.get(c, "telemetry" if roles else None)}
        for c, name in enumerate(case.channels)
    ]
    data = {"files": [case.name], "channels": channels, "period_s": PERIOD_S}
    data["largest_gap_s"] = PERIOD_S * len(case.train) * 1000
    content = {"name": case.name, "data": data, **recipe}
    config = Config.model_validate(content)
    return config.model_copy(update={"fit": config.fit.model_copy(update={"seed": seed})})


def _history(case: Case) -> History:
    rows = len(case.train)
    ts_us = np.arange(rows) * int(PERIOD_S * US_PER_S)
    streams = np.array([0, rows])
    return History(case.train, np.arange(rows), ts_us, streams, [case.name], Report(rows))


def _begins_with(case: Case) -> bool:
    first = case.x[: len(case.train)]
    return bool(np.array_equal(first, case.train, equal_nan=True))


def without_test(case: Case) -> Case:
    """Return the case with rows to score that make no sense: nothing learnt may change."""
    poison = np.where(np.arange(len(case.x))[:, None] < len(case.train), case.x, 1e9)
    return replace(case, x=poison.astype(np.float32), label=~case.label)
