"""Stand-ins for the broker, the clock and the model; the first two pass the real ones' suites."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from detector.artifact import Calibration, Channel, Golden, Manifest
from detector.changelog import Loaded
from detector.control import Heard
from detector.errors import ConnectionLost, MembershipLost
from detector.records import Bounds, Chunk, Floats, Message, Partition, Polled, Step


class ManualClock:
    """A clock whose hands only tests turn; waiting turns them, too."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self.seconds = now_s

    def now_s(self) -> float:
        return self.seconds

    def monotonic_s(self) -> float:
        return self.seconds

    def wait(self, seconds: float, until: threading.Event) -> bool:
        self.seconds += seconds
        return until.is_set()


@dataclass
class Record:
    key: bytes | None
    value: bytes | None
    stamp_ms: int = 1_700_000_000_000


@dataclass
class MemoryBroker:
    """One topic's partitions, what was committed, what was sent, and the state that is kept."""

    partitions: dict[Partition, list[Record]] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)
    notes: dict[Partition, str] = field(default_factory=dict)
    sent: list[Message] = field(default_factory=list)
    kept: dict[int, list[tuple[bytes, bytes | None]]] = field(default_factory=dict)
    control: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    away: bool = False
    member: int = 0  # the generation of the group
    on_operation: Callable[[], object] = dict  # before and after each: may raise

    def check(self) -> None:
        self.on_operation()
        self.answer()

    def answer(self) -> None:
        if self.away:
            msg = "expected a broker, saw one that is away"
            raise ConnectionLost(msg)

    def take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.partition is None:
                self.sent.append(message)
            else:
                assert message.key is not None
                self.kept.setdefault(message.partition, []).append((message.key, message.value))


class MemorySource:
    """A `Source` over a `MemoryBroker`: all partitions are ours from the first poll on."""

    def __init__(self, broker: MemoryBroker, max_poll_records: int = 5000) -> None:
        self._broker = broker
        self._max = max_poll_records
        self._position: dict[Partition, int] = {}
        self._held: set[Partition] = set()
        self._member = broker.member

    def poll(self, timeout_s: float | None = None) -> Polled:
        self._broker.check()
        if self._member != self._broker.member:
            lost, self._position, self._member = frozenset(self._position), {}, self._broker.member
            return Polled(lost=lost)
        new = self._broker.partitions.keys() - self._position.keys()
        for partition in new:
            self._position[partition] = self._broker.committed.get(partition, 0)
        self._held |= new
        chunks, room = [], self._max
        for partition, start in self._position.items():
            records = self._broker.partitions[partition][start : start + room]
            if records and partition not in self._held:
                chunks.append(as_chunk(partition, start, records))
                self._position[partition] += len(records)
                room -= len(records)
        return Polled(chunks, frozenset(new))

    @property
    def settled(self) -> bool:
        return bool(self._position)

    def bounds(self, partition: Partition) -> Bounds:
        self._broker.check()
        return Bounds(0, 0, self._broker.committed.get(partition))

    def hold(self, partition: Partition) -> None:
        self._held.add(partition)

    def start(self, partition: Partition, offset: int | None) -> None:
        if offset is not None:
            self._position[partition] = offset
        self._held.discard(partition)

    def position(self, partition: Partition) -> int | None:
        return self._position.get(partition)

    def commit(self, positions: dict[Partition, int]) -> None:
        self._broker.check()
        if self._member != self._broker.member:
            msg = "expected to be a member, saw another generation"
            raise MembershipLost(msg)
        self._broker.committed.update(positions)
        self._broker.check()

    def membership(self) -> object:
        return self._member

    def note(self, partition: Partition) -> str:
        self._broker.check()
        return self._broker.notes.get(partition, "")

    def lag(self) -> dict[Partition, int]:
        return {p: len(self._broker.partitions[p]) - n for p, n in self._position.items()}

    def close(self) -> None:
        self._position = {}


