"""The law of delivery: whatever dies, and whenever, nobody who reads the topics can tell."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from fakes import MemoryBroker, Record, manifest
from fates import Dies, Fate, misfortunes
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import DEPTH, KEEPING, ONE, ZERO, Rig

from detector.budget import Limits
from detector.errors import MembershipLost
from detector.mapping import Input, form_of
from detector.messages import Topics
from detector.records import US_PER_S, Partition
from detector.restore import Kept, resume
from detector.silence import Silence
from detector.snapshot import Origin
from detector.state import Arena

TOPICS = Topics("alerts", "dead-letters", "scores")
STREAMS = [b"a", b"b", b"c"]
SILENCE = Silence(1, 200 * US_PER_S, fewest=1)
ALONE, TOGETHER = Limits(1), Limits(2, group_streams=2, group_within_us=4 * US_PER_S)

value = st.sampled_from([0.0, 0.1, -0.2, 50.0, -50.0, "nonsense"])
reading = st.tuples(st.integers(0, 2), st.sampled_from([ZERO, ONE]), value)
story = st.lists(reading, min_size=1, max_size=40)


def broker_of(drawn: list[tuple[int, Partition, float | str]]) -> MemoryBroker:
    broker = MemoryBroker({ZERO: [], ONE: []})
    ts = 1_700_002_770  # half a minute before an hour ends
    for stream, partition, what in drawn:
        ts += 15 if what == 0.1 else 1  # so that some fall silent
        body = what if isinstance(what, str) else json.dumps({"ts": ts, "values": [what, 0]})
        name = b"%b%d" % (STREAMS[stream], partition.number)  # a stream has one partition
        broker.partitions[partition].append(Record(name, body.encode()))
    return broker


def lives(broker: MemoryBroker, rig: Rig) -> Iterator[Rig]:
    """Run processes until one ends by itself, having read all; and one more, undisturbed."""
    while True:
        try:
            rig.finish()
        except (Dies, MembershipLost):
            yield rig
            rig = Rig(
                broker, rig.topics, rig.max_poll_records, guarantee=rig.guarantee,
                keeping=rig.keeping, silence=rig.silence, limits=rig.limits,
                form=rig.form, apart=rig.apart,
            )  # fmt: skip
        else:
            broker.on_operation = dict
            last = Rig(
                broker, rig.topics, guarantee=rig.guarantee, silence=rig.silence,
                limits=rig.limits, form=rig.form, apart=rig.apart,
            )  # fmt: skip
            last.finish()
            yield last
            return


def said(broker: MemoryBroker) -> list[tuple[str, bytes | None, bytes | None]]:
    """Return what consumers see, in the order of each key's messages."""
    return sorted(
        ((m.topic, m.key, m.value) for m in broker.sent),
        key=lambda message: (message[0], message[1] or b""),
    )


def kept(broker: MemoryBroker, rig: Rig, partition: Partition) -> tuple[Arena, Arena]:
    reader = Kept()
    for key, value_ in broker.kept.get(partition.number, []):
        reader.note(key, value_)
    origin = Origin(rig.about, partition, DEPTH)
    resumed = resume(reader, origin, rig.source.bounds(partition))
    return resumed.arena, resumed.tags


def rows(arena: Arena) -> dict[bytes, bytes]:
    """Return each stream's row, to the bit."""
    found = {}
    for stream in arena._row_of:
        row = arena.take(arena.rows([stream]))
        before = arena.ring.before(int(row.index[0]), int(row.pace["seen"][0]) + 1)
        watched = arena.watched(row.index)
        columns = (row.model, row.pace, row.docket, before.at_us, before.x, watched)
        found[stream] = b"".join(np.asarray(column).tobytes() for column in columns)
    return found


polls = st.integers(1, 12)
intervals = st.sampled_from([0.0, 30.0])
limits = st.sampled_from([ALONE, TOGETHER])


def played(
    calm: MemoryBroker,
    rough: MemoryBroker,
    fates: list[tuple[int, str]],
    max_poll_records: int,
    checkpoint_s: float,
    **how: Any,
) -> tuple[Rig, Rig]:
    """Play one story undisturbed and once more with misfortunes; return the last rig of each."""
    undisturbed = Rig(calm, TOPICS, **{**how, "guarantee": "exactly_once"})
    undisturbed.finish()
    keeping = replace(KEEPING, interval_s=checkpoint_s)
    rough.on_operation = Fate(rough, list(fates))
    *_, last = lives(rough, Rig(rough, TOPICS, max_poll_records, keeping=keeping, **how))
    assert rough.committed == calm.committed
    return undisturbed, last


