"""When alerts open, grow and close. A story has one letter a reading."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import manifest

from detector.artifact import Calibration
from detector.equip import rules_of
from detector.judge import CRITICAL, HABIT, HABIT_READINGS, Rules, Tick, Verdicts, judge, rules
from detector.records import US_PER_S, Floats
from detector.state import DOCKET, Docket
from detector.telling import Judge


def levels(*kinds: float) -> Floats:
    return np.array(kinds, np.float32)


RULES = Rules(
    open_level=levels(3),
    warning_level=levels(6),
    critical_level=levels(9),
    calm_level=levels(0),
    close_share=0.35,
    open_after=2,
    close_after=3,
    cool_down_us=5 * US_PER_S,
)
NOTHING = np.zeros((4, 2), np.float32)  # residuals: no channel stands out
# One reading opens, the first below half of the peak closes, and only habit holds the next back.
HASTY = Rules(levels(3), levels(999), levels(999), levels(0), 0.5, open_after=1, close_after=1)


def stories(
    scores: Sequence[Sequence[float]],
    rules: Rules = RULES,
    *,
    warm_from: int = 0,
    restarts: Collection[int] = (),
    residual: Sequence[float] = (0, 0),
) -> tuple[list[str], Docket]:
    """Judge a stream's readings, one a second; return a story a column, and what is kept.

    o: opened, !: became critical, c: closed, and a dot for neither.
    """
    kinds, seen = len(scores[0]), 0
    docket, said = np.zeros((1, kinds), DOCKET), [""] * kinds
    for t, row in enumerate(scores):
        seen = 1 if t in restarts else seen + 1
        docket.flags.writeable = False  # whoever modifies it fails
        verdicts = judge(
            Tick(
                docket,
                levels(*row)[None],
                np.array([t * US_PER_S]),
                np.array([100 + t]),
                seen=np.array([seen]),
                warm=np.array([t >= warm_from]),
                restarted=np.array([t in restarts]),
                residual=np.array([residual], np.float32),
            ),
            rules,
        )
        docket = verdicts.docket
        moves = np.concatenate([verdicts.opened, verdicts.escalated, verdicts.closed])  # [3, K]
        assert (moves.sum(axis=0) <= 1).all()
        letters = np.where(moves.any(axis=0), moves.argmax(axis=0), 3)
        said = [told + "o!c."[letter] for told, letter in zip(said, letters, strict=True)]
    return said, docket[0]


def story(
    *scores: float,
    rules: Rules = RULES,
    warm_from: int = 0,
    restarts: Collection[int] = (),
    residual: Sequence[float] = (0, 0),
) -> str:
    columns, _ = stories(
        [[s] for s in scores], rules, warm_from=warm_from, restarts=restarts, residual=residual
    )
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
    verdicts = judge(
        Tick(
            docket, scores, times, times, seen=times, warm=~no, restarted=no, residual=NOTHING[:2]
        ),
        RULES,
    )
    assert verdicts.docket is docket
    assert not (verdicts.opened | verdicts.escalated | verdicts.closed).any()


def test_it_closes_after_so_many_calm_readings_in_a_row() -> None:
    assert story(4, 4, 0, 0, 0) == ".o..c"
    assert story(4, 4, 1, 1, 1) == ".o..c"


def test_below_the_opening_level_but_not_the_share_of_its_peak_it_stays_open() -> None:
    assert story(4, 4, *[2] * 20) == ".o".ljust(22, ".")
    assert story(4, 4, 0, 0, 2, 0, 0, 4, 0, 0, 0) == ".o........c"


def test_a_small_and_a_large_alert_close_at_levels_of_their_own() -> None:
    assert story(4, 4, 1.5, 1.5, 1.5) == ".o..."
    assert story(4, 4, 1.3, 1.3, 1.3) == ".o..c"
    wide = replace(RULES, critical_level=levels(999))
    assert story(40, 40, 15, 15, 15, rules=wide) == ".o..."
    assert story(40, 40, 13, 13, 13, rules=wide) == ".o..c"


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_what_closes_is_below_the_share_of_the_peak_and_not_at_it(share: float) -> None:
    part = replace(HASTY, close_share=share)
    assert story(8, *[8 * share] * 5, rules=part) == "o....."
    assert story(8, *[8 * share - 0.01] * 2, rules=part) == "oc."


def test_the_level_that_closes_rises_with_the_peak() -> None:
    assert story(4, 4, 4, 4, 4) == ".o..."
    assert story(4, 4, 16, 4, 4, 4) == ".o!..c"


def test_the_peak_of_an_alert_before_is_forgotten() -> None:
    alerts = [100, 1, *[0] * HABIT_READINGS, 4, 2.1, 2.1, 1.9]
    assert story(*alerts, rules=HASTY) == "oc" + "." * HABIT_READINGS + "o..c"


def bar(closed_with: float, readings: int) -> float:
    """Return above what a stream must score so many readings after an alert of `HASTY`."""
    first = max(HABIT * closed_with, 3)
    return 3 + (first - 3) * max(1 - readings / HABIT_READINGS, 0)


@pytest.mark.parametrize("readings", [1, 2, 50, 100, 150, 199, 200, 201, 400])
def test_the_bar_after_an_alert_falls_linearly_to_the_opening_level(readings: int) -> None:
    told = [10, 4.5, *[0] * (readings - 1)]  # it closes with 4.5: twice that opens the next
    said = "oc" + "." * (readings - 1)
    level = bar(4.5, readings)
    assert story(*told, level + 0.01, rules=HASTY) == said + "o"
    assert story(*told, level - 0.01, rules=HASTY) == said + "."


def test_what_closes_quietly_raises_no_bar() -> None:
    assert story(10, 1.4, 2.9, 3.1, rules=HASTY) == "oc.o"


def test_a_raised_bar_is_for_opening_and_not_for_staying_open() -> None:
    assert story(10, 4.5, 9, 5, 5, 4, rules=HASTY) == "oco..c"


def test_the_bar_holds_each_reading_of_a_run_back() -> None:
    patient = replace(HASTY, open_after=2)
    assert story(10, 10, 4.5, 8.8, 8.8, 9, 9, rules=patient) == ".oc...o"


def test_what_follows_an_alert_that_closed_above_the_opening_level_is_another_alert() -> None:
    told, docket = stories([[10], [4.5], [9]], HASTY)
    assert told == ["oco"]
    assert docket[["since_us", "since_offset"]].tolist() == [(2 * US_PER_S, 102)]


@pytest.mark.parametrize("later", range(12))
def test_a_restart_lifts_the_bar_for_good(later: int) -> None:
    """Also for when the stream has seen again as many readings as when it closed."""
    told = [0, 0, 0, 10, 4.5, 0]
    assert story(*told, 4, rules=HASTY) == "...oc.."
    said = story(*told, *[0] * later, 4, rules=HASTY, restarts={6})
    assert said == "...oc." + "." * later + "o"


def test_what_a_restart_closed_raises_no_bar() -> None:
    assert story(10, 10, 4, rules=HASTY, restarts={1}) == "oco"
    assert story(10, 10, 4, rules=HASTY) == "o.c"


def test_nothing_opens_before_the_cool_down_has_passed() -> None:
    assert story(4, 4, 0, 0, 0, *[4] * 8) == ".o..c....o..."


def test_the_cool_down_is_event_time_not_readings() -> None:
    short = replace(RULES, cool_down_us=2 * US_PER_S)
    assert story(4, 4, 0, 0, 0, 4, 4, 4, rules=short) == ".o..c.o."
    assert story(4, 4, 0, 0, 0, 4, 4, rules=replace(RULES, cool_down_us=0)) == ".o..c.o"


def severities(
    *scores: float, residual: Sequence[float] = (0, 0), lasting_s: int = 999
) -> list[int]:
    """Return how severe an alert is after each of its readings."""
    patient = replace(HASTY, warning_level=levels(6), critical_level=levels(9))
    patient = replace(patient, lasting_us=lasting_s * US_PER_S)
    each = range(1, len(scores) + 1)
    told = [stories([[s] for s in scores[:n]], patient, residual=residual)[1] for n in each]
    return [int(docket["severity"][0]) for docket in told]


def test_how_severe_it_is_comes_from_how_rare_its_peak_is() -> None:
    assert severities(4, 6, 6.1, 5, 9, 9.1) == [0, 0, 1, 1, 1, 2]


def test_what_lasts_is_no_mere_info_whatever_its_peak() -> None:
    assert severities(4, 4, 4, 4, 4, lasting_s=3) == [0, 0, 0, 1, 1]
    assert story(4, 4, 4, 4, rules=replace(HASTY, lasting_us=2 * US_PER_S)) == "o.!."


def test_one_channel_alone_is_critical_only_when_it_lasts() -> None:
    alone, together = (5, 0.1), (5, 5)
    assert severities(10, 10, 10, 10, residual=together, lasting_s=3) == [2, 2, 2, 2]
    assert severities(10, 10, 10, 10, residual=alone, lasting_s=3) == [1, 1, 1, 2]
    assert severities(10, residual=(3, 1)) == [2]  # nine tenths, and no more
    assert severities(10, residual=(-3, 0.99)) == [1]
    assert severities(10, residual=(-3, 1.01)) == [2]


def test_it_never_becomes_less_severe_while_it_is_open() -> None:
    assert severities(10, 6, 6) == [2, 2, 2]
    assert story(4, 10, 6, 10, rules=replace(HASTY, critical_level=levels(9))) == "o!.."


def test_it_becomes_critical_once() -> None:
    assert story(4, 4, 10, 4, 11, 2, 12) == ".o!...."


def test_what_opens_critical_does_not_become_so_again() -> None:
    assert story(10, 4, 10) == ".o."
    assert stories([[10], [4]])[1]["severity"].tolist() == [CRITICAL]


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
    both = Rules(
        levels(3, 30), levels(6, 70), levels(9, 80), levels(0, 0), 0.35, 2, 3, 5 * US_PER_S
    )
    alone = Rules(levels(30), levels(70), levels(80), levels(0), 0.35, 2, 3, 5 * US_PER_S)
    together, _ = stories(list(zip(one, other, strict=True)), both)
    assert together == [story(*one), story(*other, rules=alone)]
    assert together == [".o!..c...", "..o.!...c"]


def test_each_stream_of_a_tick_has_a_story_of_its_own() -> None:
    docket = np.concatenate([stories([[s] for s in run])[1] for run in ([4, 4], [4], [0])])[:, None]
    yes = np.ones(3, np.bool_)
    verdicts = judge(
        Tick(
            docket,
            np.array([[10], [4], [4]], np.float32),
            np.full(3, 9 * US_PER_S),
            np.arange(3),
            seen=np.full(3, 9),
            warm=yes,
            restarted=~yes,
            residual=NOTHING[:3],
        ),
        RULES,
    )
    assert verdicts.escalated[:, 0].tolist() == [True, False, False]
    assert verdicts.opened[:, 0].tolist() == [False, True, False]
    assert verdicts.docket["open"][:, 0].tolist() == [True, True, False]


def tick(docket: Docket, scores: Floats, t: int, seen: int, *, restarted: bool) -> Verdicts:
    every = np.ones(len(scores), np.int64)
    return judge(
        Tick(
            docket,
            scores,
            t * US_PER_S * every,
            t * every,
            seen=seen * every,
            warm=every > 0,
            restarted=np.full(len(scores), restarted),
            residual=NOTHING[: len(scores)],
        ),
        HASTY,
    )


@pytest.mark.parametrize("seed", range(5))
def test_who_shares_a_tick_changes_neither_verdicts_nor_what_is_remembered(seed: int) -> None:
    """Most scores are quiet: alone, a stream's ticks are often those that change nothing."""
    random = np.random.default_rng(seed)
    scores = random.choice([0, 2, 4, 4.5, 9, 50], (600, 4, 1), p=[0.7, 0.1, 0.05, 0.05, 0.05, 0.05])
    restarts = set(random.integers(0, 600, 4).tolist())
    together, alone = np.zeros((4, 1), DOCKET), [np.zeros((1, 1), DOCKET) for _ in range(4)]
    seen = 0
    for t, row in enumerate(scores.astype(np.float32)):
        seen, restarted = (1, True) if t in restarts else (seen + 1, False)
        whole = tick(together, row, t, seen, restarted=restarted)
        parts = [
            tick(alone[b], row[b : b + 1], t, seen, restarted=restarted) for b in range(len(row))
        ]
        together, alone = whole.docket, [part.docket for part in parts]
        assert together.tobytes() == b"".join(docket.tobytes() for docket in alone)
        for name in ("opened", "escalated", "closed"):
            want = [getattr(part, name).item() for part in parts]
            assert getattr(whole, name)[:, 0].tolist() == want


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
    assert (made.open_level < made.warning_level).all()
    assert (made.warning_level < made.critical_level).all()
    for k, calibration in enumerate((calm, wild)):
        for level, factor in (
            (made.open_level, 1),
            (made.warning_level, 0.1),
            (made.critical_level, 0.01),
        ):
            above = float(calibration.probability(np.array(float(level[k]))))
            a_day = above * 86_400 / 2.0 * calibration.extremal_index
            assert a_day == pytest.approx(alarms_per_day * factor, rel=1e-3)


