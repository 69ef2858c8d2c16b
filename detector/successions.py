"""What is new from outside reaches the route that it is for, between two polls."""

from typing import Protocol

from detector.clock import Clock
from detector.limit import DeadLetters
from detector.ownership import Ownership
from detector.partitions import Held
from detector.recorder import Recorder
from detector.routes import Route
from detector.scorer import Lineup, News
from detector.succession import Succession


class Outside(Protocol):
    """What changes models and settings while the loop runs."""

    def take(self) -> News | None:
        """Return the next of what is new; None where nothing is."""
        ...


class Successions:
    """One succession a route that has a model."""

    def __init__(
        self,
        owned: Ownership,
        outside: Outside | None,
        recorder: Recorder,
        clock: Clock,
        limit: DeadLetters,
        topic: str | None,
    ) -> None:
        """Wire it.

        Args:
            owned: The partitions that are ours.
            outside: None where nothing ever changes.
            recorder: Tells people.
            clock: The loop's stopwatch.
            limit: Changes with the settings.
            topic: Where the alerts of a candidate go; None says none.
        """
        self._owned = owned
        self._outside = outside
        self._recorder = recorder
        self._limit = limit
        self._of = {
            route.name: Succession(
                route, owned, recorder.announcements(route.scorers[0].manifest), clock, topic
            )
            for route in owned.routes.each
            if route.scorers
        }

    def __getitem__(self, route: Route) -> Succession:
        """Return that of a route."""
        return self._of[route.name]

    def take(self) -> None:
        """Take all that is new from outside."""
        while self._outside is not None and (news := self._outside.take()) is not None:
            if isinstance(news, Lineup):
                self._limit.consecutive, self._limit.share = news.limit
                self._of[news.route].line_up(news)
            else:
                self._recorder.noticed(news)

    def heir(self) -> Held | None:
        """Return a partition as a next model will have it, if there is one to go over now.

        Call `install` when it is kept.
        """
        return next(filter(None, (one.heir() for one in self._of.values())), None)

    def install(self, heir: Held) -> None:
        """Let a partition be as a next model has it."""
        self._owned.held[heir.partition] = heir
        for one in self._of.values():
            one.left()
