"""Alerts and dead letters out. The producing half of what knows kafka-python."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol, TextIO

from detector.cluster import Cluster, client_options
from detector.errors import ConnectionLost, OutputRefused
from detector.records import Message
from detector.topics import connection_lost, create_topics

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaProducer  # type: ignore[import-untyped]
    from kafka.errors import (  # type: ignore[import-untyped]
        KafkaError,
        MessageSizeTooLargeError,
        UnknownTopicOrPartitionError,
    )

# The client holds all that is not acknowledged in memory, without a bound of its own.
OUTSTANDING = 2000
OUTSTANDING_BYTES = 16 << 20
ACKNOWLEDGE_TIMEOUT_S = 30.0
BATCH_BYTES = 256 << 10


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

    def __init__(self, bootstrap_servers: str | Cluster, topics: Sequence[str]) -> None:
        """Remember where to send, and which topics to create if they are missing."""
        self._servers = bootstrap_servers
        self._topics = tuple(topics)
        self._producer: Any = None

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver messages; see `Sink.send`."""
        try:
            self.deliver(self._producer or self.connect(), messages)
        except KafkaError as error:
            self.drop()
            raise self.explain(error, messages) from error

    def close(self) -> None:
        """Close the producer; see `Sink.close`."""
        self.drop()

    def deliver(self, producer: Any, messages: Sequence[Message]) -> None:  # noqa: ANN401
        """Send messages and wait until all are acknowledged."""
        for some in _portions(messages):
            futures = [_send(producer, message) for message in some]
            for future in futures:
                future.get(timeout=ACKNOWLEDGE_TIMEOUT_S)

    def explain(
        self, error: KafkaError, messages: Sequence[Message]
    ) -> ConnectionLost | OutputRefused:
        """Return the client's error in our terms."""
        if not isinstance(error, MessageSizeTooLargeError):
            return connection_lost(self._servers, error)
        largest = max(messages, key=lambda m: len(m.value or b""))
        msg = (
            f"expected {self._servers} to take messages of 1 MiB, saw one of "
            f"{len(largest.value or b'')} bytes refused for its size; raise max.message.bytes of "
            f"topic {largest.topic!r}"
        )
        return OutputRefused(msg)

    def connect(self, **options: object) -> Any:  # noqa: ANN401 - the client ships no types
        """Make a producer, with other options than usual where given."""
        create_topics(self._servers, self._topics)
        ours = {
            **client_options(self._servers),
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 1,
            "batch_size": BATCH_BYTES,
            "delivery_timeout_ms": int(ACKNOWLEDGE_TIMEOUT_S * 1000),
            "request_timeout_ms": 10_000,
            "bootstrap_timeout_ms": 5000,
            "reconnect_backoff_max_ms": 2000,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        self._producer = KafkaProducer(**ours | options)
        return self._producer

    def drop(self) -> None:
        """Forget the producer: after an error its batches and sequence numbers are suspect."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            with suppress(KafkaError):  # what it still holds is sent again, or was not to be sent
                producer.close(timeout=1)
            producer._sender.force_close()  # noqa: SLF001 - `close` does not when it gives up


class LineSink:
    """One JSON object a line: topic, key, value, headers; a `Sink` for people and pipes."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`, which stays the caller's to close."""
        self._out = out

    def send(self, messages: Sequence[Message]) -> None:
        """Write messages; see `Sink.send`."""
        for message in messages:
            text = (message.value or b"").decode(errors="replace")
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


def _send(producer: Any, message: Message) -> Any:  # noqa: ANN401 - the client ships no types
    try:
        return producer.send(
            message.topic,
            value=message.value,
            key=message.key,
            headers=list(message.headers),
            partition=message.partition,
        )
    except ValueError as error:  # a partition younger than what this producer knows of the topic
        raise UnknownTopicOrPartitionError(str(error)) from error


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _portions(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut messages into parts that the client may hold at once."""
    first = size = 0
    for n, message in enumerate(messages):
        size += len(message.value or b"")
        if n - first == OUTSTANDING or (size > OUTSTANDING_BYTES and n > first):
            yield messages[first:n]
            first, size = n, len(message.value or b"")
    if first < len(messages):
        yield messages[first:]