def test_rules_carry_the_patience_they_are_given() -> None:
    made = rules(
        manifest(), 0.1, close_share=0.6, open_after=3, close_after=7, cool_down_s=1.5, lasting_s=9
    )
    seen = (made.close_share, made.open_after, made.close_after, made.cool_down_us)
    assert (*seen, made.lasting_us) == (0.6, 3, 7, 1_500_000, 9_000_000)


def test_what_is_not_set_is_the_same_for_the_daemon_and_for_a_file() -> None:
    assert rules_of(manifest(), Judge()) == rules(manifest(), Judge().false_alarms_per_stream_day)
    asked = Judge(close_share=0.6, open_after=3, close_after=7, cool_down_s=1.5)
    made = rules_of(manifest(), asked)
    seen = (made.close_share, made.open_after, made.close_after, made.cool_down_us)
    assert seen == (0.6, 3, 7, 1_500_000)


def test_what_most_normal_readings_exceed_closes_however_small_the_peak_was() -> None:
    busy = replace(HASTY, calm_level=levels(2.5))
    assert "c" not in story(0, 4, 2.2, 2.2, rules=HASTY)
    assert "c" in story(0, 4, 2.2, 2.2, rules=busy)
    assert "c" not in story(0, 4, 2.6, 2.6, rules=busy)
