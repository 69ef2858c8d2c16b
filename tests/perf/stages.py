"""The stages without Kafka: the engine beside bare onnxruntime, many streams, memory."""

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from played import CHANNELS, MEAN, SPREAD, START_S, RoundRobin, stream_id

from detector.decode import decode
from detector.engine import Engine
from detector.judge import Rules, rules
from detector.model import OUTPUTS, StepModel, load
from detector.records import US_PER_S, Partition, Readings
from detector.settings import Judge, Kafka
from detector.state import Arena
from detector.validate import format_of

PARTITION = Partition("played", 0)
POLL_RECORDS = Kafka().max_poll_records
SAMPLE_S = 0.05  # how long one side runs before it is the other's turn
ROUNDS = 15
FEW_STREAMS, MANY_STREAMS = 1_000, 200_000
POLLS = 10  # that one side takes before it is the other's turn


def engine_beside_session(path: Path, width: int) -> dict[str, float]:
    """Return the readings/s of the engine and of bare `session.run`, on ticks of `width`."""
    model = load(path)
    engine, session = Engine(model, _rules(model)), model._session
    arena, second = engine.new_arena(), START_S
    x = np.random.default_rng(0).normal(MEAN, SPREAD, (width, len(CHANNELS))).astype(np.float32)
    feed = {"x": x, "state": np.zeros((width, model.manifest.state_width), np.float32)}
    streams, stream = [stream_id(n) for n in range(width)], np.arange(width)

    def tick(at_s: int) -> Readings:
        return Readings(streams, stream, np.full(width, at_s * US_PER_S), x, stream)

    once_s = min(_seconds(lambda: session.run(OUTPUTS, feed)) for _ in range(10))
    repeats = max(int(SAMPLE_S / once_s), 1)
    pairs = []
    for _ in range(ROUNDS):
        ticks = [tick(second + n) for n in range(repeats)]
        second += repeats
        engine_s = _seconds(lambda: [engine.run(arena, t, PARTITION) for t in ticks])  # noqa: B023
        session_s = _seconds(lambda: [session.run(OUTPUTS, feed) for _ in range(repeats)])
        pairs.append((engine_s, session_s))
    readings = width * repeats
    return {
        f"engine_over_session_run_b{width}": median(session / engine for engine, session in pairs),
        f"engine_b{width}_per_s": readings / median(engine for engine, _ in pairs),
        f"session_run_b{width}_per_s": readings / median(session for _, session in pairs),
    }


def many_beside_few(path: Path) -> dict[str, float]:
    """Return the readings/s of decode and engine with many and with few streams."""
    model = load(path)
    many, few = _Stages(model, MANY_STREAMS), _Stages(model, FEW_STREAMS)
    pairs = [(many.rate(), few.rate()) for _ in range(ROUNDS)]
    return {
        "rate_200k_over_1k_streams": median(m / f for m, f in pairs),
        "stages_200k_streams_per_s": median(m for m, _ in pairs),
        "stages_1k_streams_per_s": median(f for _, f in pairs),
    }


def memory(path: Path) -> dict[str, float]:
    """Return the bytes that a stream takes: of the process, and of the arena's own arrays."""
    manifest = load(path).manifest
    arena = Arena(manifest.state_width, len(manifest.kinds))
    gc.collect()
    before = _resident_bytes()
    for start in range(0, MANY_STREAMS, POLL_RECORDS):
        ids = [stream_id(n) for n in range(start, start + POLL_RECORDS)]
        arena.put(arena.take(arena.rows(ids)))
    del ids
    gc.collect()
    return {
        "bytes_per_stream": (_resident_bytes() - before) / MANY_STREAMS,
        "arena_bytes_per_stream": arena.nbytes / MANY_STREAMS,
    }


class _Stages:
    """decode and engine over streams that all have been heard before."""

    def __init__(self, model: StepModel, streams: int) -> None:
        self._engine = Engine(model, _rules(model))
        self._arena = self._engine.new_arena()
        self._form = format_of(model.manifest)
        self._played = RoundRobin(streams, POLL_RECORDS)
        for _ in range(max(streams // POLL_RECORDS, 1)):
            self._polls(1)

    def rate(self) -> float:
        return POLLS * POLL_RECORDS / self._polls(POLLS)

    def _polls(self, polls: int) -> float:
        """Return the seconds that some polls take; making them does not count."""
        chunks = [self._played.chunk() for _ in range(polls)]
        return _seconds(
            lambda: [
                self._engine.run(self._arena, decode(chunk, self._form).readings, PARTITION)
                for chunk in chunks
            ]
        )


def _rules(model: StepModel) -> Rules:
    return rules(model.manifest, Judge().false_alarms_per_stream_day)


def _seconds(act: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    act()
    return time.perf_counter() - start_s


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
