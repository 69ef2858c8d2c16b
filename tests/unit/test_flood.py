"""Many streams that open together: one alert, with one end, and nobody hidden for long."""

import json

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest
from fakes import MemoryBroker, Record, StubModel, manifest
from rigs import ZERO, Rig

from detector.budget import Limits
from detector.engine import Engine
from detector.flood import Flood
from detector.judge import rules
from detector.messages import ALERT_SCHEMA, alert_message
from detector.records import GROUP, SILENT, US_PER_S, Alert, Partition, Readings
from detector.silence import Silence
from detector.summary import NAMED

PARTITION = Partition("readings", 3)
BEGAN_S = 1_699_999_200  # a whole hour
ABOUT = manifest(largest_gap_s=1e6)
MINUTE = Limits(group_streams=3, group_within_us=60 * US_PER_S)
CLOSES = 0.0


class Site:
    """A partition whose streams are warm."""

    def __init__(
        self, limits: Limits = MINUTE, streams: str = "abcdefgh", silence: Silence | None = None
    ) -> None:
        self.engine = Engine(StubModel(ABOUT), rules(ABOUT, 10), silence, limits)
        self.arena = self.engine.new_arena()
        self.offset = self.joined = self.withheld = 0
        assert not self.play(*[(n, 0.0, streams) for n in range(20)])

    def play(self, *rows: tuple[int, float, str]) -> list[Alert]:
        """Return what is told when at a second some streams read a value."""
        flat = [(second, value, stream) for second, value, some in rows for stream in some]
        streams = sorted({stream for _, _, stream in flat})
        readings = Readings(
            [stream.encode() for stream in streams],
            np.array([streams.index(stream) for _, _, stream in flat]),
            np.array([(BEGAN_S + second) * US_PER_S for second, _, _ in flat]),
            np.array([[value, 0] for _, value, _ in flat], np.float32),
            self.offset + np.arange(len(flat)),
        )
        self.offset += len(flat)
        outcome = self.engine.run(self.arena, readings, PARTITION)
        self.joined += outcome.joined
        self.withheld += outcome.withheld
        return outcome.alerts


def brief(alerts: list[Alert]) -> list[str]:
    """Say who, what, when (s), and of a group how many."""
    return [
        f"{a.stream if a.kind != GROUP else f'{a.score:g}'} {a.status} "
        f"{a.at_us // US_PER_S - BEGAN_S}"
        for a in alerts
    ]


def test_a_dip_is_one_alert_with_members() -> None:
    site = Site()
    alerts = site.play((30, 50.0, "abcdefgh"), (31, 50.0, "abcdefgh"))
    assert brief(alerts) == ["a open 30", "b open 30", "3 open 30", "8 update 31"]
    assert site.joined == 6
    opened, update = alerts[2:]
    assert (opened.streams, update.streams) == (tuple("abc"), tuple("abcdefgh"))
    assert (opened.threshold, opened.severity, opened.opened_us) == (3, "warning", opened.at_us)
    assert brief(site.play((32, CLOSES, "abcdefg"))) == ["a close 32", "b close 32"]
    assert not site.play((95, CLOSES, "abcdefg")), "h is open"
    (closed,) = site.play((96, CLOSES, "h"))
    assert brief([closed]) == ["8 close 96"]
    assert closed.id == opened.id == update.id
    for alert in (opened, update, closed):
        body = json.loads(alert_message(alert, "alerts").value or b"")
        jsonschema.validate(body, ALERT_SCHEMA)
    assert (body["peak"], body["duration_s"], body["stream"]) == (8, 66, "readings/3")
    assert site.arena.tally.flood == Flood()
    assert not site.arena.withheld


def test_it_closes_with_the_first_reading_after_the_bound_when_nobody_is_hidden() -> None:
    site = Site()
    site.play((30, 50.0, "abc"), (31, CLOSES, "abc"))
    assert brief(site.play((90, CLOSES, "a"), (91, CLOSES, "a"), (99, 0, "a"))) == ["3 close 91"]


