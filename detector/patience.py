"""Trying again until the broker answers."""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from detector.clock import Clock
from detector.errors import ConnectionLost
from detector.metrics import Operation

T = TypeVar("T")

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
NEVER = threading.Event()


class Witness(Protocol):
    """Whoever is told of outages."""

    def lost(self, why: Exception, operation: Operation) -> None:
        """The broker did not answer."""
        ...

    def answered(self) -> None:
        """The broker answered."""
        ...

    def beat(self) -> None:
        """The loop makes progress, if only by waiting."""
        ...


class Patience:
    """Waits out outages; less and less patient once it is asked to stop."""

    def __init__(self, recorder: Witness, clock: Clock, shutdown_s: float) -> None:
        """Tell `recorder` of outages; give up `shutdown_s` after `stop`."""
        self._recorder = recorder
        self._clock = clock
        self._shutdown_s = shutdown_s
        self._stop = threading.Event()
        self._stop_by_s = float("inf")
        self._seen_s = clock.monotonic_s()
        self._longest_gap_s = 0.0

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """From now on do only what must be done; safe in a signal handler."""
        self._stop_by_s = self._clock.monotonic_s() + self._shutdown_s
        self._stop.set()

    def longest_gap_s(self) -> float:
        """Return the longest time without a sign of life of this process, since the last call.

        Neither outages nor pauses between attempts count: only what took it longer than it
        should, as when it was stopped.
        """
        self._look()
        longest_s, self._longest_gap_s = self._longest_gap_s, 0.0
        return longest_s

    def attempt(self, act: Callable[[], T], operation: Operation) -> T | None:
        """Call `act` until it works; None if we are asked to stop before."""
        return self._call(act, operation, insist=False)

    def insist(self, act: Callable[[], T], operation: Operation) -> T:
        """Call `act` until it works, even when stopping.

        Raises:
            ConnectionLost: If it still does not when the time to stop has run out.
        """
        return self._call(act, operation, insist=True)  # type: ignore[return-value]  # None only from `act`

    def _call(self, act: Callable[[], T], operation: Operation, *, insist: bool) -> T | None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = act()
            except ConnectionLost as error:
                self._look()
                self._recorder.lost(error, operation)
                if self.stopping and not insist:
                    return None
                if self._clock.monotonic_s() >= self._stop_by_s:
                    raise
                self._recorder.beat()
                # Once asked to stop, the wait is not cut short any more: no busy loop.
                self._clock.wait(pause_s, NEVER if self.stopping else self._stop)
                self._seen_s = min(self._seen_s + pause_s, self._clock.monotonic_s())
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                self._recorder.answered()
                return result

    def _look(self) -> None:
        now_s = self._clock.monotonic_s()
        self._longest_gap_s = max(self._longest_gap_s, now_s - self._seen_s)
        self._seen_s = now_s
