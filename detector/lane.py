"""One route of a partition: its streams' state, from the changelog to the next checkpoint. Pure."""

from dataclasses import dataclass, field, replace

from detector.engine import Outcome
from detector.records import US_PER_S, Bounds, Message
from detector.restore import Kept, Resumed, Said, resume
from detector.scorer import Scorer
from detector.shadow import Shadow
from detector.snapshot import ADOPTED, JUDGED, MARK, SLAB, TAGS, Origin
from detector.state import Arena

PORTION = 200  # streams an entry, so that its message stays small whatever their ids


@dataclass(frozen=True, slots=True)
class Keeping:
    """How state is kept.

    Attributes:
        topic: The changelog; None keeps nothing: streams warm up after every restart.
        interval_s: Between two checkpoints of a partition.
        ttl_us: A stream that was not heard for longer (event time) is forgotten.
        max_streams: How many the process holds at the most.
    """

    topic: str | None
    interval_s: float = 30.0
    ttl_us: int = 7 * 86_400 * US_PER_S
    max_streams: int = 1_000_000


@dataclass(slots=True)
class Lane:
    """The streams of one partition that one route takes.

    Attributes:
        origin: Whose state it is.
        scorer: The model that judges it.
        kept: What its changelog holds, while that is read.
        arena: Its state, once it is loaded.
        tags: What its streams keep between their values, in the long layout.
        start: Offset of the first record that its state has not seen.
        live_from: Of the first record whose consequences are not said yet.
        live: The records before that are behind it.
        shadow: Another model beside it.
    """

    origin: Origin
    scorer: Scorer
    kept: Kept = field(default_factory=Kept)
    arena: Arena = field(default_factory=lambda: Arena(0, 0))
    tags: Arena = field(default_factory=lambda: Arena(0, 0))
    start: int = 0
    live_from: int = 0
    live: bool = False
    shadow: Shadow | None = None
    _said: Said | None = None
    _slot: int = 0
    _stale: frozenset[bytes] = frozenset()
    _marked: bool = False

    @property
    def streams(self) -> int:
        """How many streams it has; in the long layout some of them had no reading yet."""
        return max(len(self.arena), len(self.tags))

    def note(self, key: bytes, value: bytes | None) -> None:
        """Take a record of the changelog, if it is of this lane."""
        own = self.origin.own(key)
        if own is not None:
            self.kept.note(own, value)

    def resume(self, bounds: Bounds, went_back_to: int | None) -> Resumed:
        """Make the arena from what was kept; return where to start."""
        resumed = resume(self.kept, self.origin, bounds, went_back_to)
        self.kept = Kept()
        self.arena, self.tags = resumed.arena, resumed.tags
        self.start = resumed.start or 0
        self.live_from = resumed.live_from
        self._said, self._slot, self._stale = resumed.said, resumed.slot, resumed.stale
        self._marked = resumed.outcome == "restored"
        return resumed

    def go_live(self) -> int:
        """End the replay; return how many streams' judgement was overruled by what was said."""
        self.live = True
        corrected = self._said.overrule(self.arena) if self._said else 0
        self._said = None
        return corrected

    def succeed(self, scorer: Scorer, arena: Arena, tags: Arena) -> "Lane":
        """Return it as another model has it; it is so when its checkpoint is delivered.

        Args:
            scorer: That model.
            arena: Its state: this one's, or another of which nothing was kept yet.
            tags: What its streams keep between their values: this one's, or as above.
        """
        if scorer.manifest.version != self.scorer.manifest.version:
            tags.touch()  # all that is kept says whose it is
        stale = self._stale | _left(SLAB, self.arena, arena) | _left(TAGS, self.tags, tags)
        return replace(
            self,
            origin=scorer.origin(self.origin.partition, self.origin.prefix),
            scorer=scorer,
            arena=arena,
            shadow=self.shadow if arena is self.arena else None,
            _stale=frozenset(stale),
        )

    def first_mark(self, topic: str, offset: int) -> list[Message]:
        """Return what makes the state before a new partition's first record one to go back to.

        Without it a crash before the first checkpoint would forget what was committed.
        """
        if self._marked:
            return []
        messages = self.checkpoint(topic, offset)
        self.checkpointed()  # now: what the first records touch is not in it
        return messages

    def judged(self, topic: str, outcome: Outcome, offset: int) -> list[Message]:
        """Return what the judge decided, told or not, so that no replay can differ.

        Args:
            topic: The changelog.
            outcome: Of the records before `offset`.
            offset: Of the next record.
        """
        streams = sorted(outcome.moved)
        if not (streams or outcome.alerts):
            return []
        messages = []
        for start in range(0, max(len(streams), 1), PORTION):
            value = self.origin.judged(self.arena, streams[start : start + PORTION], offset)
            messages.append(self._message(topic, b"%b%d" % (JUDGED, self._slot), value))
            self._slot += 1
        return messages

    def evict(self, keeping: Keeping, streams: int) -> int:
        """Forget streams that are idle, and its share of those that are too many.

        Args:
            keeping: How long and how many to keep.
            streams: How many the process holds.

        Returns:
            How many went.
        """
        excess = -(-max(streams - keeping.max_streams, 0) * self.streams // max(streams, 1))
        left, idle_since_us = self.streams - excess, max(self.arena.newest_us - keeping.ttl_us, 0)
        arenas = [self.arena, self.tags]
        if self.shadow is not None:
            arenas += [self.shadow.arena, self.shadow.tags]
        gone = [arena.evict(idle_since_us, len(arena) - left) for arena in arenas]
        return gone[0]

    def checkpoint(self, topic: str, offset: int) -> list[Message]:
        """Return the records that make the changelog's state that before record `offset`.

        Call `checkpointed` when they are delivered.
        """
        kinds, kept = self.origin.manifest.kinds, dict[bytes, bytes | None]()
        adopted = [(stream, kinds[k], id_) for (stream, k), id_ in self.arena.adopted.items()]
        adopted += sorted((*key, "") for key in self.arena.withheld)
        # Before the rows that they explain: at least once, a crash may leave only a part.
        for start in range(0, len(adopted), PORTION):
            some = adopted[start : start + PORTION]
            kept[b"%b%d" % (ADOPTED, start // PORTION)] = self.origin.adopted(offset, some)
        for prefix, arena in ((SLAB, self.arena), (TAGS, self.tags)):
            for slab in arena.touched():
                value = self.origin.slab(slab, offset) if any(slab.streams) else None
                kept[b"%b%d" % (prefix, slab.number)] = value
        kept |= dict.fromkeys(sorted(self._stale - kept.keys() - {MARK}))
        kept[MARK] = self.origin.mark(offset, self.arena.clock, self.arena.tally)
        return [self._message(topic, key, value) for key, value in kept.items()]

    def checkpointed(self) -> None:
        """Note that the last checkpoint is delivered."""
        self.arena.settle()
        self.tags.settle()
        self._slot, self._stale, self._marked = 0, frozenset(), True

    def _message(self, topic: str, key: bytes, value: bytes | None) -> Message:
        number = self.origin.partition.number
        return Message(topic, self.origin.prefix + key, value, partition=number)


def _left(prefix: bytes, before: Arena, now: Arena) -> set[bytes]:
    """Return the keys of slabs that there are no more."""
    return {b"%b%d" % (prefix, number) for number in range(now.slabs, before.slabs)}
