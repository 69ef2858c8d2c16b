"""Which mappings are settings, and which are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from detector.errors import SettingsRejected
from detector.mapping import Channel, Input, headers_of, layout_of
from detector.paths import MISSING, column, follow, names_at, parse_path, write_path
from detector.settings import read_settings
from detector.sniff_command import toml_of


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DETECTOR_CONFIG", "")
    monkeypatch.setenv("DETECTOR_MODEL", "model.onnx")
    return monkeypatch


def test_a_mapping_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "detector.toml"
    path.write_text(
        '[input]\nstream = "header:device"\n[input.channels]\n'
        'pressure = "p.bar"\nflow = {path = "f", scale = 0.06}\n'
    )
    given = read_settings(path).input
    assert given.stream == "header:device"
    flow = Channel(path="f", scale=0.06)
    assert given.channels == {"pressure": Channel(path="p.bar"), "flow": flow}


def test_a_mapping_may_stand_in_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DETECTOR_INPUT__TIME", "record")
    environment.setenv("DETECTOR_INPUT__CHANNELS", '{"pressure": "p.bar"}')
    given = read_settings().input
    assert (given.time, given.channels) == ("record", {"pressure": Channel(path="p.bar")})


@pytest.mark.parametrize(
    "wrong",
    [
        *[{"stream": text} for text in ("", "a..b", ".a", "a.", '"a', "header:", 'a"b"', "/")],
        {"time": ""},
        {"values": "a."},
        {"readings": '"'},
        {"channels": {"pressure": ""}},
        {"channels": {"pressure": {"path": "a..b"}}},
        {"channels": {"pressure": {"scale": float("inf")}}},
        {"channels": {"pressure": {"factor": 2}}},
        {"time_format": "minutes"},
        {"time_format": "%!"},
        {"time_format": "%d.%m.%Y %"},
        {"time_format": "%D"},
    ],
)
def test_what_is_no_mapping_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Input.model_validate(wrong)


def test_a_mapping_of_channels_that_the_model_lacks_is_refused() -> None:
    given = Input.model_validate({"channels": {"pressure": "p", "presure": "q"}})
    with pytest.raises(SettingsRejected, match="saw presure; `detector sniff`"):
        layout_of(given, ["pressure"])
    assert headers_of(given) == ()


def test_headers_are_carried_only_where_they_are_asked_for() -> None:
    assert headers_of(Input()) == ()
    both = Input.model_validate({"stream": "header:a", "time": "header:a", "channels": {"x": "y"}})
    assert headers_of(both) == ("a",)


def test_a_field_that_is_called_like_a_word_is_written_in_quotes() -> None:
    layout = layout_of(Input(stream='"key"', time='"header:at"'), ["c"])
    assert layout is not None
    assert (layout.stream.path, layout.time.path) == (("key",), ("header:at",))


def test_settings_are_written_as_they_are_read_but_for_secrets(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("DETECTOR_KAFKA__SASL_PASSWORD", "hunter2")
    path = tmp_path / "detector.toml"
    path.write_text(
        'model = "a \\"b\\".onnx"\n[kafka]\nsecurity_protocol = "SASL_PLAINTEXT"\n'
        'sasl_mechanism = "PLAIN"\nsasl_username = "ü"\nfrom_beginning = false\n'
        "[judge]\nclose_share = 0.5\n[input]\nstream = '\"a.b\"'\n"
        '[input.channels]\npressure = "p"\n"Fluß 1" = {path = "f.v", scale = 0.06, offset = -1}\n'
        "[input.tags]\nperiod_s = 1.0\npattern = '(?P<channel>\\w+)'\n"
        '[[routes]]\nname = "a"\nmodel = "a.onnx"\ninput = {channels = {x = {path = "y"}}}\n'
        '[[routes]]\nname = "b"\njudge = {at_most = "info"}\n'
    )
    environment.delenv("DETECTOR_MODEL")
    settings = read_settings(path)
    text = "\n".join(toml_of(settings))
    assert "hunter2" not in text
    path.write_text(text)
    assert read_settings(path) == settings


@pytest.mark.parametrize("path", [(), ("a", "b.c", "0"), ("ü ü", "."), ('"',), ("", 'a"".')])
def test_a_path_is_written_as_it_is_read(path: tuple[str, ...]) -> None:
    assert parse_path(write_path(path)) == path


def test_a_path_leads_into_objects_and_arrays_and_nowhere_else() -> None:
    node = {"a": [{"b": None}, "text"], "0": 5}
    assert follow(node, ("a", "0", "b")) is None
    assert follow(node, ("0",)) == 5
    for path in (
        ("a", "2"),
        ("a", "-1"),
        ("a", "b"),
        ("a", "1", "0"),
        ("c",),
        ("a", "0", "b", "c"),
    ):
        assert follow(node, path) is MISSING
        assert column([node], path) == [MISSING]
        assert column([node, node], path, None) == [None, None]
    assert column([["ab"], "ab"], ("0",)) == ["ab", MISSING], "letters are no elements"
    assert column([node, {"a": [{"b": 1}]}], ("a", "0", "b")) == [None, 1]


def test_what_is_there_instead_is_said_shortly() -> None:
    assert names_at({"a": {"b": 1}}, ("a", "c")) == "{b}"
    assert names_at({"a": [1, 2]}, ("a", "c")) == "an array of 2"
    assert names_at({str(n): n for n in range(20)}, ("x",)).endswith("15, ...}")
    assert len(names_at({"x" * 1000: 1}, ("a",))) < 200
    assert names_at("x" * 1000, ("a",))[:4] == "'xxx"
