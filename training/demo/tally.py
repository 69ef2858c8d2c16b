"""Which alerts were about a fault that was played, and which were not."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median

from training.demo.fleet import Fault

# A pump that was mended needs this long to be itself again, in simulated seconds.
RECOVERY_S = 180


class Tally:
    """Matches opened alerts with faults, by pump and time."""

    def __init__(self, faults: Sequence[Fault], start_s: int) -> None:
        """Take the faults of a story that began at `start_s`, seconds since the epoch."""
        self._faults = {f"pump-{fault.pump:02}": fault for fault in faults}
        self._start_s = start_s
        self._delays: dict[str, float] = {}
        self._false = 0
        self.count = 0
        self.heard_s = 0.0

    def note(self, alert: Mapping[str, object]) -> None:
        """Take one alert message."""
        self.count += 1
        self.heard_s = time.monotonic()
        if alert["status"] != "open":
            return
        at_s = datetime.fromisoformat(str(alert["at"])).timestamp() - self._start_s
        fault = self._faults.get(str(alert["stream"]))
        if fault is None or not fault.start <= at_s < fault.stop + RECOVERY_S:
            self._false += 1
        elif at_s < fault.stop:
            self._delays.setdefault(fault.name, at_s - fault.start)

    def closing(self, stream_days: float) -> str:
        """Return what was played, found, missed and said in error."""
        missed = [f.name for f in self._faults.values() if f.name not in self._delays]
        which = f" ({', '.join(missed)})" if missed else ""
        delay = f"median delay {median(self._delays.values()):.0f} s" if self._delays else ""
        said = [
            f"{len(self._faults)} faults played: {len(self._delays)} found",
            f"{len(missed)} missed{which}",
            f"{self._false} false alerts in {stream_days:.1f} stream-days",
            delay,
        ]
        return ", ".join(filter(None, said))
