"""The detector as one would write it first: one record, one step, one object a stream.

It says of every reading what the daemon says; nothing here is an array of more than one row.
"""

import json
from dataclasses import dataclass

import numpy as np

from detector.equip import rules_of
from detector.judge import HABIT, HABIT_READINGS
from detector.model import StepModel
from detector.records import US_PER_S, Floats
from detector.telling import Judge

ZERO = np.float32(0)


@dataclass(slots=True)
class Case:
    """What the judge remembers of one stream and one kind of evidence."""

    run: int = 0
    calm: int = 0
    peak: np.float32 = ZERO
    open: bool = False
    quiet_until_us: float = float("-inf")
    bar: np.float32 = ZERO
    barred_at: int = 0


@dataclass(slots=True)
class Memory:
    """What one stream leaves behind for its next reading."""

    state: Floats
    cases: list[Case]
    ts_us: float = float("-inf")
    seen: int = 0


class Naive:
    """Scores and judges one record at a time.

    Attributes:
        opened: How many alerts it opened.
    """

    def __init__(self, model: StepModel, judge: Judge | None = None) -> None:
        manifest = model.manifest
        self._model = model
        self._channels = [channel.name for channel in manifest.channels]
        self._fresh = np.zeros((1, manifest.state_width), np.float32)
        self._warm_up = manifest.warm_up
        self._gap_us = manifest.largest_gap_s * US_PER_S
        self._rules = rules_of(manifest, judge or Judge())
        self._open_levels = list(self._rules.open_level)
        self._memories: dict[bytes, Memory] = {}
        self.opened = 0

    def hear(self, key: bytes, value: bytes) -> list[bool]:
        """Take a record; return which kinds of evidence have an alert open after it."""
        body = json.loads(value)
        ts_us = body["ts"] * US_PER_S
        memory = self._memories.get(key)
        if memory is None or ts_us - memory.ts_us > self._gap_us:
            memory = self._memories[key] = Memory(self._fresh, self._afresh(memory, ts_us))
        if ts_us > memory.ts_us:
            values = body["values"]
            x = np.array([[values.get(name, np.nan) for name in self._channels]], np.float32)
            step = self._model.step(x, memory.state)
            memory.state, memory.ts_us = step.state, ts_us
            memory.seen += 1
            # Numbers stay float32: with more digits a score may be off its level.
            for case, score, level in zip(
                memory.cases, step.score[0], self._open_levels, strict=True
            ):
                self._judge(memory, case, score, level)
        return [case.open for case in memory.cases]

    def _afresh(self, lost: Memory | None, ts_us: float) -> list[Case]:
        """Forget all but how long nothing opens after what was open."""
        if lost is None:
            return [Case() for _ in self._open_levels]
        until_us = ts_us + self._rules.cool_down_us
        return [Case(quiet_until_us=until_us if c.open else c.quiet_until_us) for c in lost.cases]

    def _judge(self, memory: Memory, case: Case, score: np.float32, level: np.float32) -> None:
        left = np.float32(max(1 - (memory.seen - case.barred_at) / HABIT_READINGS, 0))
        over = score > level + case.bar * left and memory.seen > self._warm_up
        case.run = case.run + 1 if over else 0
        if not case.open:
            case.peak = score if case.run <= 1 else max(case.peak, score)
            if case.run >= self._rules.open_after and memory.ts_us >= case.quiet_until_us:
                case.open = True
                self.opened += 1
            return
        case.peak = max(case.peak, score)
        case.calm = case.calm + 1 if score < self._rules.close_share * case.peak else 0
        if case.calm >= self._rules.close_after:
            case.open, case.calm, case.run = False, 0, 0
            case.quiet_until_us = memory.ts_us + self._rules.cool_down_us
            case.bar, case.barred_at = max(HABIT * score - level, ZERO), memory.seen
