"""Where settings come from, and which are refused."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from detector.errors import SettingsRejected
from detector.settings import describe, fingerprint, notify_socket, read_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [*os.environ]:
        if name.upper().startswith("DETECTOR_"):
            monkeypatch.delenv(name)
    # Reading a file sets it; so it is taken back when the test is over.
    monkeypatch.setenv("DETECTOR_CONFIG", "")
    monkeypatch.setenv("DETECTOR_MODEL", "model.onnx")
    return monkeypatch


def toml(folder: Path, text: str | bytes) -> Path:
    path = folder / "detector.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_only_the_model_must_be_named() -> None:
    settings = read_settings()
    assert settings.model == Path("model.onnx")
    assert settings.kafka.topic == "readings"
    assert settings.output.scores_topic is None
    assert settings.judge.open_after == 1


def test_a_file_sets_what_the_environment_does_not(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("DETECTOR_KAFKA__TOPIC", "from-environment")
    text = 'model = "file.onnx"\n[kafka]\ntopic = "from-file"\ngroup = "file"\n'
    settings = read_settings(toml(tmp_path, text))
    assert (settings.kafka.topic, settings.kafka.group) == ("from-environment", "file")
    assert settings.model == Path("model.onnx")


def test_the_file_may_be_named_in_the_environment(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("DETECTOR_CONFIG", str(toml(tmp_path, "model_threads = 4")))
    assert read_settings().model_threads == 4


def test_the_command_line_wins(environment: pytest.MonkeyPatch) -> None:
    assert read_settings(model=Path("other.onnx")).model == Path("other.onnx")
    assert read_settings(model=None).model == Path("model.onnx")


def test_every_variable_that_help_lists_can_be_set(environment: pytest.MonkeyPatch) -> None:
    listed, by_default = describe(), read_settings()
    assert len({name for name, _, _ in listed}) == len(listed)
    assert all(text for _, _, text in listed)
    for name, default, _ in listed:
        if default not in {"required", "None"}:
            environment.setenv(name, default)
    assert read_settings() == by_default


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DETECTOR_X", "1", "unknown in the environment: DETECTOR_X"),
        ("DETECTOR_KAFKA__TOPC", "t", "DETECTOR_KAFKA__TOPC"),
        ("DETECTOR_HTTP__PORT", "70000", "DETECTOR_HTTP__PORT.*65535.*saw '70000'"),
        ("DETECTOR_HTTP__PORT", "", "DETECTOR_HTTP__PORT"),
        ("DETECTOR_KAFKA__TOPIC", "two words", "DETECTOR_KAFKA__TOPIC"),
        ("DETECTOR_DELIVERY__COMMIT_INTERVAL_S", "0", "DETECTOR_DELIVERY__COMMIT_INTERVAL_S"),
        ("DETECTOR_DELIVERY__COMMIT_INTERVAL_S", "inf", "DETECTOR_DELIVERY__COMMIT_INTERVAL_S"),
        ("DETECTOR_JUDGE__OPEN_AFTER", "1.5", "DETECTOR_JUDGE__OPEN_AFTER"),
        (
            "DETECTOR_JUDGE__CLOSE_SHARE",
            "0",
            "DETECTOR_JUDGE__CLOSE_SHARE.*greater than 0.*saw '0'",
        ),
        ("DETECTOR_JUDGE__CLOSE_SHARE", "1", "DETECTOR_JUDGE__CLOSE_SHARE.*less than 1.*saw '1'"),
        ("DETECTOR_LOG__LEVEL", "loud", "DETECTOR_LOG__LEVEL"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(
    environment: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    environment.setenv(variable, value)
    with pytest.raises(SettingsRejected, match=said):
        read_settings()


def test_a_variable_that_is_no_table_is_not_blamed_on_a_file(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("DETECTOR_KAFKA", "localhost")
    with pytest.raises(SettingsRejected) as refused:
        read_settings()
    assert "TOML" not in str(refused.value)


def test_a_missing_model_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("DETECTOR_MODEL")
    with pytest.raises(SettingsRejected, match=r"model \(DETECTOR_MODEL\): Field required"):
        read_settings()


def test_a_misspelt_model_is_named_beside_the_missing_one(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("DETECTOR_MODEL")
    environment.setenv("DETECTOR_MODLE", "model.onnx")
    with pytest.raises(SettingsRejected, match="DETECTOR_MODLE"):
        read_settings()


def test_all_faults_are_named_at_once(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("DETECTOR_HTTP__PORT", "-1")
    with pytest.raises(SettingsRejected) as refused:
        read_settings(toml(tmp_path, "colour = 1\n[kafka]\ntopc = 2\n"))
    for name in ("http.port", "colour", "kafka.topc"):
        assert name in str(refused.value)


@pytest.mark.parametrize("text", ["model =", b'model = "\xff"', "[kafka", "a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(SettingsRejected, match=r"detector\.toml: expected TOML, saw"):
        read_settings(toml(tmp_path, text))


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(SettingsRejected, match=f"{path}, saw no such file"):
            read_settings(path)


def test_settings_do_not_change() -> None:
    settings = read_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.model_threads = 2  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.kafka.topic = "other"  # type: ignore[misc]


def test_systemds_socket_is_found(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("NOTIFY_SOCKET", raising=False)
    assert notify_socket() is None
    environment.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    assert notify_socket() == "/run/systemd/notify"


def test_replicas_of_one_group_have_one_fingerprint_unless_they_would_act_differently(
    environment: pytest.MonkeyPatch,
) -> None:
    first = fingerprint(read_settings())
    for name in ("MODEL", "KAFKA__GROUP_INSTANCE_ID", "HTTP__HOST", "LOG__LEVEL"):
        environment.setenv(f"DETECTOR_{name}", "error")
    assert fingerprint(read_settings()) == first
    environment.setenv("DETECTOR_KAFKA__SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    environment.setenv("DETECTOR_KAFKA__SASL_MECHANISM", "PLAIN")
    environment.setenv("DETECTOR_KAFKA__SASL_USERNAME", "us")
    told = set()
    for password in ("hunter2", "correct horse"):  # nobody shall guess it from its hash
        environment.setenv("DETECTOR_KAFKA__SASL_PASSWORD", password)
        told.add(fingerprint(read_settings()))
    assert len(told) == 1
    environment.setenv("DETECTOR_JUDGE__OPEN_AFTER", "2")
    other = fingerprint(read_settings())
    assert other != first
    assert len(other) == 12
