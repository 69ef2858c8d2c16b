"""What a model takes comes back when another one has taken over."""

from pathlib import Path

import pytest
from daemons import BEGAN_S, story
from fakes import MemoryBroker, Record
from rigs import ZERO, Rig
from versions import another_version

from detector.memory import resident_bytes
from detector.model import load
from detector.validate import format_of

PUMPS, STAMP_MS = 20, BEGAN_S * 1000
CHANGES, FIRST = 50, 10  # by then the allocator has what it wants
BOUND_BYTES = 25 << 20  # half a megabyte a model; one that is never freed takes several


@pytest.mark.timeout(900)
def test_fifty_models_later_memory_is_what_it_was(small_model: Path, tmp_path: Path) -> None:
    first = load(small_model)
    rig = Rig(MemoryBroker({ZERO: []}), about=first.manifest, model=first)
    rig.form = format_of(first.manifest)
    sizes, records = [], story(PUMPS, CHANGES)
    for number in range(CHANGES):
        path = tmp_path / "next.onnx"
        version = another_version(small_model, path, mark=str(number))
        rig.line_up(load(path), patience_s=0)
        second = [Record(key, value, STAMP_MS) for key, value in records[number * PUMPS :][:PUMPS]]
        rig.broker.partitions[ZERO] += second
        rig.clock.seconds += 2
        rig.turn()
        rig.pipeline._renew()
        judging = {
            held.lanes[""].scorer.manifest.version for held in rig.pipeline._owned.held.values()
        }
        assert judging == {version}
        sizes.append(resident_bytes())
    print([size >> 20 for size in sizes[::10]])
    assert sizes[-1] - sizes[FIRST] < BOUND_BYTES
