"""The engine says of every reading what a detector says that is written as plainly as can be."""

import json

import numpy as np
from fakes import StubModel, manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import Naive

from detector.engine import Engine
from detector.equip import rules_of
from detector.records import US_PER_S, Partition, Readings
from detector.telling import Judge

STATE = manifest().calibration[0]
ONSET = STATE.model_copy(update={"kind": "onset", "levels": (0.0, 2.0, 4.0)})
MODEL = StubModel(manifest(warm_up=2, calibration=(STATE, ONSET)))
STREAMS = [b"a", b"b"]

value = st.sampled_from([0.0, 0.0, 0.0, 4.0, 7.0, 9.0, 15.0, 30.0, 60.0])
step_s = st.sampled_from([0, 1, 1, 1, 1, 1, 1, 100])
rows = st.lists(st.tuples(st.integers(0, 1), step_s, value), min_size=20, max_size=120)
judges = st.builds(
    Judge,
    false_alarms_per_stream_day=st.sampled_from([1.0, 100.0]),
    open_after=st.integers(1, 2),
    close_after=st.integers(1, 3),
    close_share=st.sampled_from([0.25, 0.5, 0.75]),
    cool_down_s=st.sampled_from([0.0, 3.0]),
)


@given(rows, judges)
@settings(deadline=None)
def test_the_same_alerts_are_open_after_every_reading(
    drawn: list[tuple[int, int, float]], judge: Judge
) -> None:
    now_s, times, plain, naive = [1000, 1000], [], [], Naive(MODEL, judge)
    for stream, step, first in drawn:
        now_s[stream] += step
        times.append(now_s[stream] * US_PER_S)
        body = json.dumps({"ts": now_s[stream], "values": {"c0": first, "c1": 0.0}})
        plain.append(naive.hear(STREAMS[stream], body.encode()))
    engine = Engine(MODEL, rules_of(MODEL.manifest, judge))
    x = np.array([[first, 0.0] for _, _, first in drawn], np.float32)
    stream = np.array([stream for stream, _, _ in drawn])
    readings = Readings(STREAMS, stream, np.array(times), x, np.arange(len(drawn)))
    outcome = engine.run(engine.new_arena(), readings, Partition("t", 0), keep_trace=True)
    assert outcome.trace is not None
    scored = outcome.trace.scored
    assert outcome.trace.alerting[scored].tolist() == np.array(plain)[scored].tolist()
    assert naive.opened == sum(alert.status == "open" for alert in outcome.alerts)
