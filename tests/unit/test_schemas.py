"""Records are read by the schema they were written with, whichever that is."""

import datetime as dt
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from unittest.mock import patch
from uuid import UUID

import numpy as np
import pytest
from fakes import MemoryBroker, MemorySource, Record, chunk_of
from hypothesis import given, settings
from hypothesis import strategies as st
from registries import StandIn, avro, framed
from rigs import ZERO, Rig, write

from detector.avro import reader_of
from detector.decode import decode
from detector.errors import RegistryLost, SettingsRejected
from detector.mapping import Input, layout_of
from detector.records import US_PER_S, Polled
from detector.registry import Registry
from detector.schemas import Schemas, schemas_of, understood
from detector.validate import REASONS, Decoded, Format
from detector.wire import NotAvro

CHANNELS = ("pressure", "flow")
NOW_S = 1_700_000_000


def record(name: str, **fields: object) -> dict[str, object]:
    several = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": several}


OPTIONAL = ["null", "double"]
VALUES = record("Values", pressure=OPTIONAL, flow="float")
FIRST = record("Reading", ts={"type": "long", "logicalType": "timestamp-millis"}, values=VALUES)
WIDER = record("Values", site="string", flow="float", pressure="int", level=OPTIONAL)
SECOND = record("Reading", unit="string", values=WIDER, ts="long")
AT = dt.datetime.fromtimestamp(NOW_S, dt.UTC)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


def schemas_at(stand_in: StandIn, most: int = 256) -> Schemas:
    return Schemas(Registry(stand_in.url), reader_of, most)


def taken(schemas: Schemas, *values: bytes | None) -> Decoded:
    given = Input.model_validate({"registry_url": "http://somewhere"})
    form = Format(CHANNELS, layout=layout_of(given, CHANNELS, schemas.unpack))
    schemas.learn(values)
    return decode(chunk_of([(b"pump", value) for value in values]), form)


def first(pressure: float | None = 1.5, at: dt.datetime = AT) -> bytes:
    return avro(FIRST, {"ts": at, "values": {"pressure": pressure, "flow": 2.5}})


def second() -> bytes:
    values = {"site": "x", "flow": 3, "pressure": 4, "level": 5}
    return avro(SECOND, {"unit": "bar", "values": values, "ts": NOW_S * 1000 + 1000})


def test_versions_json_and_plain_json_may_alternate(stand_in: StandIn) -> None:
    stand_in.has(1, FIRST)
    stand_in.has(300, SECOND)
    stand_in.has(7, "{}", schemaType="JSON")
    plain = b'{"ts": 1700000002, "values": [7, 8]}'
    said = taken(
        schemas_at(stand_in),
        framed(1, first()),
        framed(300, second()),
        framed(7, plain),
        plain,
        framed(1, first(None)),
    )
    assert said.bad == []
    x = np.float32([[1.5, 2.5], [4, 3], [7, 8], [7, 8], [np.nan, 2.5]])
    assert np.array_equal(said.readings.x, x, equal_nan=True)
    at = (said.readings.ts_us / US_PER_S - NOW_S).tolist()
    assert at == [0, 1, 2, 2, 0]
    assert said.unknown_values == 2  # site and level


def test_a_schema_is_asked_for_once(stand_in: StandIn) -> None:
    stand_in.has(1, FIRST)
    schemas = schemas_at(stand_in)
    for _ in range(3):
        taken(schemas, *[framed(1, first())] * 5)
    assert stand_in.asked == ["/schemas/ids/1"]


