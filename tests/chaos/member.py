"""`detector run`, made to die at a named point of its work; a process of its own.

CHAOS_POINT names the point, CHAOS_COUNT says at which time it dies there. CHAOS_CLOCK_S is how
far its wall clock jumps. The daemon itself knows nothing of all this.
"""

import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaProducer  # type: ignore[import-untyped]

from detector import __main__ as command_line
from detector.changelog import KafkaChangelog, Loaded
from detector.clock import SystemClock
from detector.consumer import KafkaSource
from detector.emit import KafkaSink
from detector.group import Subscription

POINTS = (
    "before send",
    "in the middle of a send",
    "between send and offsets",
    "before commit",
    "after commit",
    "in the middle of a checkpoint",
    "in the middle of a restore",
)


class Countdown:
    """Kills this process when it was called so many times."""

    def __init__(self, count: int) -> None:
        self._left = count

    def __call__(self) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, die: Countdown) -> None:
    """Let `die` be called at a point."""
    if point == "before send":
        KafkaSink.deliver = _before(KafkaSink.deliver, die)  # type: ignore[method-assign]
    elif point == "in the middle of a send":
        KafkaProducer.send = _before(KafkaProducer.send, die)
    elif point == "between send and offsets":
        KafkaSink.deliver = _after(KafkaSink.deliver, die)  # type: ignore[method-assign]
    elif point == "before commit":
        KafkaProducer.commit_transaction = _before(KafkaProducer.commit_transaction, die)
        KafkaSource.commit = _before(KafkaSource.commit, die)  # type: ignore[method-assign]
    elif point == "after commit":
        KafkaProducer.commit_transaction = _after(KafkaProducer.commit_transaction, die)
        KafkaSource.commit = _after(KafkaSource.commit, die)  # type: ignore[method-assign]
    elif point == "in the middle of a checkpoint":
        KafkaProducer.send = _before(KafkaProducer.send, die, only=_is_slab)
    elif point == "in the middle of a restore":
        KafkaChangelog.read = _after(KafkaChangelog.read, die, only=_brought)  # type: ignore[method-assign]


def _before(
    method: Callable[..., Any], die: Countdown, only: Callable[..., bool] = lambda *_, **__: True
) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if only(*arguments, **named):
            die()
        return method(*arguments, **named)

    return call


def _after(
    method: Callable[..., Any], die: Countdown, only: Callable[..., bool] = lambda *_, **__: True
) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        if only(result):
            die()
        return result

    return call


def _is_slab(*_: Any, key: bytes | None = None, **__: Any) -> bool:
    return key is not None and key.startswith((b"slab/", b"mark"))


def _brought(loaded: Loaded) -> bool:
    return isinstance(loaded, Loaded) and bool(loaded.records)


def _impatient(options: Callable[[Subscription], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Look for new partitions every second, not every five minutes."""
    return lambda self: {**options(self), "metadata_max_age_ms": 1000}


if __name__ == "__main__":
    Subscription.client_options = _impatient(Subscription.client_options)  # type: ignore[method-assign]
    wrong_s = float(os.environ.pop("CHAOS_CLOCK_S", "0"))
    now_s = SystemClock.now_s
    # It jumps there and back, all the time.
    SystemClock.now_s = lambda self: now_s(self) + random.choice((0, wrong_s))  # type: ignore[method-assign]
    point = os.environ.pop("CHAOS_POINT", "")
    if point:
        arm(point, Countdown(int(os.environ.pop("CHAOS_COUNT", "1"))))
    sys.exit(command_line.main(["run"]))
