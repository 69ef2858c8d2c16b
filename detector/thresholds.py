"""The judge's rules for streams that have a threshold of their own. Pure.

Python is spent on each distinct stream of a poll, and only while there are such thresholds; a
reading costs two lookups in arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from detector.judge import Rules
from detector.overrides import Overrides
from detector.records import Ints

RATES = 1024  # whose rules are remembered


@dataclass(frozen=True, slots=True)
class Levels:
    """Rules of one poll's streams.

    Attributes:
        rules: Of all streams without a threshold of their own.
        table: The same with levels [G, K]; the first are those of `rules`.
        place: [distinct streams] which of the G.
    """

    rules: Rules
    table: Rules
    place: Ints

    def of(self, stream: Ints) -> Rules:
        """Return the rules of a tick's streams [B]: with levels [B, K], or [K] where all agree."""
        place = self.place[stream]
        if not place.any():
            return self.rules
        rows = {name: getattr(self.table, name)[place] for name in _arrays(self.table)}
        return replace(self.rules, **rows)


class Thresholds:
    """Looks up what operators said."""

    def __init__(self, overrides: Overrides, rules_at: Callable[[float], Rules]) -> None:
        """Wire it.

        Args:
            overrides: What is said of streams; followed while it changes.
            rules_at: The rules for a rate of false alarms, a stream and day.
        """
        self._overrides = overrides
        self._rules_at = lru_cache(RATES)(rules_at)

    def levels(self, rules: Rules, streams: list[bytes]) -> Levels | None:
        """Return the rules of a poll's distinct streams; None while `rules` are everybody's."""
        if not self._overrides.rates:
            return None
        each = [rules, *map(self._rules_at, self._overrides.rates)]
        rows = {name: np.stack([getattr(one, name) for one in each]) for name in _arrays(rules)}
        place = self._overrides.places(streams)
        return Levels(rules, replace(rules, **rows), place)  # type: ignore[arg-type]


def _arrays(rules: Rules) -> list[str]:
    """Return the names of the levels."""
    return [
        field.name for field in fields(rules) if isinstance(getattr(rules, field.name), np.ndarray)
    ]
