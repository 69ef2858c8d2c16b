"""A model beside the one that judges: it scores the same readings, and nobody is told. Pure.

A model that is to take over does so until its streams are warmed up; a candidate does so for as
long as somebody wants to compare.
"""

from dataclasses import dataclass

import numpy as np

from detector.artifact import Manifest
from detector.decode import decode
from detector.engine import Outcome, Trace
from detector.records import US_PER_S, Bools, Chunk, Doubles, Readings, alert_id
from detector.scorer import Scorer
from detector.snapshot import Origin
from detector.state import DOCKET, Arena

# Of a partition's streams that may be left behind when a model takes over: always a few begin.
STRAGGLERS = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on M readings, which both scored past warm-up.

    Attributes:
        judging: [M] the one that judges has an alert open after the reading.
        beside: [M] the other has.
        rarity: [M, 2] of both: how rare the reading's rarest evidence is, in powers of ten.
    """

    judging: Bools
    beside: Bools
    rarity: Doubles


@dataclass(slots=True)
class Shadow:
    """One partition's streams, as another model has them.

    Attributes:
        scorer: The model.
        arena: Its state.
        tags: What the streams keep between their values, where it reads records otherwise.
    """

    scorer: Scorer
    arena: Arena
    tags: Arena

    def run(self, chunk: Chunk, judging: Scorer, readings: Readings, *, trace: bool) -> Outcome:
        """Score a chunk; `readings` are those that `judging` has decoded of it."""
        if self.scorer.form != judging.form:
            readings = decode(chunk, self.scorer.form, self.tags).readings
        engine = self.scorer.engine.unlimited()
        return engine.run(self.arena, readings, chunk.partition, keep_trace=trace)

    def is_warm(self, arena: Arena, judging: Manifest) -> bool:
        """Return whether hardly a stream would be alerted later if this model judged from now on.

        Args:
            arena: The same streams, as the model has them that judges.
            judging: That model. Streams that it has not heard for its largest gap do not count.
        """
        mine = self.scorer.manifest
        names, pace = arena.paces()
        seen_here = dict(zip(*_seen(self.arena), strict=True))
        heard = pace["last_us"] >= arena.newest_us - int(judging.largest_gap_s * US_PER_S)
        waits = np.maximum(judging.warm_up + 1 - pace["seen"], 0)
        rows = [row for row in np.flatnonzero(heard).tolist() if names[row]]
        later = sum(
            max(mine.warm_up + 1 - seen_here.get(names[row], 0), 0) > waits[row] for row in rows
        )
        return bool(later <= STRAGGLERS * len(rows))

    def take_over(self, arena: Arena, origin: Origin) -> Arena:
        """Let the judge begin afresh on this model's state, with what is open; return the state.

        Nobody was told what it held to be open until now. What the other model opened stays
        open under its id until this one's scores are quiet. May be repeated.

        Args:
            arena: The same streams, as the model has them that judged until now.
            origin: That model's.
        """
        mine, rules = self.arena, self.scorer.engine.rules
        names, docket = mine.docket()
        mine.correct(np.arange(len(names)), np.zeros(docket.shape, DOCKET))
        mine.adopted, mine.clock, mine.tally = {}, arena.clock, arena.tally
        kinds = origin.manifest.kinds  # silence and groups are of no model
        mine.withheld = {key for key in arena.withheld if key[1] not in kinds}
        if arena.clock is not None:
            self._inherit(arena)
        names, told = arena.docket()
        told["open"] &= ~_untold(arena, names, origin.manifest.kinds)
        some = np.flatnonzero((told["open"] | (told["quiet_until_us"] != 0)).any(axis=1))
        streams = [names[row] for row in some.tolist()]
        index, told = mine.rows(streams), told[some]
        docket = mine.take(index).docket
        for name in ("open", "severity", "since_us", "since_offset"):
            docket[name] = np.where(told["open"], told[name], docket[name])
        docket["quiet_until_us"] = told["quiet_until_us"]
        # Its scores are on another scale: the least that such an alert has reached on ours.
        levels = np.stack([rules.open_level, rules.warning_level, rules.critical_level])
        peak = np.take_along_axis(levels, told["severity"].astype(np.intp), axis=0)
        docket["peak"] = np.where(told["open"], peak, docket["peak"])
        mine.correct(index, docket)
        for b, k in np.argwhere(told["open"]).tolist():
            mine.adopted[streams[b], k] = arena.adopted.get((streams[b], k)) or alert_id(
                origin.partition,
                streams[b],
                origin.manifest.kinds[k],
                origin.manifest.version,
                int(told["since_us"][b, k]),
                int(told["since_offset"][b, k]),
            )
        return mine

    def _inherit(self, arena: Arena) -> None:
        """Let silence and the partition's hour go on: they are of no model."""
        names, pace = arena.paces()
        rows = np.array([row for row, name in enumerate(names) if name], np.int64)
        streams = [names[row] for row in rows.tolist()]
        self.arena.inherit(streams, pace["last_us"][rows], arena.watched(rows))


def _untold(arena: Arena, names: list[bytes], kinds: tuple[str, ...]) -> Bools:
    """Return which open alerts nobody was told of, [R, K]: they end without a word."""
    untold = np.zeros((len(names), len(kinds)), np.bool_)
    for stream, kind in arena.withheld:
        if kind in kinds:
            untold[names.index(stream), kinds.index(kind)] = True
    return untold


def compare(judging: Scorer, live: Trace, beside: Scorer, shadow: Trace) -> Comparison | None:
    """Compare what two models said of the same readings; None where these are not the same."""
    if len(live.warm) != len(shadow.warm):  # a record that one of them cannot read
        return None
    both = live.warm & shadow.warm
    rarity = np.stack([_rarity(judging, live, both), _rarity(beside, shadow, both)], axis=1)
    return Comparison(_alerting(live, both), _alerting(shadow, both), rarity)


def _alerting(trace: Trace, where: Bools) -> Bools:
    return np.asarray(trace.alerting[where].any(axis=1))


def _rarity(scorer: Scorer, trace: Trace, where: Bools) -> Doubles:
    """Return how rare each reading's rarest evidence is, [M]."""
    score = trace.score[where].astype(np.float64)
    kinds = enumerate(scorer.manifest.calibration)
    return np.asarray(np.max([calibration.rarity(score[:, k]) for k, calibration in kinds], axis=0))


def _seen(arena: Arena) -> tuple[list[bytes], list[int]]:
    names, pace = arena.paces()
    return names, pace["seen"].tolist()
