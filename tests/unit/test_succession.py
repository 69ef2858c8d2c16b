"""Models that change under a loop that goes on: no gap, nothing lost, nothing said twice."""

import json
from typing import Any

import numpy as np
import pytest
from fakes import Calibration, MemoryBroker, StubModel, manifest
from rigs import CALM, ONE, WILD, ZERO, Rig, ids, write

from detector.budget import Limits
from detector.errors import ConnectionLost
from detector.mapping import Input, form_of
from detector.messages import Topics
from detector.records import Floats, Step
from detector.restore import Kept, resume
from detector.silence import Silence
from detector.snapshot import Origin

TOPICS = Topics("alerts", "dead-letters", shadow="compared")
NEXT = manifest(version="1" * 64)


class Deaf(StubModel):
    """Nothing surprises it."""

    def step(self, x: Floats, state: Floats) -> Step:
        step = super().step(x, state)
        return Step(step.expected, step.residual, step.score * np.float32(0), step.state)


def said(broker: MemoryBroker, topic: str = "alerts") -> list[dict[str, Any]]:
    return [json.loads(m.value or b"") for m in broker.sent if m.topic == topic]


def turn(rig: Rig, values: list[float], stream: bytes = b"s") -> None:
    """Write one reading after the other, with a turn and two seconds each."""
    for value in values:
        write(rig.broker, [value], stream)
        rig.clock.seconds += 2
        rig.turn()


def begun(**changes: Any) -> Rig:
    """Return a rig with a stream that is warmed up."""
    rig = Rig(**changes)
    turn(rig, CALM)
    return rig


def judges(rig: Rig) -> set[str]:
    held = rig.pipeline._owned.held.values()
    return {one.lanes[""].scorer.manifest.version for one in held}


def restored(rig: Rig, about: Any) -> str:
    """Return what would come of the state that is kept."""
    kept = Kept()
    for key, value in rig.broker.kept[0]:
        kept.note(key, value)
    return resume(kept, Origin(about, ZERO), rig.source.bounds(ZERO)).outcome


def test_the_old_model_judges_until_the_new_one_is_warmed_up() -> None:
    rig = begun()
    rig.line_up(StubModel(NEXT))
    turn(rig, [0.0] * 4)
    assert judges(rig) == {rig.about.version}
    assert rig.value("detector_awaiting_partitions") == 1
    assert rig.value("detector_shadow_info", role="next", name="stub", version="1" * 12) == 1
    turn(rig, WILD[:1])  # in its fourth reading the new one is past its warm-up
    assert [body["model"]["version"] for body in said(rig.broker)] == [rig.about.version]
    turn(rig, [0.0])
    assert judges(rig) == {NEXT.version}
    assert rig.value("detector_awaiting_partitions") == 0
    assert rig.value("detector_model_info", name="stub", version="1" * 12) == 1
    assert rig.value("detector_model_info", name="stub", version="0" * 12) is None
    assert rig.value("detector_shadow_info", role="next", name="stub", version="1" * 12) is None


def test_a_model_that_has_taken_over_alerts_with_its_next_reading() -> None:
    rig = begun()
    rig.line_up(StubModel(NEXT))
    turn(rig, [0.0] * 6)
    assert judges(rig) == {NEXT.version}
    turn(rig, WILD[:1])
    assert [(b["status"], b["model"]["version"]) for b in said(rig.broker)] == [
        ("open", NEXT.version)
    ]


def test_a_partition_goes_over_in_one_fact_with_its_position() -> None:
    rig = begun()
    rig.line_up(StubModel(NEXT))
    turn(rig, [0.0] * 5)
    assert restored(rig, NEXT) == "restored"
    assert restored(rig, rig.about) == "other_model"
    assert rig.broker.committed[ZERO] == len(CALM) + 5


def test_what_the_old_model_opened_stays_open_under_its_id_until_it_is_quiet() -> None:
    rig = begun()
    turn(rig, WILD)
    (opened,) = said(rig.broker)
    rig.line_up(StubModel(NEXT))
    turn(rig, [70.0, -70.0, 80.0, -80.0, 90.0])  # it goes on, over the change
    assert judges(rig) == {NEXT.version}
    turn(
        rig, [float(rig.pipeline._owned.held[ZERO].lanes[""].arena._model[0, 0])] * 3
    )  # as it expects
    closed = said(rig.broker)[-1]
    assert [s for _, s in ids(rig.broker)] == ["open", "close"]
    assert (closed["id"], closed["opened_at"]) == (opened["id"], opened["opened_at"])
    assert (closed["model"]["version"], closed["cause"]) == (NEXT.version, "normal")
    assert not rig.pipeline._owned.held[ZERO].lanes[""].arena.adopted


