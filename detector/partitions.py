"""The partitions that are ours: what each goes through from its assignment on. Pure.

waiting    it is ours; where it stands is not known yet
loading    its state is read from the changelog; none of its records come
replaying  records come that were said already: the state moves in silence
live       what its records cause is said
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from detector.engine import Outcome
from detector.records import US_PER_S, Bounds, Message
from detector.restore import Kept, Resumed, Said, resume
from detector.scorer import Scorer
from detector.shadow import Shadow
from detector.snapshot import ADOPTED, JUDGED, MARK, SLAB, TAGS, Origin
from detector.state import DOCKET, Arena, Docket

# Checkpoints of a member's partitions are spread over the interval: no two next to each other.
GOLDEN_RATIO = 0.618034
NOT_KNOWN = Bounds(0, 0, None)
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
class Held:
    """One partition of ours.

    Attributes:
        origin: Whose state it is.
        assigned_s: When it was assigned, on the loop's stopwatch.
        scorer: The model that judges it.
        bounds: Of the input, once they are known.
        phase: See the module.
        arena: Its state, once it is loaded.
        tags: What its streams keep between their values, in the long layout.
        live_from: Offset of the first record whose consequences are not said yet.
        due_s: When its next checkpoint is due, on the loop's stopwatch.
        went_back_to: The first offset of an input topic that was made anew; None otherwise.
        shadow: Another model beside it.
    """

    origin: Origin
    assigned_s: float
    scorer: Scorer
    bounds: Bounds = NOT_KNOWN
    kept: Kept = field(default_factory=Kept)
    phase: Literal["waiting", "loading", "replaying", "live"] = "waiting"
    arena: Arena = field(default_factory=lambda: Arena(0, 0))
    tags: Arena = field(default_factory=lambda: Arena(0, 0))
    live_from: int = 0
    due_s: float = 0.0
    went_back_to: int | None = None
    shadow: Shadow | None = None
    _said: Said | None = None
    _slot: int = 0
    _stale: frozenset[bytes] = frozenset()
    _marked: bool = False

    @property
    def number(self) -> int:
        """The partition's number."""
        return self.origin.partition.number

    @property
    def streams(self) -> int:
        """How many streams it has; in the long layout some of them had no reading yet."""
        return max(len(self.arena), len(self.tags))

    def resume(self, now_s: float, interval_s: float) -> Resumed:
        """Make the arena from what was kept; return where to start."""
        resumed = resume(self.kept, self.origin, self.bounds, self.went_back_to)
        self.kept = Kept()
        self.arena, self.tags = resumed.arena, resumed.tags
        self.live_from = resumed.live_from
        self._said, self._slot, self._stale = resumed.said, resumed.slot, resumed.stale
        self._marked = resumed.outcome == "restored"
        self.phase = "replaying"
        self.due_s = now_s + interval_s * (self.number * GOLDEN_RATIO % 1)
        return resumed

    def go_live(self) -> int:
        """End the replay; return how many streams' judgement was overruled by what was said."""
        self.phase = "live"
        corrected = self._said.overrule(self.arena) if self._said else 0
        self._said = None
        return corrected

    def succeed(self, scorer: Scorer, arena: Arena, tags: Arena) -> "Held":
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
            origin=scorer.origin(self.origin.partition),
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
            key = b"%b%d" % (JUDGED, self._slot)
            messages.append(Message(topic, key, value, partition=self.number))
            self._slot += 1
        return messages

    def evict(self, keeping: Keeping, streams: int) -> int:
        """Forget streams that are idle, and this partition's share of those that are too many.

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
        return [Message(topic, key, value, partition=self.number) for key, value in kept.items()]

    def checkpointed(self) -> None:
        """Note that the last checkpoint is delivered."""
        self.arena.settle()
        self.tags.settle()
        self._slot, self._stale, self._marked = 0, frozenset(), True


def _left(prefix: bytes, before: Arena, now: Arena) -> set[bytes]:
    """Return the keys of slabs that there are no more."""
    return {b"%b%d" % (prefix, number) for number in range(now.slabs, before.slabs)}


def alerting(held: list[Held], kinds: int) -> Docket:
    """Return the dockets of streams with an open alert, over all partitions, [A, K = kinds]."""
    there = [one.arena.alerting for one in held if one.phase in {"replaying", "live"}]
    return np.concatenate([np.zeros((0, kinds), DOCKET), *there])
