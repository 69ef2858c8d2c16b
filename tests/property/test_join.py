"""What samples become depends on a stream's samples in their order, and on nothing else."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rigs import Rig

from detector.join import Samples, join, new_tags
from detector.lane import Keeping, Lane
from detector.layout import Tagging, parse_place
from detector.records import Bounds, Partition, Readings

CHANNELS = 2  # those of the fakes' model
BEGAN_US = 1_700_000_000_000_000

Sample = tuple[bytes, int, int, float]  # stream, channel, microseconds after BEGAN_US, value
Row = tuple[bytes, int, bytes, int]  # stream, time, values to the bit, offset

sample = st.tuples(
    st.sampled_from([b"a", b"b", b"c"]),
    st.integers(0, CHANNELS - 1),
    st.integers(0, 60),
    st.floats(width=32, allow_infinity=False),
)
# Time mostly rises, as it does.
samples = st.lists(sample, max_size=60).map(
    lambda rows: [(s, c, n // 2 + at, v) for n, (s, c, at, v) in enumerate(rows)]
) | st.lists(sample, max_size=40)
taggings = st.builds(
    lambda span_us, complete, carry_us: Tagging(
        parse_place("tag", "key"), re.compile(""), span_us, complete, carry_us
    ),
    st.integers(1, 30),
    st.booleans(),
    st.integers(0, 60),
)


def columns(rows: Sequence[Sample], first: int) -> Samples:
    streams = sorted({row[0] for row in rows})
    return Samples(
        streams,
        np.array([streams.index(row[0]) for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([BEGAN_US + row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.float32),
        np.arange(first, first + len(rows), dtype=np.int64),
    )


def rows_of(readings: Readings) -> list[Row]:
    return [
        (
            readings.streams[readings.stream[n]],
            int(readings.ts_us[n]),
            readings.x[n].tobytes(),
            int(readings.offset[n]),
        )
        for n in range(len(readings.offset))
    ]


def cut(rows: list[Sample], at: list[int]) -> list[tuple[int, list[Sample]]]:
    ends = [0, *sorted(min(n, len(rows)) for n in at), len(rows)]
    return [(a, rows[a:b]) for a, b in itertools.pairwise(ends)]


@given(samples, taggings, st.lists(st.integers(0, 60), max_size=8))
@settings(deadline=None, max_examples=300)
def test_polls_may_be_cut_anywhere(rows: list[Sample], how: Tagging, at: list[int]) -> None:
    whole, kept = new_tags(CHANNELS), new_tags(CHANNELS)
    want = join(columns(rows, 0), whole, how, CHANNELS)
    parts = [join(columns(some, first), kept, how, CHANNELS) for first, some in cut(rows, at)]
    assert [row for part in parts for row in rows_of(part.readings)] == rows_of(want.readings)
    assert sum(part.late for part in parts) == want.late
    assert sum(part.duplicates for part in parts) == want.duplicates
    streams = sorted({row[0] for row in rows})
    one, other = (tags.take(tags.rows(streams)) for tags in (whole, kept))
    assert one.model.tobytes() == other.model.tobytes()
    assert one.pace.tobytes() == other.pace.tobytes()


@given(samples, taggings)
@settings(deadline=None, max_examples=200)
def test_other_streams_change_nothing(rows: list[Sample], how: Tagging) -> None:
    together = rows_of(join(columns(rows, 0), new_tags(CHANNELS), how, CHANNELS).readings)
    for stream in (b"a", b"b", b"c"):
        places = [n for n, row in enumerate(rows) if row[0] == stream]
        mine = [rows[n] for n in places]
        alone = rows_of(join(columns(mine, 0), new_tags(CHANNELS), how, CHANNELS).readings)
        want = [(s, ts, x, places[offset]) for s, ts, x, offset in alone]
        assert [row for row in together if row[0] == stream] == want


@given(samples, taggings, st.lists(st.integers(0, 60), min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_a_checkpoint_and_a_restore_are_invisible(
    rows: list[Sample], how: Tagging, at: list[int]
) -> None:
    partition = Partition("readings", 0)
    want = rows_of(join(columns(rows, 0), new_tags(CHANNELS), how, CHANNELS).readings)
    seen: list[Row] = []
    scorer = Rig().scorer()
    lane = Lane(scorer.origin(partition), scorer)
    lane.resume(Bounds(0, 0, None), None)
    changelog: dict[bytes, bytes] = {}
    for first, some in cut(rows, at):
        seen += rows_of(join(columns(some, first), lane.tags, how, CHANNELS).readings)
        lane.evict(Keeping("state"), lane.streams)
        for message in lane.checkpoint("state", first + len(some)):
            assert message.key is not None
            assert message.value is not None
            changelog[message.key] = message.value
        lane.checkpointed()
        assert not list(lane.tags.touched())
        lane = Lane(scorer.origin(partition), scorer)
        for key, value in changelog.items():
            lane.kept.note(key, value)
        now = lane.resume(Bounds(0, 0, first + len(some)), None)
        assert now.outcome == "restored"
        assert lane.streams == len({row[0] for row in rows[: first + len(some)]})
    assert seen == want


@dataclass
class Naive:
    """One stream, as one would write it down first."""

    how: Tagging
    last: dict[int, tuple[int, float]] = field(default_factory=dict)
    new: dict[int, int] = field(default_factory=dict)  # channel -> time, since the last reading
    told: int = -1
    begun: int | None = None

    def take(self, channel: int, at: int, value: float) -> list[tuple[int, list[float]]]:
        if channel in self.last and at <= self.last[channel][0]:
            return []
        span, done = self.how.span_us, []
        if self.begun is not None:
            begun = self.begun
            over = at - begun >= span if self.how.complete else at // span > begun // span
            if over:
                done.append(self.tell())
        self.last[channel] = (at, value)
        if at > self.told:
            self.new[channel] = at
            if self.begun is None:
                self.begun = at
            if self.how.complete and len(self.new) == CHANNELS:
                done.append(self.tell())
        return done

    def tell(self) -> tuple[int, list[float]]:
        ts = max(at for at, _ in self.last.values())
        x = [float("nan")] * CHANNELS
        for channel, (at, value) in self.last.items():
            if channel in self.new or ts - at <= self.how.carry_us:
                x[channel] = value
        self.new, self.begun, self.told = {}, None, ts
        return ts, x


@given(samples, taggings)
@settings(deadline=None, max_examples=300)
def test_it_is_what_one_would_write_down_first(rows: list[Sample], how: Tagging) -> None:
    streams: dict[bytes, Naive] = {}
    want: list[Row] = []
    for n, (stream, channel, at, value) in enumerate(rows):
        one = streams.setdefault(stream, Naive(how))
        for ts, x in one.take(channel, BEGAN_US + at, value):
            values = np.array(x, np.float32)
            if not np.isnan(values).all():
                want.append((stream, ts, values.tobytes(), n))
    seen = rows_of(join(columns(rows, 0), new_tags(CHANNELS), how, CHANNELS).readings)
    assert seen == want
