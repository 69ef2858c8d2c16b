"""Figures of small cases that were worked out by hand."""

import math

import numpy as np
import pytest

from training.metrics import nab, ranges, skab
from training.metrics.attribution import Guilt, hit_rate
from training.metrics.events import find, stretches

S = 10**6


def flags(text: str) -> np.ndarray:
    return np.array([c == "1" for c in text])


def test_stretches_may_touch_both_ends() -> None:
    assert stretches(flags("1100101")) == [(0, 2), (4, 5), (6, 7)]
    assert stretches(flags("")) == stretches(flags("000")) == []


def test_events_are_found_anywhere_in_them_and_openings_count_where_it_is_quiet() -> None:
    told = find([(flags("0011100110"), flags("1000110100")), (flags("00000"), flags("01011"))])
    assert (told.events, told.found, told.delays) == (2, 2, [2, 0])
    # Of four openings two are in labels, and one lasts beyond its label: no opening there.
    assert (told.openings, told.quiet) == (3, 10)
    assert told.openings_per_1000 == 300
    assert told.delay == 1
    nothing = find([(flags("1"), flags("0"))])
    assert math.isnan(nothing.delay)
    assert math.isnan(nothing.openings_per_1000)


def test_average_precision_takes_equal_scores_together() -> None:
    label = flags("10110")
    assert ranges.average_precision(label, np.array([5.0, 4, 3, 2, 1])) == pytest.approx(
        (1 / 1 + 2 / 3 + 3 / 4) / 3
    )
    # One of two at the first threshold, all three of five at the second.
    tied = np.array([1.0, 1, 0, 0, 0])
    assert ranges.average_precision(label, tied) == pytest.approx((1 / 2) / 3 + (3 / 5) * 2 / 3)
    assert ranges.average_precision(label, np.zeros(5)) == pytest.approx(3 / 5)


def test_a_volume_without_a_window_is_the_area_with_events_in_its_recall() -> None:
    label, score = flags("0110010"), np.array([0.1, 0.9, 0.8, 0.7, 0.2, 0.6, 0.3])
    told = ranges.volume(label, score, 0)
    # Recall times the part of the two events that were touched, and precision, by rank.
    recall = [1 / 3 / 2, 2 / 3 / 2, 2 / 3 / 2, 1, 1, 1, 1]
    precision = [1, 1, 2 / 3, 3 / 4, 3 / 5, 3 / 6, 3 / 7]
    false = [0, 0, 1 / 4, 1 / 4, 2 / 4, 3 / 4, 1]
    assert told.vus_pr == pytest.approx(np.sum(np.diff(recall, prepend=0) * precision))
    assert told.vus_roc == pytest.approx(np.trapezoid([0, *recall], [0, *false]))


def test_a_near_miss_is_worth_more_the_wider_the_window() -> None:
    label, score = np.zeros(400, np.bool_), np.zeros(400)
    label[200:210] = True
    score[215:220] = 1
    volumes = [ranges.volume(label, score, window).vus_pr for window in (4, 20, 80)]
    assert volumes == sorted(volumes)
    assert volumes[2] > volumes[0] + 0.1


