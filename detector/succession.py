"""Which model judges which partition, while models change under a loop that goes on.

A new model first scores beside the old one, in silence, until a partition's streams are past its
warm-up; then the partition is kept as the new model has it, in one transaction with what was
read, and goes over. One partition a turn: the loop never stands still for it.
"""

from dataclasses import replace

from detector.announcements import Announcements
from detector.clock import Clock
from detector.engine import Outcome
from detector.lane import Lane
from detector.messages import alert_message
from detector.ownership import Ownership
from detector.partitions import Held
from detector.records import Chunk, Message, Readings
from detector.routes import Route
from detector.scorer import Lineup, Scorer, same_state
from detector.shadow import Shadow, compare

LOOK_S = 1.0  # between two looks at whether streams are warmed up: that walks all of them


class Succession:
    """Brings the models of one route in and lets them go."""

    def __init__(
        self,
        route: Route,
        owned: Ownership,
        announcements: Announcements,
        clock: Clock,
        topic: str | None,
    ) -> None:
        """Wire it.

        Args:
            route: Whose models these are.
            owned: The partitions that are ours.
            announcements: Tells people.
            clock: The loop's stopwatch.
            topic: Where the alerts of a candidate go; None says none.
        """
        self._route = route
        self._owned = owned
        self._announcements = announcements
        self._clock = clock
        self._topic = topic
        self._candidate: Scorer | None = None
        self._coming: Scorer | None = None
        self._deadline_s = self._looked_s = clock.monotonic_s()

    # What scores beside -----------------------------------------------------------------

    def compares(self, lane: Lane) -> bool:
        """Return whether a candidate is held against the partition's model."""
        shadow = self._shadow(lane)
        return shadow is not None and shadow.scorer is self._candidate

    def warm(self, lane: Lane, chunk: Chunk, readings: Readings) -> None:
        """Let the model beside the partition's own score what is read again in silence."""
        shadow = self._shadow(lane)
        if shadow is not None:
            shadow.run(chunk, lane.scorer, readings, trace=False)

    def beside(
        self, lane: Lane, chunk: Chunk, readings: Readings, outcome: Outcome
    ) -> list[Message]:
        """Let the model beside the partition's own score a chunk.

        Args:
            lane: Of a partition.
            chunk: Of its records.
            readings: As its model decoded them.
            outcome: What that said of them.

        Returns:
            The alerts of a candidate, where they have a topic.
        """
        shadow = self._shadow(lane)
        if shadow is None:
            return []
        compared = shadow.scorer is self._candidate
        said = shadow.run(chunk, lane.scorer, readings, trace=compared)
        if not compared or outcome.trace is None or said.trace is None:
            return []
        comparison = compare(lane.scorer, outcome.trace, shadow.scorer, said.trace)
        self._announcements.compared(comparison, said)
        return [alert_message(alert, self._topic) for alert in said.alerts if self._topic]

    def _shadow(self, lane: Lane) -> Shadow | None:
        """Return the partition's shadow as it should be now, beginning or ending one."""
        wanted, now = self._beside(lane.scorer), lane.shadow
        if wanted is None:
            lane.shadow = None
        elif now is None or now.scorer is not wanted:
            # One model as a candidate and then as the next one, or under other settings.
            same = now is not None and same_state(now.scorer.manifest, wanted.manifest)
            if now is not None and same:
                lane.shadow = Shadow(wanted, now.arena, now.tags)
            else:
                origin = wanted.origin(lane.origin.partition)
                lane.shadow = Shadow(wanted, origin.new_arena(), origin.new_tags())
        return lane.shadow

    def _beside(self, judging: Scorer) -> Scorer | None:
        """Return which model should score beside the one that judges."""
        if self._coming not in (None, judging):
            same = same_state(self._coming.manifest, judging.manifest)
            return None if same else self._coming
        if self._candidate and not same_state(self._candidate.manifest, judging.manifest):
            return self._candidate
        return None

    # What changes -----------------------------------------------------------------------

    def line_up(self, lineup: Lineup) -> None:
        """Let other models score, or the same ones under other settings."""
        self._candidate = lineup.candidate
        before, next_ = self._route.scorers, lineup.judging
        made: dict[int, Scorer] = {id(next_.engine.model): next_}
        for scorer in [*before, *(lane.scorer for _, lane in self._lanes())]:
            model = scorer.engine.model
            if id(model) not in made:
                made[id(model)] = lineup.make(model)
        for _, lane in self._lanes():
            lane.scorer = made[id(lane.scorer.engine.model)]
        others = [made[id(scorer.engine.model)] for scorer in before]
        self._route.scorers = (next_, *(one for one in others if one is not next_))
        self._announcements.lined_up(lineup)
        if len(self._route.scorers) > 1:
            if self._coming is None or self._coming.engine.model is not next_.engine.model:
                self._deadline_s = self._clock.monotonic_s() + lineup.patience_s
                self._announcements.comes(next_.manifest)
            self._coming = next_

    def heir(self) -> Held | None:
        """Return a partition as the next model will have it, if there is one to go over now.

        It is so when it is kept.
        """
        left = [(held, lane) for held, lane in self.left() if held.phase == "live"]
        for held, lane in left:
            coming = self._route.scorers[0]
            if same_state(coming.manifest, lane.scorer.manifest):
                return self._with(held, lane.succeed(coming, lane.arena, lane.tags))
        return self._warmed(left)

    def left(self) -> list[tuple[Held, Lane]]:
        """Return the partitions that the next model does not judge yet; end with the last."""
        if self._coming is None:
            return []
        left = [pair for pair in self._lanes() if pair[1].scorer is not self._coming]
        self._announcements.waiting(len(left))
        if not left:
            self._route.scorers = (self._coming,)
            self._announcements.judges(self._coming.manifest)
            self._coming = None
        return left

    def _warmed(self, left: list[tuple[Held, Lane]]) -> Held | None:
        """Return a partition whose streams are past the next model's warm-up, or time is up."""
        now_s = self._clock.monotonic_s()
        if not left or now_s - self._looked_s < LOOK_S:
            return None
        for held, lane in left:
            shadow = self._shadow(lane)
            assert shadow is not None  # noqa: S101 - another model is to judge it
            late = now_s >= self._deadline_s
            if late or shadow.is_warm(lane.arena, lane.scorer.manifest):
                self._announcements.goes_over(lane, late=late)
                alike = shadow.scorer.form == lane.scorer.form
                tags = lane.tags if alike else shadow.tags
                arena = shadow.take_over(lane.arena, lane.origin)
                return self._with(held, lane.succeed(shadow.scorer, arena, tags))
        self._looked_s = now_s
        return None

    def _with(self, held: Held, heir: Lane) -> Held:
        return replace(held, lanes={**held.lanes, self._route.name: heir})

    def _lanes(self) -> list[tuple[Held, Lane]]:
        """Return the partitions that the route takes streams of, and its part of them."""
        every = ((held, held.lanes.get(self._route.name)) for held in self._owned.held.values())
        return [(held, lane) for held, lane in every if lane is not None]