def test_what_was_a_warning_is_not_said_to_become_one_again() -> None:
    rig = begun()
    turn(rig, [500.0, -500.0])
    assert said(rig.broker)[-1]["severity"] == "warning"
    rig.line_up(StubModel(NEXT), patience_s=0)
    turn(rig, [900.0, -900.0, 900.0])
    assert judges(rig) == {NEXT.version}
    assert [status for _, status in ids(rig.broker)].count("update") <= 1
    assert len({id_ for id_, _ in ids(rig.broker)}) == 1


def test_a_stream_in_alert_that_is_silent_since_closes_with_its_next_reading() -> None:
    rig = begun()
    turn(rig, WILD)
    rig.line_up(StubModel(NEXT), patience_s=0)
    turn(rig, [0.0] * 2, stream=b"another")
    assert judges(rig) == {NEXT.version}
    turn(rig, [0.0])
    (opened, _), (closed, status) = ids(rig.broker)
    assert (closed, status) == (opened, "close")
    assert said(rig.broker)[-1]["cause"] == "gap"


def slowly(rig: Rig, since_s: int, seconds: int, stream: bytes) -> int:
    """Write a reading each fifteen seconds; return when the last one was."""
    for at in range(since_s + 15, since_s + seconds + 1, 15):
        write(rig.broker, [json.dumps({"ts": 1_700_000_000 + at, "values": [0, 0]})], stream)
        rig.clock.seconds += 2
        rig.turn()
    return at


@pytest.mark.parametrize("opens_per_hour", [None, 0])
def test_who_is_silent_stays_so_under_the_next_model(opens_per_hour: int | None) -> None:
    watch = Silence(1, 10**15, fewest=1)
    rig = begun(silence=watch, limits=Limits(opens_per_hour))
    at_s = slowly(rig, len(CALM), 150, b"another")
    rig.line_up(StubModel(NEXT), patience_s=0)
    at_s = slowly(rig, at_s, 30, b"another")
    assert judges(rig) == {NEXT.version}
    slowly(rig, at_s, 15, b"s")
    told = [(one["kind"], one["status"]) for one in said(rig.broker)]
    silent = [("silent", "open"), ("silent", "close")]
    assert told == (silent if opens_per_hour is None else [("budget", "open")])
    # It is known when others spoke that it has never heard itself.
    held = rig.pipeline._owned.held[ZERO].lanes[""]
    assert (held.arena.paces()[1]["last_us"] > 0).all()


def test_values_that_wait_for_others_go_over_with_their_partition() -> None:
    form = form_of(manifest(), Input.model_validate({"tags": {"hold_s": 2.0}}))
    quick, rig = manifest(version="1" * 64, warm_up=0), begun(form=form)

    def sample(channel: str, at: float, value: float = 0.0, stream: str = "s") -> str:
        tag = f"{stream}/{channel}"
        return json.dumps({"tag": tag, "ts": 1_700_000_000 + at, "values": value})

    # Many that are kept before, and not touched again.
    write(rig.broker, [sample("c0", 0, stream=f"other-{n}") for n in range(200)], b"k")
    rig.turn()
    rig.clock.seconds += 100
    rig.turn()
    rig.line_up(StubModel(quick))
    rig.turn()
    for at in range(10):
        write(rig.broker, [sample("c0", at), sample("c1", at)], b"k")
    write(rig.broker, [sample("c0", 10, 50.0)], b"k")  # half of a reading
    rig.turn()
    rig.clock.seconds += 2
    rig.turn()
    rig.turn()
    assert judges(rig) == {quick.version}
    assert restored(rig, quick) == "restored"
    write(rig.broker, [sample("c1", 10)], b"k")
    again = Rig(rig.broker, about=quick, form=form)
    again.turn()
    (opened,) = said(rig.broker)
    assert opened["channels"][0]["value"] == 50.0


def test_an_alert_that_nobody_was_told_of_ends_without_a_word() -> None:
    rig = begun(limits=Limits(0))
    turn(rig, WILD)
    rig.line_up(StubModel(NEXT), patience_s=0)
    turn(rig, CALM)
    assert judges(rig) == {NEXT.version}
    assert [(one["kind"], one["status"]) for one in said(rig.broker)] == [("budget", "open")]


def test_what_only_the_new_model_holds_to_be_wrong_is_told_when_it_judges() -> None:
    rig = begun(model=Deaf())
    turn(rig, WILD)
    assert said(rig.broker) == []
    rig.line_up(StubModel(NEXT))
    turn(rig, [0.0] * 4 + [50.0, -50.0, 60.0, -70.0, 80.0])
    (opened,) = said(rig.broker)
    assert (opened["status"], opened["model"]["version"]) == ("open", NEXT.version)


