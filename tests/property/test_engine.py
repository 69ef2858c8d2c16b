"""Laws of the engine: neither how readings are grouped nor who else is there changes a score."""

from dataclasses import astuple
from itertools import pairwise
from random import Random

import numpy as np
from fakes import StubModel, manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.budget import Limits
from detector.engine import Engine, Trace
from detector.judge import Rules
from detector.records import (
    BUDGET,
    GROUP,
    SILENT,
    US_PER_S,
    Alert,
    Bools,
    Ints,
    Partition,
    Readings,
)
from detector.silence import Silence

PARTITION = Partition("readings", 0)
RULES = Rules(
    open_level=np.array([3], np.float32),
    warning_level=np.array([6], np.float32),
    critical_level=np.array([8], np.float32),
    calm_level=np.array([0], np.float32),
    close_share=0.35,
    open_after=1,
    close_after=1,
    cool_down_us=3 * US_PER_S,
)
ENGINE = Engine(StubModel(manifest(warm_up=1)), RULES, Silence(1, 10**12, fewest=1))
RATIONED = Engine(ENGINE.model, RULES, ENGINE.silence, Limits(1))
GROUPED = Engine(ENGINE.model, RULES, ENGINE.silence, Limits(4, 2, 3 * US_PER_S))
STREAMS = [b"a", b"b", b"c"]

cell = st.sampled_from([0.0, 0.1, 0.3, 4.0, 20.0, float("nan")])
step_s = st.sampled_from([-1.0, 0.0, 0.1, 1.0, 1.0, 1.0, 100.0])
row = st.tuples(st.integers(0, 2), step_s, st.tuples(cell, cell))
rows = st.lists(row, min_size=1, max_size=60)
cuts = st.lists(st.integers(0, 60), max_size=10)

Row = tuple[int, float, tuple[float, float]]
Said = tuple[list[Alert], list[bytes]]


def partition_of(drawn: list[Row]) -> Readings:
    """Give each stream a time that moves by its steps."""
    now_s, times = [3570.0] * len(STREAMS), []  # an hour ends soon
    for s, step, _ in drawn:
        now_s[s] += step
        times.append(int(now_s[s] * US_PER_S))
    stream = np.array([s for s, _, _ in drawn])
    x = np.array([values for _, _, values in drawn], np.float32)
    return Readings(STREAMS, stream, np.array(times), x, np.arange(len(drawn)))


def some(readings: Readings, where: Ints | Bools | slice) -> Readings:
    used, stream = np.unique(readings.stream[where], return_inverse=True)
    return Readings(
        [readings.streams[s] for s in used],
        stream,
        readings.ts_us[where],
        readings.x[where],
        readings.offset[where],
    )


def said(polls: list[Readings], engine: Engine = ENGINE) -> Said:
    """Return the alerts, and each reading's line of the trace to the bit."""
    arena, alerts, lines = engine.new_arena(depth=3), [], []
    for poll in polls:
        outcome = engine.run(arena, poll, PARTITION, keep_trace=True)
        assert outcome.scored + outcome.late == len(poll.offset)
        assert outcome.trace is not None
        assert int(outcome.trace.scored.sum()) == outcome.scored
        alerts += outcome.alerts
        lines += lines_of(outcome.trace)
    return alerts, lines


def lines_of(trace: Trace) -> list[bytes]:
    return [b"".join(a.tobytes() for a in line) for line in zip(*astuple(trace), strict=True)]


@given(rows, cuts)
@settings(deadline=None)
def test_any_split_into_polls_says_the_same(drawn: list[Row], cut: list[int]) -> None:
    whole = partition_of(drawn)
    edges = sorted({0, len(drawn), *(c for c in cut if c < len(drawn))})
    polls = [some(whole, slice(*pair)) for pair in pairwise(edges)]
    for engine in (ENGINE, RATIONED, GROUPED):
        assert said(polls, engine) == said([some(whole, slice(None))], engine)


@given(rows)
@settings(deadline=None)
def test_other_streams_never_change_what_is_said_of_one(drawn: list[Row]) -> None:
    whole = some(partition_of(drawn), slice(None))
    alerts, lines = said([whole])
    for s, name in enumerate(whole.streams):
        mine = whole.stream == s
        alone = said([some(whole, mine)])
        mine_alone = [alert for alert in alerts if alert.stream == name.decode()]
        # Who is silent hangs on the others: their readings are the clock.
        assert alone[0] == [alert for alert in mine_alone if alert.kind != SILENT]
        assert alone[1] == [lines[n] for n in np.flatnonzero(mine)]


@given(rows, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_how_streams_are_interleaved_never_changes_scores(drawn: list[Row], random: Random) -> None:
    whole = partition_of(drawn)
    turns = whole.stream.tolist()
    random.shuffle(turns)
    queues = {s: iter(np.flatnonzero(whole.stream == s)) for s in range(len(STREAMS))}
    order = np.array([next(queues[s]) for s in turns])
    _, lines = said([some(whole, slice(None))])
    _, mixed = said([some(whole, order)])
    assert mixed == [lines[n] for n in order]


@given(rows)
@settings(deadline=None)
def test_with_groups_an_alert_is_told_whole_or_not_at_all(drawn: list[Row]) -> None:
    whole = some(partition_of(drawn), slice(None))
    every, _ = said([whole])
    told, _ = said([whole], GROUPED)
    summaries = {GROUP, BUDGET}
    hidden = {a.id for a in every} - {a.id for a in told}
    assert [a for a in told if a.kind not in summaries] == [a for a in every if a.id not in hidden]
    groups = [a for a in told if a.kind == GROUP]
    for before, after in pairwise(groups):
        assert (before.status == "close") == (after.status == "open"), "one at a time"
        assert (before.id == after.id) == (before.status != "close")
        if after.status == "update":
            assert after.score >= 2 * before.score
            assert before.status == "open" or after.at_us > before.at_us
    assert all(a.score == len(a.streams) >= 2 for a in groups), "all different, and all named"
    assert not groups or groups[0].status == "open"


@given(rows)
@settings(deadline=None)
def test_every_alert_opens_before_it_closes_and_only_then(drawn: list[Row]) -> None:
    alerts, _ = said([some(partition_of(drawn), slice(None))])
    lives: dict[str, list[str]] = {}
    for alert in alerts:
        lives.setdefault(alert.id, []).append(alert.status)
        assert alert.opened_us <= alert.at_us
        assert alert.peak >= alert.score or alert.cause == "gap"
    for life in lives.values():
        assert life[0] == "open"
        assert set(life[1:-1]) <= {"update"}
        assert life.count("update") <= 2
        assert life.count("open") == 1
