"""Misfortunes that happen to a process between any two operations of its broker."""

from dataclasses import dataclass, field

from fakes import MemoryBroker
from hypothesis import strategies as st

from detector.errors import ConnectionLost

# After how many operations of the broker which misfortune happens.
misfortune = st.tuples(st.integers(0, 30), st.sampled_from(["dies", "answer lost", "expelled"]))
misfortunes = st.lists(misfortune, max_size=6)


class Dies(BaseException):
    """The process is gone; nobody catches this."""


@dataclass
class Fate:
    """Lets misfortunes happen between the broker's operations."""

    broker: MemoryBroker
    left: list[tuple[int, str]]
    operations: int = field(default=0)

    def __call__(self) -> None:
        self.operations += 1
        if not self.left or self.operations <= self.left[0][0]:
            return
        _, what = self.left.pop(0)
        self.operations = 0
        if what == "dies":
            raise Dies
        if what == "answer lost":
            msg = "expected an answer, saw none"
            raise ConnectionLost(msg)
        self.broker.member += 1
