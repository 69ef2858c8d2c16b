"""The detector as one would write it first: one record, one step, one object a stream.

It says of every reading what the daemon says; nothing here is an array of more than one row.
"""

import json
from dataclasses import dataclass

import numpy as np

from detector.judge import rules
from detector.model import StepModel
from detector.records import US_PER_S, Floats
from detector.settings import Judge


@dataclass(slots=True)
class Memory:
    """What one stream leaves behind for its next reading."""

    state: Floats
    ts_us: float = float("-inf")
    seen: int = 0
    run: int = 0
    calm: int = 0
    peak: float = 0.0
    open: bool = False
    quiet_until_us: float = float("-inf")


class Naive:
    """Scores and judges one record at a time.

    Attributes:
        opened: How many alerts it opened.
    """

    def __init__(self, model: StepModel) -> None:
        manifest, judge = model.manifest, Judge()
        self._model = model
        self._channels = [channel.name for channel in manifest.channels]
        self._fresh = np.zeros((1, manifest.state_width), np.float32)
        self._warm_up = manifest.warm_up
        self._gap_us = manifest.largest_gap_s * US_PER_S
        self._rules = rules(
            manifest,
            judge.false_alarms_per_stream_day,
            open_after=judge.open_after,
            close_after=judge.close_after,
            cool_down_s=judge.cool_down_s,
        )
        self._open_level = float(self._rules.open_level[0])
        self._close_level = float(self._rules.close_level[0])
        self._memories: dict[bytes, Memory] = {}
        self.opened = 0

    def hear(self, key: bytes, value: bytes) -> None:
        body = json.loads(value)
        ts_us = body["ts"] * US_PER_S
        memory = self._memories.get(key)
        if memory is None or ts_us - memory.ts_us > self._gap_us:
            memory = self._memories[key] = Memory(self._fresh)
        if ts_us <= memory.ts_us:
            return
        values = body["values"]
        x = np.array([[values.get(name, np.nan) for name in self._channels]], np.float32)
        step = self._model.step(x, memory.state)
        memory.state, memory.ts_us = step.state, ts_us
        memory.seen += 1
        self._judge(memory, float(step.score[0, 0]))

    def _judge(self, memory: Memory, score: float) -> None:
        over = score > self._open_level and memory.seen > self._warm_up
        memory.run = memory.run + 1 if over else 0
        if not memory.open:
            memory.peak = score
            if memory.run >= self._rules.open_after and memory.ts_us >= memory.quiet_until_us:
                memory.open = True
                self.opened += 1
            return
        memory.peak = max(memory.peak, score)
        memory.calm = memory.calm + 1 if score <= self._close_level else 0
        if memory.calm >= self._rules.close_after:
            memory.open, memory.calm = False, 0
            memory.quiet_until_us = memory.ts_us + self._rules.cool_down_us
