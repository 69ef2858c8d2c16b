"""`detector mute`, `unmute`, `threshold`, `overrides ls`: what operators say of streams."""

import argparse
import sys
from datetime import UTC, datetime

import msgspec

from detector.cluster import Cluster
from detector.control import KafkaControl
from detector.emit import KafkaSink
from detector.errors import SettingsRejected
from detector.overrides import NOTHING, Mute, Override, Overrides, Threshold, encode
from detector.records import Message
from detector.settings import Settings
from detector.topic_names import control_topic
from detector.topics import partitions_of

READ_S = 1.0


def read_overrides(settings: Settings) -> Overrides:
    """Return what operators have said so far.

    Raises:
        ConnectionLost: If the broker does not answer.
        SettingsRejected: If there is no control topic.
    """
    servers, topic = _cluster(settings), control_topic(settings)
    if not partitions_of(servers, topic):
        msg = (
            f"expected the overrides in topic {topic!r} at {servers}, saw no such topic; set "
            "DETECTOR_KAFKA__GROUP or DETECTOR_STATE__CONTROL_TOPIC to that of the running "
            "detector, which makes it at its start"
        )
        raise SettingsRejected(msg)
    control, overrides, current = KafkaControl(servers, topic), Overrides(), False
    try:
        while not current:
            heard = control.read(READ_S)
            for wrong in overrides.take(heard.records):
                print(f"detector: {wrong}", file=sys.stderr)
            current = heard.current
    finally:
        control.close()
    return overrides


def say(settings: Settings, key: str, override: Override) -> None:
    """Make an override what is said of a stream or a pattern.

    Raises:
        ConnectionLost: If the broker does not take it.
    """
    value = None if override == NOTHING else encode(override)
    sink = KafkaSink(_cluster(settings), [])
    try:
        sink.send([Message(control_topic(settings), key.encode(), value)])
    finally:
        sink.close()


def mute(settings: Settings, options: argparse.Namespace) -> int:
    """Mark a stream's alerts as muted for a while."""
    now = _now()
    until = (options.begins or now) + options.length
    if until <= now:
        msg = f"expected a mute that ends in the future, saw {until}; mend --from or --for"
        raise SettingsRejected(msg)
    muted = Mute(until, now, options.by, options.why, options.begins)
    _change(settings, options.stream, mute=muted)
    begins = f"from {_text(muted.begins)} " if muted.begins else ""
    print(f"{options.stream}: muted {begins}until {_text(until)}")
    return 0


def unmute(settings: Settings, options: argparse.Namespace) -> int:
    """Take a mute back."""
    if read_overrides(settings).get(options.stream).mute is None:
        return _nothing(options.stream, "mute")
    _change(settings, options.stream, mute=None)
    print(f"{options.stream}: not muted any more")
    return 0


def threshold(settings: Settings, options: argparse.Namespace) -> int:
    """Give a stream a threshold of its own, or everybody's again."""
    if options.reset:
        if read_overrides(settings).get(options.stream).threshold is None:
            return _nothing(options.stream, "threshold")
        _change(settings, options.stream, threshold=None)
        print(f"{options.stream}: everybody's threshold again")
        return 0
    own = Threshold(options.rate, _now(), options.by, options.why)
    _change(settings, options.stream, threshold=own)
    print(f"{options.stream}: {options.rate:g} false alarms a day")
    return 0


def ls(settings: Settings, options: argparse.Namespace) -> int:  # noqa: ARG001 - as its siblings
    """Write a line an override."""
    now, line = _now(), "{:20} {:22} {:20} {:20} {:10} {:20} {}".format
    print(line("stream", "what", "from", "until", "by", "at", "why"))
    for key, one in read_overrides(settings):
        if one.mute:
            m = one.mute
            print(
                line(key, m.phase(now), _text(m.begins), _text(m.until), m.by, _text(m.at), m.why)
            )
        if one.threshold:
            t = one.threshold
            rate = f"{t.false_alarms_per_day:g} false alarms/day"
            print(line(key, rate, "-", "-", t.by, _text(t.at), t.why))
    return 0


def _change(settings: Settings, key: str, **changes: Mute | Threshold | None) -> None:
    override = msgspec.structs.replace(read_overrides(settings).get(key), **changes)
    say(settings, key, override)


def _nothing(key: str, what: str) -> int:
    print(
        f"detector: expected a {what} of {key!r}, saw none; `detector overrides ls` shows all",
        file=sys.stderr,
    )
    return 1


def _cluster(settings: Settings) -> Cluster:
    return Cluster(settings.kafka.bootstrap_servers, settings.kafka)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _text(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if time else "-"