class MemoryChangelog:
    """A `Changelog` over a `MemoryBroker`; a few records a read."""

    def __init__(self, broker: MemoryBroker, records: int = 2) -> None:
        self._broker = broker
        self._records = records
        self._left: dict[int, list[tuple[bytes, bytes | None]]] = {}

    def begin(self, number: int) -> None:
        self._broker.check()
        self._left[number] = list(self._broker.kept.get(number, []))

    def read(self, timeout_s: float) -> Loaded:
        self._broker.check()
        records = [
            (number, *pair) for number, left in self._left.items() for pair in left[: self._records]
        ]
        for left in self._left.values():
            del left[: self._records]
        ended = frozenset(number for number, left in self._left.items() if not left)
        for number in ended:
            self.drop(number)
        return Loaded(records, ended, sum(map(len, self._left.values())))

    def drop(self, number: int) -> None:
        self._left.pop(number, None)

    def close(self) -> None:
        self._left = {}


class MemoryControl:
    """A `Control` over a `MemoryBroker`; a few records a read."""

    def __init__(self, broker: MemoryBroker, records: int = 2) -> None:
        self._broker = broker
        self._records = records
        self._next = 0

    def read(self, timeout_s: float) -> Heard:
        self._broker.answer()
        records = self._broker.control[self._next : self._next + self._records]
        self._next += len(records)
        return Heard(records, self._next >= len(self._broker.control))

    def close(self) -> None:
        pass


def as_chunk(partition: Partition, start: int, records: list[Record]) -> Chunk:
    return Chunk(
        partition,
        np.arange(start, start + len(records)),
        np.array([r.stamp_ms for r in records], np.int64) * 1000,
        [r.key for r in records],
        [r.value for r in records],
    )


def chunk_of(records: list[tuple[bytes | None, bytes | None]], first: int = 0) -> Chunk:
    """Return records as one chunk of a partition."""
    return as_chunk(Partition("readings", 0), first, [Record(*record) for record in records])


class MemorySink:
    """A `Transactions` into a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def send(self, messages: Sequence[Message]) -> None:
        self._broker.check()
        for message in messages:
            self._broker.take([message])
            self._broker.check()

    def fence(self) -> None:
        self._broker.check()

    def transact(
        self,
        messages: Sequence[Message],
        positions: dict[Partition, int],
        note: str,
        membership: object,
    ) -> None:
        self._broker.check()
        if membership != self._broker.member:
            msg = "expected to be a member, saw another generation"
            raise MembershipLost(msg)
        self._broker.take(messages)
        self._broker.committed.update(positions)
        self._broker.notes.update(dict.fromkeys(positions, note))
        self._broker.check()

    def close(self) -> None:
        pass


def manifest(channels: int = 2, **changes: object) -> Manifest:
    """Return a manifest for `StubModel`: its score exceeds 3 in a thousandth of readings."""
    made = {
        "manifest_version": 1,
        "name": "stub",
        "version": "0" * 64,
        "graph_bytes": 1,
        "channels": tuple(Channel(name=f"c{i}", unit="bar") for i in range(channels)),
        "period_s": 1.0,
        "largest_gap_s": 60.0,
        "warm_up": 3,
        "state_width": channels + 1,
        "calibration": (
            Calibration(
                kind="state",
                levels=(0.0, 1.0, 2.0),
                exceedance=(1.0, 0.1, 0.01),
                scale=0.5,
                shape=0.0,
                extremal_index=0.5,
            ),
        ),
        "training": {},
    }
    made |= changes
    row, calibration = (0.0,) * len(made["channels"]), made["calibration"]  # type: ignore[arg-type]
    score = (0.0,) * len(calibration)  # type: ignore[arg-type]
    golden = Golden(x=(row,), expected=(row,), residual=(row,), score=(score,))
    return Manifest.model_validate({"golden": golden} | made)


class StubModel:
    """A running mean a channel: the score is the largest distance from it.

    Row by row, so that grouping cannot matter; state [mean..., readings seen].
    """

    def __init__(self, manifest_: Manifest | None = None) -> None:
        self.manifest = manifest_ or manifest()

    def step(self, x: Floats, state: Floats) -> Step:
        if len(x) != len(state):
            msg = f"expected as many rows of state as of x, saw {len(state)} and {len(x)}"
            raise ValueError(msg)
        mean, seen = state[:, :-1], state[:, -1:]
        expected = np.where(seen > 0, mean, np.nan_to_num(x))
        residual = np.where(np.isnan(x), np.float32(0), expected - x)
        score = np.abs(residual).max(axis=1, keepdims=True)
        state_next = np.concatenate([expected - residual / (seen + 1), seen + 1], axis=1)
        kinds = len(self.manifest.kinds)
        return Step(expected, residual, np.repeat(score, kinds, axis=1), state_next)