@given(story, misfortunes, polls, intervals, limits)
@settings(deadline=None, max_examples=300)
def test_exactly_once_means_that_nobody_can_tell(
    drawn: list[tuple[int, Partition, float | str]],
    fates: list[tuple[int, str]],
    max_poll_records: int,
    checkpoint_s: float,
    bounds: Limits,
) -> None:
    calm, rough = broker_of(drawn), broker_of(drawn)
    undisturbed, last = played(
        calm, rough, fates, max_poll_records, checkpoint_s, silence=SILENCE, limits=bounds
    )
    assert said(rough) == said(calm)
    for partition in (ZERO, ONE):
        assert_same(kept(rough, last, partition), kept(calm, undisturbed, partition))


def assert_same(seen: tuple[Arena, Arena], expected: tuple[Arena, Arena]) -> None:
    assert [*map(rows, seen)] == [*map(rows, expected)]
    for name in ("clock", "tally", "withheld"):
        assert getattr(seen[0], name) == getattr(expected[0], name)


@given(story, misfortunes, polls, intervals)
@settings(deadline=None, max_examples=200)
def test_nobody_can_tell_of_streams_with_a_model_of_their_own_either(
    drawn: list[tuple[int, Partition, float | str]],
    fates: list[tuple[int, str]],
    max_poll_records: int,
    checkpoint_s: float,
) -> None:
    calm, rough = broker_of(drawn), broker_of(drawn)
    how = {"silence": SILENCE, "limits": TOGETHER, "apart": "a*"}
    played(calm, rough, fates, max_poll_records, checkpoint_s, **how)
    assert said(rough) == said(calm)


def long_broker_of(drawn: list[tuple[int, Partition, float | str]]) -> MemoryBroker:
    """Let every reading come as two values, of which the second is another's now and then."""
    broker = MemoryBroker({ZERO: [], ONE: []})
    for n, (stream, partition, what) in enumerate(drawn):
        name = f"{STREAMS[stream].decode()}{partition.number}"
        for channel in ("c0", "c1")[: 1 + n % 3]:
            at = 1_700_000_000 + n / 2 + (channel == "c1") / 4
            sample = {"tag": f"{name}/{channel}", "ts": at, "values": what}
            broker.partitions[partition].append(Record(name.encode(), json.dumps(sample).encode()))
    return broker


@given(story, misfortunes, polls, intervals, st.sampled_from(["period_s", "hold_s"]))
@settings(deadline=None, max_examples=300)
def test_nobody_can_tell_of_joined_readings_either(
    drawn: list[tuple[int, Partition, float | str]],
    fates: list[tuple[int, str]],
    max_poll_records: int,
    checkpoint_s: float,
    how: str,
) -> None:
    form = form_of(manifest(), Input.model_validate({"tags": {how: 2.0, "carry_s": 3.0}}))
    calm, rough = long_broker_of(drawn), long_broker_of(drawn)
    undisturbed, last = played(calm, rough, fates, max_poll_records, checkpoint_s, form=form)
    assert said(rough) == said(calm)
    for partition in (ZERO, ONE):
        assert_same(kept(rough, last, partition), kept(calm, undisturbed, partition))


@given(story, misfortunes, polls, intervals)
@settings(deadline=None, max_examples=200)
def test_at_least_once_may_repeat_but_never_loses(
    drawn: list[tuple[int, Partition, float | str]],
    fates: list[tuple[int, str]],
    max_poll_records: int,
    checkpoint_s: float,
) -> None:
    calm, rough = broker_of(drawn), broker_of(drawn)
    how = {"guarantee": "at_least_once", "silence": SILENCE, "limits": TOGETHER}
    played(calm, rough, fates, max_poll_records, checkpoint_s, **how)
    assert set(said(rough)) == set(said(calm))


def test_the_stories_have_streams_that_fall_silent() -> None:
    drawn: list[tuple[int, Partition, float | str]] = [(1, ZERO, 0.0), *[(0, ZERO, 0.1)] * 9]
    broker = broker_of([*drawn, (1, ZERO, 0.0)])
    Rig(broker, TOPICS, silence=SILENCE, limits=TOGETHER).finish()
    bodies = [json.loads(m.value or b"") for m in broker.sent if m.topic == "alerts"]
    silent = [(b["stream"], b["status"]) for b in bodies if b["kind"] == "silent"]
    assert silent == [("b0", "open"), ("b0", "close")]


def test_the_stories_have_groups() -> None:
    calm: list[tuple[int, Partition, float | str]] = [(s, ZERO, 0.0) for s in (0, 1, 2)] * 4
    broker = broker_of([*calm, *[(s, ZERO, 50.0) for s in (0, 1, 2)], *calm])
    Rig(broker, TOPICS, limits=TOGETHER).finish()
    bodies = [json.loads(m.value or b"") for m in broker.sent if m.topic == "alerts"]
    told = [(b["stream"], b["status"], b["score"]) for b in bodies if b["kind"] == "group"]
    assert told == [("readings/0", "open", 2), ("readings/0", "close", 3)]
