"""The loop's part in overrides: reads them before anything is judged, then follows them."""

from datetime import UTC, datetime

from detector.clock import Clock
from detector.control import Control, Heard
from detector.errors import ConnectionLost
from detector.override_recorder import OverrideRecorder
from detector.overrides import Mute, Overrides
from detector.records import Alert

LOOK_S = 1.0  # a change is known so much later at the most
FIRST_READ_S = 0.05  # how long a turn waits for overrides before anything is judged
RETRY_S = 10.0
PATIENCE_S = 30.0  # an operator's word is not worth standing still for


class Steering:
    """Keeps overrides current between polls."""

    def __init__(
        self,
        control: Control | None,
        overrides: Overrides,
        recorder: OverrideRecorder,
        clock: Clock,
    ) -> None:
        """Wire it; without a control topic there is nothing to wait for."""
        self._control = control
        self._overrides = overrides
        self._recorder = recorder
        self._clock = clock
        self._current = False
        self._due_s = float("-inf")
        self._patient_until_s: float | None = None
        self._gave_up = False

    def look(self, *, waiting: bool) -> bool:
        """Read a little of the control topic, if it is time.

        Args:
            waiting: Partitions wait to be judged.

        Returns:
            Whether they may be: all is known, or there was no answer for too long.
        """
        if self._control is None:
            return True
        if self._clock.monotonic_s() >= self._due_s:
            self._read(self._control)
        return self._current or not waiting or self._gives_up()

    def mute(self, alert: Alert) -> Mute | None:
        """Return what mutes a message that is about to be sent, and count it."""
        mute = self._overrides.mute(alert)
        if mute is not None:
            self._recorder.muted()
        return mute

    def close(self) -> None:
        """Let go of the topic; idempotent."""
        if self._control is not None:
            self._control.close()

    def _read(self, control: Control) -> None:
        try:
            heard = control.read(0 if self._current else FIRST_READ_S)
        except ConnectionLost as error:
            self._due_s = self._clock.monotonic_s() + (RETRY_S if self._current else LOOK_S)
            self._recorder.away(error)
            return
        self._recorder.answers()
        self._take(heard)
        self._due_s = self._clock.monotonic_s() + (LOOK_S if self._current else 0)
        if self._current:
            now = datetime.fromtimestamp(self._clock.now_s(), UTC)
            self._recorder.now(self._overrides.muted(now), self._overrides.thresholds)

    def _take(self, heard: Heard) -> None:
        self._recorder.bad(self._overrides.take(heard.records))
        if self._current:
            for key, value in heard.records:
                self._recorder.said(key, value)
        elif heard.current:
            self._current = True
            self._recorder.read(len(list(self._overrides)))

    def _gives_up(self) -> bool:
        """Say whether partitions have waited for too long; the first call starts the watch."""
        now_s = self._clock.monotonic_s()
        if self._patient_until_s is None:
            self._patient_until_s = now_s + PATIENCE_S
        if now_s < self._patient_until_s:
            return False
        if not self._gave_up:
            self._gave_up = True
            self._recorder.left_out(PATIENCE_S)
        return True
