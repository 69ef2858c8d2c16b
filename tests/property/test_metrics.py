"""Laws of the figures: only the order of scores counts; what perfect and blind ones get."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from training.metrics import nab, ranges, skab
from training.metrics.events import find

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=120)
Rows = list[tuple[bool, int]]


def split(drawn: Rows) -> tuple[np.ndarray, np.ndarray]:
    label, score = np.array(drawn).T
    assume(label.any() and not label.all())
    return label.astype(np.bool_), score.astype(np.float64)


@given(rows, st.integers(0, 20))
def test_only_the_order_of_scores_counts(drawn: Rows, window: int) -> None:
    label, score = split(drawn)
    for other in (3 * score - 7, np.exp(score), score.astype(np.float32)):
        assert ranges.volume(label, other, window) == ranges.volume(label, score, window)
        assert ranges.average_precision(label, other) == ranges.average_precision(label, score)


@given(rows, st.integers(0, 20))
def test_a_perfect_score_gets_one_and_all_lie_between_none_and_it(drawn: Rows, window: int) -> None:
    label, score = split(drawn)
    assert ranges.volume(label, label.astype(float), window) == pytest.approx((1, 1))
    assert ranges.average_precision(label, label.astype(float)) == pytest.approx(1)
    assert 0 <= ranges.average_precision(label, score) <= 1
    assert 0 <= ranges.volume(label, score, window).vus_pr <= 1 + 1e-9


@given(rows)
def test_a_blind_score_gets_the_share_of_labels(drawn: Rows) -> None:
    label, score = split(drawn)
    blind = np.zeros_like(score)
    assert ranges.average_precision(label, blind) == pytest.approx(label.mean())
    assert ranges.volume(label, blind, 0).vus_pr == pytest.approx(label.mean())


@given(rows, st.integers(0, 12))
def test_a_volume_is_what_its_definition_gives(drawn: Rows, window: int) -> None:
    label, score = split(drawn)
    areas = [naive(label, score, width) for width in range(window + 1)]
    assert ranges.volume(label, score, window) == pytest.approx(np.mean(areas, axis=0))


def naive(label: np.ndarray, score: np.ndarray, window: int) -> tuple[float, float]:
    """The areas of one window, threshold by threshold, from the definition."""
    length, half = len(label), window // 2
    weight, groups = label.astype(float), extended_events(label, half)
    for row in np.flatnonzero(label).tolist():
        for other in range(max(row - half, 0), min(row + half + 1, length)):
            # The nearest row of a stretch speaks for it.
            edge = other != row and not label[row + (1 if other > row else -1)]
            if edge and not label[other]:
                weight[other] += np.sqrt(1 - abs(row - other) / window)
    weight = np.minimum(weight, 1)
    recalls, precisions, falses = [0.0], [], [0.0]
    for rank in np.linspace(0, length - 1, 250).astype(int):
        passed = score >= np.sort(score)[::-1][rank]
        hits = weight[passed].sum()
        positives = label.sum() + weight[passed & ~label].sum() / 2
        touched = np.mean([passed[group].any() for group in groups])
        recalls.append(min(hits / positives, 1) * touched)
        precisions.append(hits / passed.sum())
        falses.append((passed.sum() - hits) / (length - positives))
    pr = float(np.sum(np.diff(recalls) * precisions))
    return pr, float(np.trapezoid([*recalls, 1], [*falses, 1]))


def extended_events(label: np.ndarray, half: int) -> list[list[int]]:
    """Rows of each extended event: reaches that share a row are one, those side by side two."""
    groups: list[set[int]] = []
    for row in np.flatnonzero(label).tolist():
        reach = set(range(max(row - half, 0), min(row + half + 1, len(label))))
        if groups and (groups[-1] & reach or label[row - 1]):
            groups[-1] |= reach
        else:
            groups.append(reach)
    return [sorted(group) for group in groups]


@given(st.lists(st.integers(0, 5), min_size=60, max_size=60), st.sampled_from(sorted(nab.PROFILES)))
def test_no_threshold_beats_the_one_that_nab_chooses(scores: list[int], name: str) -> None:
    profile = nab.PROFILES[name]
    corpus = [
        nab.Series(np.array(scores[:30], np.float64), [(10, 15), (22, 25)]),
        nab.Series(np.array(scores[30:], np.float64), []),
    ]
    best = nab.optimise(corpus, profile)
    figures = [nab.figure_at(corpus, threshold, profile) for threshold in range(7)]
    assert best.figure == pytest.approx(max(figures))
    assert nab.figure_at(corpus, best.threshold, profile) == pytest.approx(best.figure)
    assert best.figure >= 0


@given(rows, st.sampled_from(sorted(skab.PROFILES)))
def test_perfect_skab_alarms_get_all_and_silent_ones_nothing(drawn: Rows, name: str) -> None:
    label, _ = split(drawn)
    # Two minutes between rows: no window reaches the next one.
    ts_us = np.arange(len(label)) * 120 * 10**6
    changepoint = skab.changepoints(label)
    perfect = skab.Series(ts_us, label, changepoint, label)
    silent = skab.Series(ts_us, label, changepoint, np.zeros_like(label))
    assert skab.nab([perfect], skab.PROFILES[name]) == pytest.approx(100)
    assert skab.nab([silent], skab.PROFILES[name]) == pytest.approx(0)
    assert skab.rows([perfect]) == (1, 0, 0)
    assert skab.rows([silent]) == (0, 0, 1)
    found = find([(label, label)])
    assert found.found == found.events
    assert found.openings == 0
