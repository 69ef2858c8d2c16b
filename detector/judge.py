"""Scores to verdicts: when an alert opens, grows and closes. Pure and vectorised."""

from dataclasses import dataclass

import numpy as np

from detector.artifact import Manifest
from detector.records import US_PER_S, Bools, Floats, Ints
from detector.state import Docket


@dataclass(frozen=True, slots=True)
class Rules:
    """When to say something, as levels of the score, [K] each.

    Attributes:
        open_level: A reading above it counts against its stream.
        close_level: A reading at or below it counts for it. Lower than `open_level`.
        critical_level: Above it an alert is critical.
        open_after: Readings in a row above `open_level` that open an alert.
        close_after: Readings in a row at or below `close_level` that close it.
        cool_down_us: After a close, how long (event time) nothing opens.
    """

    open_level: Floats
    close_level: Floats
    critical_level: Floats
    open_after: int = 2
    close_after: int = 10
    cool_down_us: int = 60 * US_PER_S


# A reading counts as quiet when normal ones score as high this much more often than the
# opening level is exceeded; and as critical when they do this much less often.
CLOSE_FACTOR = 10.0
CRITICAL_FACTOR = 100.0


def rules(
    manifest: Manifest,
    alarms_per_day: float,
    *,
    open_after: int = 2,
    close_after: int = 10,
    cool_down_s: float = 60,
) -> Rules:
    """Turn an acceptable rate of false alarms into levels of the model's score.

    Args:
        manifest: Its calibration says how often normal readings score how high.
        alarms_per_day: Openings a stream and day that are acceptable on normal data.
        open_after: See `Rules`.
        close_after: See `Rules`.
        cool_down_s: Seconds; see `Rules`.
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
        levels(CLOSE_FACTOR),
        levels(1 / CRITICAL_FACTOR),
        open_after,
        close_after,
        int(cool_down_s * US_PER_S),
    )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a tick's scores change, [B, K] each.

    Attributes:
        docket: What the judge remembers from now on; `open` says who is in alert.
        opened: An alert begins with this reading.
        escalated: An open alert became critical.
        closed: An alert ends with this reading.
    """

    docket: Docket
    opened: Bools
    escalated: Bools
    closed: Bools


def judge(
    docket: Docket,
    score: Floats,
    ts_us: Ints,
    offset: Ints,
    *,
    warm: Bools,
    restarted: Bools,
    rules: Rules,
) -> Verdicts:
    """Judge one tick.

    Args:
        docket: [B, K] what the judge remembers of these streams. Not modified.
        score: [B, K].
        ts_us: [B] event times.
        offset: [B] offsets of the records.
        warm: [B] past warm-up; others never open an alert.
        restarted: [B] the stream starts afresh: what was open closes, its story is lost.
        rules: When to open and close.

    Returns:
        The verdicts; with `docket` itself where nothing changes, which is nearly always.
    """
    over = (score > rules.open_level) & warm[:, None]
    if not (over.any() or docket["run"].any() or docket["open"].any()):
        nothing = np.zeros(score.shape, np.bool_)
        return Verdicts(docket, nothing, nothing, nothing)
    after = docket.copy()
    ts, at = ts_us[:, None], offset[:, None]
    was_open = docket["open"]
    lost = was_open & restarted[:, None]

    run = np.where(over, np.where(restarted[:, None], 0, docket["run"]) + 1, 0)
    first = (run == 1) & ~(was_open & ~lost)
    after["run"] = run
    after["since_us"] = np.where(first, ts, docket["since_us"])
    after["since_offset"] = np.where(first, at, docket["since_offset"])
    # A quiet stream's docket must not change: who shares its tick is chance.
    rising = ((run > 0) | was_open) & (score > docket["peak"])
    after["peak"] = np.where(first | rising, score, docket["peak"])

    opened = ~was_open & (run >= rules.open_after) & (ts >= docket["quiet_until_us"])
    calm = np.where(was_open & (score <= rules.close_level), docket["calm"] + 1, 0)
    closed = lost | (was_open & (calm >= rules.close_after))
    still = (was_open | opened) & ~closed
    critical = still & (after["peak"] > rules.critical_level)
    after["calm"] = np.where(closed, 0, calm)
    after["open"] = still
    after["critical"] = critical
    after["quiet_until_us"] = np.where(closed, ts + rules.cool_down_us, docket["quiet_until_us"])
    escalated = critical & was_open & ~docket["critical"]
    return Verdicts(after, opened, escalated, closed)
