"""One tick and what its streams left behind: scores, and what they leave behind next."""

from dataclasses import dataclass

import numpy as np

from detector.model import StepModel
from detector.records import US_PER_S, Bools, Ints, Readings, Step
from detector.slab import Rows
from detector.state import NEVER_US, Pace


@dataclass(frozen=True, slots=True)
class Scored:
    """A tick after the model saw it; B counts the readings that were not late.

    Attributes:
        kept: [B] places in the tick that were scored; None for all of them.
        reading: [B] index of each in the poll's readings.
        ts_us: [B] event times.
        step: What the model said.
        pace: [B], to keep for the next reading.
        restarted: [B] the stream is new, or was silent for longer than the largest gap.
        warm: [B] past warm-up: may be alerted.
        duplicates: How many of the others have the very time of their stream's last reading.
        gaps: How many of `restarted` are of streams that were heard before.
    """

    kept: Ints | None
    reading: Ints
    ts_us: Ints
    step: Step
    pace: Pace
    restarted: Bools
    warm: Bools
    duplicates: int = 0
    gaps: int = 0


def score(model: StepModel, readings: Readings, tick: Ints, before: Rows) -> Scored:
    """Score one tick.

    A reading not newer than its stream's last one is late and dropped. A stream that was silent
    for longer than the manifest's largest gap starts from a zero state, with a new warm-up.

    Args:
        model: The exported autoencoder.
        readings: The poll's N readings.
        tick: [B] indices into them, of distinct streams.
        before: [B] what their streams left behind. Its `model` and `pace` may be modified.

    Returns:
        What the model said of the readings that were not late.
    """
    manifest = model.manifest
    ts_us, state, pace, kept = readings.ts_us[tick], before.model, before.pace, None
    on_time, duplicates, gaps = ts_us > pace["last_us"], 0, 0
    if not on_time.all():
        duplicates = int(np.count_nonzero(ts_us == pace["last_us"]))
        kept = np.flatnonzero(on_time)
        tick, ts_us, state, pace = tick[kept], ts_us[kept], state.take(kept, axis=0), pace[kept]
    restarted = pace["last_us"] < ts_us - int(manifest.largest_gap_s * US_PER_S)
    if restarted.any():
        gaps = int(np.count_nonzero(restarted & (pace["last_us"] != NEVER_US)))
        state[restarted] = 0
        pace["seen"][restarted] = 0
    pace["last_us"] = ts_us
    pace["seen"] += 1
    step = model.step(readings.x.take(tick, axis=0), state)
    warm = pace["seen"] > manifest.warm_up
    return Scored(kept, tick, ts_us, step, pace, restarted, warm, duplicates, gaps)
