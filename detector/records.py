"""What travels between the stages: columns for many readings, values for the few that matter.

Axes: R records of one poll and partition, N readings, B streams of a tick, C channels,
K kinds of evidence, S state width. Times are int64 microseconds since the epoch (`*_us`).
"""

import uuid
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Shorts = npt.NDArray[np.int8]

US_PER_S = 1_000_000

# Kinds of alerts that are of no evidence.
SILENT = "silent"  # a stream stopped
BUDGET = "budget"  # a partition opened more alerts than it may tell of
GROUP = "group"  # many of its streams opened alerts together

# Namespace of alert ids (RFC 9562, version 5); never change it: consumers drop repeats by id.
ALERT_NAMESPACE = uuid.UUID("6f0b2a54-5d0f-5c56-9a0e-3f7d6a6f5c11")


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The records of one partition that one poll brought, as columns.

    Attributes:
        partition: Where they come from.
        offsets: [R] int64, rising.
        stamps_us: [R] int64, the records' own Kafka timestamps.
        keys: R keys, None where the producer sent none.
        values: R values, None for a tombstone.
        headers: Of each that was asked for R values, None where a record has no such header.
    """

    partition: Partition
    offsets: Ints
    stamps_us: Ints
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: dict[str, list[bytes | None]] = field(default_factory=dict)

    @property
    def next_offset(self) -> int:
        """Offset of the record after the last of these."""
        return int(self.offsets[-1]) + 1

    def split(self, offset: int) -> tuple[Self, Self]:
        """Return the records before `offset`, and the others."""
        at = int(np.searchsorted(self.offsets, offset))
        return self._slice(slice(0, at)), self._slice(slice(at, None))

    def only(self, which: list[int]) -> Self:
        """Return some of the records, by their places, rising."""
        return type(self)(
            self.partition,
            self.offsets[which],
            self.stamps_us[which],
            [self.keys[n] for n in which],
            [self.values[n] for n in which],
            {name: [column[n] for n in which] for name, column in self.headers.items()},
        )

    def _slice(self, where: slice) -> Self:
        return type(self)(
            self.partition,
            self.offsets[where],
            self.stamps_us[where],
            self.keys[where],
            self.values[where],
            {name: column[where] for name, column in self.headers.items()},
        )


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought: records, and partitions that came or went during it.

    Attributes:
        chunks: At most one a partition.
        assigned: Now ours; nothing of them comes before they are started.
        revoked: Not ours any more: given back.
        lost: Not ours any more: the group took us for dead and gave them to others.
    """

    chunks: list[Chunk] = field(default_factory=list)
    assigned: frozenset[Partition] = frozenset()
    revoked: frozenset[Partition] = frozenset()
    lost: frozenset[Partition] = frozenset()


class Bounds(NamedTuple):
    """Offsets of an input partition.

    Attributes:
        first: Where a group begins that has committed nothing.
        start: Of the oldest record that is still there.
        committed: Where the group stands; None where it has committed nothing.
    """

    first: int
    start: int
    committed: int | None


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings as columns, in the order they were read.

    Attributes:
        streams: The distinct stream ids, as bytes.
        stream: [N] int64, index into `streams`.
        ts_us: [N] int64, event time.
        x: [N, C] float32, engineering units, NaN where a channel is missing.
        offset: [N] int64, offset of the record that carried the reading.
    """

    streams: list[bytes]
    stream: Ints
    ts_us: Ints
    x: Floats
    offset: Ints

    def only(self, which: Bools) -> Self:
        """Return those of the readings that [N] `which` marks, and their streams alone."""
        used, stream = np.unique(self.stream[which], return_inverse=True)
        return type(self)(
            [self.streams[code] for code in used],
            stream,
            self.ts_us[which],
            self.x[which],
            self.offset[which],
        )


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be scored.

    Attributes:
        index: Its place among the R records of its chunk.
        reason: One of `validate.REASONS`; a metric label.
        detail: One sentence for a person: expected, seen.
    """

    index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Step:
    """What the model said of one tick.

    Attributes:
        expected: [B, C] float32, what the model held to be normal, engineering units.
        residual: [B, C] float32, standardised; 0 where a channel is missing.
        score: [B, K] float32, higher is more anomalous.
        state: [B, S] float32, to keep for the next reading.
    """

    expected: Floats
    residual: Floats
    score: Floats
    state: Floats


class ChannelValue(NamedTuple):
    """One channel of the reading an alert speaks of."""

    name: str
    unit: str
    value: float | None
    expected: float
    residual: float
    share: float


Status = Literal["open", "update", "close"]
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # rising


class ChannelChange(NamedTuple):
    """A channel, and the kind of its change (change.Kind)."""

    name: str
    kind: str


class Earlier(NamedTuple):
    """Readings from before an opening, oldest first.

    Attributes:
        at_us: N event times.
        values: N values of each channel, by name; None where it was missing.
    """

    at_us: tuple[int, ...]
    values: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class Alert:
    """An event of one stream, with a beginning and an end; see alert.schema.json.

    Attributes:
        id: The same for every message about this event, and for every replay of it.
        at_us: Event time of the reading that caused this message.
        opened_us: Event time of the first reading that was out of the ordinary.
        score: Of that reading; of silence, its seconds.
        probability: How likely a normal reading scores this high; None for silence.
        threshold: The score above which a reading counts against the stream.
        channels: Largest share of the residual first.
        peak: Highest score so far.
        cause: Why it closed: `normal` again, a `gap` after which nothing is known, or `gone`.
        change: Of one channel, where the last readings tell.
        before: The last readings before an opening, where they are kept.
        streams: Of a summary: some of those it stands for.
    """

    id: str
    stream: str
    status: Status
    kind: str
    severity: Severity
    opened_us: int
    at_us: int
    score: float
    probability: float | None
    threshold: float
    channels: tuple[ChannelValue, ...]
    peak: float
    cause: str
    model: str
    version: str
    partition: Partition
    offset: int
    change: ChannelChange | None = None
    before: Earlier | None = None
    streams: tuple[str, ...] = ()


def alert_id(
    partition: Partition, stream: bytes, kind: str, version: str, since_us: int, since_offset: int
) -> str:
    """Return an alert's id: the same in every replay, on every replica.

    Args:
        partition: Of the input.
        stream: Whose alert it is.
        kind: Of evidence.
        version: Of the model that opened it.
        since_us: Event time of its first reading.
        since_offset: And its offset.
    """
    where = f"{partition.topic}/{partition.number}/{since_offset}/{since_us}"
    return str(uuid.uuid5(ALERT_NAMESPACE, f"{where}/{stream.decode()}/{kind}/{version}"))


@dataclass(frozen=True, slots=True)
class Message:
    """One record to send.

    Attributes:
        value: None deletes what the key stands for, in a compacted topic.
        partition: Where to; by the key where None.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
