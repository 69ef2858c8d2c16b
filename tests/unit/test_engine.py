"""What is said of a stream's readings. The stub's score is the distance from the mean so far."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from fakes import StubModel, manifest

from detector.engine import Engine, Outcome
from detector.judge import Rules
from detector.records import SILENT, US_PER_S, Alert, Floats, Partition, Readings, Step
from detector.silence import Silence

PARTITION = Partition("readings", 3)
RULES = Rules(
    open_level=np.array([3], np.float32),
    warning_level=np.array([30], np.float32),
    critical_level=np.array([30], np.float32),
    calm_level=np.array([0], np.float32),
    close_share=0.35,
    open_after=2,
    close_after=2,
    cool_down_us=10 * US_PER_S,
)
CALM = [0.0] * 100  # so many that the mean hardly follows what comes then
EVENT = [*CALM, 20.0, 20.0, 50.0, 0.0, 0.0, 0.0]

Row = tuple[bytes, float, tuple[float, float]]


def feed(rows: Iterable[Row], first_offset: int = 0) -> Readings:
    names, seconds, x = zip(*rows, strict=True)
    streams = list(dict.fromkeys(names))
    return Readings(
        streams,
        np.array([streams.index(name) for name in names]),
        np.array([int(s * US_PER_S) for s in seconds]),
        np.array(x, np.float32),
        np.arange(first_offset, first_offset + len(names)),
    )


def rows(values: Iterable[float], start_s: float = 0, stream: bytes = b"pump") -> list[Row]:
    return [(stream, start_s + t, (value, 0.0)) for t, value in enumerate(values)]


def run(
    *polls: Iterable[Row],
    rules: Rules = RULES,
    model: StubModel | None = None,
    depth: int = 0,
    silence: Silence | None = None,
) -> Outcome:
    """Feed polls to one engine; return the last outcome, with the alerts of all."""
    engine = Engine(model or StubModel(), rules, silence)
    arena, offset, alerts = engine.new_arena(depth), 0, []
    outcome = Outcome()
    for poll in polls:
        readings = feed(poll, offset)
        outcome = engine.run(arena, readings, PARTITION, keep_trace=True)
        offset += len(readings.offset)
        alerts += outcome.alerts
    outcome.alerts[:] = alerts
    return outcome


def test_an_alerts_life_has_one_id() -> None:
    alerts = run(rows(EVENT)).alerts
    assert [(a.status, a.severity, a.at_us // US_PER_S) for a in alerts] == [
        ("open", "info", 101),
        ("update", "warning", 102),
        ("close", "warning", 104),
    ]
    assert len({a.id for a in alerts}) == 1
    assert {a.cause for a in alerts} == {"normal"}


def test_an_alert_says_where_it_comes_from() -> None:
    opened, updated, closed = run(rows(EVENT)).alerts
    assert [a.opened_us for a in (opened, updated, closed)] == [100 * US_PER_S] * 3
    assert [a.offset for a in (opened, updated, closed)] == [101, 102, 104]
    assert (opened.stream, opened.kind, opened.partition) == ("pump", "state", PARTITION)
    assert (opened.model, opened.version) == ("stub", "0" * 64)
    assert opened.threshold == 3
    assert opened.probability == pytest.approx(0.01 * np.exp(-(opened.score - 2) / 0.5))


def test_an_alert_knows_its_score_and_its_highest() -> None:
    outcome = run(rows(EVENT))
    assert outcome.trace is not None
    scores = outcome.trace.score[:, 0]
    assert [a.score for a in outcome.alerts] == [scores[n] for n in (101, 102, 104)]
    assert [a.peak for a in outcome.alerts] == [scores[100], scores[102], scores[102]]


def test_channels_come_with_the_largest_share_first() -> None:
    odd: list[Row] = [(b"pump", 100 + t, (3.0, -4.0)) for t in range(2)]
    (alert,) = run(rows(CALM) + odd).alerts
    large, small = alert.channels
    assert [c.name for c in alert.channels] == ["c1", "c0"]
    assert (large.unit, large.value) == ("bar", -4.0)
    assert large.expected == pytest.approx(-4 / 101)
    assert large.residual == pytest.approx(-4 / 101 + 4)
    assert (large.share, small.share) == pytest.approx((16 / 25, 9 / 25))


def test_a_missing_channel_has_no_value_and_no_share() -> None:
    odd: list[Row] = [(b"pump", 100 + t, (20.0, np.nan)) for t in range(2)]
    (alert,) = run(rows(CALM) + odd).alerts
    assert [(c.name, c.value, c.share) for c in alert.channels] == [("c0", 20, 1), ("c1", None, 0)]


def test_an_opening_shows_the_readings_before_it_and_the_kind_of_change() -> None:
    quiet: list[Row] = [(b"pump", t, (t % 2 / 8, np.nan)) for t in range(100)]
    shifted = rows([20.0] * 3, 100)
    hasty = replace(RULES, open_after=1, close_after=1)
    for polls in ([quiet + shifted], [quiet[:99], quiet[99:], shifted]):
        (opened,) = run(*polls, rules=hasty, depth=4).alerts
        assert opened.change == ("c0", "jump")
        assert opened.before is not None
        assert opened.before.at_us == tuple(t * US_PER_S for t in range(96, 100))
        assert opened.before.values == {"c0": (0.0, 0.125, 0.0, 0.125), "c1": (None,) * 4}
    (late,) = run(quiet + shifted, rules=replace(RULES, open_after=3), depth=4).alerts
    assert late.change == ("c0", "shift")


class LateModel(StubModel):
    """A stub whose score is of the reading two ago: state [the stub's..., x 2 ago, x 1 ago]."""

    def __init__(self) -> None:
        super().__init__(manifest(state_width=7, delay=2))

    def step(self, x: Floats, state: Floats) -> Step:
        late = super().step(state[:, 3:5], state[:, :3])
        return replace(late, state=np.hstack([late.state, state[:, 5:], x]))


@pytest.mark.parametrize(
    ("depth", "value", "change"), [(6, 20.0, ("c0", "jump")), (2, 20.0, None), (1, None, None)]
)
def test_a_network_that_hears_what_comes_after_tells_of_the_reading_it_means(
    depth: int, value: float | None, change: tuple[str, str] | None
) -> None:
    hasty = replace(RULES, open_after=1)
    opened, closed = run(
        rows([*CALM, 20.0, 7.0, 8.0, *[0.0] * 5]), rules=hasty, model=LateModel(), depth=depth
    ).alerts
    assert opened.at_us == 102 * US_PER_S
    assert (opened.channels[0].value, opened.channels[0].expected) == (value, 0)
    assert opened.change == change
    assert opened.before is not None
    assert opened.before.values["c0"][-2:] == ((20.0, 7.0) if depth > 1 else (7.0,))
    assert (closed.status, closed.channels[0].value) == ("close", None if depth < 2 else 0)


def test_a_close_tells_a_spike_from_a_shift() -> None:
    hasty = replace(RULES, open_after=1, close_after=1)
    _, closed = run(rows([*CALM, 20.0, 0.0]), rules=hasty, depth=6).alerts
    assert (closed.status, closed.change, closed.before) == ("close", ("c0", "spike"), None)


def test_without_a_ring_nothing_is_said_of_what_was_before() -> None:
    assert {(a.change, a.before) for a in run(rows(EVENT)).alerts} == {(None, None)}


def test_symbols_have_no_kind_of_change() -> None:
    made = manifest()
    codes = made.channels[0].model_copy(update={"role": "event", "symbols": ("idle", "busy")})
    made = made.model_copy(update={"channels": (codes, made.channels[1])})
    hasty = replace(RULES, open_after=1, close_after=1)
    said = run(rows([*CALM, 20.0, 0.0]), rules=hasty, model=StubModel(made), depth=6).alerts
    assert [alert.change for alert in said] == [None, None]


def test_late_and_repeated_readings_are_counted_and_not_scored() -> None:
    timely = rows([0, 1, 2, 3, 4])
    late: list[Row] = [(b"pump", t, (99.0, 99.0)) for t in (4, 3.999, 0)]
    outcome = run(timely, [*late, *rows([5], 5)])
    assert (outcome.scored, outcome.late) == (1, 3)
    assert outcome.trace is not None
    assert outcome.trace.scored.tolist() == [False, False, False, True]
    assert np.isnan(outcome.trace.score[:3]).all()
    alone = run(timely, rows([5], 5)).trace
    assert alone is not None
    assert outcome.trace.score[3:].tobytes() == alone.score.tobytes()


def test_a_late_reading_of_one_stream_does_not_hold_up_another() -> None:
    outcome = run(rows([0]), [*rows([9], 0), *rows([1], 0, b"fan")])
    assert (outcome.scored, outcome.late, outcome.ticks) == (1, 1, 1)
    assert outcome.trace is not None
    assert outcome.trace.scored.tolist() == [False, True]


@pytest.mark.parametrize(("silence_s", "restarted"), [(60, 0), (60.001, 1)])
def test_a_gap_longer_than_the_largest_starts_afresh(silence_s: float, restarted: int) -> None:
    outcome = run(rows(CALM), rows([7] * 5, 99 + silence_s))
    assert outcome.restarted == restarted
    assert outcome.warming == 3 * restarted
    assert outcome.trace is not None
    assert outcome.trace.warm.tolist() == [not restarted] * 3 + [True] * 2
    assert outcome.trace.score[0, 0] == (0 if restarted else 7)


def test_a_gap_closes_what_was_open_and_says_so() -> None:
    opened, closed = run(rows([*CALM, 20, 20]), rows([99], 200)).alerts
    assert (closed.status, closed.cause, closed.id) == ("close", "gap", opened.id)
    assert (closed.opened_us, closed.at_us) == (100 * US_PER_S, 200 * US_PER_S)
    assert closed.peak == opened.peak
    assert [c.share for c in closed.channels] == [0, 0]


def test_nothing_is_alerted_during_warm_up() -> None:
    values = [0, 50, 90, 150]
    outcome = run(rows(values), rules=replace(RULES, open_after=1))
    assert [a.offset for a in outcome.alerts] == [3]
    assert (outcome.warming, outcome.restarted) == (3, 1)


def identity(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.id, alert.status) for alert in alerts]


