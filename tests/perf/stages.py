"""The stages without Kafka: the engine beside bare onnxruntime, many streams, memory."""

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from played import CHANNELS, MEAN, OFF, SPREAD, START_S, RoundRobin, stream_id

from detector.decode import decode
from detector.equip import equip
from detector.model import OUTPUTS, StepModel, load
from detector.overrides import Overrides
from detector.records import US_PER_S, Partition, Readings
from detector.scorer import Scorer
from detector.settings import Kafka, Settings

PARTITION = Partition("played", 0)
POLL_RECORDS = Kafka().max_poll_records
SAMPLE_S = 0.05  # how long one side runs before it is the other's turn
ROUNDS = 15
FEW_STREAMS, MANY_STREAMS = 1_000, 200_000
NOISE = 16  # different readings of a stream, over and over
POLLS = 10  # that one side takes before it is the other's turn


def engine_beside_session(path: Path, width: int, *, alert: bool = False) -> dict[str, float]:
    """Return the readings/s of the engine and of bare `session.run`, on ticks of `width`.

    With `alert` one stream is in alert all the time, so that no tick is judged in passing.
    """
    model = load(path)
    scorer = _scorer(model, path)
    engine, session = scorer.engine, model._session
    arena, played = engine.new_arena(scorer.depth), _Ticks(width, alert=alert)
    state = np.zeros((width, model.manifest.state_width), np.float32)
    for x in played.noise:  # until the states are as those of real streams
        state = model.step(x, state).state

    def engine_s(ticks: list[Readings]) -> float:
        return _seconds(lambda: [engine.run(arena, tick, PARTITION) for tick in ticks])

    def session_s(ticks: list[Readings]) -> float:
        feeds = [{"x": tick.x, "state": state} for tick in ticks]
        return _seconds(lambda: [session.run(OUTPUTS, feed) for feed in feeds])

    engine_s(played.next(100))
    repeats = max(int(SAMPLE_S / session_s(played.next(100)) * 100), 1)
    pairs = []
    for _ in range(ROUNDS):
        ticks = played.next(repeats)
        pairs.append((engine_s(ticks), session_s(ticks)))
    case = f"b{width}_in_alert" if alert else f"b{width}"
    return {
        f"engine_over_session_run_{case}": median(bare / ours for ours, bare in pairs),
        f"engine_{case}_per_s": width * repeats / median(ours for ours, _ in pairs),
        f"session_run_{case}_per_s": width * repeats / median(bare for _, bare in pairs),
    }


def many_beside_few(path: Path) -> dict[str, float]:
    """Return the readings/s of decode and engine with many and with few streams."""
    scorer = _scorer(load(path), path)
    many, few = _Stages(scorer, MANY_STREAMS), _Stages(scorer, FEW_STREAMS)
    pairs = [(many.rate(), few.rate()) for _ in range(ROUNDS)]
    return {
        "rate_200k_over_1k_streams": median(m / f for m, f in pairs),
        "stages_200k_streams_per_s": median(m for m, _ in pairs),
        "stages_1k_streams_per_s": median(f for _, f in pairs),
    }


def memory(path: Path) -> dict[str, float]:
    """Return the bytes that a stream takes: of the process, and of the arena's own arrays."""
    scorer = _scorer(load(path), path)
    arena = scorer.engine.new_arena(scorer.depth)
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


class _Ticks:
    """Readings of the same streams, each a second after the last."""

    def __init__(self, width: int, *, alert: bool) -> None:
        random = np.random.default_rng(0)
        shape = (NOISE, width, len(CHANNELS))
        self.noise = random.normal(MEAN, SPREAD, shape).astype(np.float32)
        self.noise[:, :1] += OFF * alert
        self._streams = [stream_id(number) for number in range(width)]
        self._at_s = START_S

    def next(self, ticks: int) -> list[Readings]:
        width, start_s = len(self._streams), self._at_s
        self._at_s += ticks
        return [
            Readings(
                self._streams,
                np.arange(width),
                np.full(width, at_s * US_PER_S),
                self.noise[at_s % NOISE],
                np.arange(width),
            )
            for at_s in range(start_s, self._at_s)
        ]


class _Stages:
    """decode and engine over streams that all have been heard before."""

    def __init__(self, scorer: Scorer, streams: int) -> None:
        self._engine, self._form = scorer.engine, scorer.form
        self._arena = self._engine.new_arena(scorer.depth)
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


def _scorer(model: StepModel, path: Path) -> Scorer:
    """Return a model as the daemon equips it: with rings, silence and a budget."""
    return equip(Settings(model=path), model, overrides=Overrides())


def _seconds(act: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    act()
    return time.perf_counter() - start_s


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
