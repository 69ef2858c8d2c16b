"""Which topics are read: one, several, or all that fit a pattern. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate

WILD = frozenset("*?")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Topics by name or by pattern, in the shell's way.

    Attributes:
        text: They, separated by commas.
        never: Topics that no pattern takes: those that we write.

    Example:
        >>> Inputs("plant-*,pumps", ("plant-alerts",)).among(["plant-1", "plant-alerts", "x"])
        ['plant-1']
    """

    text: str
    never: tuple[str, ...] = ()

    @property
    def parts(self) -> list[str]:
        """Names and patterns."""
        return self.text.split(",")

    @property
    def several(self) -> bool:
        """Whether there may be more than one."""
        return len(self.parts) > 1 or self.pattern is not None

    @property
    def pattern(self) -> str | None:
        """A regular expression of whole names; None where all topics are named."""
        if WILD.isdisjoint(self.text):
            return None
        never = "|".join(map(re.escape, self.never))
        return f"(?!(?:{never})$)(?:{'|'.join(map(translate, self.parts))})"

    def among(self, topics: Iterable[str]) -> list[str]:
        """Return those of the topics, sorted."""
        return sorted(
            topic
            for topic in topics
            if topic in self.parts
            or (topic not in self.never and any(fnmatchcase(topic, p) for p in self.parts))
        )
