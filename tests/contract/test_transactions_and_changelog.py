"""One suite for what keeps the promise: transactions, and the state that they write."""

import time
import uuid
import warnings
from collections.abc import Iterator
from typing import Protocol

import pytest
from brokers import ApacheKafka, Broker
from daemons import Topics
from fakes import MemoryBroker, MemoryChangelog, MemorySink, MemorySource, Record

from detector.changelog import Changelog, KafkaChangelog
from detector.clock import SystemClock
from detector.consumer import KafkaSource
from detector.emit import KafkaSink
from detector.errors import ConnectionLost, MembershipLost, SettingsRejected
from detector.group import Subscription
from detector.inputs import Inputs
from detector.records import Message, Partition
from detector.source import Source
from detector.topics import create_topics, partitions_of
from detector.transactions import TransactionalSink, Transactions

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaAdminClient  # type: ignore[import-untyped]
    from kafka.admin import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]
    from kafka.errors import KafkaError  # type: ignore[import-untyped]

pytestmark = pytest.mark.broker

TIMEOUT_S = 8.0
HANG_S = 3.0


class World(Protocol):
    """An input of two partitions and ten records each, its group, its changelog, an output."""

    topic: str
    output: str
    state: str

    def source(self) -> Source: ...
    def sink(self, name: str = "one") -> Transactions: ...
    def changelog(self) -> Changelog: ...
    def said(self) -> list[bytes | None]: ...
    def expel(self) -> None: ...
    def kept(self, note: str) -> str: ...


class InMemory:
    topic, output, state = "readings", "alerts", "state"

    def __init__(self) -> None:
        records = [Record(b"s", b"%d" % n) for n in range(10)]
        self.broker = MemoryBroker({Partition(self.topic, n): list(records) for n in range(2)})

    def source(self) -> Source:
        return MemorySource(self.broker)

    def sink(self, name: str = "one") -> Transactions:
        return MemorySink(self.broker)

    def changelog(self) -> Changelog:
        return MemoryChangelog(self.broker)

    def said(self) -> list[bytes | None]:
        return [message.value for message in self.broker.sent]

    def expel(self) -> None:
        self.broker.member += 1

    def kept(self, note: str) -> str:
        return note


class OnKafka:
    def __init__(self, servers: str, *, tansu: bool = False) -> None:
        self.servers, self.tansu, mark = servers, tansu, uuid.uuid4().hex[:8]
        self.topic, self.output, self.state = (f"{n}-{mark}" for n in ("in", "out", "state"))
        self.members: list[KafkaSource] = []
        create_topics(servers, [self.topic], 2)
        create_topics(servers, [self.output], 1)
        sink = KafkaSink(servers, [])
        sink.send(
            [Message(self.topic, b"s", b"%d" % n, partition=p) for n in range(10) for p in (0, 1)]
        )
        sink.close()

    def source(self) -> KafkaSource:
        subscription = Subscription(
            self.servers, self.topic, f"group-{self.topic}", 5000, 0.2, session_timeout_s=6
        )
        self.members.append(KafkaSource(subscription, SystemClock()))
        return self.members[-1]

    def sink(self, name: str = "one") -> TransactionalSink:
        return TransactionalSink(self.servers, [], f"{self.topic}-{name}", TIMEOUT_S)

    def changelog(self) -> Changelog:
        return KafkaChangelog(self.servers, self.state, Inputs(self.topic), SystemClock(), HANG_S)

    def said(self) -> list[bytes | None]:
        end = Message(self.output, b"end", b"end")
        sink = KafkaSink(self.servers, [])
        sink.send([end])
        sink.close()
        topics, values = Topics(self.servers), list[bytes | None]()
        while end.value not in values:
            values = [v for c in topics.chunks(self.output, len(values) + 1) for v in c.values]
        return [value for value in values if value != end.value]

    def expel(self) -> None:
        """The member leaves the group; its place in it, remembered, is worth nothing."""
        if self.tansu:
            pytest.skip("Tansu lets everybody commit in a transaction, members or not")
        self.members[0].close()

    def kept(self, note: str) -> str:
        return "" if self.tansu else note  # Tansu forgets it


