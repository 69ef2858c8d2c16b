"""A loop that stands still is ended; a process that was stopped is not."""

import subprocess
import sys

import pytest
from fakes import ManualClock

from detector.expose import Health
from detector.watchdog import EXIT_STUCK, Watchdog

LIMIT_S = 100


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.health = Health(self.clock, 60, lambda _: None)
        self.health.beat()
        self.acts = 0
        self.watchdog = Watchdog(self.health, self.clock, LIMIT_S, self._act)

    def _act(self) -> None:
        self.acts += 1

    def passes(self, seconds: float, looks: int) -> None:
        for _ in range(looks):
            self.clock.seconds += seconds / looks
            self.watchdog.look()


@pytest.mark.parametrize(("seconds", "acts"), [(99, 0), (101, 1)])
def test_a_loop_that_stands_still_is_ended(seconds: float, acts: int) -> None:
    rig = Rig()
    rig.passes(seconds, 10)
    assert rig.acts == acts


def test_a_loop_that_goes_round_is_left_alone() -> None:
    rig = Rig()
    for _ in range(50):
        rig.passes(40, 4)
        rig.health.beat()
    assert rig.acts == 0


def test_a_process_that_was_stopped_as_a_whole_gets_time_to_find_out() -> None:
    rig = Rig()
    rig.passes(10_000, 1)
    assert rig.acts == 0
    rig.passes(101, 10)
    assert rig.acts == 1


STUCK = """
import threading
from detector.clock import SystemClock
from detector.expose import Health
from detector.watchdog import Watchdog
clock = SystemClock()
health = Health(clock, 60, print)
health.beat_s = clock.monotonic_s()
Watchdog(health, clock, 0.5).start()

def the_place_where_it_is_stuck():
    threading.Event().wait()

the_place_where_it_is_stuck()
"""


def test_it_ends_the_process_with_a_dump_of_all_stacks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == EXIT_STUCK
    assert "the loop stood still" in done.stdout + done.stderr
    assert "the_place_where_it_is_stuck" in done.stderr
