"""batch, score and judge over one partition's readings: the one place where state moves."""

from dataclasses import dataclass, field, replace

import numpy as np

from detector.batch import ticks
from detector.judge import Rules, Verdicts, judge
from detector.model import StepModel
from detector.records import (
    Alert,
    Bools,
    ChannelValue,
    Floats,
    Ints,
    Partition,
    Readings,
    Status,
    alert_id,
)
from detector.score import Scored, score
from detector.state import NEVER_US, Arena, Docket, Rows
from detector.thresholds import Thresholds


@dataclass(frozen=True, slots=True)
class Trace:
    """All that was said of N readings, in their order; only kept where somebody asks for it.

    Attributes:
        scored: [N] False for a late reading, whose other columns are NaN or False.
        warm: [N] past warm-up.
        score: [N, K].
        expected: [N, C].
        residual: [N, C].
        alerting: [N, K] an alert of this kind is open after this reading.
    """

    scored: Bools
    warm: Bools
    score: Floats
    expected: Floats
    residual: Floats
    alerting: Bools


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some readings.

    Attributes:
        alerts: In the order of the readings.
        ticks: Into how many steps of the model the readings went.
        scored: How many were scored.
        warming: How many of these were in their stream's warm-up.
        late: How many were not newer than their stream's last one, and dropped.
        duplicates: How many of these had its very time.
        restarted: How many began a stream's state afresh (new streams included).
        gaps: How many of these came after a silence that was too long.
        scores: Those of readings past warm-up, [B, K] a tick.
        ts_us: Event times of the readings that were scored, [B] a tick.
        trace: Where asked for.
    """

    alerts: list[Alert] = field(default_factory=list)
    ticks: int = 0
    scored: int = 0
    warming: int = 0
    late: int = 0
    duplicates: int = 0
    restarted: int = 0
    gaps: int = 0
    scores: list[Floats] = field(default_factory=list)
    ts_us: list[Ints] = field(default_factory=list)
    trace: Trace | None = None


class Engine:
    """Scores and judges readings of one partition at a time, moving its arena's state."""

    def __init__(
        self, model: StepModel, rules: Rules, thresholds: Thresholds | None = None
    ) -> None:
        """Wire a model to the rules that judge it, and those of streams that have their own."""
        self.model = model
        self.rules = rules
        self._thresholds = thresholds

    def new_arena(self) -> Arena:
        """Return an empty arena of the model's widths."""
        return Arena(self.model.manifest.state_width, len(self.model.manifest.kinds))

    def run(
        self, arena: Arena, readings: Readings, partition: Partition, *, keep_trace: bool = False
    ) -> Outcome:
        """Score and judge readings, moving their streams' state.

        How readings are grouped into calls does not change what is said of them.

        Args:
            arena: The partition's state; its rows of these streams change.
            readings: N readings, in the order of the partition.
            partition: Where they come from.
            keep_trace: Also return what was said of each reading.
        """
        rows = arena.rows(readings.streams)[readings.stream]
        arena.newest_us = max(arena.newest_us, int(readings.ts_us.max(initial=NEVER_US)))
        trace = self._empty_trace(len(rows)) if keep_trace else None
        levels = self._thresholds and self._thresholds.levels(self.rules, readings.streams)
        alerts: list[tuple[int, Alert]] = []
        scores, times = list[Floats](), list[Ints]()
        scored = restarted = duplicates = gaps = 0
        for tick in ticks(readings.stream, len(readings.streams)):
            before = arena.take(rows[tick])
            now = score(self.model, readings, tick, before)
            duplicates += now.duplicates
            gaps += now.gaps
            if not len(now.reading):
                continue
            docket = before.docket if now.kept is None else before.docket[now.kept]
            rules = levels.of(readings.stream[now.reading]) if levels else self.rules
            verdicts = self._judge(docket, now, readings, rules)
            arena.put(Rows(rows[now.reading], now.step.state, now.pace, verdicts.docket))
            alerts += self._alerts(readings, now, docket, verdicts, partition, arena, rules)
            scores.append(now.step.score[now.warm])
            times.append(now.ts_us)
            scored += len(now.reading)
            restarted += int(np.count_nonzero(now.restarted))
            if trace is not None:
                _note(trace, now, verdicts)
        alerts.sort(key=lambda pair: pair[0])
        return Outcome(
            alerts=[alert for _, alert in alerts],
            ticks=len(times),
            scored=scored,
            warming=scored - sum(map(len, scores)),
            late=len(rows) - scored,
            duplicates=duplicates,
            restarted=restarted,
            gaps=gaps,
            scores=scores,
            ts_us=times,
            trace=trace,
        )

    def _judge(self, docket: Docket, now: Scored, readings: Readings, rules: Rules) -> Verdicts:
        return judge(
            docket,
            now.step.score,
            now.ts_us,
            readings.offset[now.reading],
            seen=now.pace["seen"],
            warm=now.warm,
            restarted=now.restarted,
            rules=rules,
        )

    def _alerts(
        self,
        readings: Readings,
        now: Scored,
        before: Docket,
        verdicts: Verdicts,
        partition: Partition,
        arena: Arena,
        rules: Rules,
    ) -> list[tuple[int, Alert]]:
        """Put the tick's transitions into words, each with the index of its reading."""
        said: list[tuple[int, Alert]] = []
        adopted = arena.adopted
        transitions: tuple[tuple[Status, Bools], ...] = (
            ("close", verdicts.closed),
            ("open", verdicts.opened),
            ("update", verdicts.escalated),
        )
        for status, where in transitions:
            if where.any():
                docket = before if status == "close" else verdicts.docket
                for b, k in np.argwhere(where).tolist():
                    alert = self._alert(readings, now, docket, partition, status, b, k)
                    if rules is not self.rules:
                        alert = replace(alert, threshold=float(rules.open_level[b, k]))
                    if status == "close" and adopted:
                        stream = readings.streams[int(readings.stream[now.reading[b]])]
                        alert = replace(alert, id=adopted.pop((stream, k), alert.id))
                    said.append((int(now.reading[b]), alert))
        return said

    def _alert(
        self,
        readings: Readings,
        now: Scored,
        docket: Docket,
        partition: Partition,
        status: Status,
        b: int,
        k: int,
    ) -> Alert:
        manifest, reading, memory = self.model.manifest, int(now.reading[b]), docket[b, k]
        stream = readings.streams[int(readings.stream[reading])]
        calibration, score = manifest.calibration[k], float(now.step.score[b, k])
        since, offset = int(memory["since_us"]), int(memory["since_offset"])
        return Alert(
            id=alert_id(partition, stream, calibration.kind, manifest.version, since, offset),
            stream=stream.decode(),
            status=status,
            kind=calibration.kind,
            severity="critical" if memory["critical"] else "warning",
            opened_us=since,
            at_us=int(now.ts_us[b]),
            score=score,
            probability=float(calibration.probability(np.array(score))),
            threshold=float(self.rules.open_level[k]),
            channels=self._channels(readings.x[reading], now, b),
            peak=float(memory["peak"]),
            cause="gap" if status == "close" and now.restarted[b] else "normal",
            model=manifest.name,
            version=manifest.version,
            partition=partition,
            offset=int(readings.offset[reading]),
        )

    def _channels(self, x: Floats, now: Scored, b: int) -> tuple[ChannelValue, ...]:
        expected, residual = now.step.expected[b], now.step.residual[b]
        weight = residual.astype(np.float64) ** 2
        share = weight / max(weight.sum(), np.finfo(np.float64).tiny)
        channels = self.model.manifest.channels
        return tuple(
            ChannelValue(
                channels[c].name,
                channels[c].unit,
                None if np.isnan(x[c]) else float(x[c]),
                float(expected[c]),
                float(residual[c]),
                float(share[c]),
            )
            for c in np.argsort(-share, kind="stable").tolist()
        )

    def _empty_trace(self, n: int) -> Trace:
        channels, kinds = len(self.model.manifest.channels), len(self.model.manifest.kinds)
        return Trace(
            scored=np.zeros(n, np.bool_),
            warm=np.zeros(n, np.bool_),
            score=np.full((n, kinds), np.nan, np.float32),
            expected=np.full((n, channels), np.nan, np.float32),
            residual=np.full((n, channels), np.nan, np.float32),
            alerting=np.zeros((n, kinds), np.bool_),
        )


def _note(trace: Trace, now: Scored, verdicts: Verdicts) -> None:
    trace.scored[now.reading] = True
    trace.warm[now.reading] = now.warm
    trace.score[now.reading] = now.step.score
    trace.expected[now.reading] = now.step.expected
    trace.residual[now.reading] = now.step.residual
    trace.alerting[now.reading] = verdicts.docket["open"]
