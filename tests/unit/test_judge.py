"""When alerts open, grow and close. A story has one letter a reading."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import manifest

from detector.artifact import Calibration
from detector.judge import Rules, judge, rules
from detector.records import US_PER_S, Floats
from detector.state import DOCKET, Docket


def levels(*kinds: float) -> Floats:
    return np.array(kinds, np.float32)


RULES = Rules(
    open_level=levels(3),
    close_level=levels(1),
    critical_level=levels(9),
    open_after=2,
    close_after=3,
    cool_down_us=5 * US_PER_S,
)


def stories(
    scores: Sequence[Sequence[float]],
    rules: Rules = RULES,
    *,
    warm_from: int = 0,
    restarts: Collection[int] = (),
) -> tuple[list[str], Docket]:
    """Judge a stream's readings, one a second; return a story a column, and what is kept.

    o: opened, !: became critical, c: closed, and a dot for neither.
    """
    kinds = len(scores[0])
    docket, said = np.zeros((1, kinds), DOCKET), [""] * kinds
    for t, row in enumerate(scores):
        docket.flags.writeable = False  # whoever modifies it fails
        verdicts = judge(
            docket,
            levels(*row)[None],
            np.array([t * US_PER_S]),
            np.array([100 + t]),
            warm=np.array([t >= warm_from]),
            restarted=np.array([t in restarts]),
            rules=rules,
        )
        docket = verdicts.docket
        moves = np.concatenate([verdicts.opened, verdicts.escalated, verdicts.closed])  # [3, K]
        assert (moves.sum(axis=0) <= 1).all()
        letters = np.where(moves.any(axis=0), moves.argmax(axis=0), 3)
        said = [told + "o!c."[letter] for told, letter in zip(said, letters, strict=True)]
    return said, docket[0]


def story(
    *scores: float, rules: Rules = RULES, warm_from: int = 0, restarts: Collection[int] = ()
) -> str:
    columns, _ = stories([[s] for s in scores], rules, warm_from=warm_from, restarts=restarts)
    return columns[0]


@pytest.mark.parametrize("open_after", [1, 2, 5])
def test_it_opens_after_so_many_in_a_row_and_once(open_after: int) -> None:
    patient = replace(RULES, open_after=open_after)
    assert story(*[4] * 8, rules=patient) == "o".rjust(open_after, ".").ljust(8, ".")


def test_one_reading_below_the_level_starts_the_count_again() -> None:
    assert story(4, 2, 4, 2, 4, 4) == ".....o"


def test_a_score_at_the_opening_level_is_not_above_it() -> None:
    assert story(3, 3, 3) == "..."


def test_nothing_out_of_the_ordinary_changes_nothing() -> None:
    docket = np.zeros((2, 1), DOCKET)
    no = np.zeros(2, np.bool_)
    scores, times = np.full((2, 1), 2, np.float32), np.array([1, 2])
    verdicts = judge(docket, scores, times, times, warm=~no, restarted=no, rules=RULES)
    assert verdicts.docket is docket
    assert not (verdicts.opened | verdicts.escalated | verdicts.closed).any()


def test_it_closes_after_so_many_calm_readings_in_a_row() -> None:
    assert story(4, 4, 0, 0, 0) == ".o..c"
    assert story(4, 4, 1, 1, 1) == ".o..c"


def test_between_the_levels_it_stays_open() -> None:
    assert story(4, 4, *[2] * 20) == ".o".ljust(22, ".")
    assert story(4, 4, 0, 0, 2, 0, 0, 4, 0, 0, 0) == ".o........c"


def test_nothing_opens_before_the_cool_down_has_passed() -> None:
    assert story(4, 4, 0, 0, 0, *[4] * 8) == ".o..c....o..."


def test_the_cool_down_is_event_time_not_readings() -> None:
    short = replace(RULES, cool_down_us=2 * US_PER_S)
    assert story(4, 4, 0, 0, 0, 4, 4, 4, rules=short) == ".o..c.o."
    assert story(4, 4, 0, 0, 0, 4, 4, rules=replace(RULES, cool_down_us=0)) == ".o..c.o"


def test_it_becomes_critical_once() -> None:
    assert story(4, 4, 10, 4, 11, 2, 12) == ".o!...."


def test_what_opens_critical_does_not_become_so_again() -> None:
    assert story(10, 4, 10) == ".o."
    assert stories([[10], [4]])[1]["critical"].tolist() == [True]


def test_the_next_alert_may_become_critical_again() -> None:
    assert story(4, 4, 10, 0, 0, 0, *[4] * 5, 10) == ".o!..c....o!"


def test_nothing_opens_during_warm_up_nor_counts_from_it() -> None:
    assert story(*[50] * 6, warm_from=4) == ".....o"


def test_a_restart_closes_what_was_open() -> None:
    assert story(4, 4, 4, 4, restarts={2}) == ".oc."
    assert story(4, 4, 0, 0, 0, restarts={2}) == ".oc.."


def test_a_restart_starts_the_count_again() -> None:
    assert story(4, 4, 4, restarts={1}) == "..o"


def test_what_a_restart_closed_also_cools_down() -> None:
    assert story(*[4] * 9, restarts={2}) == ".oc....o."


def test_an_alert_remembers_its_first_reading_and_its_peak() -> None:
    _, docket = stories([[8], [2], [4], [6], [5], [2], [7], [2]])
    kept = docket[["open", "since_us", "since_offset", "peak"]].tolist()
    assert kept == [(True, 2 * US_PER_S, 102, 7.0)]


def test_each_kind_of_evidence_has_a_story_of_its_own() -> None:
    one = [4, 4, 10, 0, 0, 0, 4, 4, 4]
    other = [0, 40, 40, 40, 90, 90, 0, 0, 0]
    both = Rules(levels(3, 30), levels(1, 10), levels(9, 80), 2, 3, 5 * US_PER_S)
    alone = replace(both, open_level=levels(30), close_level=levels(10), critical_level=levels(80))
    together, _ = stories(list(zip(one, other, strict=True)), both)
    assert together == [story(*one), story(*other, rules=alone)]
    assert together == [".o!..c...", "..o.!...c"]


def test_each_stream_of_a_tick_has_a_story_of_its_own() -> None:
    docket = np.concatenate([stories([[s] for s in run])[1] for run in ([4, 4], [4], [0])])[:, None]
    yes = np.ones(3, np.bool_)
    verdicts = judge(
        docket,
        np.array([[10], [4], [4]], np.float32),
        np.full(3, 9 * US_PER_S),
        np.arange(3),
        warm=yes,
        restarted=~yes,
        rules=RULES,
    )
    assert verdicts.escalated[:, 0].tolist() == [True, False, False]
    assert verdicts.opened[:, 0].tolist() == [False, True, False]
    assert verdicts.docket["open"][:, 0].tolist() == [True, True, False]


@pytest.mark.parametrize("alarms_per_day", [0.01, 0.1, 10])
@pytest.mark.parametrize("shape", [0.0, 0.3])
def test_levels_are_ordered_and_allow_the_rate_that_was_asked_for(
    alarms_per_day: float, shape: float
) -> None:
    calm = manifest().calibration[0]
    wild = Calibration.model_validate(
        calm.model_dump() | {"kind": "onset", "shape": shape, "extremal_index": 0.2}
    )
    made = rules(manifest(calibration=(calm, wild), period_s=2.0), alarms_per_day)
    assert (made.close_level < made.open_level).all()
    assert (made.open_level < made.critical_level).all()
    for k, calibration in enumerate((calm, wild)):
        for level, factor in ((made.open_level, 1), (made.close_level, 10)):
            above = float(calibration.probability(np.array(float(level[k]))))
            a_day = above * 86_400 / 2.0 * calibration.extremal_index
            assert a_day == pytest.approx(alarms_per_day * factor, rel=1e-3)


def test_rules_carry_the_patience_they_are_given() -> None:
    made = rules(manifest(), 0.1, open_after=3, close_after=7, cool_down_s=1.5)
    assert (made.open_after, made.close_after, made.cool_down_us) == (3, 7, 1_500_000)
