"""Judging kept scores again says what the engine says at each setting, however they are cut."""

from itertools import pairwise
from random import Random

import numpy as np
from fakes import StubModel, manifest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine import Engine
from detector.judge import Rules
from detector.records import US_PER_S, Partition, Readings
from detector.retrial import Retrial

PARTITION = Partition("readings", 0)
MODEL = StubModel(manifest(warm_up=3))
STREAMS = [b"a", b"b", b"c"]


def ruled(level: float) -> Rules:
    one = np.array([level], np.float32)
    return Rules(one, one * 2, one * 3, one * 0, 0.35, 1, 2, 3 * US_PER_S)


SETTINGS = [ruled(level) for level in (0.2, 3.0, 15.0)]


def history(seed: int, count: int) -> Readings:
    """Readings of three streams, some late, some after a gap, some far off."""
    random = Random(seed)
    stream = np.array([random.randrange(len(STREAMS)) for _ in range(count)])
    now_s, times = [1000.0] * len(STREAMS), []
    for s in stream.tolist():
        now_s[s] += random.choice([-1.0, 0.0, 1.0, 1.0, 1.0, 100.0])
        times.append(int(now_s[s] * US_PER_S))
    x = [[random.choice([0.0, 0.1, 4.0, 20.0]) for _ in range(2)] for _ in range(count)]
    offsets = np.arange(count)
    readings = Readings(STREAMS, stream, np.array(times), np.array(x, np.float32), offsets)
    return readings.only(np.ones(count, np.bool_))


@given(st.integers(0, 10_000), st.integers(1, 80), st.lists(st.integers(0, 80), max_size=4))
def test_every_setting_tells_what_the_engine_would_have_told(
    seed: int, count: int, cuts: list[int]
) -> None:
    readings = history(seed, count)
    retrial, scored = Retrial(MODEL.manifest, SETTINGS), None
    for number, rules in enumerate(SETTINGS):
        engine = Engine(MODEL, rules)
        outcome = engine.run(engine.new_arena(), readings, PARTITION, keep_trace=True)
        assert outcome.trace is not None
        if scored is None:
            kept = Readings(
                readings.streams, readings.stream, readings.ts_us, outcome.trace.score,
                readings.offset,
            )  # fmt: skip
            scored = kept.only(outcome.trace.scored)
            edges = [0, *sorted(min(cut, len(scored.ts_us)) for cut in cuts), len(scored.ts_us)]
            for start, stop in pairwise(edges):
                inside = np.zeros(len(scored.ts_us), np.bool_)
                inside[start:stop] = True
                retrial.judge(scored.only(inside))
        told = [alert for alert in retrial.told if alert.setting == number]
        for status, of in (("open", "opened_us"), ("close", "closed_us")):
            said = [(a.stream, a.at_us) for a in outcome.alerts if a.status == status]
            again = [(alert.stream, getattr(alert, of)) for alert in told]
            assert sorted(said) == sorted(pair for pair in again if pair[1] is not None)
