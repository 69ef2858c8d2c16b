"""The loop, over a broker in memory: what is said, what is committed, what a crash repeats."""

import json

import pytest
from fakes import ManualClock, MemoryBroker, MemorySink, MemorySource, Record, manifest
from rigs import CALM, WILD, ZERO, Rig, ids, write

from detector.delivery import ExactlyOnce
from detector.errors import ConnectionLost, DeadLetterLimit, Displaced, MembershipLost
from detector.lane import Keeping
from detector.limit import DeadLetters
from detector.messages import Topics
from detector.records import Partition, Polled
from detector.scorer import Scorer
from detector.validate import Format


def test_an_alert_is_sent_before_its_reading_is_committed() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.turn()
    assert [message.topic for message in rig.broker.sent] == ["alerts"] * len(rig.broker.sent)
    assert rig.broker.sent
    assert rig.broker.committed == {ZERO: len(CALM) + len(WILD)}
    assert rig.value("detector_readings_total") == 11
    assert rig.value("detector_warming_readings_total") == 3


def test_quiet_polls_are_committed_every_interval_only() -> None:
    rig = Rig(max_poll_records=2)
    write(rig.broker, CALM[:4])
    rig.turn()
    rig.pipeline.step(rig.source.poll())
    # With the first record goes the mark of the state before it; then nothing is said.
    assert rig.broker.committed == {ZERO: 2}
    rig.clock.seconds += 5
    rig.pipeline.step(rig.source.poll())
    assert rig.broker.committed == {ZERO: 4}


def test_bad_records_are_sent_aside_and_committed() -> None:
    rig = Rig()
    write(rig.broker, [0.0, "nonsense", 0.0])
    rig.turn()
    assert [(m.topic, m.value) for m in rig.broker.sent] == [("dead-letters", b"nonsense")]
    assert rig.broker.committed == {ZERO: 3}
    assert rig.value("detector_dead_letters_total", reason="not_json") == 1


def test_too_many_bad_records_stop_it_with_nothing_sent_or_committed() -> None:
    rig = Rig(limit=DeadLetters(3, 1.0))
    write(rig.broker, ["a", "b", "c"])
    with pytest.raises(DeadLetterLimit, match="3 bad records in a row"):
        rig.turn()
    assert (rig.broker.sent, rig.broker.committed) == ([], {})


def test_scores_are_said_where_somebody_asks() -> None:
    rig = Rig(topics=Topics("alerts", "dead-letters", "scores"))
    write(rig.broker, CALM)
    rig.turn()
    said = [json.loads(m.value) for m in rig.broker.sent if m.topic == "scores"]
    assert [body["offset"] for body in said] == list(range(len(CALM)))
    assert said[0]["score"] == {"state": 0.0}


class Comes(MemorySource):
    """A broker that answers at the third poll; then the pipeline is asked to stop."""

    def __init__(self, broker: MemoryBroker, rig: Rig) -> None:
        super().__init__(broker)
        self.rig, self.polls = rig, 0

    def poll(self, timeout_s: float | None = None) -> Polled:
        self.polls += 1
        self.rig.broker.away = self.polls < 3
        if self.polls == 8:
            self.rig.pipeline.stop()
        return super().poll()


def test_an_absent_broker_is_waited_for_and_counted_once() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.pipeline._source = rig.pipeline._owned._source = Comes(rig.broker, rig)
    rig.pipeline._delivery = ExactlyOnce(rig.pipeline._source, MemorySink(rig.broker))
    rig.pipeline.run()
    assert rig.value("detector_broker_losses_total") == 1
    assert rig.value("detector_broker_connected") == 1
    assert rig.broker.committed == {ZERO: len(CALM)}
    assert rig.health.ready()[0]
    assert [line for line in rig.told if "READY=1" in line] == [
        "WATCHDOG=1\nREADY=1\nSTATUS=scoring"
    ]
    assert rig.told[0] == (
        "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000\nSTATUS=the broker does not answer"
    )


def test_asked_to_stop_while_the_broker_is_away_it_gives_up_in_time() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.turn()
    write(rig.broker, WILD)
    polled = rig.source.poll()
    committed = dict(rig.broker.committed)
    rig.broker.away = True
    rig.pipeline.stop()
    with pytest.raises(ConnectionLost):
        rig.pipeline.step(polled)
    assert rig.broker.committed == committed
    assert rig.clock.seconds - ManualClock().seconds <= 20 + 10


@pytest.mark.parametrize("how", ["revoked", "lost"])
def test_a_partition_that_went_leaves_nothing_behind(how: str) -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.turn()
    rig.pipeline.step(Polled(**{how: frozenset({ZERO})}))
    rig.gauge()
    assert rig.pipeline._owned.held == {}
    assert rig.pipeline._ledger.read == {}
    assert rig.value("detector_streams") == 0
    assert rig.value("detector_assigned_partitions") == 0
    assert rig.value("detector_rebalances_total") == 2
    assert rig.value("detector_lost_partitions_total") == (how == "lost")


