"""Messages out: to Kafka or to a file. The producing half of what knows kafka-python."""

import json
import warnings
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Protocol, TextIO

from detector.errors import ConnectionLost, OutputRefused
from detector.records import Message

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaAdminClient, KafkaProducer  # type: ignore[import-untyped]
    from kafka.errors import (  # type: ignore[import-untyped]
        KafkaError,
        MessageSizeTooLargeError,
        TopicAlreadyExistsError,
    )

# The client holds all that is not acknowledged in memory, without a bound of its own.
OUTSTANDING = 2000
ACKNOWLEDGE_TIMEOUT_S = 30.0


class Sink(Protocol):
    """Where messages go."""

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver messages, in order for each key; return when all are acknowledged.

        Raises:
            ConnectionLost: If one was not. Send all of them again: consumers drop repeats by id.
            OutputRefused: If one is larger than the broker takes.
        """
        ...

    def close(self) -> None:
        """Let go of what is held; idempotent."""
        ...


class KafkaSink:
    """An idempotent producer; a `Sink`. Connects at its first message."""

    def __init__(self, bootstrap_servers: str, topics: Sequence[str]) -> None:
        """Remember where to send, and which topics to create if they are missing."""
        self._servers = bootstrap_servers
        self._topics = tuple(topics)
        self._producer: Any = None

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver messages; see `Sink.send`."""
        try:
            producer = self._producer or self._connect()
            for start in range(0, len(messages), OUTSTANDING):
                futures = [
                    producer.send(m.topic, value=m.value, key=m.key, headers=list(m.headers))
                    for m in messages[start : start + OUTSTANDING]
                ]
                producer.flush(timeout=ACKNOWLEDGE_TIMEOUT_S)
                for future in futures:
                    future.get(timeout=ACKNOWLEDGE_TIMEOUT_S)
        except MessageSizeTooLargeError as error:
            self._drop()
            largest = max(messages, key=lambda m: len(m.value))
            msg = (
                f"expected {self._servers} to take messages of 1 MiB, saw one of "
                f"{len(largest.value)} bytes refused for its size; raise max.message.bytes of "
                f"topic {largest.topic!r}"
            )
            raise OutputRefused(msg) from error
        except KafkaError as error:
            self._drop()
            raise _lost(self._servers, error) from error

    def close(self) -> None:
        """Close the producer; see `Sink.close`."""
        self._drop()

    def _connect(self) -> Any:  # noqa: ANN401 - the client ships no types
        servers = self._servers.split(",")
        create_topics(self._servers, self._topics)
        self._producer = KafkaProducer(
            bootstrap_servers=servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=1,
            delivery_timeout_ms=int(ACKNOWLEDGE_TIMEOUT_S * 1000),
            request_timeout_ms=10_000,
            bootstrap_timeout_ms=5000,
            reconnect_backoff_max_ms=2000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        return self._producer

    def _drop(self) -> None:
        """Forget the producer: after an error its batches and sequence numbers are suspect."""
        if self._producer is not None:
            self._producer.close(timeout=1)
            self._producer = None


class LineSink:
    """One JSON object a line: topic, key, value, headers; a `Sink` for people and pipes."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`, which stays the caller's to close."""
        self._out = out

    def send(self, messages: Sequence[Message]) -> None:
        """Write messages; see `Sink.send`."""
        for message in messages:
            text = message.value.decode(errors="replace")
            line = {
                "topic": message.topic,
                "key": message.key.decode(errors="replace") if message.key else None,
                "headers": {k: v.decode(errors="replace") for k, v in message.headers},
                "value": _object(text),
            }
            self._out.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Nothing is held."""


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def topics_of(bootstrap_servers: str) -> set[str]:
    """Return the names of a cluster's topics.

    Raises:
        ConnectionLost: If it does not answer.
    """
    try:
        with _admin(bootstrap_servers) as admin:
            return set(admin.list_topics())
    except KafkaError as error:
        raise _lost(bootstrap_servers, error) from error


def create_topics(bootstrap_servers: str, topics: Sequence[str], partitions: int = -1) -> None:
    """Create the topics that are missing.

    Args:
        bootstrap_servers: Of the cluster.
        topics: Names.
        partitions: How many each; the broker's default where -1.

    Raises:
        ConnectionLost: If the broker does not answer or does not let us.
    """
    try:
        with _admin(bootstrap_servers) as admin:
            missing = sorted(set(topics) - set(admin.list_topics()))
            if missing:
                admin.create_topics({name: {"num_partitions": partitions} for name in missing})
    except TopicAlreadyExistsError:
        pass  # another replica was faster
    except KafkaError as error:
        raise _lost(bootstrap_servers, error) from error


def _admin(bootstrap_servers: str) -> Any:  # noqa: ANN401 - the client ships no types
    servers = bootstrap_servers.split(",")
    return closing(KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=5000))


def _lost(bootstrap_servers: str, error: KafkaError) -> ConnectionLost:
    what = f"{type(error).__name__}: {' '.join(map(str, error.args))}"
    return ConnectionLost(f"expected Kafka at {bootstrap_servers} to answer, saw {what}")
