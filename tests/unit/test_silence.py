"""Streams that stop: when it is told, by their own rhythm, and when not."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.records import US_PER_S
from detector.silence import FEWEST, WATCH, Clock, Silence, Turn, Watched, follow

RULES = Silence(10, 1000 * US_PER_S)
Reading = tuple[float, int]  # second, row


def heard(
    readings: Sequence[Reading], cuts: Iterable[int] = (), rules: Silence = RULES
) -> tuple[list[Turn], Watched, Clock | None]:
    """Follow readings in polls that are cut there; count readings from the first of all."""
    watched, clock, said = np.zeros(4, WATCH), None, list[Turn]()
    edges = sorted({0, len(readings), *(cut for cut in cuts if cut < len(readings))})
    for start, end in pairwise(edges):
        seconds, rows = zip(*readings[start:end], strict=True)
        ts_us = np.array([int(s * US_PER_S) for s in seconds])
        clock, turns = follow(watched, clock, np.array(rows), ts_us, rules)
        said += [turn._replace(reading=start + turn.reading) for turn in turns]
    return said, watched, clock


def every(period_s: float, start_s: float, end_s: float, row: int) -> list[Reading]:
    return [(float(t), row) for t in np.arange(start_s, end_s, period_s)]


def story(*streams: list[Reading], rules: Silence = RULES) -> list[tuple[int, bool, float]]:
    """Return row, whether it fell silent, and when."""
    readings = sorted(reading for stream in streams for reading in stream)
    return [(t.row, t.opens, t.at_us / US_PER_S) for t in heard(readings, rules=rules)[0]]


def test_a_stream_is_silent_after_ten_of_its_intervals_and_a_minute_at_least() -> None:
    others = every(1, 0, 900, 0)
    assert story(others, every(1, 0, 200, 1)) == [(1, True, 300)]  # whole minutes; 260 > 199 + 60
    assert story(others, every(12, 0, 200, 1)) == [(1, True, 360)]  # 192 + 120 < 360
    assert story(others, every(60, 0, 900, 1)) == []
    assert story(others, every(1, 0, 200, 1), rules=Silence(0, RULES.gone_us)) == []


def test_it_closes_when_the_stream_speaks_again() -> None:
    others = every(1, 0, 900, 0)
    said, _, _ = heard(sorted(others + every(1, 0, 200, 1) + every(1, 500, 900, 1)))
    opened, closed = said
    assert (opened.opens, closed.opens, closed.gone) == (True, False, False)
    assert opened.heard_us == closed.heard_us == 199 * US_PER_S
    assert (opened.idle_s, opened.bound_s, closed.idle_s) == (101, 60, 301)
    assert closed.at_us == 500 * US_PER_S


def test_the_rhythm_is_the_largest_recent_gap() -> None:
    """In bursts of ten seconds a minute it is silent for fifty each time."""
    bursts = [r for start in range(0, 1200, 60) for r in every(1, start, start + 10, 1)]
    assert story(every(1, 0, 3000, 0), bursts)[0] == (1, True, 1680)  # 1149 + 10 * 51 = 1659


def test_a_silence_that_was_told_is_no_part_of_the_rhythm() -> None:
    others = every(1, 0, 900, 0)
    again = every(1, 0, 200, 1) + every(1, 500, 700, 1)
    assert story(others, again) == [(1, True, 300), (1, False, 500), (1, True, 780)]


def test_a_stream_without_a_rhythm_is_never_silent() -> None:
    others = every(1, 0, 900, 0)
    assert story(others, every(1, 0, FEWEST - 1, 1)) == []
    assert len(story(others, every(1, 0, FEWEST, 1))) == 1


def test_the_time_before_a_stream_was_first_heard_is_no_gap() -> None:
    assert story(every(1, 0, 1500, 0), every(1, 1000, 1200, 1)) == [(1, True, 1260)]


def test_nobody_is_silent_because_all_were() -> None:
    """An hour without any input; then one is a moment sooner than the other."""
    before = every(1, 0, 400, 0) + every(1, 0.5, 400, 1)
    after = every(1, 4000, 4100, 0) + every(1, 4030.5, 4100, 1)
    assert story(before, after) == []
    assert story(every(300, 0, 90_000, 0)) == []  # and a lone one never is


def test_a_silence_that_never_ends_ends_as_an_alert() -> None:
    said, watched, _ = heard(sorted(every(1, 0, 2000, 0) + every(1, 0, 200, 1)))
    assert [(t.opens, t.gone, t.at_us // US_PER_S) for t in said] == [
        (True, False, 300), (False, True, 1200),
    ]  # fmt: skip
    assert (watched["readings"][1], watched["silent"][1]) == (0, False)


def test_late_readings_are_signs_of_life() -> None:
    late = [(min(t, 50.0) + t / 1e9, 1) for t in range(900)]
    both = [r for pair in zip(every(1, 0, 900, 0), late, strict=True) for r in pair]
    assert heard(both)[0] == []


def test_who_begins_a_minute_by_speaking_is_not_silent() -> None:
    late = [(float(t), 0) for t in range(59, 119)] + [(120.0, 1)]
    assert story(every(1, 0, 59, 0), every(1, 0, 59, 1), late) == []


steps = st.sampled_from([0.0, 1.0, 7.0, 14.0, 40.0, 600.0, -5.0])
rows = st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2])
readings = st.lists(st.tuples(steps, rows), min_size=1, max_size=200)


@given(readings, st.lists(st.integers(1, 200), max_size=12))
@settings(deadline=None, max_examples=300)
def test_how_polls_are_cut_changes_nothing(drawn: list[Reading], cuts: list[int]) -> None:
    now, timed = 0.0, []
    for step, row in drawn:
        now += step
        timed.append((now, row))
    hasty = Silence(2, 200 * US_PER_S)
    warm = every(1, -40, 0, 1) + every(1, -40, 0, 2)
    story_ = sorted(warm) + timed
    whole, cut = heard(story_, rules=hasty), heard(story_, [c + 60 for c in cuts] + cuts, hasty)
    assert whole[0] == cut[0]
    assert whole[1].tobytes() == cut[1].tobytes()
    assert whole[2] == cut[2]
    for row in (0, 1, 2):  # it opens, closes, opens ...
        opens = [turn.opens for turn in whole[0] if turn.row == row]
        assert opens == [n % 2 == 0 for n in range(len(opens))]