@pytest.mark.parametrize(
    ("label", "score", "said"),
    [
        (flags("010"), np.array([0, np.nan, 1]), "1 NaN"),
        (flags("01"), np.zeros(3), "label and score"),
        (flags("000"), np.zeros(3), "saw none"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(
    label: np.ndarray, score: np.ndarray, said: str
) -> None:
    for figure in (ranges.average_precision, lambda *both: ranges.volume(*both, 3)):
        with pytest.raises(ValueError, match=said):
            figure(label, score)
    with pytest.raises(ValueError, match="without label"):
        ranges.volume(np.ones(3, np.bool_), np.zeros(3), 2)


def one(changepoint: str, alarm: str, label: str = "") -> skab.Series:
    """A character is ten seconds."""
    ts_us = 10**15 + np.arange(len(alarm)) * 10 * S
    return skab.Series(ts_us, flags(label or "0" * len(alarm)), flags(changepoint), flags(alarm))


def test_skab_rows_are_summed_before_figures_are_made() -> None:
    told = skab.rows([one("0000", "0110", "0011"), one("00", "11", "01")])
    assert told == skab.Rows(f1=2 * 2 / (4 + 2 + 1), far=2 / 3, mar=1 / 3)


def test_changepoints_are_where_an_alarm_begins_or_ends() -> None:
    assert skab.changepoints(flags("1100010")).tolist() == flags("1010011").tolist()


def test_a_skab_changepoint_is_worth_less_the_later_it_is_detected() -> None:
    standard = skab.PROFILES["Standard"]
    changepoint = "001000000000000"
    at_once, middle, last, too_late, missed = (
        skab.nab([one(changepoint, alarm)], standard)
        for alarm in (
            "001111111111111",
            "000001111111111",
            "000000001111111",
            "000000000111111",
            "000000000000000",
        )
    )
    assert at_once == pytest.approx(100)
    # Halfway between 1 and what a false one costs, as far as a curve of 1000 steps says.
    assert middle == pytest.approx(100 * (0.445 + 1) / 2, abs=0.2)
    assert last == pytest.approx(100 * (1 - 0.11) / 2)
    assert too_late == pytest.approx(100 * -0.11 / 2)
    assert missed == 0


def test_a_skab_window_begins_where_the_one_before_it_ends() -> None:
    low_fn = skab.PROFILES["LowFN"]
    # The second changepoint is 20 s after the first; its window lasts from 60 s to 80 s.
    changepoint = "0101000000000"
    seam = skab.nab([one(changepoint, "0000000111111")], low_fn)
    assert seam == pytest.approx(100 * ((-0.11 + 1) + 2 * 2) / (2 * 3))
    early = skab.nab([one(changepoint, "0001111111111")], low_fn)
    assert early < seam
    with pytest.raises(ValueError, match="saw none"):
        skab.nab([one("000", "010")], low_fn)


def scored(score: np.ndarray, *windows: tuple[int, int]) -> nab.Series:
    return nab.Series(score, windows)


def test_nab_keeps_quiet_for_a_while() -> None:
    assert [nab.probation(rows) for rows in (0, 6, 100, 4999, 5000, 10**6)] == [
        0,
        0,
        15,
        749,
        750,
        750,
    ]


def spikes(*rows: int) -> np.ndarray:
    score = np.zeros(200)
    score[list(rows)] = 1
    return score


def sigmoid(place: float) -> float:
    return 2 / (1 + math.exp(5 * place)) - 1


@pytest.mark.parametrize(
    ("rows", "earned"),
    [
        ((), 0),
        ((100,), 2),
        ((100, 105, 119), 2),  # the earliest counts
        ((110,), 1 + sigmoid(-0.5) / 0.98661),
        ((99, 100), 2 - 0.11),  # before the first window a false one costs in full
        ((100, 120), 2 + 0.11 * sigmoid(1 / 19)),
        ((100, 177), 2 - 0.11),  # far behind it, too
        ((20, 100), 2),  # the first 15 % do not count ...
        ((20,), 0),
    ],
)
def test_nab_earnings(rows: tuple[int, ...], earned: float) -> None:
    told = nab.figure_at([scored(spikes(*rows), (100, 120))], 0.5, nab.PROFILES["standard"])
    assert told == pytest.approx(100 * earned / 2, abs=1e-3)


def test_nab_chooses_the_threshold_and_takes_equal_scores_together() -> None:
    score = np.zeros(200)
    score[[50, 60]], score[[100, 70, 71]] = 0.9, 0.8
    best = nab.optimise([scored(score, (100, 120))], nab.PROFILES["standard"])
    assert best.threshold == 0.8
    assert best.figure == pytest.approx(100 * (2 - 4 * 0.11) / 2)
    # With costlier false ones it is better to say nothing.
    score[60:99] = 0.9
    silent = nab.optimise([scored(score, (100, 120))], nab.PROFILES["standard"])
    assert silent == nab.Optimum(0, math.inf)


def test_nab_windows_are_found_where_times_go_back() -> None:
    ts_us = np.array([0, 1, 2, 3, 2, 3, 4, 5]) * S
    assert nab.window_rows(ts_us, [(1 * S, 3 * S)]) == [(1, 4)]
    assert nab.window_rows(ts_us, [(4 * S, 4 * S + 1)]) == [(6, 7)]
    with pytest.raises(ValueError, match="window's end"):
        nab.window_rows(ts_us, [(1 * S, 6 * S)])
    with pytest.raises(ValueError, match="saw none"):
        nab.figure_at([scored(spikes(3))], 0.5, nab.PROFILES["standard"])


def test_channels_are_ranked_once_an_event() -> None:
    contribution = np.zeros((10, 4))
    contribution[2:4] = [[9, 0, 1, 2], [0, 1, 3, 4]]  # means 4.5, 0.5, 2, 3
    contribution[6] = [0, 0, 0, 1]
    anomalies = [Guilt(2, 4, frozenset({2, 3})), Guilt(6, 7, frozenset({3}))]
    assert hit_rate(contribution, anomalies, 100) == (1 / 2 + 1) / 2
    assert hit_rate(contribution, anomalies, 150) == (1 + 1) / 2
    assert hit_rate(contribution, [Guilt(8, 9, frozenset({0, 3}))], 100) == 1 / 2  # all the same
    contribution[4:6] = [[5, 0, 3, 4], [0, 0, 3, 4]]  # a single peak does not rank first
    assert hit_rate(contribution, [Guilt(4, 6, frozenset({2, 3}))]) == 1
    for nothing in ([], [Guilt(1, 1, frozenset({0}))], [Guilt(1, 2, frozenset())]):
        with pytest.raises(ValueError, match="guilty"):
            hit_rate(contribution, nothing)
