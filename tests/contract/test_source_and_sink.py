"""One suite for every source and sink: in memory, on Tansu, on Apache Kafka."""

import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from brokers import ApacheKafka, Broker, Tansu
from fakes import MemoryBroker, MemorySink, MemorySource, Record

from detector import group
from detector.clock import SystemClock
from detector.consumer import KafkaSource
from detector.emit import OUTSTANDING, KafkaSink, Sink
from detector.errors import ConnectionLost
from detector.group import Subscription
from detector.records import Chunk, Message, Partition, Polled
from detector.source import Source
from detector.topics import create_topics

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaProducer  # type: ignore[import-untyped]

pytestmark = pytest.mark.broker


class World(Protocol):
    """A topic of one partition, and members of one group that read it."""

    topic: str

    def write(self, records: list[tuple[bytes | None, bytes | None]]) -> None: ...
    def source(self, max_poll_records: int = 5000) -> Source: ...
    def sink(self) -> Sink: ...
    def sent(self, count: int) -> list[Message]: ...


class InMemory:
    topic = "readings"

    def __init__(self) -> None:
        self.partition = Partition(self.topic, 0)
        self.broker = MemoryBroker({self.partition: []})

    def write(self, records: list[tuple[bytes | None, bytes | None]]) -> None:
        self.broker.partitions[self.partition] += [Record(*record) for record in records]

    def source(self, max_poll_records: int = 5000) -> Source:
        return MemorySource(self.broker, max_poll_records)

    def sink(self) -> Sink:
        return MemorySink(self.broker)

    def sent(self, count: int) -> list[Message]:
        return self.broker.sent[:count]


@dataclass
class OnKafka:
    servers: str
    topic: str = field(default_factory=lambda: f"readings-{uuid.uuid4().hex[:8]}")
    members: list[Source] = field(default_factory=list)

    def __post_init__(self) -> None:
        create_topics(self.servers, [self.topic], 1)

    def write(self, records: list[tuple[bytes | None, bytes | None]]) -> None:
        sink = KafkaSink(self.servers, [])
        sink.send([Message(self.topic, key, value) for key, value in records])  # type: ignore[arg-type]
        sink.close()

    def source(self, max_poll_records: int = 5000) -> Source:
        return self._member("detector", max_poll_records)

    def sink(self) -> Sink:
        return KafkaSink(self.servers, [self.topic])

    def sent(self, count: int) -> list[Message]:
        chunks = read(self._member(uuid.uuid4().hex, 5000), count)
        return [
            Message(self.topic, key, value or b"", ())
            for chunk in chunks
            for key, value in zip(chunk.keys, chunk.values, strict=True)
        ]

    def _member(self, group: str, max_poll_records: int) -> Source:
        subscription = Subscription(
            self.servers, self.topic, group, max_poll_records, 0.2, session_timeout_s=6
        )
        self.members.append(KafkaSource(subscription, SystemClock()))
        return self.members[-1]


