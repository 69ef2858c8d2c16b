"""The law of change: models come and go, whatever dies; each alert is told once, and ends once."""

import json
from collections import defaultdict
from dataclasses import dataclass, field

from fakes import MemoryBroker, Record, StubModel, manifest
from fates import Dies, Fate, misfortunes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rigs import ZERO, Rig

from detector.artifact import Manifest
from detector.budget import Limits
from detector.errors import MembershipLost
from detector.lane import Keeping
from detector.records import BUDGET, GROUP, US_PER_S
from detector.scorer import News
from detector.silence import Silence

FILES = [manifest(version=str(n) * 64, warm_up=warm_up) for n, warm_up in enumerate((3, 1, 6))]
CALM = [0.0] * 12
GAP_S = 1000  # too long: then whatever is open closes
SILENCE = Silence(1, 10_000 * US_PER_S, fewest=1)

STREAMS = [b"a", b"b", b"c"]

# Whose, what, and how long after the one before; a minute is a silence of others.
reading = st.tuples(
    st.integers(0, 2), st.sampled_from([0.0, 0.1, 40.0, -40.0, 300.0]), st.sampled_from([1, 15])
)
story = st.lists(reading, min_size=5, max_size=60)
# After how many turns which file is put into the model's place, and how long it may warm up.
change = st.tuples(st.integers(1, 12), st.integers(0, 2), st.sampled_from([0.0, 1e6]))


@dataclass
class Changing(Rig):
    """A rig under which models change."""

    changes: list[tuple[int, int, float]] = field(default_factory=list)

    def take(self) -> News | None:
        self.clock.seconds += 0.4
        if self.changes and not self.news:
            turns, number, patience_s = self.changes.pop(0)
            if turns > 1:
                self.changes.insert(0, (turns - 1, number, patience_s))
            else:
                self.line_up(StubModel(FILES[number]), patience_s=patience_s)
        return super().take()


def broker_of(drawn: list[tuple[int, float, int]]) -> MemoryBroker:
    broker, ts = MemoryBroker({ZERO: []}), 1_700_000_000
    calm = [(stream, x, 1) for x in CALM for stream in range(3)]
    end = [(0, 0.0, GAP_S), (1, 0.0, 1), (2, 0.0, 1)]
    for stream, x, step_s in [*drawn, *calm, *end]:
        ts += step_s
        body = json.dumps({"ts": ts, "values": [x, 0]})
        broker.partitions[ZERO].append(Record(STREAMS[stream], body.encode()))
    return broker


def stories(broker: MemoryBroker) -> dict[str, list[str]]:
    """Return what was said of each alert, in order."""
    told = defaultdict(list)
    for message in broker.sent:
        if message.topic == "alerts":
            body = json.loads(message.value or b"")
            if body["kind"] not in {BUDGET, GROUP}:  # that closes an hour later, or never
                told[body["id"]].append(body["status"])
    return told


limits_ = st.sampled_from([Limits(), Limits(1), Limits(2, 2, 4 * US_PER_S)])


@given(
    story, st.lists(change, max_size=5), misfortunes, st.lists(st.integers(0, 2)),
    st.integers(1, 8), st.sampled_from([0.0, 3.0, 30.0]), limits_,
)  # fmt: skip
@example(
    [(0, 0.0, 1), (0, 0.0, 1), (0, 0.0, 1), (0, 40.0, 1), (0, 40.0, 1)],
    [],
    [(11, "dies"), (9, "dies")],
    [1],
    1,
    3.0,
    Limits(),
)  # what was adopted has closed, and something else opened
@settings(deadline=None, max_examples=300)
def test_models_change_and_processes_die_and_each_alert_is_told_once(
    drawn: list[tuple[int, float, int]],
    changes: list[tuple[int, int, float]],
    fates: list[tuple[int, str]],
    heirs: list[int],
    max_poll_records: int,
    checkpoint_s: float,
    limits: Limits,
) -> None:
    broker, files = broker_of(drawn), iter(heirs)
    broker.on_operation = Fate(broker, list(fates))
    changes, keeping = list(changes), Keeping("state", checkpoint_s)

    def start(about: Manifest) -> Changing:
        return Changing(
            broker, max_poll_records=max_poll_records, about=about, keeping=keeping,
            changes=changes, silence=SILENCE, limits=limits,
        )  # fmt: skip

    rig = start(FILES[0])
    while True:
        try:
            rig.finish()
            break
        except (Dies, MembershipLost):  # started again with any of the files
            rig = start(FILES[next(files, 0)])
    broker.on_operation = dict  # one more, undisturbed: what said nothing may have been dropped
    start(FILES[next(files, 0)]).finish()
    assert broker.committed[ZERO] == len(broker.partitions[ZERO])
    for told in stories(broker).values():
        assert (told[0], told[-1]) == ("open", "close"), told
        assert told.count("open") == told.count("close") == 1, told
        assert told.count("update") <= 2, told
