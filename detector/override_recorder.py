"""What becomes known of overrides, as metrics and log lines; a part of `recorder`."""

from collections.abc import Sequence

import structlog

from detector.metrics import Metrics

log = structlog.get_logger()

SHOWN = 300  # bytes of a record in a log line


class OverrideRecorder:
    """Turns facts of the control topic into metrics and lines."""

    def __init__(self, metrics: Metrics) -> None:
        """Wire it to those who watch."""
        self._metrics = metrics
        self._away = False

    def read(self, count: int) -> None:
        """All that operators said so far is known."""
        log.info("overrides read", count=count)

    def said(self, key: bytes | None, value: bytes | None) -> None:
        """An operator says something new of a stream, or takes it back."""
        says = "nothing any more" if value is None else value[:SHOWN].decode(errors="replace")
        log.info("override", stream=(key or b"").decode(errors="replace")[:SHOWN], says=says)

    def bad(self, wrong: Sequence[str]) -> None:
        """Some records cannot be read; nothing counts as said of their keys."""
        self._metrics.bad_overrides.inc(len(wrong))
        for why in wrong:
            log.warning("an override is left out", why=why)

    def now(self, muted: int, thresholds: int) -> None:
        """So many overrides are in force."""
        self._metrics.overrides.labels("muted").set(muted)
        self._metrics.overrides.labels("threshold").set(thresholds)

    def muted(self) -> None:
        """A message is sent as muted."""
        self._metrics.muted_alerts.inc()

    def away(self, why: Exception) -> None:
        """The topic cannot be read now; one line an outage, not one an attempt."""
        self._metrics.broker_errors.labels("control").inc()
        if not self._away:
            log.warning("overrides cannot be read, trying again", why=str(why))
        self._away = True

    def answers(self) -> None:
        """The topic can be read."""
        if self._away:
            log.info("overrides can be read again")
        self._away = False

    def left_out(self, waited_s: float) -> None:
        """Readings are judged without what operators said."""
        log.error(
            "going on without overrides",
            expected=f"the control topic to be read within {waited_s:g} s",
            remedy="let us read, describe and create it: docs/operate.md; it is tried again, and "
            "mutes and thresholds count as soon as they are known",
        )