def test_ids_are_the_same_in_a_replay_and_in_any_grouping() -> None:
    twice = [*EVENT, *[0.0] * 20, *EVENT[100:]]
    once = run(rows(twice)).alerts
    assert len({alert.id for alert in once}) == 2
    assert identity(run(rows(twice)).alerts) == identity(once)
    assert identity(run(*([row] for row in rows(twice))).alerts) == identity(once)


def test_ids_tell_streams_kinds_partitions_and_models_apart() -> None:
    state = manifest().calibration[0]
    both = manifest(calibration=(state, state.model_copy(update={"kind": "onset"})))
    three, thirty = (np.array([level] * 2, np.float32) for level in (3, 30))
    two_kinds = Rules(three, thirty, thirty, np.zeros(2, np.float32), open_after=2)
    other_model = StubModel(manifest(version="1" * 64))
    said = [
        *run(rows([*CALM, 20, 20]), model=StubModel(both), rules=two_kinds).alerts,
        *run(rows([*CALM, 20, 20], stream=b"fan")).alerts,
        *run(rows([*CALM, 20, 20]), model=other_model).alerts,
    ]
    elsewhere = Engine(StubModel(), RULES)
    readings = feed(rows([*CALM, 20, 20]))
    said += elsewhere.run(elsewhere.new_arena(), readings, Partition("readings", 4)).alerts
    assert [alert.kind for alert in said] == ["state", "onset", "state", "state", "state"]
    assert len({alert.id for alert in said}) == 5


