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

from detector.artifact import Manifest
from detector.engine import Engine
from detector.judge import Rules, rules
from detector.model import OnnxModel
from detector.records import US_PER_S, Bools, Floats, Ints, Partition, Readings
from training.benchmark.cases import Case
from training.channels import look
from training.config import Config
from training.data import History, Report
from training.rejudge import rejudge
from training.run import Progress, build

PERIOD_S = 60.0
FALSE_PER_1000 = 1.0  # openings that are acceptable, per 1,000 normal readings of a stream
RATES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # others that might have been asked for, as above
PROOF_READINGS = 300  # of each of hundreds of files of one architecture
PART = 4096  # readings scored together


@dataclass(frozen=True, slots=True)
class Played:
    """What a model said of a case. Axes: T rows, C channels, K kinds,
    R rates.

    Attributes:
        score: [T, K].
        level: [K] above which an alert opens.
        alerting: [T, K] an alert is open.
        again: [R, T, K] the same, had another of `RATES` been asked for.
        residual: [T, C].
        kinds: [K] names.
    """

    score: Floats
    level: Floats
    alerting: Bools
    again: Bools
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


def listen(model: OnnxModel, case: Case, began_us: int = 0) -> Played:
    """Score a case with a model, through the daemon's stages.

    Args:
        model: The exported file, loaded.
        case: Its training rows come first, in its own stream or before it.
        began_us: When the stream began; nothing may hang on it.
    """
    engine = Engine(model, nominal(model))
    arena, parts = engine.new_arena(), []
    x = case.x if begins_with_train(case) else np.concatenate([case.train, case.x])
    ts_us = began_us + np.arange(len(x)) * int(PERIOD_S * US_PER_S)
    for start in range(0, len(x), PART):
        part = slice(start, start + PART)
        rows = x[part]
        readings = Readings([b"case"], np.zeros(len(rows), np.int64), ts_us[part], rows,
                            np.arange(start, start + len(rows)))  # fmt: skip
        outcome = engine.run(arena, readings, Partition(case.name, 0), keep_trace=True)
        assert outcome.trace is not None  # noqa: S101 - it was asked for
        parts.append(outcome.trace)
    score, alerting, residual, warm = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("score", "alerting", "residual", "warm")
    )
    heard = _Heard(ts_us, score, warm, np.arange(len(x)) == 0)
    asked = [_a_day(rate, model.manifest) for rate in RATES]
    again = np.stack([of[0] for of in rejudge(model.manifest, [heard], asked)])
    own = slice(len(x) - len(case.x), None)
    return Played(
        score[own],
        engine.rules.open_level,
        alerting[own],
        again[:, own],
        residual[own],
        model.manifest.kinds,
    )


@dataclass(frozen=True, slots=True)
class _Heard:
    """What is judged again, [T] each."""

    ts_us: Ints
    score: Floats
    warm: Bools
    restarted: Bools


def nominal(model: OnnxModel) -> Rules:
    """Return the one rule for every threshold: so many false openings per 1,000 readings."""
    return rules(model.manifest, _a_day(FALSE_PER_1000, model.manifest))


def roles_matter(case: Case) -> bool:
    """Return whether there are commands, and training finds others to score than the rest."""
    if not case.commands:
        return False
    found, told = (
        look(_config(case, {}, 0, roles).data.channels, _history(case)).judged
        for roles in (False, True)
    )
    return found != told


def _a_day(per_1000: float, manifest: Manifest) -> float:
    return per_1000 / 1000 * 86_400 / manifest.period_s


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


def begins_with_train(case: Case) -> bool:
    """Return whether the stream to score begins with the rows to fit on."""
    first = case.x[: len(case.train)]
    return bool(np.array_equal(first, case.train, equal_nan=True))


def without_test(case: Case) -> Case:
    """Return the case with rows to score that make no sense: nothing learnt may change."""
    fitted = len(case.train) if begins_with_train(case) else 0
    poison = np.where(np.arange(len(case.x))[:, None] < fitted, case.x, 1e9)
    return replace(case, x=poison.astype(np.float32), label=~case.label)
