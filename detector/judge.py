"""Scores to verdicts: when an alert opens, grows and closes. Pure and vectorised."""

from dataclasses import dataclass, replace

import numpy as np

from detector.arrays import raw
from detector.artifact import Manifest
from detector.records import SEVERITIES, US_PER_S, Bools, Floats, Ints, Severity, Shorts
from detector.state import Docket

# A reading is a warning, or critical, when normal ones score as high this much less often than
# the opening level is exceeded.
WARNING_FACTOR = 10.0
CRITICAL_FACTOR = 100.0
LASTING_S = 60
# Of the squared residuals: a channel that carries more is alone. Then it may be its sensor.
ALONE = 0.9
INFO, WARNING, CRITICAL = range(3)  # indices into records.SEVERITIES


@dataclass(frozen=True, slots=True)
class Rules:
    """When to say something, as levels of the score, [K] each, or [B, K] for a tick.

    Attributes:
        open_level: A reading above it counts against its stream.
        warning_level: Above it an alert is no mere `info`.
        critical_level: Above it an alert is critical, once more than one channel or time says so.
        calm_level: A reading below it is quiet, however small the alert's peak.
        close_share: Of the alert's own peak; a reading below is quiet, too.
        open_after: Readings in a row above `open_level`, and the bar, that open an alert.
        close_after: Quiet readings in a row that close it.
        cool_down_us: After a close, how long (event time) nothing opens.
        lasting_us: An alert open for so long (event time) lasts.
        at_most: Index into records.SEVERITIES; no alert is more severe.
    """

    open_level: Floats
    warning_level: Floats
    critical_level: Floats
    calm_level: Floats
    close_share: float = 0.35
    open_after: int = 1
    close_after: int = 1
    cool_down_us: int = 0
    lasting_us: int = LASTING_S * US_PER_S
    at_most: int = CRITICAL


CALM = 0.75  # of normal readings score as high
# What is told once must grow to be told again: just after an alert a stream must score so many
# times what it closed with, falling to the opening level over so many readings.
HABIT = 2.0
HABIT_READINGS = 200


def rules(
    manifest: Manifest,
    alarms_per_day: float,
    *,
    close_share: float = 0.35,
    open_after: int = 1,
    close_after: int = 1,
    cool_down_s: float = 0,
    lasting_s: float = LASTING_S,
    at_most: Severity = "critical",
) -> Rules:
    """Turn an acceptable rate of false alarms into levels of the model's score.

    Args:
        manifest: Its calibration says how often normal readings score how high.
        alarms_per_day: Openings a stream and day that are acceptable on normal data.
        close_share: See `Rules`.
        open_after: See `Rules`.
        close_after: See `Rules`.
        cool_down_s: Seconds; see `Rules`.
        lasting_s: Seconds; see `Rules`.
        at_most: See `Rules`.
    """
    period_s = manifest.period_s
    allowed = [c.reading_probability(alarms_per_day, period_s) for c in manifest.calibration]

    def levels(factor: float) -> Floats:
        return np.array(
            [
                c.level(min(p * factor, 1.0))
                for c, p in zip(manifest.calibration, allowed, strict=True)
            ],
            np.float32,
        )

    return Rules(
        levels(1),
        levels(1 / WARNING_FACTOR),
        levels(1 / CRITICAL_FACTOR),
        np.array([c.level(CALM) for c in manifest.calibration], np.float32),
        close_share,
        open_after,
        close_after,
        int(cool_down_s * US_PER_S),
        int(lasting_s * US_PER_S),
        SEVERITIES.index(at_most),
    )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a tick's scores change, [B, K] each.

    Attributes:
        docket: What the judge remembers from now on; `open` says who is in alert.
        opened: An alert begins with this reading.
        escalated: An open alert became more severe.
        closed: An alert ends with this reading.
    """

    docket: Docket
    opened: Bools
    escalated: Bools
    closed: Bools


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick is judged by.

    Attributes:
        docket: [B, K] what the judge remembers of these streams. Not modified.
        score: [B, K].
        ts_us: [B] event times.
        offset: [B] offsets of the records.
        seen: [B] readings since the stream (re)started, this one included.
        warm: [B] past warm-up; others never open an alert.
        restarted: [B] the stream starts afresh: what was open closes, its story is lost.
        residual: [B, C] in standard deviations.
    """

    docket: Docket
    score: Floats
    ts_us: Ints
    offset: Ints
    seen: Ints
    warm: Bools
    restarted: Bools
    residual: Floats

    def only(self, rows: Ints) -> "Tick":
        """Return that of some of its streams."""
        return Tick(
            self.docket.take(rows, axis=0),
            self.score[rows],
            self.ts_us[rows],
            self.offset[rows],
            self.seen[rows],
            self.warm[rows],
            self.restarted[rows],
            self.residual[rows],
        )


