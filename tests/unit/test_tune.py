"""The proposed threshold keeps to what was asked, and incidents are counted as people would."""

from collections.abc import Iterator
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from fakes import manifest

from detector.errors import SettingsRejected
from detector.judge import rules
from detector.records import US_PER_S, Readings
from detector.settings import Judge, read_settings
from detector.tune import Incident, read_incidents, toml, tune, within
from detector.tune_report import as_csv, report, rows

BEGAN_S, MANIFEST = 1_700_000_000, manifest(warm_up=3)
# Each stream rises once, at its own second, to its own height.
PEAKS = {"a": (100, 4.0), "b": (200, 6.0), "c": (300, 8.0), "d": (400, 10.0)}
SECONDS = 500
WEEKS = 2.0


def scores() -> Iterator[Readings]:
    names = sorted(PEAKS)
    height = np.full((SECONDS, len(names)), 0.5, np.float32)
    for s, name in enumerate(names):
        at, peak = PEAKS[name]
        height[at : at + 10, s] = peak
    for first in range(0, SECONDS, 100):
        t = np.repeat(np.arange(first, first + 100), len(names))
        stream = np.tile(np.arange(len(names)), 100)
        ts_us = (BEGAN_S + t) * US_PER_S
        x = height[t, stream][:, None]
        yield Readings([name.encode() for name in names], stream, ts_us, x, t * 4 + stream)


def incident(stream: str, start: int, stop: int) -> Incident:
    return Incident(stream, (BEGAN_S + start) * US_PER_S, (BEGAN_S + stop) * US_PER_S)


def opens(rate: float) -> int:
    return sum(peak > rules(MANIFEST, rate).open_level[0] for _, peak in PEAKS.values())


@pytest.mark.parametrize("asked", [0.5, 1.0, 1.5])
def test_the_laxest_setting_that_keeps_to_what_was_asked_is_chosen(asked: float) -> None:
    curve = tune(MANIFEST, Judge(), scores, WEEKS, asked)
    assert curve.chosen is not None
    chosen, laxer = curve.points[curve.chosen], curve.points[curve.chosen + 1]
    assert chosen.a_week <= asked < laxer.a_week
    assert laxer.rate / chosen.rate < 1.2, "and it is not far from the next"
    for point in curve.points:
        assert point.alerts == opens(point.rate) == round(point.a_week * WEEKS)
    assert [p.rate for p in curve.points] == sorted(p.rate for p in curve.points)


def test_where_no_setting_keeps_to_it_none_is_chosen_and_where_all_do_the_laxest_is() -> None:
    assert tune(MANIFEST, Judge(), scores, 1e-6, 1.0).chosen is None
    every = tune(MANIFEST, Judge(), scores, WEEKS, 1000.0)
    assert every.chosen == len(every.points) - 1


def test_other_settings_of_the_judge_count_too() -> None:
    patient = tune(MANIFEST, Judge(open_after=11), scores, WEEKS, 1.0)
    assert {point.alerts for point in patient.points} == {0}, "ten readings are too few"


def test_recall_precision_and_delay_are_those_of_incidents() -> None:
    known = [
        incident("a", 95, 120),  # found, five seconds late, by settings that hear a peak of 4
        incident("b", 205, 220),  # found: the alert is open when it begins
        incident("c", 311, 320),  # not found: closed the second before
        incident("d", 0, 50),  # not found: silent then
    ]
    curve = tune(MANIFEST, Judge(), scores, WEEKS, 1000.0, known)
    lax = curve.points[-1]
    assert (lax.alerts, lax.found, lax.recall, lax.precision) == (4, 2, 0.5, 0.5)
    assert lax.delay_s == 2.5
    strict = next(point for point in curve.points if point.alerts == 3)
    assert (strict.found, strict.recall) == (1, 0.25)
    assert strict.precision == pytest.approx(1 / 3)
    assert strict.delay_s == 0
    silent = [point for point in curve.points if not point.alerts]
    assert all(point.recall == 0 and isnan(point.precision) for point in silent)
    unknown = tune(MANIFEST, Judge(), scores, WEEKS, 1.0).points[-1]
    assert isnan(unknown.recall)
    assert isnan(unknown.delay_s)


def test_what_is_proposed_is_what_the_daemon_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTOR_CONFIG", "")  # which --config sets, is put back
    config = tmp_path / "tuned.toml"
    config.write_text(toml(Judge(open_after=2, close_share=0.5), 0.0123, ["of topic readings"]))
    settings = read_settings(config, model=tmp_path / "model.onnx")
    expected = Judge(open_after=2, close_share=0.5, false_alarms_per_stream_day=0.0123)
    assert settings.judge == expected


def test_incidents_are_read_and_those_of_other_machines_and_times_left_out() -> None:
    text = [
        "stream,from,to",
        "a,2023-11-14T22:13:20Z,2023-11-14T22:14:20",
        "x,2023-01-01,2023-01-02",
    ]
    seen = read_incidents(text, "known.csv")
    assert seen == [incident("a", 0, 60), seen[1]]
    span = (BEGAN_S * US_PER_S, (BEGAN_S + 10) * US_PER_S)
    assert within(seen, *span, ["a"]) == seen[:1]
    assert within(seen, *span, ["x"]) == []
    for lines, fault in (
        (["stream,since,to"], "saw none called from"),
        (["stream,from,to", "a,soon,2023-01-01"], "known.csv, line 2: expected RFC 3339"),
        (["stream,from,to", "a,2023-01-02"], "line 2"),
        (["stream,from,to", "a,2023-01-02,2023-01-01"], "expected `from` before `to`"),
    ):
        with pytest.raises(SettingsRejected, match=fault):
            read_incidents(lines, "known.csv")


def test_the_page_and_the_table_tell_every_setting() -> None:
    curve = tune(MANIFEST, Judge(), scores, WEEKS, 1.0, [incident("a", 95, 120)])
    told = rows(curve, ["state"], labelled=True)
    assert len(told) == 1 + len(curve.points)
    assert told[0][-4:] == ("incidents found", "recall", "precision", "median delay")
    page = report(curve, ["state"], 1.0, "Topic <readings>", 1)
    assert page.count("<svg") == 3
    assert 'class="chosen"' in page
    assert "Topic &lt;readings&gt;" in page
    assert "http" not in page
    assert "<script" not in page
    table = as_csv(curve, ["state"]).splitlines()
    assert table[0] == "rate,alerts,a_week,found,recall,precision,delay_s,level_state"
    assert len(table) == 1 + len(curve.points)
    assert "nan" not in "".join(table)
