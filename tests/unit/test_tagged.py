"""Values of one tag each: what they name, what is bad, and which readings they become."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import chunk_of, manifest
from pydantic import ValidationError
from rigs import Rig

from detector.decode import decode
from detector.errors import SettingsRejected
from detector.join import new_tags
from detector.lane import Keeping, Lane
from detector.mapping import Input, form_of, headers_of, layout_of
from detector.records import US_PER_S, Bounds, Partition
from detector.settings import read_settings
from detector.state import Arena
from detector.validate import Decoded, Format

CHANNELS = ("pressure", "flow")
NOW_S = 1_700_000_000
NAN = float("nan")
PERIOD = {"period_s": 1.0}
HOLD = {"hold_s": 2.0, "carry_s": 5.0}

Sent = tuple[str, float, object]  # tag, seconds after NOW_S, value


def form(tags: dict[str, Any], bounds: Any = (), **given: Any) -> Format:
    given = {"time": "t", "values": "v", "tags": tags, **given}
    layout = layout_of(Input.model_validate(given), CHANNELS)
    return Format(CHANNELS, bounds=bounds, layout=layout)


def record(sent: Sent) -> tuple[bytes | None, bytes | None]:
    tag, at_s, value = sent
    return b"key", json.dumps({"tag": tag, "t": NOW_S + at_s, "v": value}).encode()


def take(
    sent: Sequence[Sent], tags: dict[str, Any], kept: Arena | None = None, **given: Any
) -> Decoded:
    return decode(chunk_of([record(one) for one in sent]), form(tags, **given), kept)


def told(said: Decoded) -> list[tuple[str, float, list[float], int]]:
    """Return stream, seconds after NOW_S, values and offset of each reading."""
    readings = said.readings
    return [
        (
            readings.streams[readings.stream[n]].decode(),
            (int(readings.ts_us[n]) / US_PER_S) - NOW_S,
            [float(v) for v in readings.x[n]],
            int(readings.offset[n]),
        )
        for n in range(len(readings.offset))
    ]


def test_a_reading_is_what_came_in_its_period_and_ends_with_the_next() -> None:
    said = take(
        [
            ("a/pressure", 0.1, 1),
            ("a/flow", 0.2, 10),
            ("b/flow", 0.3, 99),
            ("a/pressure", 0.9, 2),  # the last wins
            ("a/pressure", 1.0, 3),
            ("a/flow", 2.5, 11),
        ],
        PERIOD,
    )
    first = ("a", pytest.approx(0.9), [2, 10], 4)
    assert told(said) == [first, ("a", pytest.approx(1.0), [3, 10], 5)]
    assert (said.bad, said.unknown_values, said.late) == ([], 0, 0)


def test_a_reading_is_done_when_all_channels_have_come() -> None:
    said = take(
        [
            ("a/pressure", 0, 1),
            ("a/pressure", 0.5, 2),
            ("a/flow", 0.7, 10),
            ("a/flow", 1, 11),
            ("a/pressure", 1.2, 3),
        ],
        HOLD,
    )
    assert told(said) == [
        ("a", pytest.approx(0.7), [2, 10], 2),
        ("a", pytest.approx(1.2), [3, 11], 4),
    ]


def test_it_waits_no_longer_than_it_is_told_and_carries_no_longer_either() -> None:
    said = take(
        [
            ("a/flow", 0, 10),
            ("a/pressure", 0, 1),  # all are here
            ("a/pressure", 1, 2),
            ("a/pressure", 2.9, 3),
            ("a/pressure", 3, 4),  # two seconds after the first
            ("a/pressure", 5.5, 5),
            ("a/pressure", 8, 6),
        ],
        HOLD,
    )
    assert [row[1:] for row in told(said)] == [
        (0, [1, 10], 1),
        (pytest.approx(2.9), [3, 10], 4),
        (3, [4, 10], 5),
        (pytest.approx(5.5), [5, pytest.approx(NAN, nan_ok=True)], 6),
    ]


def test_a_lone_channel_is_a_reading_each_value() -> None:
    layout = layout_of(Input.model_validate({"time": "t", "values": "v", "tags": HOLD}), ["flow"])
    sent = [record(("a/flow", at, at)) for at in range(3)]
    said = decode(chunk_of(sent), Format(("flow",), layout=layout))
    assert said.readings.x[:, 0].tolist() == [0, 1, 2]


def test_a_value_not_newer_than_its_tags_last_is_late() -> None:
    said = take(
        [
            ("a/pressure", 0.5, 1),
            ("a/pressure", 0.5, 2),
            ("a/pressure", 0.4, 3),
            ("a/pressure", 1, 4),
        ],
        PERIOD,
    )
    assert [row[2][0] for row in told(said)] == [1]
    assert (said.late, said.duplicates) == (2, 1)


def test_a_value_that_missed_its_reading_stands_in_for_the_next() -> None:
    sent: list[Sent] = [
        ("a/pressure", 0.9, 1),
        ("a/pressure", 1.1, 2),  # ends the first
        ("a/flow", 0.95, 10),  # newer than that, before this period
        ("a/flow", 0.9, 9),
        ("a/pressure", 2, 3),
    ]
    said = take(sent, PERIOD | {"carry_s": 0.0})
    assert [row[2] for row in told(said)][1] == [2, 10]
    assert said.late == 1
    early: list[Sent] = [("a/pressure", 0.9, 1), ("a/pressure", 1.1, 2), ("a/flow", 0.5, 10)]
    later: list[Sent] = [*early, ("a/pressure", 2, 3)]
    assert [row[2] for row in told(take(later, PERIOD))][1] == [2, 10]
    kept = told(take(later, PERIOD | {"carry_s": 0.5}))[1][2]
    assert np.isnan(kept[1])


def test_null_says_that_it_is_missing_and_nothing_at_all_is_no_reading() -> None:
    sent: list[Sent] = [("a/pressure", 0, 1), ("a/flow", 0, 1)]
    sent += [("a/pressure", 1, None), ("a/pressure", 2, None), ("a/flow", 2, None)]
    sent += [("a/flow", 3, 7), ("a/flow", 4, 8)]
    said = take(sent, PERIOD)
    assert said.bad == []
    assert [(row[1], np.isnan(row[2]).tolist()) for row in told(said)] == [
        (0, [False, False]),
        (1, [True, False]),
        (3, [True, False]),
    ]


def test_streams_go_by_their_own_time() -> None:
    sent: list[Sent] = [("ahead/flow", 900, 1), ("a/flow", 0, 1), ("a/flow", 0.5, 2)]
    said = take([*sent, ("a/flow", 1, 3)], PERIOD)
    assert [row[:2] for row in told(said)] == [("a", pytest.approx(0.5))]


def test_tags_that_the_model_does_not_know_are_counted_whatever_else_they_say() -> None:
    sent: list[Sent] = [("a/level", 0, "high"), ("noslash", -1e9, 1), ("/flow", 0, 1)]
    said = take([*sent, ("a/flow", 0, 1)], PERIOD)
    assert (said.bad, said.unknown_values) == ([], 3)


def test_a_stream_id_that_is_none_is_bad() -> None:
    said = take([("a\t/flow", 0, 1), ("x" * 300 + "/flow", 0, 1), ("b/level", 0, 1)], PERIOD)
    assert [bad.reason for bad in said.bad] == ["stream_id", "stream_id"]
    assert "in the tag 'a\\t/flow'" in said.bad[0].detail
    said = take([("a/flow", 0, 1)], {"pattern": "a/(?P<stream>x?)(?P<channel>.*)"} | PERIOD)
    assert [bad.reason for bad in said.bad] == ["stream_id"]


@pytest.mark.parametrize(
    ("body", "reason", "part"),
    [
        ({"t": NOW_S, "v": 1}, "schema", "expected something at tag, saw {t, v}"),
        ({"tag": [1], "t": NOW_S, "v": 1}, "schema", "expected a tag at tag, saw [1]"),
        ({"tag": None, "t": NOW_S, "v": 1}, "schema", "expected a tag at tag, saw None"),
        ({"tag": "a/flow", "v": 1}, "schema", "expected something at t"),
        ({"tag": "a/flow", "t": "noon", "v": 1}, "schema", "expected a time"),
        ({"tag": "a/flow", "t": 1, "v": 1}, "time", "expected a time from 2000"),
        ({"tag": "a/flow", "t": NOW_S}, "schema", "expected something at v, saw {t, tag}"),
        ({"tag": "a/flow", "t": NOW_S, "v": "1"}, "schema", "expected a number at v, saw '1'"),
        ({"tag": "a/flow", "t": NOW_S, "v": 1e39}, "not_finite", "float32"),
        ({"tag": "a/flow", "t": NOW_S, "v": 10**400}, "not_finite", "float32"),
        ([], "empty", "an empty array"),
    ],
)
def test_what_is_bad_says_why(body: object, reason: str, part: str) -> None:
    good = record(("a/pressure", 0, 1))
    chunk = chunk_of([good, (b"k", json.dumps(body).encode()), record(("a/pressure", 1, 2))])
    said = decode(chunk, form(PERIOD))
    assert [(bad.index, bad.reason) for bad in said.bad] == [(1, reason)]
    assert part in said.bad[0].detail
    assert len(told(said)) == 1


def test_a_record_of_many_values_is_taken_whole_or_not_at_all() -> None:
    metrics = [
        {"name": "pressure", "at": NOW_S, "value": 1},
        {"name": "flow", "at": NOW_S, "value": 10},
        {"name": "Node/bdSeq", "at": NOW_S, "value": 3},
    ]
    spoilt = [{"name": "flow", "at": NOW_S + 1, "value": 11}, {"name": "flow", "at": 1, "value": 1}]
    bodies = [{"metrics": metrics}, {"metrics": spoilt}]
    chunk = chunk_of([(b"pump-1", json.dumps(body).encode()) for body in bodies])
    given = form(
        {"tag": "name", "pattern": "(?P<channel>.+)", "hold_s": 1.0},
        readings="metrics",
        time="at",
        values="value",
    )
    said = decode(chunk, given)
    assert told(said) == [("pump-1", 0, [1, 10], 0)]
    assert [bad.reason for bad in said.bad] == ["time"]
    assert said.unknown_values == 1


def test_key_header_and_bare_numbers_say_all() -> None:
    given = form(
        {"tag": "key", "hold_s": 1.0},
        time="record",
        values="",
        channels={"pressure": "PT.101", "flow": {"path": "FT", "scale": 2, "offset": 1}},
    )
    said = decode(chunk_of([(b"a/b/PT.101", b"1.5"), (b"a/b/FT", b"4"), (None, b"1")]), given)
    assert told(said)[0][0] == "a/b"
    assert told(said)[0][2] == [1.5, 9]
    assert [bad.detail for bad in said.bad] == ["expected a tag at key, saw None"]
    layout = Input.model_validate({"tags": {"tag": "header:topic", **PERIOD}})
    assert headers_of(layout) == ("topic",)
    chunk = chunk_of([(None, b'{"ts": 1700000000, "values": 1}')] * 2)
    chunk = replace(chunk, headers={"topic": [b"a/flow", b"a/pressure"]})
    said = decode(chunk, Format(CHANNELS, layout=layout_of(layout, CHANNELS)))
    assert (said.bad, said.unknown_values) == ([], 0)


def test_a_value_out_of_bounds_counts_as_missing() -> None:
    kept = new_tags(2)
    said = decode(
        chunk_of([record(("a/flow", 0, 99)), record(("a/flow", 1, 5)), record(("a/flow", 2, 6))]),
        form(PERIOD, bounds=((0, 1), (0, 50))),
        kept,
    )
    assert said.out_of_bounds == 1
    assert [row[1:3] for row in told(said)] == [(1, [pytest.approx(NAN, nan_ok=True), 5])]
    assert len(kept) == 1


def test_without_an_arena_every_chunk_begins_anew() -> None:
    sent: list[Sent] = [("a/flow", 0, 1), ("a/flow", 1, 2)]
    assert len(told(take(sent, PERIOD))) == 1
    kept = new_tags(2)
    assert [len(told(take([one], PERIOD, kept))) for one in sent] == [0, 1]


@pytest.mark.parametrize(
    ("tags", "part"),
    [
        ({}, "expected one of period_s and hold_s, saw neither"),
        ({"period_s": 1, "hold_s": 1}, "expected one of period_s and hold_s, saw both"),
        ({"period_s": 0}, "greater than or equal to 0.001"),
        ({"period_s": 1, "pattern": "(?P<tag>.*)"}, "expected groups (?P<channel>...)"),
        ({"period_s": 1, "pattern": "(?P<channel>"}, "expected a regular expression, saw"),
        ({"period_s": 1, "tag": "header:"}, "expected key, header:NAME or a path"),
        ({"period_s": 1, "carry_s": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tags: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Input.model_validate({"tags": tags})
    assert part in str(refused.value)


def test_a_period_that_the_model_would_never_warm_up_on_is_refused() -> None:
    gap_s = manifest().largest_gap_s
    form_of(manifest(), Input.model_validate({"tags": {"period_s": gap_s}}))
    with pytest.raises(SettingsRejected, match=r"expected tags.period_s of at most the model's"):
        form_of(manifest(), Input.model_validate({"tags": {"period_s": gap_s + 1}}))


def test_the_environment_gives_the_table_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTOR_CONFIG", "")
    monkeypatch.setenv("DETECTOR_MODEL", "model.onnx")
    monkeypatch.setenv("DETECTOR_INPUT__TAGS", '{"period_s": 2}')
    given = read_settings().input
    assert given.tags is not None
    assert (given.tags.period_s, given.tags.carry_s) == (2, 60)


def test_streams_that_never_had_a_reading_are_forgotten_like_others() -> None:
    scorer = Rig().scorer()
    held = Lane(scorer.origin(Partition("readings", 0)), scorer)
    held.resume(Bounds(0, 0, None), None)
    take([(f"s{n}/flow", n, 1) for n in range(10)], PERIOD, held.tags)
    assert (held.streams, len(held.arena)) == (10, 0)
    assert held.evict(Keeping("state", max_streams=4), held.streams) == 0
    assert held.streams == 4
    # The longest idle went.
    told_ = [take([(f"s{n}/flow", n + 5, 1)], PERIOD, held.tags) for n in range(10)]
    assert [len(one.readings.offset) for one in told_] == [0] * 6 + [1] * 4
    held.arena.newest_us = (NOW_S + 100) * US_PER_S
    held.evict(Keeping("state", ttl_us=95 * US_PER_S), held.streams)
    assert held.streams == 10
    held.evict(Keeping("state", ttl_us=90 * US_PER_S), held.streams)
    assert held.streams == 5
