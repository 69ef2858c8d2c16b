"""What operators say of streams: records in, what they mean out."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from fakes import StubModel, manifest

from detector import override_command, override_options
from detector.__main__ import main
from detector.engine import Engine
from detector.judge import rules
from detector.overrides import EPOCH, Mute, Override, Overrides, Threshold, encode, microseconds
from detector.records import Alert, Partition, Readings
from detector.thresholds import Thresholds

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def mute(
    *, begins: datetime | None = None, at: datetime = NOON, until: datetime = NOON + HOUR
) -> Mute:
    return Mute(until, at, "ana", "the bearing is changed", begins)


def alert(stream: str, status: str, at: datetime, opened: datetime | None = None) -> Alert:
    return Alert(
        "id", stream, status, "state", "warning", microseconds(opened or at), microseconds(at),  # type: ignore[arg-type]
        5.0, 0.1, 3.0, (), 5.0, "normal", "m", "v", Partition("readings", 0), 7,
    )  # fmt: skip


def said(*records: tuple[str, Override | None]) -> Overrides:
    overrides = Overrides()
    assert not overrides.take((k.encode(), encode(v) if v else None) for k, v in records)
    return overrides


def test_what_is_written_is_what_a_person_reads() -> None:
    own = Threshold(2, NOON, "ana")
    value = encode(Override(mute(begins=NOON), own))
    assert json.loads(value) == {
        "mute": {
            "until": "2026-01-31T13:00:00Z",
            "at": "2026-01-31T12:00:00Z",
            "by": "ana",
            "why": "the bearing is changed",
            "from": "2026-01-31T12:00:00Z",
        },
        "threshold": {"false_alarms_per_day": 2.0, "at": "2026-01-31T12:00:00Z", "by": "ana"},
    }
    overrides = Overrides()
    assert overrides.take([(b"pump", value)]) == []
    assert overrides.get("pump") == Override(mute(begins=NOON), own)
    assert overrides.take([(b"pump", None)]) == []
    assert list(overrides) == []


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (None, b"{}", "stream's id"),
        (b"\xff", b"{}", "stream's id"),
        (b"pump", b"", "mute or a threshold"),
        (b"pump", b"\xff", "mute or a threshold"),
        (b"pump", b"[" * 100_000, "mute or a threshold"),
        (b"pump", b'{"mut": {}}', "unknown field `mut`"),
        (b"pump", b'{"threshold": {"false_alarms_per_day": 0}}', "> 0.0"),
        (b"pump", b'{"mute": {"until": "2026-01-31T13:00:00"}}', "timezone"),
    ],
)
def test_a_bad_record_is_told_and_leaves_nothing_said(
    key: bytes | None, value: bytes, why: str
) -> None:
    overrides = said(("pump", Override(mute())))
    (wrong,) = overrides.take([(key, value)])
    assert why in wrong
    assert len(wrong) < 500
    # A replica that starts now sees the bad record alone; all must agree.
    assert bool(list(overrides)) == (key != b"pump")


@pytest.mark.parametrize(
    ("what", "covered"),
    [
        (mute(), [-9, -0.1, 0, 0.9]),
        (mute(begins=NOON + HOUR / 2), [0.5, 0.9]),
    ],
)
def test_a_mute_counts_in_the_readings_own_time(what: Mute, covered: list[float]) -> None:
    hours = [-9, -0.1, 0, 0.5, 0.9, 1, 7] if 0.5 in covered else [-9, -0.1, 0, 0.9, 1, 7]
    assert [h for h in hours if what.covers(alert("a", "open", NOON + h * HOUR))] == covered


def test_whoever_heard_an_opening_hears_the_end() -> None:
    within, before = NOON + HOUR / 2, NOON - HOUR / 2
    assert not mute().covers(alert("a", "close", within, before))
    assert mute().covers(alert("a", "update", within, before))
    assert mute().covers(alert("a", "close", within, NOON))
    assert not mute().covers(alert("a", "close", NOON + HOUR, within))


def test_patterns_speak_of_streams_that_have_nothing_of_their_own() -> None:
    overrides = said(
        ("pump-*", Override(mute(), Threshold(2, NOON, "ana"))),
        ("pump-7", Override(threshold=Threshold(0.5, NOON, "ana"))),
        ("p[12]", Override(threshold=Threshold(9, NOON, "ana"))),
    )
    assert overrides.rates == (0.5, 2, 9)
    streams = [b"pump-1", b"pump-7", b"p1", b"p3", b"press"]
    assert overrides.places(streams).tolist() == [2, 1, 3, 0, 0]
    assert overrides.mute(alert("pump-7", "open", NOON)) == mute()
    assert overrides.mute(alert("press", "open", NOON)) is None
    overrides.take([(b"pump-7", None)])
    assert overrides.places(streams).tolist() == [1, 1, 2, 0, 0]


def test_it_counts_what_is_in_force() -> None:
    ended, planned = mute(until=NOON), mute(begins=NOON + HOUR, until=NOON + 2 * HOUR)
    overrides = said(("a", Override(mute())), ("b", Override(ended)), ("c", Override(planned)))
    assert (overrides.muted(NOON), overrides.thresholds) == (1, 0)
    assert [one.phase(NOON) for one in (mute(), ended, planned)] == ["muted", "ended", "planned"]


def test_a_threshold_of_its_own_changes_what_opens_and_no_score() -> None:
    about = manifest(warm_up=1)
    base = rules(about, 10)
    overrides = Overrides()
    thresholds = Thresholds(overrides, lambda r: rules(about, r))
    engine = Engine(StubModel(about), base, thresholds=thresholds)

    def run() -> tuple[list[tuple[str, float]], bytes]:
        n = 20
        x = np.zeros((2 * n, 2), np.float32)
        x[2 * n - 2 :] = 3.5  # between the levels of 10 and of 1000 a day
        streams = np.tile([0, 1], n)
        ts_us = np.arange(2 * n) // 2 * 10**6 + 10**9
        readings = Readings([b"a", b"b"], streams, ts_us, x, np.arange(2 * n))
        outcome = engine.run(engine.new_arena(), readings, Partition("t", 0), keep_trace=True)
        assert outcome.trace is not None
        return [(a.stream, a.threshold) for a in outcome.alerts], outcome.trace.score.tobytes()

    quiet, scores = run()
    assert quiet == []
    own = Override(threshold=Threshold(1000, NOON, "ana"))
    overrides.take([(b"b", encode(own))])
    loud, same = run()
    assert loud == [("b", pytest.approx(rules(about, 1000).open_level[0]))]
    assert same == scores
    overrides.take([(b"b", None)])
    assert run() == (quiet, scores)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129_600)]
)
def test_lengths(text: str, seconds: float) -> None:
    assert override_options._length(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mute", "pump", "--for", "2 h", "--why", "x"], "such as 90s"),
        (["mute", "pump", "--for", "0h", "--why", "x"], "such as 90s"),
        (["mute", "pump", "--for", "9999d", "--why", "x"], "ten years"),
        (["mute", "pump", "--for", "2h"], "--why"),
        (["mute", "", "--for", "2h", "--why", "x"], "length >= 1"),
        (["mute", "pump", "--for", "2h", "--why", "x", "--from", "noon"], "with its zone"),
        (["mute", "pump", "--for", "2h", "--why", "x", "--from", "2026-01-31T06:00"], "its zone"),
        (["threshold", "pump"], "--reset"),
        (["threshold", "pump", "--false-alarms-per-day", "0"], "> 0.0"),
        (["threshold", "pump", "--false-alarms-per-day", "nan"], "saw 'nan'"),
        (["threshold", "pump", "--false-alarms-per-day", "1", "--reset"], "not allowed"),
    ],
)
def test_what_the_command_line_does_not_take(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Overrides:
    """The commands, speaking to a table in memory instead of a broker."""
    overrides = Overrides()

    def say(settings: object, key: str, override: Override) -> None:
        value = None if override == Override() else encode(override)
        assert not overrides.take([(key.encode(), value)])

    monkeypatch.setattr(override_command, "read_overrides", lambda settings: overrides)
    monkeypatch.setattr(override_command, "say", say)
    monkeypatch.setattr(override_command, "_now", lambda: NOON)
    monkeypatch.setenv("DETECTOR_MODEL", "model.onnx")
    return overrides


def test_commands_change_one_thing_and_keep_the_other(
    topic: Overrides, capsys: pytest.CaptureFixture[str]
) -> None:
    by = ["--by", "ana", "--why", "new bearing"]
    assert main(["mute", "pump", "--for", "2h", *by]) == 0
    assert main(["threshold", "pump", "--false-alarms-per-day", "2.5", *by]) == 0
    later = ["--from", "2026-01-31T15:00+01:00"]
    assert main(["mute", "press-*", "--for", "30m", *later, "--by", "bo", "--why", "rebuilt"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pump: muted until 2026-01-31T14:00:00Z",
        "pump: 2.5 false alarms a day",
        "press-*: muted from 2026-01-31T14:00:00Z until 2026-01-31T14:30:00Z",
    ]
    assert main(["overrides", "ls"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "stream what from until by at why",
        "press-* planned 2026-01-31T14:00:00Z 2026-01-31T14:30:00Z bo 2026-01-31T12:00:00Z rebuilt",
        "pump muted - 2026-01-31T14:00:00Z ana 2026-01-31T12:00:00Z new bearing",
        "pump 2.5 false alarms/day - - ana 2026-01-31T12:00:00Z new bearing",
    ]
    assert main(["unmute", "pump"]) == 0
    assert topic.get("pump").threshold
    assert main(["unmute", "pump"]) == 1
    assert "expected a mute of 'pump', saw none" in capsys.readouterr().err
    assert main(["threshold", "pump", "--reset"]) == 0
    assert main(["threshold", "pump", "--reset"]) == 1
    assert [key for key, _ in topic] == ["press-*"]


def test_a_mute_that_is_over_is_refused(
    topic: Overrides, capsys: pytest.CaptureFixture[str]
) -> None:
    past = ["--from", "2026-01-31T06:00Z", "--for", "2h"]
    assert main(["mute", "pump", *past, "--why", "x"]) == 2
    assert "ends in the future" in capsys.readouterr().err
    assert list(topic) == []


def test_a_user_without_a_name_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError

    monkeypatch.setattr(override_options.getpass, "getuser", nameless)
    assert override_options._user() == "unknown"


def test_what_is_said_has_a_schema() -> None:
    schema = msgspec.json.schema(Override)
    assert set(schema["$defs"]["Mute"]["required"]) == {"until", "at", "by", "why"}
    assert microseconds(EPOCH + timedelta(microseconds=1)) == 1
