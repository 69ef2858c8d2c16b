"""The relay between a real broker and real places to hand alerts on to."""

import base64
import hashlib
import hmac
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from brokers import ApacheKafka, Broker
from daemons import Topics, until
from relays import SECRET, Alertmanager, Receiver, Relay, alert, tell

from detector.messages import ALERT_SCHEMA, alert_message

pytestmark = pytest.mark.broker


@pytest.fixture
def topics(broker: Broker) -> Topics:
    return Topics(broker.bootstrap_servers).create()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def people() -> Iterator[Receiver]:
    """Whom Alertmanager tells."""
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def alertmanager(people: Receiver, tmp_path: Path) -> Iterator[Alertmanager]:
    made = Alertmanager(tmp_path, people)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    return path


def to_webhook(
    topics: Topics, folder: Path, receiver: Receiver, secret: Path, **settings: object
) -> Relay:
    ours = {"relay__url": receiver.url, "relay__secret_file": secret, **settings}
    return Relay(topics, folder, relay__to="webhook", **ours)


def to_alertmanager(
    topics: Topics, folder: Path, alertmanager: Alertmanager, **settings: object
) -> Relay:
    ours = {"relay__resend_s": 1, "relay__least_firing_s": 0, **settings}
    return Relay(topics, folder, relay__to="alertmanager", relay__url=alertmanager.url, **ours)


# Alertmanager ----------------------------------------------------------------------------