def judge(tick: Tick, rules: Rules) -> Verdicts:
    """Judge one tick; return with its own docket where nothing changes, which is nearly always."""
    docket, score, warm, restarted = tick.docket, tick.score, tick.warm, tick.restarted
    # The bar only raises the level: it is asked where the level alone is exceeded.
    stirred = (score > rules.open_level) & warm[:, None]
    stirred |= docket["open"]
    stirred |= docket["run"] > 0
    stirred |= restarted[:, None] & (docket["bar"] > 0)
    if not stirred.any():
        nothing = np.zeros(score.shape, np.bool_)
        return Verdicts(docket, nothing, nothing, nothing)
    rows = np.flatnonzero(stirred.any(axis=1))
    moved = _move(tick.only(rows), _of(rules, rows))
    after = raw(docket).copy()
    after[rows] = raw(moved.docket)
    opened, escalated, closed = np.zeros((3, *score.shape), np.bool_)
    opened[rows], escalated[rows], closed[rows] = moved.opened, moved.escalated, moved.closed
    return Verdicts(after.view(docket.dtype), opened, escalated, closed)


def _of(rules: Rules, rows: Ints) -> Rules:
    """Return the rules of some of a tick's streams."""
    if rules.open_level.ndim == 1:
        return rules
    return replace(
        rules,
        open_level=rules.open_level[rows],
        warning_level=rules.warning_level[rows],
        critical_level=rules.critical_level[rows],
        calm_level=rules.calm_level[rows],
    )


def _move(tick: Tick, rules: Rules) -> Verdicts:
    """Judge those of a tick's streams that are, or may be, near or in an alert; see `judge`."""
    docket, score, seen, restarted = tick.docket, tick.score, tick.seen, tick.restarted
    lifted = docket["bar"] * ~restarted[:, None]
    over = (score > rules.open_level + _bar(lifted, docket["barred_at"], seen)) & tick.warm[:, None]
    after = raw(docket).copy().view(docket.dtype)
    ts, at = tick.ts_us[:, None], tick.offset[:, None]
    was_open = docket["open"]
    lost = was_open & restarted[:, None]

    run = np.where(over, np.where(restarted[:, None], 0, docket["run"]) + 1, 0)
    first = (run == 1) & ~(was_open & ~lost)
    after["since_us"] = np.where(first, ts, docket["since_us"])
    after["since_offset"] = np.where(first, at, docket["since_offset"])
    # A quiet stream's docket must not change: who shares its tick is chance.
    rising = ((run > 0) | was_open) & (score > docket["peak"])
    after["peak"] = np.where(first | rising, score, docket["peak"])

    opened = ~was_open & (run >= rules.open_after) & (ts >= docket["quiet_until_us"])
    calm = np.where(was_open & _quiet(score, after["peak"], rules), docket["calm"] + 1, 0)
    closed = lost | (was_open & (calm >= rules.close_after))
    still = (was_open | opened) & ~closed
    lasting = ts - after["since_us"] >= rules.lasting_us
    severity = _severity(after["peak"], tick.residual, lasting, rules).clip(max=rules.at_most)
    severity = still * np.maximum(severity, was_open * docket["severity"])
    # What is told is told: the next alert's readings, and so its id, begin after this one's.
    after["run"] = np.where(closed & ~lost, 0, run)
    after["calm"] = np.where(closed, 0, calm)
    after["open"] = still
    after["severity"] = severity
    after["quiet_until_us"] = np.where(closed, ts + rules.cool_down_us, docket["quiet_until_us"])
    bar = np.maximum(np.float32(HABIT) * score - rules.open_level, 0)
    after["bar"] = np.where(closed & ~lost, bar, lifted)
    after["barred_at"] = np.where(closed, seen[:, None], docket["barred_at"])
    escalated = was_open & (severity > docket["severity"])
    return Verdicts(after, opened, escalated, closed)


def _severity(peak: Floats, residual: Floats, lasting: Bools, rules: Rules) -> Shorts:
    """Return how severe alerts are, as indices into records.SEVERITIES, [B, K].

    By how rare the peak is; but critical only once it lasts or more than one channel says so,
    and what lasts is a warning at the least.
    """
    rarity = (peak > rules.warning_level).astype(np.int8) + (peak > rules.critical_level)
    doubted = ~lasting & (rarity == CRITICAL)
    if doubted.any():
        doubted &= _alone(residual)
    return np.asarray(np.where(doubted, WARNING, np.maximum(rarity, lasting)), np.int8)


def _alone(residual: Floats) -> Bools:
    """Return where one channel carries the residual [B, C], [B, 1]."""
    weight = residual.astype(np.float64) ** 2
    return np.asarray(weight.max(axis=1) > ALONE * weight.sum(axis=1))[:, None]


def _quiet(score: Floats, peak: Floats, rules: Rules) -> Bools:
    """Return which readings are quiet, [B, K]."""
    bound = np.maximum(np.float32(rules.close_share) * peak, rules.calm_level)
    return np.asarray(score < bound)


def _bar(first: Floats, barred_at: Ints, seen: Ints) -> Floats:
    """Return by how much a stream must exceed the opening level now, [B, K]."""
    left = np.clip(1 - (seen[:, None] - barred_at) / HABIT_READINGS, 0, 1)
    return np.asarray(first * left.astype(np.float32))
