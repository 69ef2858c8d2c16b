"""Words, curves, moments and charts of a report."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled import tracks_of

from training.report.curves import (
    envelope,
    exceedance,
    precision_recall,
    rate_limits,
    surprise,
)
from training.report.moments import APART, Moment, story, worst
from training.report.page import Number, Numbers, Picture, Section, Table, Text, page
from training.report.svg import AMBER, BLUE, canvas, inline
from training.report.words import (
    MINUS,
    NOTHING,
    duration,
    number,
    one_in,
    one_in_power,
    percent,
    span,
)


def test_numbers_are_written_for_people() -> None:
    assert [number(x) for x in (0, 0.000123456, 1.5, 2.0, -1234.5)] == [
        "0", "0.000123", "1.5", "2", MINUS + "1\u202f234",
    ]  # fmt: skip
    assert [number(float("nan")), number(float("inf")), number(1e-9)] == [
        NOTHING,
        NOTHING,
        "1.00e-09",
    ]
    assert [percent(x) for x in (0.385, 0.00109, 1.0, float("nan"))] == [
        "38.5 %", "0.11 %", "100 %", NOTHING,
    ]  # fmt: skip
    assert [duration(x) for x in (0.5, 75, 150, 7200, 3 * 86_400)] == [
        "0.5 s", "75 s", "2.5 min", "2 h", "3 days",
    ]  # fmt: skip
    assert [one_in(p) for p in (1.0, 0.5, 1 / 908_756, 1 / 70e6, 0.0)] == [
        "nearly always", "1 in 2", "1 in 910\u202f000", "1 in 70 million",
        "rarer than 1 in a billion",
    ]  # fmt: skip
    assert [one_in_power(p) for p in (0, 1, 12)] == ["every", "1 in 10", "1 in 10¹²"]
    assert span(0, 3_600_000_000) == "1970-01-01 00:00 to 01:00 UTC"
    assert span(0, 90_000_000_000) == "1970-01-01 00:00 to 1970-01-02 01:00 UTC"


def test_no_spike_is_lost_on_the_way_to_a_picture() -> None:
    y = np.random.default_rng(0).normal(size=100_001)
    y[[3, 77_777, 100_000]] = 9, -9, 8
    rows = envelope(y)
    assert {0, 3, 77_777, 100_000} <= set(rows.tolist())
    assert len(rows) <= 802
    assert (np.diff(rows) > 0).all()
    assert envelope(y[:50]).tolist() == list(range(50))


def test_the_share_above_a_level_is_that_of_all_readings() -> None:
    values = np.random.default_rng(1).exponential(size=20_000)
    levels, share = exceedance(values)
    assert len(levels) <= 400
    assert share[0] == 1 / 20_000
    assert levels[0] == values.max()
    for level, part in zip(levels.tolist(), share.tolist(), strict=True):
        assert part == np.mean(values >= level)
    assert exceedance(values[:0])[0].shape == (0,)


def test_precision_and_recall_at_every_level() -> None:
    label = np.array([True, False, True, True, False])
    score = np.array([5.0, 4, 3, 3, 1])
    curve = precision_recall(label, score)
    assert curve.recall.tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1])
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 3 / 4, 3 / 5])
    assert curve.average == pytest.approx(1 / 3 + 2 / 3 * 3 / 4)


def test_what_rates_a_count_agrees_with() -> None:
    assert rate_limits(0, 1) == pytest.approx((0, -np.log(0.05)))
    assert rate_limits(3, 2) == pytest.approx((0.8177 / 2, 7.7537 / 2), rel=1e-4)
    assert surprise(np.array([1, 1e-6, 0])).tolist() == pytest.approx([0, 6, 15])


def test_the_worst_moments_are_one_of_each_story(tmp_path: Path) -> None:
    tracks = tracks_of(tmp_path, rows=2000)
    told = worst(tracks, 8)
    assert len(told) == 8
    rarity = [tracks[m.stream].probability[m.row].min() for m in told]
    assert rarity == sorted(rarity)
    assert min(t.probability[t.warm].min() for t in tracks.values()) == rarity[0]
    for n, (stream, row) in enumerate(told):
        assert tracks[stream].warm[row]
        around = story(tracks[stream], row)
        for other in (m.row for m in told[n + 1 :] if m.stream == stream):
            assert not around.start - APART <= other < around.stop + APART
    spike = Moment("<pump> 1", 400)
    assert spike in told
    quiet = worst(tracks, 8, quiet=True)
    assert quiet[0] == spike
    near = np.convolve(tracks["<pump> 1"].label, np.ones(2 * APART + 1), "same") > 0
    assert not any(near[m.row] for m in quiet if m.stream == "<pump> 1")


def test_a_story_is_what_labels_and_alerts_hold_together(tmp_path: Path) -> None:
    track = next(iter(tracks_of(tmp_path, streams=1, rows=40).values()))
    label, alerting = np.zeros(40, np.bool_), np.zeros((40, 1), np.bool_)
    label[10:20], alerting[15:25], label[30:] = True, True, True
    track = replace(track, label=label, alerting=alerting)
    assert story(track, 12) == story(track, 22) == slice(10, 25)
    assert story(track, 27) == slice(27, 28)
    assert story(track, 39) == slice(30, 40)
    assert story(replace(track, label=~alerting[:, 0]), 0) == slice(0, 40)


def drawn() -> str:
    with canvas(4, 2) as figure:
        axes = figure.add_subplot()
        axes.plot([1, 2, 3], [0.00123, 2, 1], "o-", color=BLUE, label="font: 3px; $x_1$ <b>")
        axes.axvspan(1, 2, color=AMBER)
        axes.legend()
        return inline(figure)


def test_a_chart_takes_the_colours_and_the_letters_of_its_page() -> None:
    svg = drawn()
    assert "var(--blue)" in svg
    assert "var(--amber)" in svg
    assert "#0a0b" not in svg
    assert "font: 3px; $x_1$ &lt;b&gt;" in svg  # no formula, no mark-up, no style
    assert "font-family" not in svg
    assert "<style" not in svg
    assert svg == drawn()
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) == set(ids)


def test_a_page_escapes_what_it_is_given() -> None:
    evil = '<script>alert(1)</script> & "co"'
    told = page(
        evil,
        [
            Section(
                "one", evil, evil,
                [Numbers([Number(evil, evil)]), Text(evil), Table((evil, evil), [(evil, evil)]),
                 Picture("<svg></svg>", evil, evil)],
            )
        ],
        lead=evil, facts=[evil],
    )  # fmt: skip
    assert "<script" not in told
    assert "<svg></svg>" in told
    assert 'aria-label="&lt;script&gt;' in told
