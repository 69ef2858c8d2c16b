"""Which model judges which partition, while models change under a loop that goes on.

A new model first scores beside the old one, in silence, until a partition's streams are past its
warm-up; then the partition is kept as the new model has it, in one transaction with what was
read, and goes over. One partition a turn: the loop never stands still for it.
"""

from typing import Protocol

from detector.announcements import Announcements
from detector.clock import Clock
from detector.engine import Outcome
from detector.limit import DeadLetters
from detector.messages import alert_message
from detector.ownership import Ownership
from detector.partitions import Held
from detector.records import Chunk, Message, Readings
from detector.scorer import Lineup, News, Scorer, same_state
from detector.shadow import Shadow, compare

LOOK_S = 1.0  # between two looks at whether streams are warmed up: that walks all of them


class Outside(Protocol):
    """What changes models and settings while the loop runs."""

    def take(self) -> News | None:
        """Return the next of what is new; None where nothing is."""
        ...


class Succession:
    """Brings models in and lets them go."""

    def __init__(
        self,
        owned: Ownership,
        outside: Outside | None,
        announcements: Announcements,
        clock: Clock,
        limit: DeadLetters,
        topic: str | None,
    ) -> None:
        """Wire it.

        Args:
            owned: The partitions that are ours.
            outside: None where nothing ever changes.
            announcements: Tells people.
            clock: The loop's stopwatch.
            limit: Changes with the settings.
            topic: Where the alerts of a candidate go; None says none.
        """
        self._owned = owned
        self._outside = outside
        self._announcements = announcements
        self._clock = clock
        self._limit = limit
        self._topic = topic
        self._candidate: Scorer | None = None
        self._coming: Scorer | None = None
        self._deadline_s = self._looked_s = clock.monotonic_s()

    # What scores beside -----------------------------------------------------------------

    def compares(self, held: Held) -> bool:
        """Return whether a candidate is held against the partition's model."""
        shadow = self._shadow(held)
        return shadow is not None and shadow.scorer is self._candidate

    def warm(self, held: Held, chunk: Chunk, readings: Readings) -> None:
        """Let the model beside the partition's own score what is read again in silence."""
        shadow = self._shadow(held)
        if shadow is not None:
            shadow.run(chunk, held.scorer, readings, trace=False)

    def beside(
        self, held: Held, chunk: Chunk, readings: Readings, outcome: Outcome
    ) -> list[Message]:
        """Let the model beside the partition's own score a chunk.

        Args:
            held: The partition.
            chunk: Of its records.
            readings: As its model decoded them.
            outcome: What that said of them.

        Returns:
            The alerts of a candidate, where they have a topic.
        """
        shadow = self._shadow(held)
        if shadow is None:
            return []
        compared = shadow.scorer is self._candidate
        said = shadow.run(chunk, held.scorer, readings, trace=compared)
        if not compared or outcome.trace is None or said.trace is None:
            return []
        comparison = compare(held.scorer, outcome.trace, shadow.scorer, said.trace)
        self._announcements.compared(comparison, said)
        return [alert_message(alert, self._topic) for alert in said.alerts if self._topic]

    def _shadow(self, held: Held) -> Shadow | None:
        """Return the partition's shadow as it should be now, beginning or ending one."""
        wanted, now = self._beside(held.scorer), held.shadow
        if wanted is None:
            held.shadow = None
        elif now is None or now.scorer is not wanted:
            # One model as a candidate and then as the next one, or under other settings.
            same = now is not None and same_state(now.scorer.manifest, wanted.manifest)
            if now is not None and same:
                held.shadow = Shadow(wanted, now.arena, now.tags)
            else:
                origin = wanted.origin(held.origin.partition)
                held.shadow = Shadow(wanted, origin.new_arena(), origin.new_tags())
        return held.shadow

    def _beside(self, judging: Scorer) -> Scorer | None:
        """Return which model should score beside the one that judges."""
        if self._coming not in (None, judging):
            same = same_state(self._coming.manifest, judging.manifest)
            return None if same else self._coming
        if self._candidate and not same_state(self._candidate.manifest, judging.manifest):
            return self._candidate
        return None

    # What changes -----------------------------------------------------------------------

    def take(self) -> None:
        """Take all that is new from outside."""
        while self._outside is not None and (news := self._outside.take()) is not None:
            if isinstance(news, Lineup):
                self._line_up(news)
            else:
                self._announcements.noticed(news)

    def _line_up(self, lineup: Lineup) -> None:
        """Let other models score, or the same ones under other settings."""
        self._limit.consecutive, self._limit.share = lineup.limit
        self._candidate = lineup.candidate
        before, next_ = self._owned.scorers, lineup.judging
        made: dict[int, Scorer] = {id(next_.engine.model): next_}
        for scorer in [*before, *(held.scorer for held in self._owned.held.values())]:
            model = scorer.engine.model
            if id(model) not in made:
                made[id(model)] = lineup.make(model)
        for held in self._owned.held.values():
            held.scorer = made[id(held.scorer.engine.model)]
        others = [made[id(scorer.engine.model)] for scorer in before]
        self._owned.scorers = (next_, *(one for one in others if one is not next_))
        self._announcements.lined_up(lineup)
        if len(self._owned.scorers) > 1:
            if self._coming is None or self._coming.engine.model is not next_.engine.model:
                self._deadline_s = self._clock.monotonic_s() + lineup.patience_s
                self._announcements.comes(next_.manifest)
            self._coming = next_

    def heir(self) -> Held | None:
        """Return a partition as the next model will have it, if there is one to go over now.

        Call `install` when it is kept.
        """
        left = [held for held in self._left() if held.phase == "live"]
        for held in left:
            coming = self._owned.scorers[0]
            if same_state(coming.manifest, held.scorer.manifest):
                return held.succeed(coming, held.arena, held.tags)
        return self._warmed(left)

    def _left(self) -> list[Held]:
        """Return the partitions that the next model does not judge yet; end with the last."""
        if self._coming is None:
            return []
        left = [held for held in self._owned.held.values() if held.scorer is not self._coming]
        self._announcements.waiting(len(left))
        if not left:
            self._owned.scorers = (self._coming,)
            self._announcements.judges(self._coming.manifest)
            self._coming = None
        return left

    def _warmed(self, left: list[Held]) -> Held | None:
        """Return a partition whose streams are past the next model's warm-up, or time is up."""
        now_s = self._clock.monotonic_s()
        if not left or now_s - self._looked_s < LOOK_S:
            return None
        for held in left:
            shadow = self._shadow(held)
            assert shadow is not None  # noqa: S101 - another model is to judge it
            late = now_s >= self._deadline_s
            if late or shadow.is_warm(held.arena, held.scorer.manifest):
                self._announcements.goes_over(held, late=late)
                return self._succeed(held, shadow)
        self._looked_s = now_s
        return None

    @staticmethod
    def _succeed(held: Held, shadow: Shadow) -> Held:
        alike = shadow.scorer.form == held.scorer.form
        tags = held.tags if alike else shadow.tags
        return held.succeed(shadow.scorer, shadow.take_over(held.arena, held.origin), tags)

    def install(self, heir: Held) -> None:
        """Let a partition be as the next model has it."""
        self._owned.held[heir.origin.partition] = heir
        self._left()
