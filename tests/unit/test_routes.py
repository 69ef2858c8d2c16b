"""Routes: which model takes which stream, and that each has its own state."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import MemoryBroker, Record, StubModel, manifest
from pydantic import ValidationError
from rigs import CALM, ONE, OTHER, WILD, ZERO, Rig, write

from detector.equip import equip
from detector.errors import SettingsRejected
from detector.mapping import Input, layout_of
from detector.overrides import Overrides
from detector.records import Chunk, Partition
from detector.routed import headers_for, names_of, routes_of, settings_for
from detector.routes import Route, Routes
from detector.scorer import Scorer
from detector.settings import Settings, fingerprint

HERE = Partition("readings", 0)


def chunk(*keys: bytes | None, **headers: list[bytes | None]) -> Chunk:
    n = len(keys)
    return Chunk(HERE, np.arange(n), np.zeros(n, np.int64), list(keys), [b"x"] * n, headers)


def route(name: str, **changes: Any) -> Route:
    return Route((Rig().scorer(),), "alerts", name, **changes)


def parted(routes: Routes, some: Chunk) -> dict[str, list[int]]:
    return {one.name: part.offsets.tolist() for one, part in routes.split(some)}


def test_the_first_route_that_fits_takes_a_stream() -> None:
    pumps, big, rest = route("pumps", streams="pump-*"), route("big", streams="*-9"), route("")
    some = chunk(b"pump-1", b"motor-9", b"pump-9", b"fan", None)
    assert parted(Routes([pumps, big, rest]), some) == {
        "pumps": [0, 2, 4],  # without a stream it is bad for whichever
        "big": [1],
        "": [3],
    }
    assert parted(Routes([big, pumps, rest]), some)["big"] == [1, 2, 4]


def test_a_topic_is_a_reason_too_and_then_nothing_is_looked_at() -> None:
    routes = Routes([route("other", topic="wind-*"), route("")])
    some = chunk(b"a", b"b")
    ((taken, part),) = routes.split(some)
    assert (taken.name, part is some) == ("", True)
    assert [one.name for one in routes.of(Partition("wind-3", 0))] == ["other"]


def test_what_no_route_takes_is_in_none() -> None:
    assert parted(Routes([route("a", streams="a*")]), chunk(b"a1", b"b1")) == {"a": [0]}


def test_a_share_is_told_by_the_id_alone() -> None:
    routes = Routes([route("canary", share=0.2), route("")])
    some = chunk(*(b"stream-%d" % n for n in range(2000)))
    first = parted(routes, some)
    assert len(first["canary"]) == pytest.approx(400, abs=60)
    assert parted(routes, some) == first


def test_streams_may_be_named_by_headers_and_tags() -> None:
    header = layout_of(Input.model_validate({"stream": "header:id"}), ())
    routes = Routes([route("a", streams="a*", layout=header), route("")])
    assert parted(routes, chunk(b"k", b"k", id=[b"b", b"a"])) == {"a": [1], "": [0]}
    tags = layout_of(Input.model_validate({"tags": {"tag": "key", "period_s": 1}}), ())
    some = chunk(b"a1/flow", b"b/flow", b"nonsense")
    routes = Routes([route("a", streams="a*", layout=tags), route("")])
    assert parted(routes, some) == {"a": [0, 2], "": [1]}


def test_each_route_has_state_model_and_topic_of_its_own() -> None:
    rig = Rig(apart="a*")
    for stream in (b"a", b"b"):
        write(rig.broker, [*CALM, *WILD], stream)
    rig.finish()
    told = [
        (m.topic, json.loads(m.value or b""))
        for m in rig.broker.sent
        if m.topic in {"alerts", "others"}
    ]
    assert {(topic, body["stream"]) for topic, body in told} == {("others", "a"), ("alerts", "b")}
    versions = {body["stream"]: body["model"]["version"] for _, body in told}
    assert versions == {"a": OTHER.version, "b": rig.about.version}
    lanes = rig.pipeline._owned.held[ZERO].lanes
    assert {name: list(lane.arena._row_of) for name, lane in lanes.items()} == {
        "other": [b"a"],
        "": [b"b"],
    }
    again = Rig(rig.broker, apart="a*")
    again.turn()
    lanes = again.pipeline._owned.held[ZERO].lanes
    assert {name: len(lane.arena) for name, lane in lanes.items()} == {"other": 1, "": 1}


def test_a_route_that_comes_later_leaves_the_state_of_others_alone() -> None:
    rig = Rig()
    for stream in (b"a", b"b"):
        write(rig.broker, [*CALM, *WILD], stream)
    rig.finish()
    again = Rig(rig.broker, apart="a*")
    again.turn()
    lanes = again.pipeline._owned.held[ZERO].lanes
    assert sorted(lanes[""].arena._row_of) == [b"a", b"b"]
    assert len(lanes["other"].arena) == 0
    outcomes = ("restored", "new", "missing")
    restores = [again.value("detector_restores_total", outcome=one) for one in outcomes]
    assert restores == [1, 1, 0]
    before = len(rig.broker.sent)
    write(rig.broker, [0.0] * 3, b"a")
    again.finish()
    assert list(lanes["other"].arena._row_of) == [b"a"]
    assert not [m for m in rig.broker.sent[before:] if m.topic == "others"]  # it warms up


def test_records_of_a_route_without_a_model_are_counted_and_no_more() -> None:
    class Deaf(Rig):
        def routes(self) -> Routes:
            some = Route((), "alerts", "nobody", streams="a*")
            return Routes([some, *super().routes().each])

    rig = Deaf(broker=MemoryBroker({ZERO: [], ONE: []}))
    write(rig.broker, [*CALM, *WILD, "nonsense"], b"a")
    write(rig.broker, CALM, b"b")
    rig.finish()
    assert rig.value("detector_unrouted_records_total") == len(CALM) + len(WILD) + 1
    assert rig.value("detector_readings_total") == len(CALM)
    assert rig.broker.sent == [m for m in rig.broker.sent if m.topic == "state"]
    assert rig.broker.committed[ZERO] == len(rig.broker.partitions[ZERO])


def test_models_of_one_route_change_without_the_others() -> None:
    rig = Rig(apart="a*")
    for stream in (b"a", b"b"):
        write(rig.broker, CALM, stream)
    rig.turn()
    rig.line_up(StubModel(manifest(version="1" * 64)), patience_s=0)
    rig.clock.seconds += 2
    rig.turn()
    rig.turn()
    lanes = rig.pipeline._owned.held[ZERO].lanes
    versions = {name: lane.scorer.manifest.version for name, lane in lanes.items()}
    assert versions == {"other": OTHER.version, "": "1" * 64}
    again = Rig(rig.broker, about=manifest(version="1" * 64), apart="a*")
    again.turn()
    assert again.value("detector_restores_total", outcome="restored") == 2


def settings(**changes: Any) -> Settings:
    return Settings(model=Path("rest.onnx"), **changes)


MOTORS = {"name": "motors", "streams": "motor-*", "model": "motors.onnx"}


def test_a_route_has_the_judge_of_all_with_what_differs() -> None:
    given = settings(
        routes=[{**MOTORS, "judge": {"at_most": "warning"}}, {"name": "none", "streams": "x*"}],
        judge={"close_share": 0.5},
        shadow={"model": "next.onnx", "route": "motors"},
    )
    assert names_of(given) == ["motors", ""]
    motors, rest = settings_for(given, "motors"), settings_for(given, "")
    assert (motors.model, rest.model) == (Path("motors.onnx"), Path("rest.onnx"))
    assert (motors.judge.at_most, motors.judge.close_share) == ("warning", 0.5)
    assert (rest.judge.at_most, rest.shadow.model) == ("critical", None)
    assert motors.shadow.model == Path("next.onnx")
    moved = settings(routes=[{**MOTORS, "model": "elsewhere.onnx"}])
    assert fingerprint(moved) == fingerprint(settings(routes=[MOTORS]))
    assert fingerprint(moved) != fingerprint(settings())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"routes": [MOTORS, MOTORS]}, "expected routes of different names, saw motors, motors"),
        (
            {"routes": [{**MOTORS, "judge": {"often": 1}}]},
            "settings of judge, saw often",
        ),
        ({"routes": [{**MOTORS, "input": {"stream": ".."}}]}, "settings of input, saw stream"),
        (
            {"routes": [{**MOTORS, "input": {"registry_url": "http://r"}}]},
            "the one schema registry",
        ),
        ({"routes": [{**MOTORS, "name": "A b"}]}, "name"),
        ({"shadow": {"route": "motors"}}, "expected the name of a route with a model, saw"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        settings(**changes)


def test_streams_that_only_the_value_names_are_not_told_apart() -> None:
    inside = {"stream": "device.id"}

    def make(_: str) -> Scorer:
        return Rig().scorer()

    everywhere = settings(routes=[MOTORS], input=inside)
    there = settings(routes=[MOTORS | {"input": inside}])
    for given in (everywhere, there):
        with pytest.raises(SettingsRejected, match="expected records to name their stream in the"):
            routes_of(given, make)
    by_topic = {"name": "motors", "topic": "motors", "model": "motors.onnx", "input": inside}
    assert len(routes_of(settings(routes=[by_topic]), make).each) == 2


def test_topics_may_be_written_in_ways_of_their_own() -> None:
    """Two topics, two mappings, one model each: through the loop, as the settings say."""
    other = Partition("flat", 0)
    mapping = {
        "values": "",
        "time": "at",
        "stream": "id",
        "channels": {"c0": "a", "c1": "b"},
    }
    flat = {"name": "flat", "topic": "flat", "model": "flat.onnx", "input": mapping}
    given = settings(routes=[flat], kafka={"topic": "readings,flat"})
    assert settings_for(given, "").input == given.input

    class Mapped(Rig):
        def routes(self) -> Routes:
            def make(name: str) -> Scorer:
                return equip(
                    settings_for(given, name), StubModel(self.about), overrides=Overrides()
                )

            return routes_of(given, make)

    broker = MemoryBroker({ZERO: [], other: []})
    for n in range(9):
        at = 1_700_000_000 + n
        value = 50.0 if n == 8 else 0.0
        flat_value = json.dumps({"id": "m", "at": at, "a": value, "b": 0}).encode()
        broker.partitions[other].append(Record(b"k", flat_value))
        write(broker, [value], b"p")
    rig = Mapped(broker)
    rig.finish()
    bodies = [json.loads(m.value or b"") for m in broker.sent if m.topic == "alerts"]
    assert {(body["source"]["topic"], body["stream"]) for body in bodies} == {
        ("readings", "p"), ("flat", "m"),
    }  # fmt: skip
    assert not [m for m in broker.sent if m.topic == "dead-letters"]
    again = Mapped(broker)
    again.turn()
    assert again.value("detector_restores_total", outcome="restored") == 2


def test_the_headers_of_all_routes_are_asked_for() -> None:
    by_header = {**MOTORS, "input": {"stream": "header:id"}}
    given = settings(routes=[by_header], input={"time": "header:at"})
    assert headers_for(given) == ("at", "id")


def test_a_mapped_channel_is_one_of_some_model() -> None:
    given = settings(routes=[MOTORS], input={"channels": {"c7": "x"}})
    with pytest.raises(SettingsRejected, match=r"of a model \(c0, c1\) .* saw c7"):
        routes_of(given, lambda _: Rig().scorer())
    given = settings(routes=[{**MOTORS, "input": {"channels": {"c8": "x"}}}])
    with pytest.raises(SettingsRejected, match="saw c8"):
        routes_of(given, lambda _: Rig().scorer())
