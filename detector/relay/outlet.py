"""What the relay's loop asks of the place that it hands alerts on to."""

from dataclasses import dataclass
from typing import Protocol

from detector.records import Partition
from detector.relay.alert import Told
from detector.relay.endpoint import Answer


@dataclass(frozen=True, slots=True)
class Heard:
    """A record of the topic of alerts.

    Attributes:
        partition: Where it stands.
        offset: And at which place.
        stamp_s: The record's own Kafka time, s since the epoch.
        value: As it came.
    """

    partition: Partition
    offset: int
    stamp_s: float
    value: bytes


class Outlet(Protocol):
    """A place beside Kafka.

    Attributes:
        replays: It must know what was said before: older records come to `learn` first.
    """

    replays: bool

    def offer(self, heard: Heard, told: Told) -> Answer | None:
        """Hand a message on; None where there is nothing to say. Idempotent: it is offered again
        until it is taken or refused, and perhaps once more after that.
        """
        ...

    def learn(self, heard: Heard, told: Told) -> None:
        """Note a message that was handed on before."""
        ...

    def begin(self, partition: Partition) -> None:
        """All that was said before is known; what is open may be said again."""
        ...

    def drop(self, partition: Partition) -> None:
        """Forget a partition: another relay has it."""
        ...

    def keep(self) -> Answer | None:
        """Say again what must be said again by now, a part at a time; None where nothing must."""
        ...

    def holds(self) -> tuple[int, int]:
        """Return how many alerts it holds open, and how many of them it forgot so far."""
        ...
