"""What the loop tells those who watch it."""

import re
from typing import get_args

import numpy as np
import pytest
from fakes import MemoryBroker, MemorySink, manifest
from prometheus_client.openmetrics.exposition import generate_latest
from rigs import CALM, ONE, WILD, ZERO, Rig, write

from detector.artifact import Calibration
from detector.errors import ConnectionLost
from detector.metrics import Stage
from detector.records import Message, Polled

BUCKET, RARITY = "detector_score_rarity_decades_bucket", "detector_score_rarity_decades_count"


def played(*values: float | str, **options: object) -> Rig:
    rig = Rig(**options)  # type: ignore[arg-type]
    write(rig.broker, values)
    rig.turn()
    rig.gauge()
    return rig


def test_scores_are_told_as_how_rare_they_are_and_only_past_warm_up() -> None:
    rig = played(*CALM, *WILD)
    warming = rig.value("detector_warming_readings_total")
    assert warming
    assert rig.value(RARITY, kind="state") == len(CALM) + len(WILD) - warming
    calm = rig.value(BUCKET, kind="state", le="2.0")
    assert calm == len(CALM) - warming
    assert rig.value(BUCKET, kind="state", le="10.0") == calm, "the wild ones are off the scale"
    assert rig.value("detector_score_rarity_decades_sum", kind="state") > 10 * len(WILD)


def test_drift_is_that_of_scores_past_warm_up_and_fades() -> None:
    rig = played(*CALM)
    calm = rig.value("detector_score_drift", model=rig.about.name, kind="state")
    assert calm < 0
    assert abs(calm) < 0.01, "a few readings prove nothing"
    write(rig.broker, [0.0, 30.0] * 1000)
    rig.turn()
    rig.gauge()
    wild = rig.value("detector_score_drift", model=rig.about.name, kind="state")
    assert wild > 0.25
    rig.clock.seconds += 24 * 3600
    write(rig.broker, [0.0])
    rig.turn()
    rig.gauge()
    assert rig.value("detector_score_drift", model=rig.about.name, kind="state") < 0.5 * wild


def test_rarity_counts_powers_of_ten_and_never_ends() -> None:
    made = Calibration(
        kind="state", levels=(0, 1, 2), exceedance=(1, 0.5, 0.01), scale=1, shape=0,
        extremal_index=1,
    )  # fmt: skip
    scores = [made.level(10.0**-n) for n in (0, 1, 2, 3, 7)]
    assert made.rarity(np.array(scores)) == pytest.approx([0, 1, 2, 3, 7])
    assert np.isfinite(made.rarity(np.array([1e30]))).all()


def test_the_age_of_readings_is_taken_when_what_they_caused_is_delivered() -> None:
    class Slow(MemorySink):
        def transact(self, messages: list[Message], *rest: object) -> None:  # type: ignore[override]
            rig.clock.seconds += 1000
            super().transact(messages, *rest)  # type: ignore[arg-type]

    rig = Rig(sink_type=Slow)
    rig.clock.seconds += 20  # the newest of them is 10 s old
    write(rig.broker, [*CALM, *WILD])
    rig.turn()
    n = len(CALM) + len(WILD)
    assert rig.value("detector_delay_seconds_count") == n
    assert rig.value("detector_delay_seconds_sum") == 1000 * n + sum(20 - t for t in range(n))


def test_late_readings_have_no_age_and_future_ones_none_below_zero() -> None:
    past = '{"ts": 1699999000, "values": [0, 0]}'
    rig = played(0.0, 0.0, past)
    assert rig.value("detector_late_readings_total") == 1
    assert rig.value("detector_delay_seconds_count") == 2
    assert rig.value("detector_delay_seconds_sum") == 0