def test_gauges_say_how_much_is_held_and_open() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.turn()
    rig.gauge()
    assert rig.value("detector_streams") == 1
    assert rig.value("detector_open_alerts", kind="state", severity="warning") == 1
    assert rig.value("detector_lag_records", partition="0") == 0
    held = rig.value("detector_state_bytes")
    assert held is not None
    assert held > 0


def test_a_zombie_says_why_it_ends() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.turn()
    rig.clock.seconds += 120
    with pytest.raises(MembershipLost, match="saw a pause of 120 s: the process stood still"):
        rig.pipeline.step(Polled(lost=frozenset({ZERO})))


def test_a_member_that_was_cut_off_is_no_zombie() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.turn()
    rig.broker.away = True
    polls = 0

    def poll() -> Polled:
        nonlocal polls
        polls += 1
        rig.broker.away = polls < 12
        return rig.source.poll()

    before_s = rig.clock.seconds
    assert rig.pipeline._patience.attempt(poll, "poll") is not None
    assert rig.clock.seconds - before_s > 60, "longer than the session"
    rig.broker.member += 1  # and so the group went on
    rig.turn()
    assert rig.value("detector_lost_partitions_total") == 1
    assert rig.value("detector_restores_total", outcome="restored") == 1


def test_a_zombie_can_neither_say_nor_commit() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.turn()
    write(rig.broker, WILD)
    polled, committed = rig.source.poll(), dict(rig.broker.committed)
    rig.broker.member += 1  # the group goes on without us
    with pytest.raises(MembershipLost):
        rig.pipeline.step(polled)
    assert (rig.broker.sent, rig.broker.committed) == ([], committed)


def test_progress_that_said_nothing_may_be_dropped_while_the_group_moves() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.turn()
    write(rig.broker, [0.0])
    rig.clock.seconds += 60  # commit and checkpoint are due
    polled = rig.source.poll()
    rig.broker.member += 1
    rig.pipeline.step(polled)
    assert rig.value("detector_dropped_commits_total") == 2
    assert rig.broker.committed == {ZERO: len(CALM)}
    rig.turn()  # it joins again, and goes on
    assert rig.value("detector_restores_total", outcome="restored") == 1


def test_a_checkpoint_is_written_every_interval_and_on_the_way_out() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.turn()
    assert rig.value("detector_checkpoints_total") == 0
    rig.clock.seconds += 30
    rig.pipeline.step(rig.source.poll())
    assert rig.value("detector_checkpoints_total") == 1
    assert rig.pipeline._ledger.checkpointed == {ZERO: len(CALM)}
    rig.clock.seconds += 30
    rig.pipeline.step(rig.source.poll())
    assert rig.value("detector_checkpoints_total") == 1, "nothing was read since"
    write(rig.broker, CALM)
    rig.turn()
    rig.pipeline.stop()
    rig.pipeline.run()
    assert rig.value("detector_checkpoints_total") == 2


def test_readiness_waits_for_the_state() -> None:
    rig = Rig()
    write(rig.broker, CALM)
    rig.finish()
    again = Rig(broker=rig.broker)
    again.pipeline.step(again.source.poll())
    assert again.health.ready() == (False, "restoring the state of 1 partitions")
    again.turn()
    again.pipeline.step(again.source.poll())
    assert again.health.ready()[0]


def test_other_settings_cannot_unsay_what_was_said() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.turn()
    assert [status for _, status in ids(rig.broker)] == ["open"]
    deaf = Rig(broker=rig.broker, alarms_per_day=1e-100)  # it would never have opened
    write(deaf.broker, [0.0] * 12)
    deaf.turn()
    (opened, _), (closed, status) = ids(deaf.broker)
    assert (opened, "close") == (closed, status)


def test_other_settings_cannot_close_what_was_never_opened() -> None:
    deaf = Rig(alarms_per_day=1e-100)
    write(deaf.broker, [*CALM, *WILD])
    deaf.finish(checkpoint=False)
    assert deaf.broker.committed == {ZERO: len(CALM) + len(WILD)}
    rig = Rig(broker=deaf.broker)  # it would have opened, in what is replayed in silence
    write(rig.broker, [5.5] * 12)  # as the mean is by now
    rig.turn()
    assert ids(rig.broker) == []


def test_another_model_warms_up_afresh_and_closes_what_was_open() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.finish()
    other = Rig(broker=rig.broker, about=manifest(version="1" * 64))
    write(other.broker, CALM)
    other.turn()
    said = [json.loads(message.value or b"") for message in other.broker.sent]
    assert [(body["id"], body["status"]) for body in said] == [
        (said[0]["id"], "open"),
        (said[0]["id"], "close"),
    ]
    assert said[1]["cause"] == "gap"
    assert other.value("detector_restores_total", outcome="other_model") == 1
    assert other.value("detector_stream_starts_total") == 1
    other.finish()
    once_more = Rig(broker=other.broker, about=manifest(version="1" * 64))
    once_more.turn()
    assert once_more.value("detector_restores_total", outcome="restored") == 1


