"""Overrides in the loop: known before anything is judged, followed afterwards."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from fakes import MemoryControl
from jsonschema import Draft202012Validator, FormatChecker
from rigs import CALM, WILD, Rig, write

from detector.control import Heard
from detector.errors import ConnectionLost
from detector.messages import ALERT_SCHEMA
from detector.overrides import Mute, Override, Threshold, encode
from detector.records import Message

BEGAN = datetime.fromtimestamp(1_700_000_000, UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def mute(until: datetime = BEGAN + HOUR, at: datetime = BEGAN) -> bytes:
    return encode(Override(Mute(until, at, "ana", "new bearing")))


def threshold(rate: float) -> bytes:
    return encode(Override(threshold=Threshold(rate, BEGAN, "ana")))


def alerts(rig: Rig) -> list[Message]:
    return [message for message in rig.broker.sent if message.topic == "alerts"]


def marks(rig: Rig) -> list[tuple[str, bool]]:
    """Return each alert's status, and whether it is muted."""
    marked = []
    for message in alerts(rig):
        body, header = json.loads(message.value or b""), ("ce_muted", b"true") in message.headers
        assert header == ("muted" in body)
        marked.append((body["status"], header))
    return marked


def test_a_muted_alert_is_sent_and_says_so() -> None:
    rig = Rig()
    rig.broker.control.append((b"s", mute()))
    write(rig.broker, [*CALM, *WILD, *CALM])
    write(rig.broker, [*CALM, *WILD], b"other")
    rig.turn()
    by_stream = {message.key: json.loads(message.value or b"") for message in alerts(rig)}
    assert by_stream[b"s"]["muted"] == {
        "until": "2023-11-14T23:13:20Z",
        "by": "ana",
        "why": "new bearing",
    }
    assert "muted" not in by_stream[b"other"]
    validator = Draft202012Validator(ALERT_SCHEMA, format_checker=FormatChecker())
    for message in alerts(rig):
        validator.validate(json.loads(message.value or b""))
    assert rig.value("detector_muted_alerts_total") == sum(muted for _, muted in marks(rig)) >= 2
    assert rig.value("detector_overrides", what="muted") == 1


def test_a_mute_ends_by_itself() -> None:
    rig = Rig()
    rig.broker.control.append((b"s", mute(BEGAN + 9 * SECOND)))
    write(rig.broker, [*CALM, WILD[0], 0, WILD[1], 0])
    rig.turn()
    assert marks(rig) == [("open", True), ("close", False), ("open", False), ("close", False)]
    assert rig.value("detector_overrides", what="muted") == 1  # by the clock, at this moment
    rig.clock.seconds += 9
    rig.turn()
    assert rig.value("detector_overrides", what="muted") == 0


def test_all_is_read_before_anything_is_judged() -> None:
    rig = Rig()
    rig.broker.control += [(b"%d" % n, mute()) for n in range(20)] + [(b"s", mute())]
    write(rig.broker, [*CALM, *WILD, *CALM])
    rig.turn()
    assert rig.value("detector_overrides", what="muted") == 21
    assert {muted for _, muted in marks(rig)} == {True}


def test_a_change_is_known_a_second_later() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, WILD[0]])
    rig.turn()
    assert marks(rig) == [("open", False)]
    rig.broker.control.append((b"s", threshold(1e-6)))
    rig.turn()
    assert rig.value("detector_overrides", what="threshold") == 0
    rig.clock.seconds += 1
    rig.turn()
    assert rig.value("detector_overrides", what="threshold") == 1
    rig.broker.control += [(b"s", None), (b"s", b"nonsense"), (None, mute())]
    for _ in range(2):
        rig.clock.seconds += 1
        rig.turn()
    assert rig.value("detector_overrides", what="threshold") == 0
    assert rig.value("detector_bad_overrides_total") == 2


class Away(MemoryControl):
    def read(self, timeout_s: float) -> Heard:
        msg = "expected leave to read, saw TopicAuthorizationFailedError"
        raise ConnectionLost(msg)


def test_without_an_answer_it_goes_on_after_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig()
    rig.pipeline._steering._control = Away(rig.broker)
    write(rig.broker, [*CALM, *WILD])
    for _ in range(29):
        rig.pipeline.step(rig.source.poll())
        rig.clock.seconds += 1
    assert alerts(rig) == []
    rig.clock.seconds += 2
    rig.turn()
    assert marks(rig)[0] == ("open", False)
    told = capsys.readouterr().out
    assert told.count("going on without overrides") == 1
    assert told.count("overrides cannot be read") == 1
    assert rig.value("detector_broker_errors_total", operation="control") == 30
    rig.pipeline._steering._control = rig.control  # somebody gives us leave
    rig.broker.control.append((b"s", mute()))
    rig.clock.seconds += 10
    rig.turn()
    assert rig.value("detector_overrides", what="muted") == 1
    assert "overrides can be read again" in capsys.readouterr().out


def test_a_threshold_decides_what_opens_and_what_was_said_holds() -> None:
    # 50 is over everybody's level (5.4), and under that of one in so many years.
    first = Rig()
    write(first.broker, [*CALM, WILD[0], WILD[1]])
    first.finish(checkpoint=False)
    assert marks(first) == [("open", False)]
    first.broker.control.append((b"s", threshold(1e-90)))  # and then it was killed
    second = Rig(first.broker)
    write(first.broker, [WILD[2], *CALM])
    second.turn()
    told = [json.loads(message.value or b"") for message in alerts(second)]
    assert [one["status"] for one in told] == ["open", "close"]
    assert len({one["id"] for one in told}) == 1
    assert [one["severity"] for one in told] == ["warning", "warning"]
    write(first.broker, [*CALM * 30, *WILD])
    second.turn()
    assert len(alerts(second)) == 2
    first.broker.control.append((b"s", None))
    second.clock.seconds += 1
    second.turn()
    write(first.broker, [*CALM * 30, 500.0])
    second.turn()
    assert marks(second)[2] == ("open", False)