def test_every_stage_is_timed() -> None:
    broker = MemoryBroker({ZERO: []})
    crashed = Rig(broker)
    write(broker, CALM)
    crashed.turn()
    write(broker, CALM)
    crashed.finish(checkpoint=False)
    rig = Rig(broker)
    rig.pipeline._patience.attempt(rig.pipeline._poll, "poll")
    rig.source._position.clear()  # what it brought is asked for again
    write(broker, WILD)
    rig.turn()
    write(broker, CALM)
    rig.finish()
    times = {s: rig.value("detector_stage_seconds_count", stage=s) for s in get_args(Stage)}
    write(broker, CALM)
    rig.finish(checkpoint=False)
    times["commit"] = rig.value("detector_stage_seconds_count", stage="commit")
    assert all(times.values()), times


def test_open_alerts_are_told_by_severity_and_streams_counted_once() -> None:
    one = manifest().calibration[0]
    both = manifest(calibration=(one, one.model_copy(update={"kind": "onset"})))
    rig = played(*CALM, *WILD, about=both)
    for kind in both.kinds:
        assert rig.value("detector_open_alerts", kind=kind, severity="warning") == 1
        assert rig.value("detector_open_alerts", kind=kind, severity="critical") == 0
    assert rig.value("detector_alerting_streams") == 1


def test_an_alert_is_the_exemplar_of_its_count() -> None:
    rig = Rig()
    write(rig.broker, (*CALM, *WILD), b"pump-" * 50)
    rig.turn()
    served = generate_latest(rig.metrics.registry).decode()
    pattern = r'detector_alerts_total{.*status="open"} 1.0 # {alert_id="(.{36})",stream="(.*)"}'
    told = re.search(pattern, served)
    assert told, served
    assert told[2] == ("pump-" * 50)[:64], "all labels together may have 128 characters"


def test_a_partition_that_went_takes_its_series_along() -> None:
    rig = Rig(MemoryBroker({ZERO: [], ONE: []}))
    write(rig.broker, CALM)
    rig.turn()
    rig.gauge()
    assert rig.value("detector_lag_records", partition="0") == 0
    assert rig.value("detector_last_record_timestamp_seconds", partition="0") == rig.clock.now_s()
    assert rig.value("detector_position_offset", partition="0", position="read") == len(CALM)
    rig.pipeline.step(Polled(revoked=frozenset({ZERO})))
    rig.gauge()
    assert rig.value("detector_lag_records", partition="0") is None
    assert rig.value("detector_last_record_timestamp_seconds", partition="0") is None
    assert rig.value("detector_position_offset", partition="0", position="read") is None
    assert rig.value("detector_lag_records", partition="1") == 0
    rig.gauge()


def test_restores_are_told_in_seconds_bytes_and_partitions() -> None:
    broker = MemoryBroker({ZERO: []})
    rig = Rig(broker)
    write(broker, CALM)
    rig.finish()
    again = Rig(broker)
    polled = again.pipeline._patience.attempt(again.source.poll, "poll")
    assert polled is not None
    again.pipeline._owned.move(polled)
    again.gauge()
    assert again.value("detector_restoring_partitions") == 1
    again.turn()
    again.gauge()
    assert again.value("detector_restoring_partitions") == 0
    kept = sum(len(value or b"") for _, value in broker.kept[0])
    assert again.value("detector_restore_read_bytes_total") == kept
    assert again.value("detector_restores_total", outcome="restored") == 1
    assert again.value("detector_restore_seconds_count") == 1


def test_what_the_broker_refuses_is_told_by_what_was_asked() -> None:
    rig = played(*CALM)
    write(rig.broker, WILD)
    polled = rig.source.poll()
    rig.broker.away = True
    rig.pipeline.stop()
    with pytest.raises(ConnectionLost):
        rig.pipeline.step(polled)
    errors = rig.value("detector_broker_errors_total", operation="deliver")
    assert errors
    assert errors > 1
    assert rig.value("detector_broker_losses_total") == 1
    assert rig.value("detector_broker_errors_total", operation="poll") == 0


def test_the_loop_says_when_it_last_went_round() -> None:
    rig = played(*CALM)
    assert rig.value("detector_progress_timestamp_seconds") == rig.clock.now_s()
