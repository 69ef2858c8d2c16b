"""Ends a process whose loop stands still: the client's transactions wait without an end."""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable

import structlog

from detector.clock import Clock
from detector.expose import Health

log = structlog.get_logger()

CHECKS = 10  # in the time that the loop may stand still
EXIT_STUCK = 70  # EX_SOFTWARE of sysexits.h


def die() -> None:
    """Write all threads' stacks to standard error and end at once; the supervisor starts anew."""
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    os._exit(EXIT_STUCK)


class Watchdog:
    """A thread of its own that looks whether the loop goes round."""

    def __init__(
        self, health: Health, clock: Clock, limit_s: float, act: Callable[[], object] = die
    ) -> None:
        """Watch `health.beat_s`; `act` when it is older than `limit_s` seconds."""
        self._health = health
        self._clock = clock
        self._limit_s = limit_s
        self._act = act
        self._looked_s = clock.monotonic_s()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching; idempotent."""
        self._closed.set()

    def look(self) -> None:
        """Act if the loop stood still; not if the whole process did, and could not go round."""
        now_s = self._clock.monotonic_s()
        slept_s, self._looked_s = now_s - self._looked_s, now_s
        if slept_s > self._limit_s / 2:  # stopped by a signal, or a suspended machine
            self._health.beat_s = now_s
            return
        stood_s = now_s - self._health.beat_s
        if stood_s > self._limit_s:
            log.critical(
                "ended by the watchdog: the loop stood still; the stacks follow",
                stood_s=round(stood_s, 1),
                limit_s=self._limit_s,
            )
            self._act()

    def _run(self) -> None:
        while not self._clock.wait(self._limit_s / CHECKS, self._closed):
            self.look()