def test_an_alert_that_follows_another_at_once_has_an_id_of_its_own() -> None:
    """It closes above the opening level, so that no reading between them was quiet."""
    hasty = replace(RULES, open_after=1, close_after=1, cool_down_us=0)
    alerts = run(rows([*CALM, 20, 6, 25]), rules=hasty).alerts
    assert [alert.status for alert in alerts] == ["open", "close", "open"]
    assert [alert.id == alerts[0].id for alert in alerts] == [True, True, False]
    assert alerts[2].opened_us == alerts[2].at_us


def test_a_gap_lifts_the_bar_for_what_is_told_again() -> None:
    hasty = replace(RULES, open_after=1, close_after=1, cool_down_us=0)
    told = [*CALM, 20, 6]
    assert [a.status for a in run(rows([*told, 8]), rules=hasty).alerts] == ["open", "close"]
    alerts = run(rows(told), rows([*CALM, 8], 300), rules=hasty).alerts
    assert [alert.status for alert in alerts] == ["open", "close", "open"]


def test_alerts_come_in_the_order_of_their_readings() -> None:
    pumps = [(rows(EVENT, stream=b"pump-%d" % p)) for p in range(3)]
    mixed = [pumps[0], pumps[2], pumps[1]]
    by_turn = [row for turn in zip(*mixed, strict=True) for row in turn]
    for order in (by_turn, [row for pump in mixed for row in pump]):
        offsets = [alert.offset for alert in run(order).alerts]
        assert offsets == sorted(offsets)
        assert len(offsets) == 9