def test_a_count_is_told_when_it_has_doubled() -> None:
    site = Site()
    told = site.play(*[(30 + n, 50.0, stream) for n, stream in enumerate("abcdefgh")])
    assert brief(told) == ["a open 30", "b open 31", "3 open 32", "6 update 35"]


def test_those_who_open_one_after_another_are_told_one_by_one() -> None:
    site = Site()
    told = site.play((30, 50.0, "ab"), (91, 50.0, "c"), (122, 50.0, "d"), (153, 50.0, "e"))
    assert brief(told) == ["a open 30", "b open 30", "c open 91", "d open 122", "e open 153"]
    assert not site.joined


def test_a_stream_that_opens_again_and_again_is_one() -> None:
    site = Site()
    rows = [(30 + n, value, "a") for n in range(8) for value in (9.0**n * 50,)]
    told = site.play(*[row for s, v, a in rows for row in ((2 * s, v, a), (2 * s + 1, 0.0, a))])
    assert len(told) > 6
    assert {alert.stream for alert in told} == {"a"}


def test_who_joins_twice_counts_once() -> None:
    site = Site()
    told = site.play((30, 50.0, "abc"), (31, 0.0, "abc"), (32, 5000.0, "ab"), (33, 0.0, "ab"))
    assert brief(told) == ["a open 30", "b open 30", "3 open 30", "a close 31", "b close 31"]
    assert site.joined == 3
    assert brief(site.play((91, 0.0, "d"))) == ["3 close 91"], "that holds it no longer"


def test_who_stays_hides_nobody_who_opens_later() -> None:
    site = Site()
    site.play((30, 50.0, "abc"))
    told = site.play((100, 50.0, "d"), (101, 0.0, "d"), (170, 50.0, "e"))
    assert brief(told) == ["d open 100", "d close 101", "e open 170"]
    told = site.play((171, 50.0, "fg"), (172, 50.0, "h"), (173, 0.0, "c"))
    assert brief(told) == ["f open 171", "3 close 171", "3 open 171"]
    assert told[1].id != told[2].id
    assert told[2].streams == tuple("efg")
    assert brief(site.play((240, 0.0, "g"), (241, 0.0, "h"))) == ["4 close 241"]


def test_who_opened_while_a_group_waited_may_be_in_the_next() -> None:
    site = Site()
    site.play((30, 50.0, "abc"))
    told = site.play((100, 50.0, "d"), (101, 0.0, "c"), (102, 50.0, "ef"))
    assert brief(told) == ["d open 100", "3 close 101", "e open 102", "3 open 102"]


def test_silence_joins_no_group() -> None:
    site = Site(silence=Silence(1, 10**12, fewest=1))
    told = site.play(*[(20 + 10 * n, 0.0, "h") for n in range(20)])
    assert {(alert.kind, alert.status) for alert in told} == {(SILENT, "open")}
    assert len(told) == 7


def test_a_group_is_one_opening_of_the_budget_and_told_beyond_it() -> None:
    site = Site(Limits(3, 3, 60 * US_PER_S))
    told = site.play((30, 50.0, "abcdefg"), (31, 0.0, "abcdefg"), (100, 50.0, "h"))
    assert brief(told) == [
        "a open 30", "b open 30", "3 open 30", "7 update 31", "a close 31", "b close 31",
        "7 close 100", "readings/3 open 100",
    ]  # fmt: skip
    assert (site.joined, site.withheld, site.arena.tally.told) == (5, 1, 3)
    told = site.play((102, 5000.0, "ab"), (103, 0.0, "abh"))
    assert brief(told) == ["3 open 102"]
    assert (site.joined, site.withheld) == (6, 2)
    told = site.play((200, 0.0, "a"))
    assert brief(told) == ["3 close 200"]


