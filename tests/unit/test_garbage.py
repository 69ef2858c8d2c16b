"""Cycles are looked for rarely, but they are."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from detector.garbage import COLLECT_AFTER, collect_rarely

class Node:
    pass

collect_rarely()
assert gc.get_freeze_count() > 1000
node = Node()
node.self = node
seen = weakref.ref(node)
del node
kept = [[] for _ in range(2000)]  # more than Python itself would wait for
assert seen() is not None
kept += [[] for _ in range(COLLECT_AFTER)]
assert seen() is None
"""


def test_a_cycle_waits_for_many_objects_and_is_found() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