def test_after_its_patience_it_judges_streams_that_are_not_warmed_up() -> None:
    rig = begun()
    slow = manifest(version="1" * 64, warm_up=10_000)
    rig.line_up(StubModel(slow), patience_s=30)
    turn(rig, [0.0] * 10)
    assert judges(rig) == {rig.about.version}
    turn(rig, [0.0] * 10)
    assert judges(rig) == {slow.version}


def test_of_one_graph_rows_move_over_at_once() -> None:
    rig = begun()
    before = rig.pipeline._owned.held[ZERO].lanes[""].arena
    deafer = Calibration(
        kind="state", levels=(0.0, 1e6, 2e6), exceedance=(1.0, 0.1, 0.01), scale=0.5, shape=0.0,
        extremal_index=0.5,
    )  # fmt: skip
    rig.line_up(StubModel(manifest(calibration=(deafer,))))
    turn(rig, [0.0])
    assert rig.pipeline._owned.held[ZERO].lanes[""].arena is before
    assert rig.pipeline._owned.routes.each[0].scorers[0].manifest.calibration == (deafer,)
    assert len(rig.pipeline._owned.routes.each[0].scorers) == 1
    turn(rig, WILD)
    assert said(rig.broker) == []
    assert rig.value("detector_stream_starts_total") == 1


def test_other_settings_count_at_once_even_while_a_model_warms_up() -> None:
    rig = begun()
    rig.line_up(StubModel(manifest(version="1" * 64, warm_up=100)))
    turn(rig, [0.0])
    rig.line_up(rig.pipeline._owned.routes.each[0].scorers[0].engine.model, rate=1e-100)
    turn(rig, [0.0, *WILD])
    assert judges(rig) == {rig.about.version}
    assert said(rig.broker) == []
    assert rig.value("detector_config_info", hash="cafe") == 1


def test_a_third_model_takes_the_place_of_one_that_warms_up() -> None:
    rig = begun()
    rig.line_up(StubModel(manifest(version="1" * 64, warm_up=100)))
    turn(rig, [0.0])
    rig.line_up(StubModel(manifest(version="2" * 64)))
    turn(rig, [0.0] * 6)
    assert judges(rig) == {"2" * 64}
    assert len(rig.pipeline._owned.routes.each[0].scorers) == 1


def test_back_to_the_old_one_before_it_was_replaced_is_nothing() -> None:
    rig = begun()
    rig.line_up(StubModel(manifest(version="1" * 64, warm_up=100)))
    turn(rig, [0.0])
    rig.line_up(StubModel(rig.about))
    turn(rig, [0.0, *WILD])
    assert rig.value("detector_stream_starts_total") == 1
    assert [body["model"]["version"] for body in said(rig.broker)] == [rig.about.version]


def test_a_partition_that_comes_meanwhile_goes_on_with_the_model_that_kept_it() -> None:
    broker = MemoryBroker({ZERO: [], ONE: []})
    other = begun(broker=broker, about=NEXT)
    other.finish()
    rig = Rig(broker=broker)
    rig.line_up(StubModel(manifest(version="1" * 64)))
    rig.pipeline._renew()
    turn(rig, [0.0])
    assert judges(rig) == {NEXT.version}
    assert rig.value("detector_restores_total", outcome="restored") == 1
    assert rig.value("detector_restores_total", outcome="new") == 1


def test_when_the_group_moves_in_the_middle_nothing_has_changed() -> None:
    rig = begun()
    rig.line_up(StubModel(NEXT), patience_s=0)
    rig.broker.member += 1  # the next transaction is refused
    rig.clock.seconds += 2
    before = list(rig.broker.kept[0])
    rig.pipeline._renew()
    assert judges(rig) == {rig.about.version}
    assert rig.broker.kept[0] == before


def test_an_answer_that_is_lost_in_the_middle_is_found_out() -> None:
    rig = begun()
    rig.line_up(StubModel(NEXT), patience_s=0)
    calls = iter(range(100))

    def lose() -> None:
        if next(calls) == 1:  # after it was done
            msg = "expected an answer, saw none"
            raise ConnectionLost(msg)

    rig.broker.on_operation = lose
    rig.clock.seconds += 2
    before = len(rig.broker.kept[0])
    rig.pipeline._renew()
    assert judges(rig) == {NEXT.version}
    keys = [key for key, _ in rig.broker.kept[0][before:]]
    assert sorted(keys) == sorted(set(keys))


