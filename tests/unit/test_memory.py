"""What `detector memory` promises is what a process takes."""

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import sys
from pathlib import Path
from detector.join import new_tags
from detector.memory import memory, resident_bytes
from detector.model import load
from detector.state import Arena

manifest = load(Path(sys.argv[1])).manifest
streams, partitions, long = map(int, sys.argv[2:])
before = resident_bytes()
widths = manifest.state_width, len(manifest.kinds), len(manifest.channels)
arenas = [[Arena(*widths, 8)] for _ in range(partitions)]
for several in arenas:
    several += [new_tags(len(manifest.channels))] * long
for start in range(0, streams, 5000):
    for arena in arenas[start // 5000 % partitions]:
        ids = [b"device-%017d" % n for n in range(start, min(start + 5000, streams))]
        arena.put(arena.take(arena.rows(ids)))
        del ids
promised = memory(manifest, streams, partitions, before=8, long=bool(long)).held
print(promised, resident_bytes() - before, before)
"""


@pytest.mark.parametrize(
    ("streams", "partitions", "long"), [(100_000, 1, 0), (200_000, 4, 0), (100_000, 2, 1)]
)
def test_the_promise_is_within_a_tenth_of_what_a_process_takes(
    small_model: Path, streams: int, partitions: int, long: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, small_model, *map(str, (streams, partitions, long))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    promised, taken, process = map(int, done.stdout.split())
    assert process + promised == pytest.approx(process + taken, rel=0.1)
    assert promised == pytest.approx(taken, rel=0.15)


def test_the_command_line_says_it(small_model: Path) -> None:
    command = [sys.executable, "-m", "detector", "memory", "--model", str(small_model)]
    done = subprocess.run(
        [*command, "--streams", "100000"], capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "state", "before", "table", "process", "total", "checkpoint",
    ]  # fmt: skip
    none = subprocess.run(
        [*command, "--streams", "1000", "--readings-before", "0", "--long"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "what waits to be joined" in none.stdout
    assert "of it: the last readings, 0 bytes a stream" in none.stdout
    none = subprocess.run([*command, "--streams", "0"], capture_output=True, text=True, check=False)
    assert none.returncode == 2
    assert "expected a number from 1 on" in none.stderr