def test_the_trace_covers_each_reading() -> None:
    outcome = run(rows(EVENT))
    trace = outcome.trace
    assert trace is not None
    assert trace.scored.all()
    assert np.flatnonzero(trace.warm).tolist() == list(range(3, len(EVENT)))
    assert np.flatnonzero(trace.alerting[:, 0]).tolist() == [101, 102, 103]
    assert np.allclose(trace.expected - trace.residual, feed(rows(EVENT)).x, atol=1e-5)
    assert np.array_equal(np.abs(trace.residual).max(axis=1), trace.score[:, 0])


def test_no_readings_are_no_trouble_and_no_trace_is_kept_unasked() -> None:
    engine = Engine(StubModel(), RULES)
    empty = np.zeros(0, np.int64)
    nothing = Readings([], empty, empty, np.zeros((0, 2), np.float32), empty)
    assert engine.run(engine.new_arena(), nothing, PARTITION) == Outcome()


def test_a_stream_that_stops_is_told_and_told_again_when_it_speaks() -> None:
    pump, fan = rows([0.0] * 60), rows([0.0] * 400, stream=b"fan")
    later = rows([0.0] * 2, 300)
    both = sorted(pump + fan + later, key=lambda row: row[1])
    said = [a for a in run(both, silence=Silence(10, 10**12)).alerts if a.kind == SILENT]
    opened, closed = said
    assert (opened.stream, opened.status, opened.severity) == ("pump", "open", "warning")
    assert (opened.opened_us, opened.at_us) == (59 * US_PER_S, 120 * US_PER_S)
    assert (opened.score, opened.threshold, opened.probability) == (61, 60, None)
    assert (closed.id, closed.status, closed.cause) == (opened.id, "close", "normal")
    assert (closed.at_us, closed.score) == (300 * US_PER_S, 241)
    offsets = [n for n, row in enumerate(both) if row[1] in {120, 300}]
    assert (opened.offset, closed.offset) == (offsets[0], offsets[2])
    assert all(alert.kind != SILENT for alert in run(both).alerts)