def test_streams_that_the_new_model_never_heard_leave_nothing_behind() -> None:
    rig = Rig()
    for number in range(150):  # three slabs
        write(rig.broker, [0.0], b"s%d" % number)
    rig.finish()
    assert {b"slab/0", b"slab/1", b"slab/2"} <= {key for key, _ in rig.broker.kept[0]}
    again = Rig(broker=rig.broker)
    again.line_up(StubModel(NEXT), patience_s=0)
    turn(again, [0.0] * 3)
    assert judges(again) == {NEXT.version}
    last = dict(again.broker.kept[0])
    assert [key for key, value in last.items() if value and key.startswith(b"slab")] == []
    assert restored(again, NEXT) == "restored"


@pytest.mark.parametrize("heir", ["old", "new"])
def test_after_a_crash_with_either_file_alerts_close_once(heir: str) -> None:
    rig = begun()
    turn(rig, WILD)
    rig.line_up(StubModel(NEXT), patience_s=0)
    turn(rig, [100.0])
    assert judges(rig) == {NEXT.version}
    again = Rig(broker=rig.broker, about=NEXT if heir == "new" else rig.about)
    turn(again, [0.0] * 12)
    assert [status for _, status in ids(rig.broker)] == ["open", "close"]
    assert len({id_ for id_, _ in ids(rig.broker)}) == 1


def test_a_crash_at_least_once_in_the_middle_of_it_still_closes_what_was_open() -> None:
    rig = begun(guarantee="at_least_once")
    turn(rig, WILD)
    rig.finish()
    rig.line_up(StubModel(NEXT), patience_s=0)
    rig.clock.seconds += 2
    before = len(rig.broker.kept[0])
    rig.pipeline._renew()
    whole = len(rig.broker.kept[0])
    for cut in range(before, whole + 1):  # the process dies after any of the messages
        broker = MemoryBroker(
            {ZERO: list(rig.broker.partitions[ZERO])},
            dict(rig.broker.committed),
            sent=list(rig.broker.sent),
            kept={0: rig.broker.kept[0][:cut]},
        )
        for about in (rig.about, NEXT):
            again = Rig(broker=MemoryBroker(**vars(broker)), about=about)
            again.broker.sent = list(broker.sent)
            again.broker.partitions = {ZERO: list(broker.partitions[ZERO])}
            again.broker.kept = {0: list(broker.kept[0])}
            turn(again, [0.0] * 12)
            assert [status for _, status in ids(again.broker)] == ["open", "close"]
            assert len({id_ for id_, _ in ids(again.broker)}) == 1


# A candidate beside it --------------------------------------------------------------------


def test_a_candidate_is_compared_and_never_alerts() -> None:
    rig = begun(topics=TOPICS)
    rig.line_up(rig.pipeline._owned.routes.each[0].scorers[0].engine.model, Deaf(NEXT))
    turn(rig, [0.0] * 5)
    turn(rig, WILD)
    assert {body["model"]["version"] for body in said(rig.broker)} == {rig.about.version}
    assert said(rig.broker, "compared") == []
    assert rig.value("detector_shadow_readings_total", alerting="judging") == 3
    assert rig.value("detector_shadow_readings_total", alerting="both") == 0
    assert rig.value("detector_shadow_readings_total", alerting="none") == 1
    assert rig.value("detector_shadow_info", role="candidate", name="stub", version="1" * 12) == 1


def test_what_a_candidate_would_have_said_goes_to_a_topic_of_its_own() -> None:
    rig = begun(topics=TOPICS, model=Deaf())
    rig.line_up(rig.pipeline._owned.routes.each[0].scorers[0].engine.model, StubModel(NEXT))
    turn(rig, [0.0] * 5)
    turn(rig, WILD)
    assert said(rig.broker) == []
    (opened,) = said(rig.broker, "compared")
    assert (opened["status"], opened["model"]["version"]) == ("open", NEXT.version)
    assert rig.value("detector_shadow_alerts_total", kind="state") == 1
    assert rig.value("detector_shadow_readings_total", alerting="candidate") == 3


def test_equal_models_rank_readings_alike() -> None:
    rig = begun()
    rig.line_up(rig.pipeline._owned.routes.each[0].scorers[0].engine.model, StubModel(NEXT))
    turn(rig, [0.0] * 100)  # both means settle
    turn(rig, [float(n * 17 % 29) / 9 for n in range(60)])
    assert (rig.value("detector_shadow_rank_correlation") or 0) > 0.9


def test_a_candidate_that_is_promoted_has_warmed_up_already() -> None:
    rig = begun()
    rig.line_up(rig.pipeline._owned.routes.each[0].scorers[0].engine.model, StubModel(NEXT))
    turn(rig, [0.0] * 5)
    rig.line_up(StubModel(NEXT))
    turn(rig, [0.0, 0.0])
    assert judges(rig) == {NEXT.version}
