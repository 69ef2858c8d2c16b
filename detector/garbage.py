"""Python's collector of cycles, set for a loop that makes many objects and hardly a cycle."""

import gc

COLLECT_AFTER = 20_000  # objects more; a poll of 5,000 records makes several times as many


def collect_rarely() -> None:
    """Look for cycles more rarely, and never again among what is there now.

    Memory of what is in no cycle comes back at once, as ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