@pytest.fixture(params=["memory", "tansu", "apache_kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield InMemory()
        return
    broker: Broker = request.getfixturevalue(request.param)
    made = OnKafka(broker.bootstrap_servers)
    yield made
    for member in made.members:
        member.close()


def test_a_join_that_outlasts_a_poll_is_waited_for(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topic that comes makes the client join anew; a poll is over before the group answers."""
    monkeypatch.setattr(group, "NEW_TOPICS_MS", 2000)
    mark = uuid.uuid4().hex[:8]
    poll_s = 0.2 if isinstance(broker, Tansu) else 0.01  # it takes three seconds; and some ms
    create_topics(broker.bootstrap_servers, [f"{mark}-a"], 1)
    subscription = Subscription(
        broker.bootstrap_servers, f"{mark}-*", mark, 5000, poll_s, session_timeout_s=6
    )
    source, held = KafkaSource(subscription, SystemClock()), set[str]()
    try:
        deadline = time.monotonic() + 90
        while held != {f"{mark}-a", f"{mark}-b"}:
            assert time.monotonic() < deadline, held
            with suppress(ConnectionLost):  # as long as no topic is known
                came = {partition.topic for partition in source.poll().assigned}
                if came and not held:
                    create_topics(broker.bootstrap_servers, [f"{mark}-b"], 1)
                held |= came
    finally:
        source.close()


def polls(source: Source, enough: Callable[[list[Polled]], bool]) -> list[Polled]:
    seen: list[Polled] = []
    for _ in range(200):
        seen.append(source.poll())
        for partition in seen[-1].assigned:
            source.start(partition, None)
        if enough(seen):
            return seen
    msg = f"expected more from 200 polls, saw {seen[-1]}"
    raise AssertionError(msg)


def read(source: Source, count: int) -> list[Chunk]:
    def enough(seen: list[Polled]) -> bool:
        return sum(len(c.values) for polled in seen for c in polled.chunks) >= count

    return [chunk for polled in polls(source, enough) for chunk in polled.chunks]


def numbered(count: int) -> list[tuple[bytes | None, bytes | None]]:
    return [(b"stream-%d" % (n % 3), b"%d" % n) for n in range(count)]


def test_records_come_once_each_in_the_order_they_were_written(world: World) -> None:
    world.write(numbered(100))
    chunks = read(world.source(max_poll_records=7), 100)
    assert [v for chunk in chunks for v in chunk.values] == [b"%d" % n for n in range(100)]
    assert [int(o) for chunk in chunks for o in chunk.offsets] == list(range(100))
    assert {chunk.partition for chunk in chunks} == {Partition(world.topic, 0)}
    assert all(len(chunk.values) <= 7 for chunk in chunks)


def test_keys_and_values_come_as_they_are(world: World) -> None:
    odd: list[tuple[bytes | None, bytes | None]] = [
        (None, b"no key"),
        (b"\xff\x00", b"\xfe\n"),
        (b"k", b""),
        (b"tombstone", None),
        (b"\xe2\x82\xac", b"x" * 100_000),
    ]
    world.write(odd)
    chunks = read(world.source(), len(odd))
    seen = [pair for c in chunks for pair in zip(c.keys, c.values, strict=True)]
    assert seen == odd
    assert all(stamp > 1_500_000_000_000_000 for c in chunks for stamp in c.stamps_us)


def test_a_partition_is_assigned_no_later_than_its_records(world: World) -> None:
    world.write(numbered(3))
    source = world.source()
    seen = polls(source, lambda seen: bool(seen[-1].chunks))
    assigned = [polled.assigned for polled in seen if polled.assigned]
    assert assigned == [frozenset({Partition(world.topic, 0)})]
    assert source.settled


def test_what_was_not_committed_is_read_again(world: World) -> None:
    world.write(numbered(10))
    first = world.source()
    read(first, 10)
    first.commit({Partition(world.topic, 0): 6})
    first.close()
    again = read(world.source(), 4)
    assert [int(o) for chunk in again for o in chunk.offsets] == [6, 7, 8, 9]


def test_a_group_that_committed_nothing_begins_with_the_oldest_record(world: World) -> None:
    world.write(numbered(5))
    first = world.source()
    read(first, 5)
    first.close()
    assert int(read(world.source(), 5)[0].offsets[0]) == 0


def test_an_idle_poll_brings_nothing(world: World) -> None:
    source = world.source()
    polls(source, lambda seen: bool(seen[-1].assigned))
    assert source.poll() == Polled()


def test_lag_counts_what_is_not_read_yet(world: World) -> None:
    world.write(numbered(30))
    source = world.source(max_poll_records=10)
    read(source, 10)
    assert source.lag() == {Partition(world.topic, 0): 20}


def test_closing_twice_is_closing_once(world: World) -> None:
    source, sink = world.source(), world.sink()
    source.poll()
    sink.send([Message(world.topic, b"k", b"v")])
    for _ in range(2):
        source.close()
        sink.close()


def test_messages_arrive_in_order_even_when_they_are_many(world: World) -> None:
    sink = world.sink()
    messages = [Message(world.topic, b"k", b"%d" % n) for n in range(OUTSTANDING + 500)]
    sink.send(messages)
    sink.send([])
    assert [m.value for m in world.sent(len(messages))] == [m.value for m in messages]
    sink.close()


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_whatever_producers_compress_with_is_read(apache_kafka: ApacheKafka, codec: str) -> None:
    servers = apache_kafka.bootstrap_servers  # Tansu takes none of them
    world = OnKafka(servers)
    producer = KafkaProducer(bootstrap_servers=servers, compression_type=codec)
    for number in range(50):
        producer.send(world.topic, key=b"k", value=b"%d" % number * 20)
    producer.flush()
    producer.close()
    chunks = read(world.source(), 50)
    assert [v for chunk in chunks for v in chunk.values] == [b"%d" % n * 20 for n in range(50)]
    for member in world.members:
        member.close()
