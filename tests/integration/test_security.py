"""Kafka behind TLS, passwords and access lists: what gets through, and what is said else."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import ApacheKafka
from daemons import Daemon, Topics, story, until

from detector.check import check
from detector.settings import Settings, read_settings

secured = pytest.importorskip("secured", reason="needs the package cryptography")
pytestmark = pytest.mark.broker
WRONG = "wrong-horse-battery"


@pytest.fixture(scope="module")
def kafka() -> Iterator[ApacheKafka]:
    if "KAFKA_HOME" not in os.environ:
        pytest.skip("KAFKA_HOME does not point at an Apache Kafka")
    broker = secured.SecuredKafka()
    try:
        broker.start()
        broker.allow("detector")
        yield broker
    finally:
        broker.close()
        shutil.rmtree(broker.folder)


@pytest.fixture
def settings(kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what makes settings: those of a SCRAM login, changed as asked; None takes one away."""
    (tmp_path / "password").write_text(secured.PASSWORD + "\n")
    ours = {
        "bootstrap_servers": kafka.at("SECURE"),
        "security_protocol": "SASL_SSL",
        "ssl_cafile": kafka.authority.file,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "detector",
        "sasl_password_file": tmp_path / "password",
    }

    def make(**changes: object) -> dict[str, object]:
        return {k: v for k, v in {**ours, **changes}.items() if v is not None}

    return make


def read(monkeypatch: pytest.MonkeyPatch, **kafka: object) -> Settings:
    for name in [n for n in os.environ if n.startswith("DETECTOR_KAFKA__")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DETECTOR_MODEL", "model.onnx")
    monkeypatch.delenv("DETECTOR_CONFIG", raising=False)
    for name, value in kafka.items():
        monkeypatch.setenv(f"DETECTOR_KAFKA__{name}".upper(), str(value))
    return read_settings()


def broker_finding(settings: Settings) -> tuple[bool, str]:
    return next((f.good, f.seen) for f in check(settings) if f.what == "broker")


def test_a_password_that_is_mended_lets_alerts_through_without_a_restart(
    kafka, settings, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(kafka.bootstrap_servers).create()
    password = tmp_path / "password"
    password.write_text(WRONG)
    ours = {f"kafka__{name}": value for name, value in settings().items()}
    with Daemon(small_model, topics, tmp_path, **ours) as daemon:
        until(lambda: "SaslAuthenticationFailedError" in daemon.said, "that it was refused", 30)
        until(lambda: f"mend {password}" in daemon.said, "what to do", 5)
        assert daemon.running
        assert (daemon.get("/livez")[0], daemon.get("/readyz")[0]) == (200, 503)
        password.write_text(secured.PASSWORD)
        daemon.ready()
        topics.write(story(3, 300, (1, 200, 260)))
        topics.read(topics.alerts, 1)
        shown = daemon.said + daemon.get("/metrics")[1] + daemon.get("/readyz")[1]
        assert daemon.stop() == 0, daemon.said
    for secret in (WRONG, secured.PASSWORD):
        assert secret not in shown + daemon.said


@pytest.mark.parametrize(
    "changes",
    [
        {"sasl_mechanism": "SCRAM-SHA-256"},
        {"sasl_mechanism": "PLAIN"},
        {"sasl_password_file": None, "sasl_password": "correct-horse-battery"},
    ],
)
def test_every_mechanism_gets_in(settings, monkeypatch, changes: dict[str, object]) -> None:
    good, seen = broker_finding(read(monkeypatch, **settings(**changes)))
    assert good, seen


def test_a_token_gets_in(settings, monkeypatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(secured.token("tokens"))
    changes = settings(
        sasl_mechanism="OAUTHBEARER",
        sasl_token_file=file,
        sasl_username=None,
        sasl_password_file=None,
    )
    good, seen = broker_finding(read(monkeypatch, **changes))
    assert good, seen


def test_mutual_tls_needs_our_certificate(kafka, monkeypatch, tmp_path: Path) -> None:
    ours = kafka.authority.issue("detector", password=b"key-horse")
    (tmp_path / "key-password").write_text("key-horse")
    common = {
        "bootstrap_servers": kafka.at("MUTUAL"),
        "security_protocol": "SSL",
        "ssl_cafile": kafka.authority.file,
    }
    good, seen = broker_finding(read(monkeypatch, **common))
    assert not good, seen
    key = {"ssl_certfile": ours, "ssl_key_password_file": tmp_path / "key-password"}
    good, seen = broker_finding(read(monkeypatch, **common, **key))
    assert good, seen


def test_what_is_wrong_is_named_with_what_to_do(
    kafka, settings, monkeypatch, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(WRONG)
    stranger = secured.Authority(tmp_path, "stranger").file
    cases = [
        ({"sasl_password_file": wrong}, ["SaslAuthenticationFailedError", f"mend {wrong}"]),
        ({"ssl_cafile": stranger}, ["certificate verify failed", "DETECTOR_KAFKA__SSL_CAFILE"]),
        (
            {"bootstrap_servers": kafka.at("EXPIRED")},
            ["certificate has expired", "renew the broker's certificate"],
        ),
        ({"bootstrap_servers": kafka.bootstrap_servers}, ["is that a TLS listener"]),
    ]
    for changes, expected in cases:
        good, seen = broker_finding(read(monkeypatch, **settings(**changes)))
        assert not good, seen
        for text in expected:
            assert text in seen
        assert WRONG not in seen
        assert secured.PASSWORD not in seen


def test_a_user_without_rights_is_told_which(
    kafka, settings, small_model: Path, tmp_path: Path
) -> None:
    topics = Topics(kafka.bootstrap_servers).create()
    ours = {f"kafka__{n}": v for n, v in settings(sasl_username="stranger").items()}
    with Daemon(small_model, topics, tmp_path, **ours) as daemon:
        until(lambda: "AuthorizationFailed" in daemon.said, "that it may not", 20)
        until(lambda: "let stranger do that (kafka-acls)" in daemon.said, "what to do", 20)
        assert daemon.running
        assert daemon.get("/livez")[0] == 200