def test_those_used_last_are_kept_and_none_is_forgotten_that_is_needed(stand_in: StandIn) -> None:
    for number in range(6):
        stand_in.has(number, FIRST)
    schemas = schemas_at(stand_in, most=2)
    assert taken(schemas, *[framed(number, first()) for number in range(4)]).bad == []
    taken(schemas, framed(5, first()))
    taken(schemas, framed(0, first()))
    assert len(schemas._readers) == 2
    stand_in.asked.clear()
    taken(schemas, framed(0, first()), framed(5, first()))
    assert stand_in.asked == []
    taken(schemas, framed(5, first()))
    taken(schemas, framed(1, first()))
    stand_in.asked.clear()
    taken(schemas, framed(5, first()))
    assert stand_in.asked == [], "it was used last"


def test_what_cannot_be_read_is_set_aside_with_its_reason(stand_in: StandIn) -> None:
    stand_in.has(1, FIRST)
    stand_in.has(2, "message A {}", schemaType="PROTOBUF")
    stand_in.has(3, {"type": "what"})
    stand_in.has(4, "{}", schemaType="JSON")
    cases = {
        framed(9, first()): ("unknown_schema", "id 9, which it does not have"),
        framed(2, first()): ("unknown_schema", "id 2 of type PROTOBUF; Avro and JSON are read"),
        framed(3, first()): ("unknown_schema", "id 3: expected an Avro schema, saw"),
        b"\x00\x00\x01": ("unknown_schema", "a value of 3 bytes"),
        framed(1, first() + b"x"): ("not_avro", "saw 1 bytes after it"),
        framed(1, first()[:-1]): ("not_avro", "EOFError"),
        framed(1, b""): ("not_avro", "EOFError"),
        framed(4, first()): ("not_json", "starts with"),
        framed(1, first(at=dt.datetime(1999, 1, 1, tzinfo=dt.UTC))): ("time", "from 2000"),
        b"": ("empty", "empty"),
    }
    said = taken(schemas_at(stand_in), *cases, framed(1, first()))
    assert [bad.reason for bad in said.bad] == [reason for reason, _ in cases.values()]
    for bad, (_, part) in zip(said.bad, cases.values(), strict=True):
        assert part in bad.detail
        assert bad.reason in REASONS
    assert said.readings.offset.tolist() == [len(cases)]


def test_a_schema_that_was_registered_late_is_found(stand_in: StandIn) -> None:
    schemas = schemas_at(stand_in)
    assert [bad.reason for bad in taken(schemas, framed(1, first())).bad] == ["unknown_schema"]
    stand_in.has(1, FIRST)
    assert taken(schemas, framed(1, first())).bad == []


def test_avros_own_types_are_numbers_text_and_times(stand_in: StandIn) -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    schema = record(
        "Own",
        id={"type": "string", "logicalType": "uuid"},
        at=micros,
        cells={"type": "map", "values": decimal},
    )
    stand_in.has(1, schema)
    schemas, identity = schemas_at(stand_in), UUID(int=7)
    cells = {"pressure": Decimal("1.25"), "flow": Decimal(-3)}
    body = framed(1, avro(schema, {"id": identity, "at": AT, "cells": cells}))
    schemas.learn([body])
    given = Input.model_validate({"stream": "id", "time": "at", "values": "cells"})
    form = Format(CHANNELS, layout=layout_of(given, CHANNELS, schemas.unpack))
    said = decode(chunk_of([(None, body)]), form)
    assert (said.bad, said.readings.streams) == ([], [str(identity).encode()])
    assert said.readings.x.tolist() == [[1.25, -3]]
    assert said.readings.ts_us.tolist() == [NOW_S * US_PER_S]


def test_a_schema_may_use_the_names_of_others() -> None:
    outer = record("Outer", ts="long", values="Values")
    read = reader_of(json.dumps(outer), [json.dumps(VALUES)])
    document = {"ts": 1, "values": {"pressure": None, "flow": 2.0}}
    assert read(avro(outer, document, [VALUES])) == document
    with pytest.raises(ValueError, match="expected an Avro schema"):
        reader_of(json.dumps(outer))


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_a_document_or_no_avro(body: bytes) -> None:
    deep = record(
        "Deep",
        a={"type": "array", "items": "double"},
        m={"type": "map", "values": ["null", "string", "bytes"]},
        e={"type": "enum", "name": "E", "symbols": ["X", "Y"]},
        t={"type": "long", "logicalType": "timestamp-micros"},
        d={"type": "int", "logicalType": "date"},
    )
    read = reader_of(json.dumps(deep))
    try:
        assert isinstance(read(body), dict)
    except NotAvro as error:
        assert str(error).startswith("expected what its schema says")  # noqa: PT017


