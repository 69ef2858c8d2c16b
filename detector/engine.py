"""batch, score and judge over one partition's readings: the one place where state moves."""

from dataclasses import dataclass, field, replace

import numpy as np

from detector.alerts import Teller
from detector.batch import ticks
from detector.budget import UNLIMITED, Limits, Ration
from detector.flood import Grouping
from detector.judge import Rules, Tick, Verdicts, judge
from detector.model import StepModel
from detector.records import (
    BUDGET,
    GROUP,
    Alert,
    Bools,
    Floats,
    Ints,
    Partition,
    Readings,
)
from detector.score import Scored, score
from detector.silence import Silence
from detector.slab import Rows
from detector.state import Arena, Docket
from detector.summary import Summarist
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
        alerts: What is to be told, in the order of the readings.
        moved: Streams whose alerts opened, grew or closed, told or not, or that joined a group.
        withheld: Openings beyond the budget.
        joined: Openings that joined a group instead of being told.
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
    moved: frozenset[bytes] = frozenset()
    withheld: int = 0
    joined: int = 0
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


@dataclass(slots=True)
class _Counts:
    """What came of the ticks so far; see `Outcome`."""

    scored: int = 0
    restarted: int = 0
    duplicates: int = 0
    gaps: int = 0
    scores: list[Floats] = field(default_factory=list)
    ts_us: list[Ints] = field(default_factory=list)

    def note(self, now: Scored) -> None:
        """Count a tick."""
        self.duplicates += now.duplicates
        self.gaps += now.gaps
        self.restarted += int(np.count_nonzero(now.restarted))
        self.scored += len(now.reading)
        if len(now.reading):
            self.scores.append(now.step.score.compress(now.warm, axis=0))
            self.ts_us.append(now.ts_us)

    def of(self, limited: Outcome, readings: int, trace: Trace | None) -> Outcome:
        """Return the outcome of so many readings, given what is told of them."""
        return replace(
            limited,
            ticks=len(self.ts_us),
            scored=self.scored,
            warming=self.scored - sum(map(len, self.scores)),
            late=readings - self.scored,
            duplicates=self.duplicates,
            restarted=self.restarted,
            gaps=self.gaps,
            scores=self.scores,
            ts_us=self.ts_us,
            trace=trace,
        )


class Engine:
    """Scores and judges readings of one partition at a time, moving its arena's state."""

    def __init__(
        self,
        model: StepModel,
        rules: Rules,
        silence: Silence | None = None,
        limits: Limits | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        """Wire a model to the rules that judge it.

        Args:
            model: It scores.
            rules: They judge.
            silence: For streams that stop; None: nobody watches for them.
            limits: Of what a partition tells; None: it tells all.
            thresholds: Of streams that have their own; None: none has.
        """
        self.model = model
        self.rules = rules
        self.silence = silence
        self.limits = limits or Limits()
        self._thresholds = thresholds

    def unlimited(self) -> "Engine":
        """Return one that scores and judges alike, but listens to no silence and tells all."""
        return Engine(self.model, self.rules, thresholds=self._thresholds)

    def new_arena(self, depth: int = 0) -> Arena:
        """Return an empty arena of the model's widths, with a ring of so many readings."""
        manifest = self.model.manifest
        widths = manifest.state_width, len(manifest.kinds), len(manifest.channels)
        return Arena(*widths, depth)

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
        now_us = np.maximum.accumulate(np.maximum(readings.ts_us, arena.newest_us))
        arena.newest_us = int(now_us[-1]) if len(now_us) else arena.newest_us
        trace = self._empty_trace(len(rows)) if keep_trace else None
        levels = self._thresholds and self._thresholds.levels(self.rules, readings.streams)
        teller = Teller(self.model.manifest, arena, partition, readings, rows)
        turns = arena.listen(rows, readings.ts_us, self.silence) if self.silence else []
        alerts = teller.tell_silence(turns)
        counts = _Counts()
        for tick in ticks(readings.stream, len(readings.streams)):
            before = arena.take(rows[tick])
            now = score(self.model, readings, tick, before)
            counts.note(now)
            if not len(now.reading):
                continue
            docket = before.docket if now.kept is None else before.docket.take(now.kept, axis=0)
            rules = levels.of(readings.stream[now.reading]) if levels else self.rules
            verdicts = judge(_tick(docket, now, readings), rules)
            alerts += teller.tell(now, docket, verdicts, rules.open_level)
            index, x = rows[now.reading], readings.x.take(now.reading, axis=0)
            arena.put(Rows(index, now.step.state, now.pace, verdicts.docket))
            arena.ring.note(index, now.pace["seen"], now.ts_us, x)
            if trace is not None:
                _note(trace, now, verdicts)
        alerts.sort(key=lambda pair: pair[0])
        manifest, route = self.model.manifest, self.limits.route
        summarist = Summarist(manifest, partition, readings, now_us, route)
        limited = self._limit(arena, alerts, summarist)
        return counts.of(limited, len(rows), trace)

    def _limit(
        self, arena: Arena, alerts: list[tuple[int, Alert]], summarist: Summarist
    ) -> Outcome:
        """Return what may be told of alerts, each with the index of its reading, in order."""
        tally, hidden, limits = arena.tally, arena.withheld, self.limits
        pending = tally.withheld or tally.flood.members
        if not (alerts or (pending and len(summarist.now_us))):
            return Outcome()
        within_us, limit = limits.group_within_us, limits.opens_per_hour
        grouping = Grouping(tally.flood, hidden, limits.group_streams, within_us, summarist)
        ration = Ration(tally, hidden, UNLIMITED if limit is None else limit, summarist)
        ration.take(grouping.take(alerts))
        arena.tally = ration.tally._replace(flood=grouping.flood)
        opened = sum(alert.status == "open" for _, alert in alerts)
        told = sum(a.status == "open" and a.kind not in {BUDGET, GROUP} for a in ration.told)
        moved = {alert.stream.encode() for _, alert in alerts} | grouping.new
        withheld = opened - told - grouping.joined
        return Outcome(ration.told, frozenset(moved), withheld, grouping.joined)

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


def _tick(docket: Docket, now: Scored, readings: Readings) -> Tick:
    """Return what a tick is judged by, once it is scored."""
    offset, seen = readings.offset[now.reading], now.pace["seen"]
    step = now.step
    return Tick(docket, step.score, now.ts_us, offset, seen, now.warm, now.restarted, step.residual)


def _note(trace: Trace, now: Scored, verdicts: Verdicts) -> None:
    trace.scored[now.reading] = True
    trace.warm[now.reading] = now.warm
    trace.score[now.reading] = now.step.score
    trace.expected[now.reading] = now.step.expected
    trace.residual[now.reading] = now.step.residual
    trace.alerting[now.reading] = verdicts.docket["open"]