def test_what_another_model_opened_stays_known_over_a_restart() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.finish()
    write(rig.broker, CALM, stream=b"another")  # not the one in alert
    for _ in range(2):
        other = Rig(broker=rig.broker, about=manifest(version="1" * 64))
        other.finish()
    last = Rig(broker=rig.broker, about=manifest(version="1" * 64))
    write(last.broker, [0.0])
    last.turn()
    (opened, _), (closed, status) = ids(last.broker)
    assert (closed, status) == (opened, "close")


def test_streams_that_are_too_many_are_forgotten_the_longest_idle_first() -> None:
    rig = Rig(keeping=Keeping("state", 30, max_streams=3))
    for number in range(6):
        write(rig.broker, [0.0], stream=b"s%d" % number)
    rig.turn()
    rig.clock.seconds += 2
    rig.pipeline.step(rig.source.poll())
    assert rig.value("detector_evicted_streams_total") == 3
    again = Rig(broker=rig.broker)
    again.turn()
    assert sorted(again.pipeline._owned.held[ZERO].lanes[""].arena._row_of) == [b"s3", b"s4", b"s5"]


def test_a_topic_that_was_made_anew_is_read_from_its_beginning() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.finish()
    del rig.broker.partitions[ZERO][:]
    write(rig.broker, CALM)  # other records under the same offsets
    for again in (Rig(broker=rig.broker), rig):
        again.source._position[ZERO] = 0  # as the broker resets it: it is out of range
        again.turn()


def test_late_readings_duplicates_and_gaps_are_told_apart() -> None:
    rig, start_s = Rig(), 1_700_000_000
    for at_s in (0, 1, 1, 0, 2, 500, 500, 501):  # the largest gap is a minute
        value = json.dumps({"ts": start_s + at_s, "values": [0, 0]}).encode()
        rig.broker.partitions[ZERO].append(Record(b"s", value))
    rig.turn()
    names = ("readings", "late_readings", "duplicate_readings", "stream_starts", "stream_gaps")
    assert [rig.value(f"detector_{name}_total") for name in names] == [5, 3, 2, 2, 1]


def test_a_plant_that_goes_wrong_as_a_whole_fits_into_messages() -> None:
    rig, fleet = Rig(), [b"%b-%04d" % (b"x" * 200, n) for n in range(1000)]
    for second, value in enumerate((*CALM[:5], 50.0, -50.0)):
        body = json.dumps({"ts": 1_700_000_000 + second, "values": [value, 0]}).encode()
        rig.broker.partitions[ZERO] += [Record(stream, body) for stream in fleet]
    rig.turn()
    assert len(ids(rig.broker)) == len(fleet)
    judged = [value for key, value in rig.broker.kept[0] if key.startswith(b"judged/")]
    assert len(judged) == 5
    assert all(value and len(value) < 500_000 for value in judged)
    again = Rig(broker=rig.broker)
    again.turn()
    again.pipeline.step(again.source.poll())
    assert again.pipeline._owned.held[ZERO].lanes[""].arena.alerting["open"].sum() == len(fleet)


def test_a_stream_that_only_the_judge_remembers_is_no_reason_to_crash() -> None:
    rig = Rig()
    write(rig.broker, [*CALM, *WILD])
    rig.turn()
    strict = Rig(broker=rig.broker)
    scorer = strict.pipeline._owned.routes.each[0].scorers[0]
    form = Format(("c0", "c1"), max_value_bytes=1)  # all of it is bad now
    strict.pipeline._owned.routes.each[0].scorers = (Scorer(scorer.engine, form),)
    strict.turn()
    strict.pipeline.step(strict.source.poll())
    assert strict.pipeline._owned.held[ZERO].lanes[""].arena.alerting["open"].sum() == 1


def test_without_a_changelog_streams_are_forgotten_all_the_same() -> None:
    rig = Rig(keeping=Keeping(None, 30, max_streams=3))
    rig.pipeline._owned._changelog = None
    for number in range(6):
        write(rig.broker, [0.0], stream=b"s%d" % number)
    rig.turn()
    rig.clock.seconds += 60
    rig.pipeline.step(rig.source.poll())
    assert rig.value("detector_evicted_streams_total") == 3


class DisplacedSource(MemorySource):
    """Another process has taken its name."""

    def commit(self, positions: dict[Partition, int]) -> None:
        msg = "expected to be a member, saw another of the same name"
        raise Displaced(msg)


def test_who_is_displaced_ends_even_if_nothing_was_to_be_said() -> None:
    rig = Rig(source_type=DisplacedSource)
    write(rig.broker, CALM)
    rig.turn()
    write(rig.broker, [0.0])
    rig.clock.seconds += 10
    with pytest.raises(Displaced):
        rig.pipeline.step(rig.source.poll())
