"""Settings that protect: which are refused, and that no secret is ever shown."""

import json
import os
from pathlib import Path

import pytest

from detector.cluster import Cluster, client_options
from detector.errors import SettingsRejected
from detector.protection import KafkaSecurity
from detector.secret import Secret
from detector.settings import describe, read_settings

HIDDEN = "hunter-2-and-a-half"
LOGIN = {
    "SECURITY_PROTOCOL": "SASL_SSL",
    "SASL_MECHANISM": "PLAIN",
    "SASL_USERNAME": "detector",
    "SASL_PASSWORD": HIDDEN,
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    for name in [n for n in os.environ if n.upper().startswith("DETECTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DETECTOR_CONFIG", "")
    monkeypatch.setenv("DETECTOR_MODEL", "model.onnx")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    def set_all(**kafka: object) -> None:
        for name, value in kafka.items():
            monkeypatch.setenv(f"DETECTOR_KAFKA__{name}", str(value))

    return set_all


def test_a_secret_is_in_no_text_of_the_settings(given) -> None:
    given(**LOGIN)
    settings = read_settings()
    assert settings.kafka.password.read() == HIDDEN
    cluster = Cluster("localhost:9092", settings.kafka)
    for shown in (
        repr(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        json.dumps(settings.model_dump(mode="json")),
        str(describe()),
        repr(cluster),
        str(client_options(cluster)),
    ):
        assert HIDDEN not in shown


@pytest.mark.parametrize(
    "change",
    [
        {"SASL_USERNAME": ""},
        {"SECURITY_PROTOCOL": "PLAINTEXT"},
        {"SASL_MECHANISM": "OAUTHBEARER"},
        {"SASL_MECHANISM": "GSSAPI"},
        {"SASL_PASWORD": HIDDEN},
        {"SASL_PASSWORD": '{"a": "' + HIDDEN + '"}', "SASL_USERNAME": ""},
    ],
)
def test_a_refusal_shows_no_secret(given, change: dict[str, str]) -> None:
    given(**{**LOGIN, **change})
    with pytest.raises(SettingsRejected) as refused:
        read_settings()
    error: BaseException | None = refused.value
    while error is not None:
        assert HIDDEN not in str(error)
        error = error.__cause__


def test_a_secret_of_a_wrong_kind_or_name_in_the_file_is_not_shown(given, tmp_path: Path) -> None:
    path = tmp_path / "detector.toml"
    for text in (
        f'[kafka]\nsasl_password = ["{HIDDEN}"]',
        f'[kafka]\npassword = "{HIDDEN}"',
        f'password = "{HIDDEN}"',
        f'kafka = "{HIDDEN}"',
        f'[kafka]\nsecurity_protocol = "SSL"\nsasl_password = "{HIDDEN}"',
        f'[kafka]\nsasl_password = "{HIDDEN}',
    ):
        path.write_text(text)
        with pytest.raises(SettingsRejected) as refused:
            read_settings(path)
        assert HIDDEN not in str(refused.value), text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"SASL_USERNAME": "x", "SECURITY_PROTOCOL": "SSL"}, "SASL_PLAINTEXT or SASL_SSL with sas"),
        ({"SSL_CHECK_HOSTNAME": "false"}, "SSL or SASL_SSL with ssl_check_hostname, saw PLAINTEXT"),
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "sasl_mechanism: sasl_username.*; saw none"),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER"},
            "sasl_token_file and no password; saw sasl_mechanism",
        ),
        (
            {"SECURITY_PROTOCOL": "SSL", "SSL_CAFILE": "/no.pem"},
            "expected a file /no.pem, saw none",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(given, change: dict[str, str], said: str) -> None:
    given(**change)
    with pytest.raises(SettingsRejected, match=said):
        read_settings()


def test_a_password_is_read_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "password"
    secret = Secret(file=file)
    for text in ("one", " two\n"):
        file.write_text(text)
        assert secret.read() == text.strip()
    file.write_text("")
    with pytest.raises(OSError, match=f"expected a secret in {file}, saw an empty file"):
        secret.read()
    file.unlink()
    with pytest.raises(OSError, match=f"expected a secret in {file}, saw: No such file"):
        secret.read()


def test_a_bare_name_is_one_of_systemds_credentials(
    given, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kafka-password").write_text(HIDDEN)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    security = KafkaSecurity(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="detector",
        sasl_password_file=Path("kafka-password"),
    )
    assert security.password.read() == HIDDEN


def test_a_signature_cannot_be_required_without_a_key(
    given, monkeypatch: pytest.MonkeyPatch
) -> None:
    given()
    monkeypatch.setenv("DETECTOR_REQUIRE_SIGNATURE", "true")
    with pytest.raises(SettingsRejected, match=r"^Value error, expected model_public_key with"):
        read_settings()
