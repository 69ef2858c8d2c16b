"""The relay's loop, with everything in memory."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from fakes import ManualClock, MemoryBroker, MemorySource, Record
from hypothesis import given
from hypothesis import strategies as st
from relays import alert

from detector.messages import alert_message
from detector.records import Partition, Polled
from detector.relay.alert import Told
from detector.relay.endpoint import Answer
from detector.relay.loop import LONGEST_PAUSE_S, Loop
from detector.relay.outlet import Heard, Outlet
from detector.relay.watch import RelayHealth, RelayMetrics, Watch

ZERO, ONE = Partition("alerts", 0), Partition("alerts", 1)
GOOD, AWAY = Answer(200), Answer(503)


class Killed(BaseException):
    """The process ended here."""


@dataclass
class Note(Outlet):
    """Notes what it is offered; answers as it is told to."""

    replays: bool = False
    answers: list[Answer] = field(default_factory=list)
    taken: list[tuple[int, int]] = field(default_factory=list)
    learned: list[tuple[int, int]] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    asked: int = 0

    def offer(self, heard: Heard, told: Told) -> Answer:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else GOOD
        if answer.good:
            self.taken.append((heard.partition.number, heard.offset))
        return answer

    def learn(self, heard: Heard, told: Told) -> None:
        self.learned.append((heard.partition.number, heard.offset))

    def begin(self, partition: Partition) -> None:
        self.begun.append(partition.number)

    def drop(self, partition: Partition) -> None:
        self.dropped.append(partition.number)

    def keep(self) -> Answer | None:
        return None

    def holds(self) -> tuple[int, int]:
        return 0, 0


def records(count: int) -> list[Record]:
    return [Record(b"s", alert_message(alert(n), "alerts").value) for n in range(count)]


@dataclass
class Rig:
    """A loop over a broker in memory."""

    broker: MemoryBroker = field(default_factory=lambda: MemoryBroker({ZERO: records(5)}))
    outlet: Note = field(default_factory=Note)
    replay_records: int = 100
    most: int = 500

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = RelayMetrics("webhook")
        self.told: list[str] = []
        self.health = RelayHealth(self.clock, 60, self.told.append)
        self.source = MemorySource(self.broker, self.most)
        watch = Watch(self.metrics, self.health, self.clock)
        self.loop = Loop(self.source, self.outlet, watch, self.clock, self.replay_records, 20)

    def turn(self, turns: int = 3) -> None:
        for _ in range(turns):
            polled = self.loop._patience.attempt(self.source.poll, "poll")
            assert polled is not None
            self.loop.step(polled)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def test_each_is_handed_on_in_order_and_committed() -> None:
    rig = Rig()
    rig.turn()
    assert rig.outlet.taken == [(0, n) for n in range(5)]
    assert rig.broker.committed == {ZERO: 5}
    assert rig.health.ready() == (True, "relaying")
    assert rig.value("detector_relay_alerts_total", sink="webhook", outcome="delivered") == 5
    assert rig.value("detector_relay_lag_records", partition="0") == 0


def test_nothing_is_committed_or_read_on_while_the_outlet_is_away() -> None:
    rig = Rig(MemoryBroker({ZERO: records(9)}), Note(answers=[GOOD, *[AWAY] * 50]), most=4)
    rig.turn(9)
    assert rig.broker.committed == {ZERO: 1}
    assert rig.source.position(ZERO) == 4
    assert rig.outlet.asked == 2, "it waits before it asks again"
    assert rig.value("detector_relay_lag_records", partition="0") == 8
    assert rig.health.ready() == (False, "expected the webhook to take an alert, saw 503")
    assert rig.health.live()[0]
    rig.clock.seconds += 30
    rig.turn(1)
    assert rig.value("detector_relay_oldest_seconds") == pytest.approx(30)
    rig.outlet.answers.clear()
    rig.clock.seconds += 60
    rig.turn(9)
    assert rig.outlet.taken == [(0, n) for n in range(9)]
    assert rig.value("detector_relay_retries_total", sink="webhook") == 2
    assert rig.health.ready()[0]


def test_pauses_grow_to_a_minute_and_a_server_may_ask_for_more() -> None:
    rig = Rig(outlet=Note(answers=[AWAY] * 9 + [Answer(429, "", 300.0)]))
    pauses: list[float] = []
    for _ in range(10):
        rig.turn(1 if pauses else 2)
        pauses.append(rig.loop._not_before_s - rig.clock.seconds)
        assert 0 <= rig.loop._wait_s() <= 0.5, "it keeps polling"
        rig.clock.seconds = rig.loop._not_before_s
    assert pauses == [1, 2, 4, 8, 16, 32, *[LONGEST_PAUSE_S] * 3, 300]


def test_what_is_refused_or_no_alert_is_counted_and_passed_over() -> None:
    broker = MemoryBroker({ZERO: [*records(2), Record(b"s", b"{}"), Record(b"s", None)]})
    rig = Rig(broker, Note(answers=[Answer(422, "no")]))
    rig.turn()
    assert rig.outlet.taken == [(0, 1)]
    assert broker.committed == {ZERO: 4}
    counts = [
        rig.value("detector_relay_alerts_total", sink="webhook", outcome=outcome)
        for outcome in ("delivered", "refused", "unreadable")
    ]
    assert counts == [1, 1, 2]


def test_a_group_keeps_where_it_began_before_anything_came() -> None:
    rig = Rig(MemoryBroker({ZERO: []}))
    rig.turn(1)
    assert rig.broker.committed == {ZERO: 0}


def test_what_was_handed_on_before_is_learned_and_not_said_again() -> None:
    broker = MemoryBroker({ZERO: records(9)}, {ZERO: 6})
    rig = Rig(broker, Note(replays=True), replay_records=4, most=2)
    rig.turn(1)
    assert rig.outlet.begun == []
    assert rig.health.ready() == (False, "reading again what is open in 1 partitions")
    rig.turn(9)
    assert rig.outlet.learned == [(0, n) for n in range(2, 6)]
    assert rig.outlet.taken == [(0, n) for n in range(6, 9)]
    assert rig.outlet.begun == [0]
    assert rig.health.ready()[0]


def test_a_topic_that_was_made_anew_is_not_taken_for_what_was_said_before() -> None:
    rig = Rig(MemoryBroker({ZERO: records(3)}, {ZERO: 3 + 50}), Note(replays=True))
    rig.source.lag = lambda: {ZERO: 0}  # type: ignore[method-assign]  # as a client at its end says
    rig.turn(9)
    assert rig.outlet.taken == [(0, n) for n in range(3)]
    assert rig.broker.committed == {ZERO: 3}


def test_a_partition_that_is_lost_is_dropped_with_what_waits() -> None:
    rig = Rig(outlet=Note(answers=[AWAY]))
    rig.turn(2)
    rig.broker.member += 1
    rig.turn(1)
    assert rig.outlet.dropped == [0]
    assert not rig.loop._waiting
    rig.clock.seconds += 1
    rig.turn(3)
    assert rig.outlet.taken == [(0, n) for n in range(5)]


def test_a_partition_that_is_lost_and_ours_again_within_a_poll_goes_on() -> None:
    rig = Rig(outlet=Note(answers=[AWAY]))
    rig.turn(2)
    rig.loop.step(Polled(assigned=frozenset({ZERO}), lost=frozenset({ZERO})))
    rig.clock.seconds += 1
    rig.turn(3)
    assert rig.outlet.taken == [(0, n) for n in range(5)]


def test_what_was_done_for_a_group_that_moved_on_is_not_committed() -> None:
    rig = Rig()
    rig.turn(1)
    offer = rig.outlet.offer

    def offered(heard: Heard, told: Told) -> Answer:
        rig.broker.member += heard.offset == 4 and rig.broker.member == 0
        return offer(heard, told)

    rig.outlet.offer = offered  # type: ignore[method-assign]
    rig.turn(1)
    assert rig.broker.committed == {ZERO: 0}
    rig.turn(1)  # it learns that the partition is lost
    assert rig.broker.committed == {ZERO: 0}
    rig.turn(3)
    assert rig.outlet.taken == [(0, n) for n in range(5)] * 2
    assert rig.broker.committed == {ZERO: 5}


def test_an_outage_of_the_broker_is_waited_out_and_told() -> None:
    rig = Rig()
    rig.broker.away = True
    calls = itertools.count()

    def back() -> None:
        rig.broker.away = next(calls) < 3

    rig.broker.on_operation = back
    rig.turn()
    assert rig.outlet.taken == [(0, n) for n in range(5)]
    assert rig.value("detector_broker_losses_total") == 1


def test_asked_to_stop_it_commits_what_is_done_and_leaves_the_rest() -> None:
    rig = Rig()
    rig.turn(1)
    rig.outlet.answers = [GOOD, GOOD, AWAY]
    original = rig.outlet.offer

    def offer(heard: Heard, told: Told) -> Answer:
        if heard.offset == 1:
            rig.loop.stop()
        return original(heard, told)

    rig.outlet.offer = offer  # type: ignore[method-assign]
    rig.loop.run()
    assert rig.outlet.taken == [(0, 0), (0, 1)]
    assert rig.broker.committed == {ZERO: 2}


@given(
    deaths=st.lists(st.integers(1, 40), max_size=6),
    replays=st.booleans(),
    flaky=st.lists(st.sampled_from([GOOD, AWAY]), max_size=20),
)
def test_killed_anywhere_it_loses_nothing_and_keeps_the_order(
    deaths: list[int], flaky: list[Answer], *, replays: bool
) -> None:
    broker = MemoryBroker({ZERO: records(7), ONE: records(4)})
    outlet = Note(replays=replays, answers=flaky)
    offer = outlet.offer
    for death in [*deaths, 10**6]:
        steps = itertools.count(1)

        def act(steps: Iterator[int] = steps, death: int = death) -> None:
            if next(steps) >= death:
                raise Killed

        def offered(heard: Heard, told: Told, act: Callable[[], None] = act) -> Answer:
            act()
            answer = offer(heard, told)
            act()
            return answer

        outlet.offer = offered  # type: ignore[method-assign]
        broker.on_operation = act
        rig = Rig(broker, outlet, most=3)
        try:
            for _ in range(60):
                rig.turn(1)
                rig.clock.seconds += 60
        except Killed:
            continue
    firsts = list(dict.fromkeys(outlet.taken))
    for number, count in ((0, 7), (1, 4)):
        assert [o for n, o in firsts if n == number] == list(range(count))
    assert broker.committed == {ZERO: 7, ONE: 4}
