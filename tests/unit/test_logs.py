"""Lines that are read: whole, in one form, and few even when much happens."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from detector import logs


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    logs.set_up_logs("info", "auto")
    yield out
    structlog.reset_defaults()
    logging.getLogger("kafka").handlers = []


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_json_where_nobody_sits_in_front_of_it(said: io.StringIO) -> None:
    structlog.get_logger().info("started", model="pump")
    structlog.get_logger().debug("nobody asked")
    (line,) = lines(said)
    assert list(line) == ["timestamp", "level", "event", "model"]
    assert (line["level"], line["event"], line["model"]) == ("info", "started", "pump")


def test_a_flood_is_cut_and_the_next_line_says_by_how_much(
    said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now_s)
    log = structlog.get_logger()
    for number in range(logs.FLOOD_LINES + 42):
        log.info("alert", number=number)
    log.info("another event")
    assert [line["event"] for line in lines(said)].count("alert") == logs.FLOOD_LINES
    assert lines(said)[-1]["event"] == "another event"
    now_s += logs.FLOOD_S
    log.info("alert", number=0)
    log.info("alert", number=1)
    first, second = lines(said)[-2:]
    assert first["not_shown_before"] == 42
    assert "not_shown_before" not in second


def test_no_error_is_ever_left_out(said: io.StringIO) -> None:
    for _ in range(logs.FLOOD_LINES + 1):
        structlog.get_logger().error("stopped")
    assert len(lines(said)) == logs.FLOOD_LINES + 1


def test_what_the_kafka_client_repeats_is_said_once(said: io.StringIO) -> None:
    client = logging.getLogger("kafka.conn")
    for node in range(50):
        client.warning("no route to node %s", node)
    client.error("another thing")
    assert [line["said"] for line in lines(said)] == ["no route to node 0", "another thing"]
