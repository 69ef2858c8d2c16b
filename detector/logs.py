"""Logs on standard error: one line an event, for people on a terminal and JSON otherwise."""

import io
import logging
import sys
import time
from contextlib import suppress
from typing import TextIO, cast

import structlog

# A client that cannot reach its broker says so many times a second.
REPEAT_S = 60.0
# So many lines of an event in so many seconds; more are counted by metrics, and not read.
FLOOD_LINES, FLOOD_S = 100, 10.0


def set_up_logs(level: str, form: str) -> None:
    """Choose level and form of our events, and let the Kafka client's through sparingly.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        form: `human`, `json`, or `auto` for human on a terminal.
    """
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    rendering: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if human
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _Sparing(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _heads_first,
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unbreakable(sys.stderr))),
    )
    client = logging.getLogger("kafka")
    client.handlers = [_Client()]
    client.setLevel(logging.WARNING)
    client.propagate = False


class _Unbreakable(io.TextIOBase):
    """A stream whose disk may be full, or whose reader gone: a line is lost, not the daemon."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._out.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._out.flush()


def _heads_first(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Order a line as it is read: when, how grave, what; then the rest."""
    heads = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return {**heads, **event}


class _Sparing:
    """Lets some lines of each event pass; the next one after a flood says how many did not.

    Errors always pass.
    """

    def __init__(self) -> None:
        # event -> when its window began, lines in it
        self._seen: dict[str, tuple[float, int]] = {}

    def __call__(
        self, _: object, __: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if event["level"] in {"error", "critical"}:
            return event
        now_s, what = time.monotonic(), str(event["event"])
        since_s, lines = self._seen.get(what, (now_s, 0))
        if now_s - since_s >= FLOOD_S:
            hidden = max(lines - FLOOD_LINES, 0)
            self._seen[what] = now_s, 1
            return {**event, "not_shown_before": hidden} if hidden else event
        self._seen[what] = since_s, lines + 1
        if lines >= FLOOD_LINES:
            raise structlog.DropEvent
        return event


class _Client(logging.Handler):
    """Passes the client's warnings on, each kind at most once in `REPEAT_S`."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        kind, now_s = f"{record.name}:{record.msg}"[:80], time.monotonic()
        if now_s - self._said_s.get(kind, float("-inf")) >= REPEAT_S:
            self._said_s[kind] = now_s
            structlog.get_logger().warning("kafka client", said=record.getMessage()[:500])
