"""One suite for every control topic: in memory, on Tansu, on Apache Kafka."""

import uuid
import warnings
from collections.abc import Iterator
from typing import Protocol

import pytest
from brokers import ApacheKafka, Broker
from fakes import MemoryBroker, MemoryControl

from detector.control import Control, KafkaControl
from detector.emit import KafkaSink
from detector.errors import ConnectionLost
from detector.records import Message
from detector.topics import ensure_control, partitions_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaAdminClient, KafkaProducer  # type: ignore[import-untyped]
    from kafka.admin import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]

pytestmark = pytest.mark.broker

Records = list[tuple[bytes | None, bytes | None]]


class World(Protocol):
    """A control topic, and those who write to it."""

    def control(self) -> Control: ...
    def write(self, records: Records) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.broker = MemoryBroker()

    def control(self) -> Control:
        return MemoryControl(self.broker)

    def write(self, records: Records) -> None:
        self.broker.control += records


class OnKafka:
    def __init__(self, servers: str) -> None:
        self.servers, self.topic = servers, f"control-{uuid.uuid4().hex[:8]}"
        self.made: list[KafkaControl] = []
        ensure_control(servers, self.topic)

    def control(self) -> KafkaControl:
        self.made.append(KafkaControl(self.servers, self.topic))
        return self.made[-1]

    def write(self, records: Records) -> None:
        sink = KafkaSink(self.servers, [])
        sink.send([Message(self.topic, key, value, partition=0) for key, value in records])
        sink.close()


@pytest.fixture(params=["memory", "tansu", "apache_kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield InMemory()
        return
    broker: Broker = request.getfixturevalue(request.param)
    made = OnKafka(broker.bootstrap_servers)
    yield made
    for control in made.made:
        control.close()


def read(control: Control, count: int = 0) -> Records:
    """Read until it is current, and has brought so many records."""
    records: Records = []
    for _ in range(200):
        heard = control.read(0.1)
        records += heard.records
        if heard.current and len(records) >= count:
            return records
    msg = f"expected {count} records and the end, saw {records}"
    raise AssertionError(msg)


def test_an_empty_topic_is_current_at_once(world: World) -> None:
    assert read(world.control()) == []


def test_all_is_read_from_the_beginning_and_then_followed(world: World) -> None:
    first: Records = [(b"s%d" % n, b"{}") for n in range(20)]
    world.write(first)
    early = world.control()
    assert read(early) == first
    later: Records = [(b"s1", None), (b"s2", b"[]")]
    world.write(later)
    assert read(early, 2) == later
    assert read(world.control()) == first + later


def test_after_an_error_it_goes_on_where_it_was(apache_kafka: ApacheKafka) -> None:
    world = OnKafka(apache_kafka.bootstrap_servers)
    world.write([(b"a", b"{}")])
    control = world.control()
    assert read(control) == [(b"a", b"{}")]
    control.close()
    world.write([(b"a", None)])
    assert read(control, 1) == [(b"a", None)]
    control.close()


def test_what_is_aborted_was_never_said(apache_kafka: ApacheKafka) -> None:
    world = OnKafka(apache_kafka.bootstrap_servers)
    producer = KafkaProducer(
        bootstrap_servers=world.servers, transactional_id=uuid.uuid4().hex, acks="all"
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(world.topic, b"{}", b"a").get(10)
    control = world.control()
    assert not any(control.read(0.1).current for _ in range(10)), "it waits for the outcome"
    producer.abort_transaction()
    producer.close()
    assert read(control) == []
    control.close()


def test_it_makes_its_topic_compacted(apache_kafka: ApacheKafka) -> None:
    servers, topic = apache_kafka.bootstrap_servers, f"control-{uuid.uuid4().hex[:8]}"
    control = KafkaControl(servers, topic)
    assert read(control) == []
    control.close()
    assert partitions_of(servers, topic) == 1
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        seen = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        admin.close()
    assert "compact" in str(seen)


def test_a_position_that_is_not_told_in_time_is_a_lost_connection() -> None:
    class Silent:
        closed = False

        def poll(self, timeout_ms: int) -> dict[object, object]:
            return {}

        def position(self, place: object, timeout_ms: int) -> None:
            return None

        def close(self, **_: object) -> None:
            self.closed = True

    control, consumer = KafkaControl("127.0.0.1:1", "control"), Silent()
    control._consumer = consumer
    with pytest.raises(ConnectionLost, match="no position of"):
        control.read(0.1)
    assert consumer.closed


def test_a_broker_that_is_away_is_a_lost_connection() -> None:
    control = KafkaControl("127.0.0.1:1", "control")
    with pytest.raises(ConnectionLost, match="expected Kafka at"):
        control.read(0.1)
    control.close()
