"""Member processes and their supervisor, which starts anew what ends, as systemd would."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from member import POINTS
from story import Story

RESTART_S = 0.2
STOP_S = 60.0
SESSION_S = 3.0
# Asked to; lost its place; killed; asked to before it could hear.
EXPECTED_EXITS = {0, 1, -signal.SIGKILL, -signal.SIGTERM}


@dataclass
class Member:
    """One place in the fleet of daemons, and the process that fills it now."""

    number: int
    servers: str
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    paused: bool = False

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class Members:
    """All members of one run.

    Attributes:
        servers: The broker's address for each place: members are reached by different wires.
        exits: How often processes ended with which code, before the end.
    """

    story: Story
    random: Random
    environment: dict[str, str]
    servers: list[str]
    folder: Path
    exits: Counter[int] = field(default_factory=Counter)
    _members: list[Member] = field(default_factory=list)
    _closing: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        for _ in range(self.story.members):
            self.join()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def join(self) -> None:
        """Add a member."""
        with self._lock:
            number = len(self._members)
            self._members.append(Member(number, self.servers[number % len(self.servers)]))
            self._start(self._members[-1])

    def leave(self) -> None:
        """Ask a member to go for good, unless it is the last."""
        with self._lock:
            wanted = [member for member in self._members if member.wanted]
            if len(wanted) > 1:
                member = self.random.choice(wanted)
                member.wanted = False
                self._signal(member, signal.SIGTERM)

    @property
    def kills(self) -> int:
        """Processes that died at once, of the nemesis or at a named point."""
        return self.exits[-signal.SIGKILL]

    def kill(self) -> None:
        member = self._one()
        if member:
            self._signal(member, signal.SIGKILL)

    def terminate(self) -> None:
        member = self._one()
        if member:
            self._signal(member, signal.SIGTERM)

    def pause(self, seconds: float) -> bool:
        """Stop a member as a debugger would, for so long."""
        member = self._one()
        if member is None or not self._signal(member, signal.SIGSTOP):
            return False
        process = member.process
        assert process is not None
        timer = threading.Timer(seconds, lambda: process.send_signal(signal.SIGCONT))
        timer.daemon = True
        timer.start()
        return True

    def close(self) -> list[int]:
        """Ask all to stop; return their exit codes."""
        with self._lock:
            self._closing = True
        self._supervisor.join()
        codes = []
        running = [member for member in self._members if member.running]
        for member in running:
            self._signal(member, signal.SIGCONT)
            self._signal(member, signal.SIGTERM)
        for member in running:
            assert member.process is not None
            try:
                codes.append(member.process.wait(STOP_S))
            except subprocess.TimeoutExpired:
                member.process.kill()
                codes.append(member.process.wait())
        return codes

    def _supervise(self) -> None:
        while not self._closing:
            time.sleep(RESTART_S)
            with self._lock:
                for member in self._members:
                    if not self._closing and member.process and not member.running:
                        self._note_exit(member)
                        if member.wanted:
                            self._start(member)

    def _note_exit(self, member: Member) -> None:
        assert member.process is not None
        self.exits[member.process.returncode] += 1
        member.process = None

    def _start(self, member: Member) -> None:
        environment = {**self.environment, "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": member.servers}
        if self.story.static:
            environment["DETECTOR_KAFKA__GROUP_INSTANCE_ID"] = f"member-{member.number}"
        if not self._closing and self.random.random() < 0.4:
            environment["CHAOS_POINT"] = self.random.choice(POINTS)
            environment["CHAOS_COUNT"] = str(self.random.choice([1, 2, 3, 5, 10, 30]))
        environment["CHAOS_CLOCK_S"] = str(self.random.choice([0, 0, 0, -86_400, 86_400, 5]))
        with (self.folder / f"member-{member.number}.log").open("ab") as log:
            member.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("member.py")],
                env={**os.environ, **environment},
                stderr=log,
                stdout=log,
            )

    def _one(self) -> Member | None:
        with self._lock:
            running = [member for member in self._members if member.running and member.wanted]
            return self.random.choice(running) if running else None

    def _signal(self, member: Member, number: int) -> bool:
        with self._lock, suppress(ProcessLookupError):
            if member.running:
                assert member.process is not None
                member.process.send_signal(number)
                return True
        return False
