"""Time as the loop sees it, so that tests can turn the hands."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, a stopwatch and a wait that can be cut short."""

    def now_s(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds on a stopwatch that never goes back."""
        ...

    def wait(self, seconds: float, until: threading.Event) -> bool:
        """Sleep `seconds`, or less if `until` is set; say whether it is set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_s(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    def wait(self, seconds: float, until: threading.Event) -> bool:
        """Sleep `seconds`, or less if `until` is set; say whether it is set."""
        return until.wait(seconds)
