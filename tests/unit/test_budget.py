"""More alerts than a partition may tell of: none is told late, and none dropped without a word."""

import json

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest
from fakes import MemoryBroker, StubModel, manifest
from rigs import ZERO, Rig, write

from detector.budget import HOUR_US, Limits
from detector.engine import Engine, Outcome
from detector.judge import rules
from detector.messages import ALERT_SCHEMA, alert_body, alert_message
from detector.records import BUDGET, US_PER_S, Partition, Readings
from detector.state import Arena
from detector.summary import NAMED

PARTITION = Partition("readings", 3)
BEGAN_US = 1_700_000_000 * US_PER_S // HOUR_US * HOUR_US
ENGINE = Engine(StubModel(), rules(manifest(), 10), limits=Limits(2))


class Fleet:
    """Streams that read the same value each second, all of them."""

    def __init__(self, streams: int = 5, engine: Engine = ENGINE) -> None:
        self.engine, self.arena = engine, engine.new_arena()
        self.names = [b"pump-%02d" % n for n in range(streams)]
        self.second = 0

    def play(self, *values: float, pause_s: int = 1) -> Outcome:
        n, t = len(self.names), len(values)
        seconds = self.second + pause_s - 1 + np.arange(1, t + 1)
        self.second = int(seconds[-1])
        readings = Readings(
            self.names,
            np.tile(np.arange(n), t),
            BEGAN_US + np.repeat(seconds, n) * US_PER_S,
            np.repeat(np.array([[v, 0] for v in values], np.float32), n, axis=0),
            np.arange(n * t),
        )
        return self.engine.run(self.arena, readings, PARTITION)


def told(outcome: Outcome) -> list[tuple[str, str]]:
    return [(alert.stream, alert.status) for alert in outcome.alerts]


def test_what_is_beyond_is_counted_at_once_and_named_when_the_hour_ends() -> None:
    fleet = Fleet()
    flood = fleet.play(*[0.0] * 8, 50.0)
    assert told(flood) == [
        ("pump-00", "open"), ("pump-01", "open"), ("readings/3", "open"),
    ]  # fmt: skip
    assert (flood.withheld, len(flood.moved)) == (3, 5)
    assert told(fleet.play(0.0, 0.0)) == [("pump-00", "close"), ("pump-01", "close")]
    (summary,) = fleet.play(0.0, pause_s=3600).alerts[:1]
    assert (summary.kind, summary.status, summary.id) == (BUDGET, "close", flood.alerts[2].id)
    assert (summary.score, summary.threshold) == (3, 2)
    assert summary.streams == ("pump-02", "pump-03", "pump-04")
    assert (flood.alerts[2].score, flood.alerts[2].streams) == (1, ("pump-02",))
    for alert in (flood.alerts[2], summary):
        body = json.loads(alert_message(alert, "alerts").value or b"")
        jsonschema.validate(body, ALERT_SCHEMA)
        assert body == json.loads(json.dumps(alert_body(alert)))


def test_an_hour_later_the_next_are_told() -> None:
    fleet = Fleet(streams=2, engine=Engine(StubModel(), rules(manifest(), 10), limits=Limits(1)))
    assert len(fleet.play(*[0.0] * 8, 50.0).alerts) == 2
    fleet.play(*[0.0] * 9)
    fleet.second = 3590
    fleet.play(*[0.0] * 300)
    again = fleet.play(90.0)
    assert told(again) == [("pump-00", "open"), ("readings/3", "open")]


def test_a_summary_closes_with_the_first_reading_after_its_hour() -> None:
    """However polls are cut: the next opening is later in the same poll."""
    for cut in (False, True):
        fleet = Fleet(streams=3)
        fleet.play(*[0.0] * 8, 50.0, *[0.0] * 9)
        fleet.second, quiet = 3598, [0.0] * 9
        said = fleet.play(*quiet).alerts if cut else []
        said = [*said, *fleet.play(*([] if cut else quiet), 90.0).alerts]
        assert [(a.kind, a.status) for a in said[:2]] == [(BUDGET, "close"), ("state", "open")]
        assert (said[0].at_us - BEGAN_US) // US_PER_S == 3600


def test_a_summary_names_few() -> None:
    fleet = Fleet(streams=100)
    fleet.play(*[0.0] * 8, 50.0)
    assert fleet.arena.tally.withheld == 98
    assert len(fleet.arena.tally.streams) == NAMED


def test_without_a_budget_all_is_told() -> None:
    fleet = Fleet(engine=Engine(StubModel(), rules(manifest(), 10)))
    assert len(fleet.play(*[0.0] * 8, 50.0).alerts) == 5


def sent(broker: MemoryBroker) -> list[tuple[str, str]]:
    bodies = [json.loads(m.value or b"") for m in broker.sent if m.topic == "alerts"]
    return [(body["stream"], body["status"]) for body in bodies]


def write_each(broker: MemoryBroker, value: float, streams: bytes = b"abc") -> None:
    for stream in streams:
        write(broker, [value], bytes([stream]))


@pytest.mark.parametrize("budget", [1, None], ids=["the same", "none"])
@pytest.mark.parametrize("version", ["0", "1"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_was_withheld_stays_untold_over_a_restart(
    budget: int | None,
    version: str,
    checkpoint: bool,  # noqa: FBT001
) -> None:
    """Also where other settings would have told it, or another model has the next word."""
    broker = MemoryBroker({ZERO: []})
    rig = Rig(broker, limits=Limits(1))
    for _ in range(8):
        write_each(broker, 0.0)
    rig.turn()
    write_each(broker, 50.0, b"ab")
    rig.turn()
    write_each(broker, 50.0, b"c")  # nothing at all is told of it
    rig.finish(checkpoint=checkpoint)
    flood = [("a", "open"), ("readings/0", "open")]
    assert sent(broker) == flood
    assert rig.value("detector_withheld_alerts_total") == 2
    about = manifest(version=version * 64)
    again = Rig(broker, limits=Limits(budget), about=about)
    for _ in range(9):
        write_each(broker, 0.0)
    again.finish()
    assert sent(broker) == [*flood, ("a", "close")]
    last = Rig(broker, limits=Limits(budget), about=about)
    last.turn()
    arena: Arena = last.pipeline._owned.held[ZERO].lanes[""].arena
    assert arena.withheld == set()
    assert arena.tally.withheld == 2


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_smaller_budget_does_not_withhold_what_was_told(checkpoint: bool) -> None:  # noqa: FBT001
    broker = MemoryBroker({ZERO: []})
    rig = Rig(broker)
    for value in [0.0] * 8:
        write(broker, [value], b"a")
        write(broker, [value], b"b")
    rig.turn()
    write(broker, [50.0], b"a")
    write(broker, [50.0], b"b")
    rig.finish(checkpoint=checkpoint)
    again = Rig(broker, limits=Limits(1))
    for _ in range(9):
        write(broker, [0.0], b"a")
        write(broker, [0.0], b"b")
    again.turn()
    assert sorted(sent(broker)) == [("a", "close"), ("a", "open"), ("b", "close"), ("b", "open")]
