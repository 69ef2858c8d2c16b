"""What models and settings that change mean to those who watch: metrics and log lines.

A part of `recorder`: the loop hands its facts over.
"""

from contextlib import suppress

import numpy as np
import structlog

from detector.artifact import Manifest
from detector.engine import Outcome
from detector.lane import Lane
from detector.metrics import Metrics
from detector.records import Doubles
from detector.scorer import Lineup
from detector.shadow import Comparison

log = structlog.get_logger()

REMEMBERED = 4096  # readings that the rank correlation is of: half a minute of a small plant
FEW = 30  # below so many a rank correlation is chance


class Announcements:
    """Tells which model judges, which comes, and how a candidate compares."""

    def __init__(self, metrics: Metrics, judging: Manifest) -> None:
        """Begin with the model that judges."""
        self._metrics = metrics
        self._judging = judging
        self._shadows: dict[str, Manifest] = {}
        self._rarity = np.zeros((0, 2), np.float64)
        self._waiting = 0
        self._name(judging)

    def lined_up(self, lineup: Lineup) -> None:
        """Other models score, or the same ones under other settings."""
        candidate = lineup.candidate.manifest if lineup.candidate else None
        if candidate != self._shadows.get("candidate"):
            self._rarity = self._rarity[:0]
            self._metrics.rank_correlation.set(np.nan)
        self._beside("candidate", candidate)
        self._metrics.config.clear()
        self._metrics.config.labels(lineup.config).set(1)

    def comes(self, manifest: Manifest) -> None:
        """A model is to judge, as soon as its streams are warmed up."""
        self._beside("next", manifest)
        log.info("a model takes over", model=manifest.name, version=manifest.version[:12])

    def waiting(self, partitions: int) -> None:
        """So many partitions are still judged by the model before."""
        self._metrics.awaiting.inc(partitions - self._waiting)  # other routes may wait, too
        self._waiting = partitions

    def goes_over(self, lane: Lane, *, late: bool) -> None:
        """A partition is about to be judged by the next model."""
        log.info(
            "a partition goes over to the next model",
            partition=lane.origin.partition.number,
            streams=len(lane.arena),
            warmed_up=not late,
        )

    def judges(self, manifest: Manifest) -> None:
        """A model has taken over all partitions."""
        self._beside("next", None)
        with suppress(KeyError):
            self._metrics.model.remove(self._judging.name, self._judging.version[:12])
        self._judging = manifest
        self._name(manifest)
        log.info("a model has taken over", model=manifest.name, version=manifest.version[:12])

    def compared(self, comparison: Comparison | None, said: Outcome) -> None:
        """A candidate has scored what the model has that judges."""
        for alert in said.alerts:
            if alert.status == "open":
                self._metrics.shadow_alerts.labels(alert.kind).inc()
        if comparison is None:
            return
        both = {
            "none": ~comparison.judging & ~comparison.beside,
            "both": comparison.judging & comparison.beside,
            "judging": comparison.judging & ~comparison.beside,
            "candidate": ~comparison.judging & comparison.beside,
        }
        for verdict, where in both.items():
            self._metrics.shadow_readings.labels(verdict).inc(int(np.count_nonzero(where)))
        self._rarity = np.concatenate([self._rarity, comparison.rarity])[-REMEMBERED:]
        if len(self._rarity) >= FEW:
            self._metrics.rank_correlation.set(rank_correlation(self._rarity))

    def _name(self, manifest: Manifest) -> None:
        self._metrics.model.labels(manifest.name, manifest.version[:12]).set(1)

    def _beside(self, role: str, manifest: Manifest | None) -> None:
        before = self._shadows.pop(role, None)
        if before is not None:
            with suppress(KeyError):
                self._metrics.shadow.remove(role, before.name, before.version[:12])
        if manifest is not None:
            self._shadows[role] = manifest
            self._metrics.shadow.labels(role, manifest.name, manifest.version[:12]).set(1)


def rank_correlation(pairs: Doubles) -> float:
    """Return Spearman's rank correlation of pairs [M, 2]; NaN where one of them is constant.

    Example:
        >>> round(rank_correlation(np.array([[1.0, 10.0], [2.0, 70.0], [3.0, 90.0]])), 3)
        1.0
    """
    ranks = np.stack([_ranks(column) for column in pairs.T])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    size = float(np.prod(np.sqrt((centred**2).sum(axis=1))))
    return float(centred[0] @ centred[1] / size) if size else float("nan")


def _ranks(x: Doubles) -> Doubles:
    """Return each value's rank, the mean one where several are equal, [M]."""
    _, where, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[where], np.float64)