@pytest.fixture(params=["memory", "tansu", "apache_kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield InMemory()
        return
    broker: Broker = request.getfixturevalue(request.param)
    made = OnKafka(broker.bootstrap_servers, tansu=request.param == "tansu")
    yield made
    for member in made.members:
        member.close()


@pytest.fixture
def kafka(apache_kafka: ApacheKafka) -> Iterator[OnKafka]:
    made = OnKafka(apache_kafka.bootstrap_servers)
    yield made
    for member in made.members:
        member.close()


def joined(world: World) -> Source:
    """Return a source to which both partitions are assigned, and that reads."""
    source, assigned = world.source(), set[Partition]()
    for _ in range(200):
        assigned |= source.poll().assigned
        if len(assigned) == 2:
            return source
    msg = f"expected two partitions, saw {assigned}"
    raise AssertionError(msg)


def load(changelog: Changelog, number: int) -> list[tuple[bytes, bytes | None]]:
    records, ended = list[tuple[int, bytes, bytes | None]](), False
    for _ in range(200):
        loaded = changelog.read(0.2)
        records += loaded.records
        ended = number in loaded.ended
        if ended:
            break
    assert ended, "expected an end"
    return [(key, value) for n, key, value in records if n == number]


def entry(world: World, key: bytes, value: bytes | None, number: int = 0) -> Message:
    return Message(world.state, key, value, partition=number)


def test_messages_positions_and_note_become_true_together(world: World) -> None:
    source, sink = joined(world), world.sink()
    zero = Partition(world.topic, 0)
    assert source.bounds(zero) == (0, 0, None)
    assert source.note(zero) == ""
    sink.transact([Message(world.output, b"k", b"said")], {zero: 7}, "note", source.membership())
    assert source.bounds(zero) == (0, 0, 7)
    assert source.note(zero) == world.kept("note")
    assert world.said() == [b"said"]
    more = [Message(world.output, b"k", b"more")]  # Tansu keeps no positions without a message
    sink.transact(more, {zero: 9}, "later", source.membership())
    assert (source.bounds(zero).committed, source.note(zero)) == (9, world.kept("later"))
    sink.close()


def test_who_lost_its_place_can_neither_say_nor_commit(world: World) -> None:
    source, sink = joined(world), world.sink()
    zero = Partition(world.topic, 0)
    sink.transact([Message(world.output, b"k", b"said")], {zero: 1}, "", source.membership())
    stale = source.membership()
    world.expel()
    with pytest.raises(MembershipLost):
        sink.transact([Message(world.output, b"k", b"not said")], {zero: 9}, "", stale)
    sink.close()
    again = joined(world)
    assert again.bounds(zero).committed == 1
    assert world.said() == [b"said"]


def test_a_fence_changes_nothing_that_is_done(world: World) -> None:
    source, sink = joined(world), world.sink()
    zero = Partition(world.topic, 0)
    sink.transact([Message(world.output, b"k", b"said")], {zero: 3}, "a", source.membership())
    sink.fence()
    assert (source.bounds(zero).committed, source.note(zero)) == (3, world.kept("a"))
    sink.transact([Message(world.output, b"k", b"more")], {zero: 4}, "b", source.membership())
    assert world.said() == [b"said", b"more"]
    sink.close()


def test_nothing_comes_of_a_partition_before_it_is_started(world: World) -> None:
    source = joined(world)
    assert all(not source.poll().chunks for _ in range(5))
    source.start(Partition(world.topic, 1), 4)
    for _ in range(50):
        chunks = source.poll().chunks
        if chunks:
            break
    assert {chunk.partition.number for chunk in chunks} == {1}
    assert int(chunks[0].offsets[0]) == 4
    assert source.position(Partition(world.topic, 1)) == 10


def test_state_is_read_from_its_beginning_to_its_end(world: World) -> None:
    source, sink, changelog = joined(world), world.sink(), world.changelog()
    changelog.begin(0)
    assert load(changelog, 0) == []
    written = [(b"a", b"1"), (b"b", b"2"), (b"a", None), (b"c", b"\x00" * 300_000)]
    messages = [entry(world, *pair) for pair in written]
    zero = {Partition(world.topic, 0): 1}
    sink.transact(messages[:2], zero, "", source.membership())
    sink.transact([entry(world, b"x", b"y", 1), *messages[2:]], zero, "", source.membership())
    for _ in range(2):  # again, from the beginning
        changelog.begin(0)
        assert load(changelog, 0) == written
    changelog.begin(1)
    assert load(changelog, 1) == [(b"x", b"y")]
    changelog.begin(1)
    changelog.drop(1)
    changelog.drop(1)
    assert changelog.read(0.1).records == []
    sink.close()
    changelog.close()
    changelog.close()


def test_a_transaction_that_was_undone_is_passed_over(kafka: OnKafka) -> None:
    source, sink, changelog = joined(kafka), kafka.sink(), kafka.changelog()
    changelog.begin(0)
    producer = sink.connect()
    producer.begin_transaction()
    sink.deliver(producer, [entry(kafka, b"a", b"undone")])
    sink.fence()
    sink.transact(
        [entry(kafka, b"a", b"done")], {Partition(kafka.topic, 0): 1}, "", source.membership()
    )
    producer = sink.connect()
    producer.begin_transaction()
    sink.deliver(producer, [entry(kafka, b"a", b"undone, too")])
    sink.fence()
    changelog.begin(0)
    assert load(changelog, 0) == [(b"a", b"done")]
    sink.close()
    changelog.close()


def test_the_end_of_a_transaction_that_is_open_is_waited_for(kafka: OnKafka) -> None:
    sink, changelog = kafka.sink(), kafka.changelog()
    changelog.begin(0)
    producer = sink.connect()
    producer.begin_transaction()
    sink.deliver(producer, [entry(kafka, b"a", b"1")])
    changelog.begin(0)
    for _ in range(5):
        assert changelog.read(0.1).ended == frozenset()
    producer.commit_transaction()
    assert load(changelog, 0) == [(b"a", b"1")]
    sink.close()
    changelog.close()


def test_a_transaction_that_never_ends_is_not_waited_for_for_ever(kafka: OnKafka) -> None:
    source, sink, hanging = joined(kafka), kafka.sink(), kafka.sink("another")
    zero = {Partition(kafka.topic, 0): 1}
    changelog = kafka.changelog()
    changelog.begin(0)
    sink.transact([entry(kafka, b"a", b"1")], zero, "", source.membership())
    producer = hanging.connect()
    producer.begin_transaction()
    hanging.deliver(producer, [entry(kafka, b"b", b"hidden")])
    sink.transact([entry(kafka, b"c", b"hidden behind it")], zero, "", source.membership())
    changelog.begin(0)
    began_s, records, stuck = time.monotonic(), list[tuple[int, bytes, bytes | None]](), False
    while not stuck and time.monotonic() - began_s < 3 * HANG_S:
        loaded = changelog.read(0.2)
        records += loaded.records
        stuck = loaded.stuck == loaded.ended == frozenset({0})
    assert stuck
    assert records == [(0, b"a", b"1")]
    hanging.fence()  # as an operator would abort it
    changelog.begin(0)
    assert load(changelog, 0) == [(b"a", b"1"), (b"c", b"hidden behind it")]
    for one in (sink, hanging, changelog):
        one.close()


def test_a_successor_of_the_same_name_undoes_what_was_under_way(kafka: OnKafka) -> None:
    source, dead, successor = joined(kafka), kafka.sink(), kafka.sink()
    producer = dead.connect()
    producer.begin_transaction()
    dead.deliver(producer, [Message(kafka.output, b"k", b"not said")])
    successor.fence()
    with pytest.raises(KafkaError):
        producer.commit_transaction()
    zero = {Partition(kafka.topic, 0): 2}
    message = [Message(kafka.output, b"k", b"said")]
    successor.transact(message, zero, "", source.membership())
    assert kafka.said() == [b"said"]
    dead.close()
    successor.close()


def test_the_changelog_gets_the_partitions_of_the_input_and_grows_with_it(kafka: OnKafka) -> None:
    changelog = kafka.changelog()
    changelog.begin(1)
    assert partitions_of(kafka.servers, kafka.state) == 2
    admin = KafkaAdminClient(bootstrap_servers=kafka.servers)
    admin.create_partitions({kafka.topic: 3})
    changelog.begin(2)
    assert load(changelog, 2) == []
    assert partitions_of(kafka.servers, kafka.state) == 3
    resource = ConfigResource(ConfigResourceType.TOPIC, kafka.state)
    configs = str(admin.describe_configs([resource]))
    assert "compact" in configs
    assert str(16 << 20) in configs
    admin.close()
    changelog.close()


def test_a_partition_younger_than_the_producer_is_found(kafka: OnKafka) -> None:
    source, sink, changelog = joined(kafka), kafka.sink(), kafka.changelog()
    zero = {Partition(kafka.topic, 0): 1}
    changelog.begin(0)
    sink.transact([entry(kafka, b"a", b"1")], zero, "", source.membership())
    admin = KafkaAdminClient(bootstrap_servers=kafka.servers)
    admin.create_partitions({kafka.topic: 3})
    admin.close()
    changelog.begin(2)
    young = [entry(kafka, b"b", b"2", number=2)]
    with pytest.raises(ConnectionLost):
        sink.transact(young, zero, "", source.membership())
    sink.transact(young, zero, "", source.membership())
    changelog.begin(2)
    assert load(changelog, 2) == [(b"b", b"2")]
    sink.close()
    changelog.close()


def test_a_changelog_with_more_partitions_than_the_input_is_refused(world: World) -> None:
    if not isinstance(world, OnKafka):
        pytest.skip("the fake has no topics to be wrong")
    create_topics(world.servers, [world.state], 5)
    with pytest.raises(SettingsRejected, match=r"the 2 partitions of .* saw 5"):
        world.changelog().begin(0)
