"""The loop, over a broker in memory: what is said, what is committed, what a crash repeats."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from fakes import (
    ManualClock,
    MemoryBroker,
    MemorySink,
    MemorySource,
    Record,
    StubModel,
    manifest,
)

from detector.engine import Engine
from detector.errors import ConnectionLost, DeadLetterLimit
from detector.expose import Health
from detector.judge import rules
from detector.limit import DeadLetters
from detector.metrics import Metrics
from detector.pipeline import Pipeline, Topics
from detector.records import Message, Partition, Polled
from detector.validate import Format

ZERO, ONE = Partition("readings", 0), Partition("readings", 1)


TOPICS = Topics("alerts", "dead-letters")


@dataclass
class Rig:
    """A pipeline with everything in memory."""

    broker: MemoryBroker = field(default_factory=lambda: MemoryBroker({ZERO: []}))
    topics: Topics = TOPICS
    max_poll_records: int = 5000
    limit: DeadLetters = field(default_factory=lambda: DeadLetters(1000, 1.0))

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.told: list[str] = []
        self.metrics = Metrics()
        self.health = Health(self.clock, 60, self.told.append)
        self.source = MemorySource(self.broker, self.max_poll_records)
        about = manifest()
        self.pipeline = Pipeline(
            source=self.source,
            engine=Engine(StubModel(about), rules(about, 10)),
            sink=MemorySink(self.broker),
            form=Format(("c0", "c1")),
            topics=self.topics,
            limit=self.limit,
            metrics=self.metrics,
            health=self.health,
            clock=self.clock,
            commit_interval_s=5,
            shutdown_timeout_s=20,
        )

    def turn(self) -> None:
        self.pipeline.step(self.source.poll())

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def write(broker: MemoryBroker, values: Sequence[float | str], stream: bytes = b"s") -> None:
    """Append readings, one a second; a text is a value as it stands."""
    log = broker.partitions[ZERO]
    for value in values:
        ts = 1_700_000_000 + len(log)
        body = value if isinstance(value, str) else json.dumps({"ts": ts, "values": [value, 0]})
        log.append(Record(stream, body.encode()))


CALM, WILD = [0.0] * 8, [50.0, -50.0, 60.0]


def test_an_alert_is_sent_before_its_reading_is_committed() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.turn()
    assert [message.topic for message in rig.broker.sent] == ["alerts"] * len(rig.broker.sent)
    assert rig.broker.sent
    assert rig.broker.committed == {ZERO: len(CALM) + len(WILD)}
    assert rig.value("detector_readings_total") == 11
    assert rig.value("detector_warming_readings_total") == 3


def test_quiet_polls_are_committed_every_interval_only() -> None:
    rig = Rig(max_poll_records=2)
    write(rig.broker, CALM)
    rig.turn()
    assert rig.broker.committed == {}
    rig.clock.seconds += 5
    rig.turn()
    assert rig.broker.committed == {ZERO: 4}


class Dies(Exception):
    pass


class DyingSink(MemorySink):
    """Dies before or after the messages went out."""

    def __init__(self, broker: MemoryBroker, *, after: bool) -> None:
        super().__init__(broker)
        self.after = after

    def send(self, messages: Sequence[Message]) -> None:
        if self.after:
            super().send(messages)
        raise Dies


class DyingSource(MemorySource):
    """Dies instead of committing."""

    def commit(self, positions: dict[Partition, int]) -> None:
        raise Dies


def ids(broker: MemoryBroker) -> list[tuple[str, str]]:
    bodies = [json.loads(message.value) for message in broker.sent]
    return [(body["id"], body["status"]) for body in bodies]


@pytest.mark.parametrize("where", ["before sending", "after sending", "instead of committing"])
def test_a_crash_loses_no_alert_and_repeats_have_the_same_id(where: str) -> None:
    whole = Rig()
    write(whole.broker, [*CALM, *WILD])
    whole.turn()

    first = Rig()
    write(first.broker, [*CALM, *WILD])
    if where == "instead of committing":
        first.pipeline._source = DyingSource(first.broker)
    else:
        first.pipeline._sink = DyingSink(first.broker, after=where == "after sending")
    with pytest.raises(Dies):
        first.pipeline.step(first.source.poll())
    assert first.broker.committed == {}

    again = Rig(broker=first.broker)
    again.turn()
    assert set(ids(again.broker)) == set(ids(whole.broker))
    assert again.broker.committed == whole.broker.committed


def test_bad_records_are_sent_aside_and_committed() -> None:
    rig = Rig()
    write(rig.broker, [0.0, "nonsense", 0.0])
    rig.turn()
    assert [(m.topic, m.value) for m in rig.broker.sent] == [("dead-letters", b"nonsense")]
    assert rig.broker.committed == {ZERO: 3}
    assert rig.value("detector_dead_letters_total", reason="not_json") == 1


def test_too_many_bad_records_stop_it_with_nothing_sent_or_committed() -> None:
    rig = Rig(limit=DeadLetters(3, 1.0))
    write(rig.broker, ["a", "b", "c"])
    with pytest.raises(DeadLetterLimit, match="3 bad records in a row"):
        rig.turn()
    assert (rig.broker.sent, rig.broker.committed) == ([], {})


def test_scores_are_said_where_somebody_asks() -> None:
    rig = Rig(topics=Topics("alerts", "dead-letters", "scores"))
    write(rig.broker, CALM)
    rig.turn()
    said = [json.loads(m.value) for m in rig.broker.sent if m.topic == "scores"]
    assert [body["offset"] for body in said] == list(range(len(CALM)))
    assert said[0]["score"] == {"state": 0.0}


class Comes(MemorySource):
    """A broker that answers at the third poll; then the pipeline is asked to stop."""

    def __init__(self, broker: MemoryBroker, rig: Rig) -> None:
        super().__init__(broker)
        self.rig, self.polls = rig, 0

    def poll(self) -> Polled:
        self.polls += 1
        self.rig.broker.away = self.polls < 3
        if self.polls == 4:
            self.rig.pipeline.stop()
        return super().poll()


def test_an_absent_broker_is_waited_for_and_counted_once() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.pipeline._source = Comes(rig.broker, rig)
    rig.pipeline.run()
    assert rig.value("detector_broker_losses_total") == 1
    assert rig.value("detector_broker_connected") == 1
    assert rig.broker.committed == {ZERO: len(CALM)}
    assert rig.health.ready()[0]
    assert "READY=1" in rig.told


def test_asked_to_stop_while_the_broker_is_away_it_gives_up_in_time() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    polled = rig.source.poll()
    rig.broker.away = True
    rig.pipeline.stop()
    with pytest.raises(ConnectionLost):
        rig.pipeline.step(polled)
    assert rig.broker.committed == {}
    assert rig.clock.seconds - ManualClock().seconds <= 20 + 10


def test_a_revoked_partition_leaves_nothing_behind() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    polled = rig.source.poll()
    rig.pipeline.step(polled)
    rig.pipeline.step(Polled(revoked=frozenset({ZERO})))
    rig.pipeline._gauges()
    assert rig.value("detector_streams") == 0
    assert rig.value("detector_assigned_partitions") == 0
    assert rig.value("detector_rebalances_total") == 2
    # Back again: its streams are new.
    rig.pipeline.step(replace(polled, assigned=frozenset({ZERO, ONE})))
    assert rig.value("detector_stream_starts_total") == 2


def test_gauges_say_how_much_is_held_and_open() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.turn()
    rig.pipeline._gauges()
    assert rig.value("detector_streams") == 1
    assert rig.value("detector_open_alerts", kind="state") == 1
    assert rig.value("detector_lag_records", partition="0") == 0
    held = rig.value("detector_state_bytes")
    assert held is not None
    assert held > 0
