"""Topics of a cluster: which there are, and those to make."""

import socket
import warnings
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from detector.cluster import Cluster, client_options, explain, shake_hands
from detector.errors import ConnectionLost, SettingsRejected
from detector.inputs import Inputs

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaAdminClient  # type: ignore[import-untyped]
    from kafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError  # type: ignore[import-untyped]


PROBE_S = 3.0
# Only closed segments are compacted, and a restore reads all that is there: with the broker's
# defaults (1 GiB, a week, half of it dirty) it would read hundreds of states to find the last.
CHANGELOG_CONFIGS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 << 20),
    "segment.ms": str(10 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.2",
}


def probe(bootstrap_servers: str | Cluster) -> None:
    """Make sure that somebody listens whom we trust, before the client tries.

    It leaks a thread if nobody does, and does not say why it cannot connect.

    Raises:
        ConnectionLost: If none of the servers does.
    """
    refusals = []
    for server in str(bootstrap_servers).split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), PROBE_S) as sock:
                shake_hands(bootstrap_servers, sock, host.strip("[]"))
                return
        except (OSError, ValueError) as error:
            refusals.append(f"{server}: {error}")
    msg = f"expected Kafka at {bootstrap_servers} to answer, saw {'; '.join(refusals)}"
    raise ConnectionLost(msg)


def topics_of(bootstrap_servers: str | Cluster) -> set[str]:
    """Return the names of a cluster's topics.

    Raises:
        ConnectionLost: If it does not answer.
    """
    try:
        with _admin(bootstrap_servers) as admin:
            return set(admin.list_topics())
    except KafkaError as error:
        raise connection_lost(bootstrap_servers, error) from error


def partitions_of(bootstrap_servers: str | Cluster, topic: str) -> int:
    """Return how many partitions a topic has; 0 where it does not exist.

    Raises:
        ConnectionLost: If the cluster does not answer.
    """
    try:
        with _admin(bootstrap_servers) as admin:
            if topic not in admin.list_topics():
                return 0
            return len(admin.describe_topics([topic])[0]["partitions"])
    except KafkaError as error:
        raise connection_lost(bootstrap_servers, error) from error


def create_topics(
    bootstrap_servers: str | Cluster, topics: Sequence[str], partitions: int = -1
) -> None:
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
        raise connection_lost(bootstrap_servers, error) from error


def ensure_changelog(bootstrap_servers: str | Cluster, topic: str, inputs: Inputs) -> None:
    """Make the changelog's topic, or let it grow, so that each input partition has its number.

    Raises:
        ConnectionLost: If the broker does not answer or does not let us.
        SettingsRejected: If the topic has more partitions than the input.
    """
    try:
        with _admin(bootstrap_servers) as admin:
            there = set(admin.list_topics())
            described = admin.describe_topics(sorted({*inputs.among(there), *({topic} & there)}))
            known = {one["name"]: len(one["partitions"]) for one in described}
            seen = known.pop(topic, 0)
            wanted = max(known.values(), default=1)
            if not seen:
                options = {"num_partitions": wanted, "configs": CHANGELOG_CONFIGS}
                admin.create_topics({topic: options})
            elif seen < wanted:  # the input has grown
                admin.create_partitions({topic: wanted})
    except TopicAlreadyExistsError:
        return  # another replica was faster
    except KafkaError as error:
        raise connection_lost(bootstrap_servers, error) from error
    if seen > wanted and not inputs.several:  # of several, one with more may be gone
        msg = (
            f"expected topic {topic!r} to have the {wanted} partitions of {inputs.text!r}, saw "
            f"{seen}: it holds the state of another input; set DETECTOR_STATE__TOPIC or "
            "DETECTOR_KAFKA__GROUP, or delete the topic"
        )
        raise SettingsRejected(msg)


def ensure_control(bootstrap_servers: str | Cluster, topic: str) -> None:
    """Make the control topic, compacted and of one partition, where it is missing.

    Raises:
        ConnectionLost: If the broker does not answer or does not let us.
    """
    try:
        with _admin(bootstrap_servers) as admin:
            if topic not in admin.list_topics():
                options = {"num_partitions": 1, "configs": CHANGELOG_CONFIGS}
                admin.create_topics({topic: options})
    except TopicAlreadyExistsError:
        pass  # another replica was faster
    except KafkaError as error:
        raise connection_lost(bootstrap_servers, error) from error


def position_of(consumer: Any, tp: Any, timeout_ms: int) -> int:  # noqa: ANN401 - the client ships no types
    """Return the offset of a partition's next record.

    Raises:
        KafkaError: If the broker does not tell in time; the client itself then says None.
    """
    position = consumer.position(tp, timeout_ms=timeout_ms)
    if position is None:
        msg = f"no position of {tp} within {timeout_ms} ms"
        raise KafkaTimeoutError(msg)
    return int(position)


def _admin(bootstrap_servers: str | Cluster) -> Any:  # noqa: ANN401 - the client ships no types
    probe(bootstrap_servers)
    options = client_options(bootstrap_servers)
    return closing(KafkaAdminClient(bootstrap_timeout_ms=5000, **options))


def connection_lost(bootstrap_servers: str | Cluster, error: KafkaError) -> ConnectionLost:
    """Return what the loop waits out, saying what the client said."""
    return ConnectionLost(explain(bootstrap_servers, error))
