"""What a webhook gets, over real HTTP; and which settings a relay takes."""

import os
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from conftest import tool
from fakes import ManualClock
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from pydantic import SecretStr, ValidationError
from relays import SECRET, Receiver, alert

from detector.__main__ import main
from detector.errors import SettingsRejected
from detector.messages import alert_message
from detector.records import Partition
from detector.relay.alert import Told, event_of, read
from detector.relay.command import check_files, subscription_of
from detector.relay.endpoint import REFUSALS, Answer, Endpoint, wait_asked
from detector.relay.outlet import Heard
from detector.relay.watch import RelayMetrics
from detector.relay.webhook import Webhook, keys_of, signature
from detector.relay_settings import Relay
from detector.secret import Secret
from detector.settings import Kafka, Settings, fingerprint


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def to(url: str, **settings: object) -> Endpoint:
    return Endpoint(Relay(url=url, timeout_s=1, **settings))


# An alert, and the event it becomes ---------------------------------------------------------


@given(
    stream=st.text(min_size=1), topic=st.text("abc.-_", min_size=1), at_us=st.integers(0, 10**16)
)
def test_an_event_has_the_attributes_of_the_kafka_headers(
    stream: str, topic: str, at_us: int
) -> None:
    message = alert_message(
        alert(1, "close", stream=stream, at_us=at_us, partition=Partition(topic, 7)), "alerts"
    )
    told = read(message.value)
    assert isinstance(told, Told)
    event = msgspec.json.decode(msgspec.json.encode(event_of(told, message.value or b"")))
    headers = {name: value.decode() for name, value in message.headers}
    assert event.pop("data") == msgspec.json.decode(message.value or b"")
    assert event.pop("datacontenttype") == headers.pop("content-type")
    assert {f"ce_{name}": value for name, value in event.items()} == headers


@pytest.mark.parametrize(
    "value",
    [None, b"", b"{}", b"\xff", b'{"id": 1}', b"[" * 100_000,
     (alert_message(alert(1), "alerts").value or b"").replace(b"00000001", b"1\\r\\nevil: 1")],
)  # fmt: skip
def test_what_is_no_alert_is_said_to_be_none(value: bytes | None) -> None:
    said = read(value)
    assert isinstance(said, str)
    assert said.startswith("expected an alert")


def test_fields_that_came_later_are_no_fault() -> None:
    value = alert_message(alert(1), "alerts").value or b""
    assert isinstance(read(value[:-1] + b',"later": [1]}'), Told)


# The signature ------------------------------------------------------------------------------


def test_a_signature_is_that_of_the_standards_own_example() -> None:
    keys = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    said = signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_changes_both_sign() -> None:
    other = "whsec_" + "b" * 32
    said = signature(keys_of(f"{other}\n{SECRET}\n"), "a", "1", b"").split()
    assert said == [signature(keys_of(one), "a", "1", b"") for one in (other, SECRET)]


@pytest.mark.parametrize("text", ["hunter2" * 9, "whsec_c2hvcnQ=", "whsec_?" + "a" * 31])
def test_what_is_no_secret_is_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32") as refused:
        keys_of(text)
    assert text not in str(refused.value)


def test_each_attempt_is_signed_anew(receiver: Receiver) -> None:
    clock = ManualClock()
    hook = Webhook(to(receiver.url), Secret(SecretStr(SECRET)), clock)
    value = alert_message(alert(1), "alerts").value or b""
    told = read(value)
    assert isinstance(told, Told)
    heard = Heard(Partition("alerts", 0), 0, 0.0, value)
    for _ in range(2):
        assert hook.offer(heard, told).good
        clock.seconds += 600
    first, second = (headers for headers, _ in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"]
    assert "." not in first["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 600
    assert first["webhook-signature"] != second["webhook-signature"]


# HTTP ---------------------------------------------------------------------------------------


def test_answers_are_sorted_by_whether_to_ask_again(receiver: Receiver) -> None:
    for status in (200, 202, 204, 301, 400, 401, 404, 409, 410, 422, 429, 500, 503):
        receiver.answer = lambda _, status=status: (status, {})  # type: ignore[misc]
        answer = to(receiver.url).post(b"{}", {}, 0)
        assert answer.status == status
        assert answer.good == (status < 300)
        assert answer.refused == (status in REFUSALS)


def test_a_server_says_when_to_ask_again(receiver: Receiver) -> None:
    receiver.answer = lambda _: (429, {"Retry-After": "7"})
    assert to(receiver.url).post(b"", {}, 0).wait_s == 7
    assert wait_asked("999999999", 0) == 3600
    assert wait_asked("-5", 0) is None
    assert wait_asked("Thu, 01 Jan 1970 00:00:30 GMT", 90) == 0
    assert wait_asked("Thu, 99 Jan 1970", 0) is None


def test_no_answer_is_an_answer(receiver: Receiver) -> None:
    receiver.close()
    answer = to(receiver.url).post(b"", {}, 0)
    assert (answer.status, answer.good, answer.refused) == (0, False, False)
    assert "refused" in answer.said


def test_it_says_who_it_is_with_what_the_files_hold_now(receiver: Receiver, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    basic = to(receiver.url, username="relay", password_file=file)
    bearer = to(receiver.url, token_file=file)
    assert "expected a secret in" in bearer.post(b"", {}, 0).said
    file.write_text("old\n")
    assert basic.post(b"", {}, 0).good
    file.write_text("new\n")
    assert bearer.post(b"", {}, 0).good
    file.write_text("new\nX-Evil: 1\n")
    assert bearer.post(b"", {}, 0).status == 0
    said = [headers["authorization"] for headers, _ in receiver.requests]
    assert said == ["Basic cmVsYXk6b2xk", "Bearer new"]


def test_a_server_is_trusted_for_its_certificate_alone(tmp_path: Path) -> None:
    secured = pytest.importorskip("secured", reason="needs the package cryptography")
    ours, other = secured.Authority(tmp_path), secured.Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.issue("server"))

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Taking)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"https://127.0.0.1:{server.server_port}"
        assert to(url, cafile=ours.file).post(b"", {}, 0).good
        assert "CERTIFICATE_VERIFY_FAILED" in to(url, cafile=other.file).post(b"", {}, 0).said
        assert "CERTIFICATE_VERIFY_FAILED" in to(url).post(b"", {}, 0).said
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "path", "asked"),
    [
        ("http://h", "", "/"), ("http://h/hook?a=1", "", "/hook?a=1"),
        ("http://h", "/api", "/api"), ("http://h/am/", "/api", "/am/api"),
    ],
)  # fmt: skip
def test_a_path_is_put_behind_that_of_the_address(url: str, path: str, asked: str) -> None:
    assert Endpoint(Relay(url=url), path)._path == asked


# Settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"to": "alertmanager"}, "expected url"),
        ({"to": "webhook", "url": "http://h"}, "expected secret_file"),
        ({"to": "alertmanager", "url": "http://h", "secret_file": "s"}, "no secret_file"),
        ({"username": "u"}, "username and password_file together"),
        ({"username": "u", "password_file": "p", "token_file": "t"}, "saw both"),
        ({"url": "http://h", "cafile": "c"}, "no cafile with http"),
        ({"url": "ftp://h"}, "url"),
        ({"url": "http://user:password@h"}, "url"),
        ({"to": "pager"}, "alertmanager"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        Relay(**settings)


def test_a_relay_does_not_start_without_what_it_needs(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    hook = Relay(to="webhook", url="http://h", secret_file=file)
    with pytest.raises(SettingsRejected, match="DETECTOR_RELAY__TO"):
        check_files(Relay())
    with pytest.raises(SettingsRejected, match="expected a secret in"):
        check_files(hook)
    file.write_text("hunter2")
    with pytest.raises(SettingsRejected, match="whsec_"):
        check_files(hook)
    file.write_text(SECRET)
    check_files(hook)


def test_the_command_refuses_with_exit_code_2_and_shows_no_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [*os.environ]:
        if name.startswith("DETECTOR_"):
            monkeypatch.delenv(name)
    assert main(["relay"]) == 2
    assert "expected relay.to (DETECTOR_RELAY__TO)" in capsys.readouterr().err
    monkeypatch.setenv("DETECTOR_RELAY__URL", "https://relay:hunter2@example.org")
    assert main(["relay"]) == 2
    said = capsys.readouterr().err
    assert "relay.url (DETECTOR_RELAY__URL)" in said
    assert "hunter2" not in said


def test_it_reads_the_alerts_of_the_daemon_as_the_daemon_reads_readings() -> None:
    kafka = Kafka(
        bootstrap_servers="kafka:9093", group="pumps", group_instance_id="host-1",
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u",
        sasl_password=SecretStr("p"),
    )  # fmt: skip
    settings = Settings(model=Path("m"), kafka=kafka, relay=Relay(to="webhook", url="http://h",
                        secret_file=Path("s")))  # fmt: skip
    options = subscription_of(settings).client_options()
    assert options["security_protocol"] == "SASL_SSL"
    assert options["group_id"] == "pumps-relay-webhook"
    assert options["group_instance_id"] == "host-1"
    assert options["isolation_level"] == "read_committed"
    assert subscription_of(settings).topic == "alerts"


def test_every_metric_is_exposed_under_a_good_name() -> None:
    body = generate_latest(RelayMetrics("webhook").registry)
    types = dict(re.findall(r"^# TYPE (detector_\S+) (\w+)$", body.decode(), re.MULTILINE))
    assert types == {row.name: row.type for row in RelayMetrics("webhook").table.rows}
    promtool = tool("promtool", "prometheus")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_the_daemon_does_not_mind_the_relays_table(tmp_path: Path) -> None:
    plain = Settings(model=Path("m"))
    shared = Settings(
        model=Path("m"),
        relay=Relay(to="webhook", url="http://h", secret_file=tmp_path / "not-for-the-daemon"),
    )
    assert fingerprint(plain) == fingerprint(shared)


def test_nothing_of_an_answer_is_taken_for_good_by_chance() -> None:
    assert not any(Answer(status).good for status in (0, 100, 199, 300, 399))
