"""Laws of overrides: they change no score, and no crash between two of them is ever noticed."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
from fakes import MemoryBroker, Record, StubModel, manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import ZERO, Rig

from detector.engine import Engine, Trace
from detector.judge import rules
from detector.overrides import Mute, Override, Overrides, Threshold, encode
from detector.records import Alert, Partition, Readings
from detector.thresholds import Thresholds

AT = datetime(2023, 11, 14, tzinfo=UTC)
ABOUT = manifest(warm_up=1)
STREAMS = [b"a", b"b", b"c"]

rate = st.sampled_from([1e-60, 0.01, 10.0, 1000.0])
override = st.one_of(
    st.none(),
    st.builds(lambda r: encode(Override(threshold=Threshold(r, AT, "ana"))), rate),
    st.builds(
        lambda days: encode(Override(Mute(AT + timedelta(days=days), AT, "ana", ""))),
        st.integers(0, 2),
    ),
)
key = st.sampled_from([b"a", b"b", b"[bc]", b"*"])
cell = st.sampled_from([0.0, 0.1, 4.0, 20.0, float("nan")])
row = st.tuples(st.integers(0, 2), cell, cell)


def run(engine: Engine, drawn: list[tuple[int, float, float]]) -> tuple[Trace, list[Alert]]:
    x = np.array([values for _, *values in drawn], np.float32)
    stream, n = np.array([s for s, _, _ in drawn]), np.arange(len(drawn))
    readings = Readings(STREAMS, stream, 10**15 + n * 10**6, x, n)
    outcome = engine.run(engine.new_arena(), readings, Partition("t", 0), keep_trace=True)
    assert outcome.trace is not None
    return outcome.trace, outcome.alerts


@given(st.lists(row, min_size=1, max_size=60), st.lists(st.tuples(key, override), max_size=6))
def test_overrides_change_no_score_and_nobody_elses_alerts(
    drawn: list[tuple[int, float, float]], said: list[tuple[bytes, bytes | None]]
) -> None:
    base, overrides = rules(ABOUT, 10), Overrides()
    plain, alerts = run(Engine(StubModel(ABOUT), base), drawn)
    thresholds = Thresholds(overrides, lambda r: rules(ABOUT, r))
    engine = Engine(StubModel(ABOUT), base, thresholds=thresholds)
    assert not overrides.take(said)
    trace, told = run(engine, drawn)
    for name in ("score", "residual", "expected", "scored", "warm"):
        assert getattr(trace, name).tobytes() == getattr(plain, name).tobytes()
    places = dict(zip(STREAMS, overrides.places(STREAMS).tolist(), strict=True))
    own = {stream.decode() for stream in STREAMS if places[stream]}
    assert [a for a in told if a.stream not in own] == [a for a in alerts if a.stream not in own]
    for stream in STREAMS:
        everybody = rules(ABOUT, overrides.rates[places[stream] - 1]) if places[stream] else base
        _, expected = run(Engine(StubModel(ABOUT), everybody), drawn)
        name = stream.decode()
        assert [a for a in told if a.stream == name] == [a for a in expected if a.stream == name]


event = st.one_of(
    st.tuples(st.just("reading"), st.integers(0, 1), st.sampled_from([0.0, 0.1, 6.0, 50.0, -50.0])),
    st.tuples(st.just("says"), key, override),
    st.tuples(st.just("turn"), st.none(), st.none()),
    st.tuples(st.just("dies"), st.booleans(), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(event, max_size=50))
def test_nothing_is_lost_or_repeated_whenever_an_override_comes(
    events: list[tuple[str, int | bytes | bool | None, float | bytes | None]],
) -> None:
    broker = MemoryBroker({ZERO: []})
    rig = Rig(broker, about=ABOUT)
    for what, whose, which in [*events, ("turn", None, None)]:
        if what == "reading":
            assert isinstance(whose, int)
            ts = 1_700_000_000 + len(broker.partitions[ZERO])
            body = json.dumps({"ts": ts, "values": [which, 0]}).encode()
            broker.partitions[ZERO].append(Record(STREAMS[whose], body))
        elif what == "says":
            assert isinstance(whose, bytes)
            assert which is None or isinstance(which, bytes)
            broker.control.append((whose, which))
        else:
            rig.clock.seconds += 1
            rig.turn()
            if what == "dies":
                if whose:
                    rig.pipeline._commit()
                rig = Rig(broker, about=ABOUT)
    lives: dict[str, list[str]] = {}
    for message in broker.sent:
        body = json.loads(message.value or b"")
        lives.setdefault(body["id"], []).append(body["status"])
    whole = (["open"], ["open", "update"], ["open", "close"], ["open", "update", "close"])
    assert all(life in whole for life in lives.values())
    # Of what is open now its stream still knows: it closes with the state that is kept.
    docket = rig.pipeline._owned.held[ZERO].lanes[""].arena.docket()[1]
    assert int(docket["open"].sum()) == sum(life[-1] != "close" for life in lives.values())
