"""What one run plays, all of it from its seed: the fleet, its faults, and how the members run."""

import json
from dataclasses import dataclass, field
from random import Random

from training.demo.fleet import CHANNELS, simulate

BEGAN_S = 1_760_000_200  # an hour ends 200 s later
BURST = 12  # readings that a fault lasts
SILENCE = range(100, 240)  # seconds in which every third stream says nothing
GARBAGE = (b"", b"{", b'{"ts": 1, "values": [1]}', b'{"ts": 1760000000, "values": {"x": 1}}')
# A record's key is the stream; a reading is of a period, or waits for its channels.
TAGS: tuple[dict[str, object], ...] = (
    {"pattern": "(?P<channel>.+)", "period_s": 1.0, "carry_s": 5.0},
    {"pattern": "(?P<channel>.+)", "hold_s": 1.5, "carry_s": 5.0},
)

Record = tuple[int, bytes, bytes]  # partition, key, value


@dataclass(frozen=True)
class Story:
    """A run's plan.

    Attributes:
        partitions: Of the input, at the start.
        members: Processes, at the start.
        guarantee: What they promise.
        static: Whether members have names that outlive them.
        scores: Whether every score is said, too: then every poll is a transaction.
        tags: Settings of the long layout, where a record is one value; None: a reading.
        apart: Whether some streams have a model of their own, and others a candidate beside.
        batches: Records of each moment of the play.
    """

    seed: int
    partitions: int
    members: int
    guarantee: str
    static: bool
    scores: bool
    poll_records: int
    checkpoint_s: float
    batches: list[list[Record]] = field(repr=False)
    tags: dict[str, object] | None = None
    apart: bool = False


def tell(
    seed: int, moments: int, seconds: int, *, long: bool = False, apart: bool = False
) -> Story:
    """Return the story of a seed: `seconds` of the fleet in `moments` batches."""
    random = Random(seed)
    partitions = random.choice([1, 2, 3, 4, 6, 12])
    streams = max(partitions, 10)
    x = simulate(streams, seconds, seed)
    for stream in range(streams):
        for start in range(30 + random.randrange(20), seconds - BURST, 40 + random.randrange(40)):
            x[stream, start : start + BURST] *= random.choice([0.2, 2.0, 4.0])
    batches: list[list[Record]] = [[] for _ in range(moments)]
    for second in range(seconds):
        for stream in range(streams):
            if second in SILENCE and stream % 3 == 0:
                continue
            batch = batches[second * moments // seconds]
            batch += _records(random, stream, stream % partitions, second, x[stream, second])
    return Story(
        seed,
        partitions,
        random.choice([1, 2, 3]),
        random.choice(["exactly_once", "exactly_once", "exactly_once", "at_least_once"]),
        random.random() < 0.5,
        random.random() < 0.3,
        random.choice([20, 200, 5000]),
        random.choice([0.3, 1.0, 4.0]),
        [[one for record in batch for one in _samples(record)] for batch in batches]
        if long
        else batches,
        TAGS[seed % len(TAGS)] if long else None,
        apart,
    )


def _samples(record: Record) -> list[Record]:
    """Return a reading as a record a value; what is no reading as it is."""
    partition, key, value = record
    try:
        reading = json.loads(value)
        values = list(reading["values"].items())
    except (ValueError, AttributeError):
        return [record]
    return [
        (
            partition,
            key,
            json.dumps({"tag": name, "ts": reading["ts"] + n / 100, "v": seen}).encode(),
        )
        for n, (name, seen) in enumerate(values)
    ]


def _records(random: Random, stream: int, partition: int, second: int, row: object) -> list[Record]:
    """Return a reading as it arrives: late, twice, broken, or with a channel missing."""
    key, chance = b"pump-%02d" % stream, random.random()
    values: dict[str, float | None] = dict(
        zip(CHANNELS, [round(float(v), 4) for v in row], strict=True)  # type: ignore[attr-defined]
    )
    if chance < 0.01:
        return [(partition, key, random.choice(GARBAGE))]
    if chance < 0.02:
        return []  # lost on the way
    if chance < 0.05:
        values[random.choice([*CHANNELS])] = None
    ts = BEGAN_S + second - (7 if 0.05 <= chance < 0.06 else 0)
    record = (partition, key, json.dumps({"ts": ts, "values": values}).encode())
    return [record, record] if 0.06 <= chance < 0.07 else [record]
