"""Silent streams over restarts: nothing is told twice, or unsaid, or left open."""

import json

import numpy as np
import pytest
from fakes import MemoryBroker, manifest
from rigs import ZERO, Rig, write

from detector.records import US_PER_S
from detector.silence import Silence

WATCHED = Silence(10, 10_000 * US_PER_S)
NEVER = Silence(0, 10_000 * US_PER_S)


def silent(broker: MemoryBroker) -> list[tuple[str, str, str]]:
    """Return id, status and cause of all that was said of silence."""
    bodies = [json.loads(m.value or b"") for m in broker.sent if m.topic == "alerts"]
    return [(b["id"], b["status"], b.get("cause", "")) for b in bodies if b["kind"] == "silent"]


def stopped(**changes: object) -> Rig:
    """Return a rig of which the pump has just been told to be silent; then it crashes."""
    rig = Rig(silence=WATCHED, **changes)  # type: ignore[arg-type]
    write(rig.broker, [0.0] * 60, b"pump")
    rig.finish(checkpoint=False)
    write(rig.broker, [0.0] * 100, b"fan")
    rig.finish(checkpoint=False)
    assert [status for _, status, _ in silent(rig.broker)] == ["open"]
    return rig


@pytest.mark.parametrize("rules", [WATCHED, NEVER], ids=["the same", "never"])
@pytest.mark.parametrize("version", ["0", "1"])
def test_the_next_owner_closes_it_under_its_own_id(rules: Silence, version: str) -> None:
    broker = stopped().broker
    rig = Rig(broker, silence=rules, about=manifest(version=version * 64))
    write(broker, [0.0], b"fan")
    rig.turn()
    assert len(silent(broker)) == 1
    write(broker, [0.0], b"pump")
    rig.turn()
    (opened, _, _), (closed, status, cause) = silent(broker)
    assert (closed, status, cause) == (opened, "close", "normal")


def test_other_settings_do_not_say_in_a_replay_what_nobody_was_told() -> None:
    broker = MemoryBroker({ZERO: []})
    write(broker, [0.0] * 60, b"pump")
    deaf = Rig(broker, silence=NEVER)
    deaf.turn()
    write(broker, [0.0] * 100, b"fan")
    deaf.finish(checkpoint=False)
    rig = Rig(broker, silence=WATCHED)
    rig.turn()
    write(broker, [0.0], b"pump")
    rig.turn()
    assert silent(broker) == []


def test_a_silent_stream_is_gauged_and_kept_until_it_is_gone() -> None:
    rig = stopped()
    rig.gauge()
    assert rig.value("detector_open_alerts", kind="silent", severity="warning") == 1
    assert rig.value("detector_alerting_streams") == 1
    arena = rig.pipeline._owned.held[ZERO].lanes[""].arena
    assert arena.evict(idle_since_us=arena.newest_us + 1, excess=9) == 1  # the fan
    assert list(arena._row_of) == [b"pump"]
    brief = Silence(10, 150 * US_PER_S)
    again = Rig(rig.broker, silence=brief)
    write(again.broker, [0.0] * 200, b"fan")
    again.turn()
    assert [(status, cause) for _, status, cause in silent(again.broker)][1:] == [("close", "gone")]
    arena = again.pipeline._owned.held[ZERO].lanes[""].arena
    assert arena.evict(idle_since_us=0, excess=1) == 1
    assert list(arena._row_of) == [b"fan"]
    assert arena.watched(np.array([0, 1]))["silent"].tolist() == [False, False]
