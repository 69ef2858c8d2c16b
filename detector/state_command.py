"""`detector state`: reads the changelog and shows what streams carry."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TextIO

from detector.changelog import KafkaChangelog
from detector.clock import SystemClock
from detector.cluster import Cluster
from detector.errors import SettingsRejected
from detector.inspection import Carried, carried
from detector.restore import Kept
from detector.settings import Settings
from detector.snapshot import parted
from detector.topic_names import inputs_of, state_topic
from detector.topics import partitions_of

READ_S = 1.0
STUCK_S = 60.0


def read_state(settings: Settings) -> Iterator[Carried]:
    """Yield what every stream of the group carries, partition by partition.

    Raises:
        ConnectionLost: If the broker does not answer.
        SettingsRejected: If there is no changelog, or it cannot be read.
    """
    kafka, topic = settings.kafka, state_topic(settings)
    servers = Cluster(kafka.bootstrap_servers, kafka)
    partitions = partitions_of(servers, topic)
    if not partitions:
        msg = (
            f"expected the state in topic {topic!r} at {servers}, saw no such topic; set "
            "DETECTOR_KAFKA__GROUP or DETECTOR_STATE__TOPIC to that of the running detector"
        )
        raise SettingsRejected(msg)
    changelog = KafkaChangelog(servers, topic, inputs_of(settings), SystemClock(), STUCK_S)
    try:
        for number in range(partitions):
            lanes, ended = dict[bytes, Kept](), False
            changelog.begin(number)
            while not ended:
                loaded = changelog.read(READ_S)
                for _, key, value in loaded.records:
                    prefix, own = parted(key)
                    lanes.setdefault(prefix, Kept()).note(own, value)
                ended = number in loaded.ended
            for kept in lanes.values():
                yield from carried(kept)
    except ValueError as error:
        msg = f"topic {topic!r} cannot be read: {error}"
        raise SettingsRejected(msg) from error
    finally:
        changelog.close()


def ls(settings: Settings, out: TextIO = sys.stdout) -> int:
    """Write a line a stream."""
    print(f"{'partition':>9} {'last heard':27} {'readings':>9} {'alert':8} stream", file=out)
    for one in read_state(settings):
        print(
            f"{one.partition:9} {one.last_at or '-':27} {one.seen:9} "
            f"{','.join(one.open) or '-':8} {one.stream}",
            file=out,
        )
    return 0


def show(settings: Settings, stream: str, out: TextIO = sys.stdout) -> int:
    """Write all that a stream carries; 1 where it is not known."""
    for one in read_state(settings):
        if one.stream == stream:
            print(json.dumps(asdict(one), indent=2, ensure_ascii=False), file=out)
            return 0
    print(f"expected a stream {stream!r}, saw none of that name in the state", file=sys.stderr)
    return 1


def export(settings: Settings, out: TextIO = sys.stdout) -> int:
    """Write a JSON line a stream."""
    for one in read_state(settings):
        print(json.dumps(asdict(one), ensure_ascii=False), file=out)
    return 0