def test_an_alert_fires_becomes_critical_and_is_resolved(
    topics: Topics, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    with to_alertmanager(topics, tmp_path, alertmanager) as relay:
        relay.ready()
        tell(topics, alert(1), alert(2))
        until(
            lambda: alertmanager.firing() == {("pump-1", "warning"), ("pump-2", "warning")}, "two"
        )
        one = next(a for a in alertmanager.alerts() or [] if a["labels"]["stream"] == "pump-1")
        assert one["labels"] == {
            "alertname": "StreamUnlikeItself", "stream": "pump-1", "kind": "state",
            "severity": "warning", "model": "pumps", "topic": "readings",
        }  # fmt: skip
        assert "flow 25.99 l/min, expected 22.85" in one["annotations"]["summary"]
        assert one["startsAt"] == "2023-11-14T22:13:20.000Z"
        tell(topics, alert(1, "update"))
        until(
            lambda: alertmanager.firing() == {("pump-1", "critical"), ("pump-2", "warning")},
            "worse",
        )
        tell(topics, alert(1, "close"), alert(2, "close"))
        until(lambda: alertmanager.firing() == set(), "resolved")
        assert relay.metric("detector_relay_alerts_total") == 5
        assert relay.stop() == 0


def test_what_is_open_keeps_firing_and_alertmanager_may_go_and_forget(
    topics: Topics, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    with to_alertmanager(topics, tmp_path, alertmanager, relay__resend_s=0.5) as relay:
        tell(topics, alert(1))
        until(lambda: len(alertmanager.firing()) == 1, "it fires")
        alertmanager.stop()
        tell(topics, alert(2), alert(3), alert(3, "close"))
        until(lambda: relay.get("/readyz")[0] == 503, "it says that nobody is told")
        assert (
            "expected the alertmanager to take an alert, saw no answer" in relay.get("/readyz")[1]
        )
        alertmanager.start()
        until(
            lambda: alertmanager.firing() == {("pump-1", "warning"), ("pump-2", "warning")}, "both"
        )
        relay.ready()
        # Longer than the endsAt that it was told.
        told = relay.metric("detector_relay_resends_total")
        until(lambda: relay.metric("detector_relay_resends_total") >= told + 8, "told again")
        assert len(alertmanager.firing()) == 2
        assert relay.metric("detector_relay_open_alerts") == 2


def test_people_hear_of_one_that_was_over_before_alertmanager_would_have_told_them(
    topics: Topics, alertmanager: Alertmanager, people: Receiver, tmp_path: Path
) -> None:
    with to_alertmanager(topics, tmp_path, alertmanager, relay__least_firing_s=4) as relay:
        relay.ready()
        now_us = int(time.time() * 1e6)  # of what is older Alertmanager tells at once
        just = {"opened_us": now_us, "at_us": now_us}
        tell(topics, alert(1, **just), alert(1, "close", **just))
        until(lambda: len(people.requests) >= 2, "they hear twice")
        assert [told["status"] for told in people.events()] == ["firing", "resolved"]
        assert relay.stop() == 0


def test_a_relay_that_was_killed_knows_what_is_open(
    topics: Topics, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    with to_alertmanager(topics, tmp_path, alertmanager) as relay:
        tell(topics, alert(1), alert(2), alert(3), alert(2, "close"))
        until(lambda: relay.metric("detector_relay_alerts_total") == 4, "all four")
        relay.stop(signal.SIGKILL)
    alertmanager.stop()  # it forgets
    alertmanager.start()
    tell(topics, alert(3, "close"))
    with to_alertmanager(topics, tmp_path, alertmanager) as relay:
        relay.ready()
        until(lambda: alertmanager.firing() == {("pump-1", "warning")}, "the one that is open")
        assert relay.metric("detector_relay_alerts_total") == 1
        assert relay.stop() == 0


def test_a_new_relay_begins_with_new_alerts_and_knows_those_that_are_open(
    topics: Topics, alertmanager: Alertmanager, receiver: Receiver, secret: Path, tmp_path: Path
) -> None:
    for one in (alert(1), alert(2), alert(2, "close")):  # Tansu takes a batch's first for the end
        tell(topics, one)
    new = {"relay__from_beginning": False}
    with (
        to_alertmanager(topics, tmp_path, alertmanager, **new) as first,
        to_webhook(topics, tmp_path, receiver, secret, **new) as other,
    ):
        until(lambda: alertmanager.firing() == {("pump-1", "warning")}, "what is open")
        first.ready()
        other.ready()
        first.stop(signal.SIGKILL)
        other.stop(signal.SIGKILL)
    tell(topics, alert(3))  # while both are away
    with (
        to_alertmanager(topics, tmp_path, alertmanager, **new),
        to_webhook(topics, tmp_path, receiver, secret, **new),
    ):
        until(lambda: ("pump-3", "warning") in alertmanager.firing(), "Alertmanager hears of it")
        until(lambda: receiver.requests != [], "the webhook hears of it")
    assert receiver.seen() == [("pump-3", "open")]


# A webhook -------------------------------------------------------------------------------


def verified(headers: dict[str, str], body: bytes) -> bool:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{mac}" in headers["webhook-signature"].split()


def test_a_webhook_that_fails_at_first_sees_each_message_once_it_works(
    topics: Topics, receiver: Receiver, secret: Path, tmp_path: Path
) -> None:
    receiver.answer = lambda n: (503, {"Retry-After": "1"}) if n <= 2 else (204, {})
    story = [alert(1), alert(2), alert(1, "update"), alert(2, "close"), alert(1, "close")]
    with to_webhook(topics, tmp_path, receiver, secret) as relay:
        tell(topics, *story)
        until(lambda: relay.metric("detector_relay_alerts_total") == 5, "all five")
        assert relay.stop() == 0
    assert receiver.seen()[2:] == [(one.stream, one.status) for one in story]
    assert receiver.seen()[:3] == [("pump-1", "open")] * 3
    for headers, body in receiver.requests:
        assert headers["path"] == "/hook?plant=7"
        assert headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
        assert verified(headers, body)
        assert not verified(headers, body + b" ")
    for event, one in zip(receiver.events()[2:], story, strict=True):
        told = {name.removeprefix("ce_"): value.decode() for name, value in
                alert_message(one, "alerts").headers if name.startswith("ce_")}  # fmt: skip
        assert told.items() <= event.items()
        jsonschema.validate(event["data"], ALERT_SCHEMA)


def test_a_webhook_relay_that_is_killed_again_and_again_loses_nothing(
    topics: Topics, receiver: Receiver, secret: Path, tmp_path: Path
) -> None:
    story = [alert(n, status) for n in range(100) for status in ("open", "close")]
    for part in (40, 80, 120, 160, 200):
        with to_webhook(topics, tmp_path, receiver, secret) as relay:
            if part == 40:
                tell(topics, *story)
            until(lambda part=part: len(set(receiver.seen())) >= part, "some more")  # type: ignore[misc]
            relay.stop(signal.SIGKILL)
    assert set(receiver.seen()) == {(one.stream, one.status) for one in story}
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 200


def test_what_can_never_succeed_is_passed_over_and_what_is_no_alert(
    topics: Topics, receiver: Receiver, secret: Path, tmp_path: Path
) -> None:
    receiver.answer = lambda n: (422 if n == 1 else 200, {})
    with to_webhook(topics, tmp_path, receiver, secret) as relay:
        tell(topics, alert(1))
        topics.readings, readings = topics.alerts, topics.readings
        topics.write([(b"pump-9", b"nonsense"), (b"pump-9", None)])
        topics.readings = readings
        tell(topics, alert(2))
        until(lambda: len(receiver.requests) == 2, "the next one")
        name = 'detector_relay_alerts_total{outcome="%s",sink="webhook"}'
        until(lambda: relay.metric(name % "delivered") == 1, "one delivered")
        assert relay.metric(name % "refused") == 1
        assert relay.metric(name % "unreadable") == 2
        assert "an alert is refused and passed over" in relay.said
        assert relay.stop() == 0


def test_a_dead_sink_holds_its_own_relay_alone(
    topics: Topics, receiver: Receiver, secret: Path, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": "600"})
    with (
        to_webhook(topics, tmp_path, receiver, secret) as held,
        to_alertmanager(topics, tmp_path, alertmanager) as other,
    ):
        tell(topics, alert(1), alert(2))
        until(lambda: len(alertmanager.firing()) == 2, "Alertmanager is told")
        until(lambda: held.get("/readyz")[0] == 503 and receiver.requests != [], "the other waits")
        assert held.get("/livez")[0] == 200
        assert held.stop() == 0, "it does not wait for the sink when asked to stop"
        assert other.stop() == 0
    assert len(receiver.requests) == 1, "Retry-After is respected"


def test_the_broker_may_go_and_come_back(
    receiver: Receiver, secret: Path, apache_kafka: ApacheKafka, tmp_path: Path
) -> None:
    topics = Topics(apache_kafka.bootstrap_servers).create()
    with to_webhook(topics, tmp_path, receiver, secret) as relay:
        tell(topics, alert(1))
        until(lambda: len(receiver.requests) == 1, "the first")
        apache_kafka.stop()
        until(lambda: relay.get("/readyz")[0] == 503, "it says so")
        apache_kafka.start()
        relay.ready()
        tell(topics, alert(2))
        until(lambda: ("pump-2", "open") in receiver.seen(), "the second")
        assert relay.stop() == 0