def test_an_outage_of_the_registry_gives_the_records_back(stand_in: StandIn) -> None:
    stand_in.has(1, FIRST)
    broker = MemoryBroker({ZERO: [Record(b"pump", framed(1, first()))] * 3})
    source, schemas = MemorySource(broker), schemas_at(stand_in)
    assigned = source.poll()
    assert understood(assigned, source, schemas) is assigned
    source.start(ZERO, None)
    stand_in.answers["/schemas/ids/1"] = (503, b"")
    for _ in range(2):
        with pytest.raises(RegistryLost):
            understood(source.poll(), source, schemas)
        assert source.position(ZERO) == 0
    polled = source.poll()
    moved = Polled(polled.chunks, revoked=frozenset({ZERO}))
    assert understood(moved, source, schemas) == Polled([], revoked=frozenset({ZERO}))
    stand_in.has(1, FIRST)
    (chunk,) = understood(source.poll(), source, schemas).chunks
    assert chunk.offsets.tolist() == [0, 1, 2]


def test_an_outage_is_no_bad_input_and_no_outage_of_the_broker(stand_in: StandIn) -> None:
    rig = Rig()
    write(rig.broker, [0.0] * 3)
    log = rig.broker.partitions[ZERO]
    log += [Record(b"s", framed(1, first())) for _ in range(2)]
    schemas, tries = schemas_at(stand_in), list[str]()
    stand_in.answers["/schemas/ids/1"] = (503, b"")
    given = Input.model_validate(
        {"registry_url": stand_in.url, "channels": {"c0": "pressure", "c1": "flow"}}
    )
    rig.pipeline._schemas = schemas
    rig.pipeline._form = Format(("c0", "c1"), layout=layout_of(given, ("c0", "c1"), schemas.unpack))

    def wait(seconds: float, _: object) -> bool:
        tries.append(rig.health.ready()[1])
        if len(tries) == 3:
            rig.pipeline.stop()
        return False

    rig.clock.wait = wait  # type: ignore[method-assign]
    rig.source.poll()
    rig.source.start(ZERO, None)
    rig.pipeline.run()
    assert tries[1:] == ["the schema registry does not answer"] * 2
    moved = Polled(assigned=frozenset({ZERO}))
    with patch.object(rig.source, "poll", lambda _: moved):
        rig.pipeline._patience.attempt(rig.pipeline._poll, "poll")
    assert not rig.health.ready()[0], "what moved says nothing of the registry"
    assert rig.value("detector_registry_errors_total") == 4  # once more, and then it stops
    assert rig.value("detector_broker_errors_total", operation="poll") == 0
    assert rig.value("detector_broker_connected") == 1
    assert rig.value("detector_records_total") == 0
    assert rig.broker.committed == {}
    assert rig.broker.sent == []
    stand_in.has(1, FIRST)
    rig.pipeline._patience.attempt(rig.pipeline._poll, "poll")
    assert rig.health.registry


def test_without_a_registry_there_are_no_schemas_and_without_the_extra_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert schemas_of(Input()) is None
    given = Input(registry_url="http://registry")
    assert schemas_of(given) is not None
    monkeypatch.delitem(sys.modules, "detector.avro")
    monkeypatch.setitem(sys.modules, "fastavro", None)
    with pytest.raises(SettingsRejected, match=r"pip install 'sensor-anomaly-detector\[avro\]'"):
        schemas_of(given)