def test_a_group_names_few() -> None:
    site = Site(streams="".join(map(chr, range(0x400, 0x450))))
    told = site.play((30, 50.0, "".join(map(chr, range(0x400, 0x450)))), (31, 0.0, "\u0400"))
    assert (told[-2].score, len(told[-2].streams)) == (80, NAMED)


@pytest.mark.parametrize("streams", [None, 0, 1])
def test_it_can_be_switched_off(streams: int | None) -> None:
    from detector.equip import telling_of  # noqa: PLC0415
    from detector.telling import Judge  # noqa: PLC0415

    limits = Limits() if streams is None else telling_of(Judge(group_streams=streams))
    assert len(Site(limits).play((30, 50.0, "abcdefgh"))) == 8


def write(broker: MemoryBroker, second: int, value: float, streams: str) -> None:
    body = json.dumps({"ts": BEGAN_S + second, "values": [value, 0]}).encode()
    broker.partitions[ZERO] += [Record(stream.encode(), body) for stream in streams]


def sent(broker: MemoryBroker) -> list[str]:
    bodies = [json.loads(m.value or b"") for m in broker.sent if m.topic == "alerts"]
    return [
        f"{body['score'] if body['kind'] == GROUP else body['stream']} {body['status']}"
        for body in bodies
    ]


@pytest.mark.parametrize("streams", [3, None], ids=["the same", "none"])
@pytest.mark.parametrize("version", ["0", "1"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_group_goes_on_over_a_restart(
    streams: int | None,
    version: str,
    checkpoint: bool,  # noqa: FBT001
) -> None:
    """Also with other settings, or another model: it has one end, and who it hides stays hidden."""
    broker = MemoryBroker({ZERO: []})
    rig = Rig(broker, limits=MINUTE)
    for second in range(8):
        write(broker, second, 0.0, "abcde")
    rig.turn()
    write(broker, 30, 50.0, "a")
    rig.turn()
    write(broker, 31, 50.0, "bcd")
    rig.turn()
    write(broker, 31, 50.0, "e")
    rig.finish(checkpoint=checkpoint)
    dip = ["a open", "b open", "3.0 open"]
    assert sent(broker) == dip
    assert rig.value("detector_grouped_alerts_total") == 3
    rig.gauge()
    assert rig.value("detector_open_alerts", kind=GROUP, severity="warning") == 1
    about = manifest(version=version * 64)
    again = Rig(broker, limits=Limits(group_streams=streams), about=about)
    write(broker, 32, 0.0, "abcde")
    if version == "0":  # or it warms up
        write(broker, 33, 9000.0, "a")  # it is counted
        write(broker, 34, 0.0, "a")
    write(broker, 92, 0.0, "a")
    again.finish()
    assert sent(broker) == [*dip, "a close", "b close", "5.0 close"]
    last = Rig(broker, limits=MINUTE, about=about)
    last.turn()
    arena = last.pipeline._owned.held[ZERO].lanes[""].arena
    assert arena.withheld == set()
    assert arena.tally.flood == Flood()


def test_who_was_in_a_group_before_joins_the_next_as_anybody() -> None:
    """A replay from a mark in the first group meets the second."""
    broker = MemoryBroker({ZERO: []})
    rig = Rig(broker, limits=MINUTE)
    for second in range(8):
        write(broker, second, 0.0, "abcde")
    write(broker, 31, 50.0, "abcd")
    rig.turn()
    rig.pipeline._checkpoint(rig.pipeline._owned.live[0])
    write(broker, 32, 0.0, "abcde")
    rig.turn()
    write(broker, 92, 0.0, "abcde")  # it closes, and nobody's alert moves
    rig.turn()
    write(broker, 93, 9000.0, "abe")
    rig.finish(checkpoint=False)
    again = Rig(broker, limits=MINUTE)
    write(broker, 94, 90_000.0, "d")
    write(broker, 95, 0.0, "abde")
    write(broker, 155, 0.0, "abde")
    again.finish()
    assert sent(broker)[-4:] == ["3.0 open", "a close", "b close", "4.0 close"]
