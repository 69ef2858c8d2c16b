"""What consumers and the changelog hold after a run, beside what an undisturbed run says."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.decode import decode
from detector.messages import alert_message, dead_letter, score_messages
from detector.records import Bounds, Chunk, Message, Partition
from detector.restore import Kept, resume
from detector.routes import Routes
from detector.scorer import Scorer
from detector.snapshot import Origin
from detector.state import Arena

Said = tuple[str, bytes | None, bytes | None, tuple[Any, ...]]  # topic, key, value, headers


@dataclass
class Verdict:
    """How a run differs from an undisturbed one.

    Attributes:
        expected: Messages that an undisturbed run says.
        lost: Those of them that were not said.
        repeated: Said more often than once.
        strange: Said, but by no undisturbed run.
        reordered: Keys whose messages came in another order.
        state_mismatches: Streams whose kept state differs, in any bit.
    """

    expected: int = 0
    alerts: int = 0
    lost: int = 0
    repeated: int = 0
    strange: int = 0
    reordered: int = 0
    streams: int = 0
    state_mismatches: int = 0
    examples: list[str] = field(default_factory=list)


def judge_run(
    routes: Routes,
    names: dict[str, str],
    inputs: list[Chunk],
    outputs: list[tuple[str, Any]],
    changelog: dict[int, list[tuple[bytes, bytes | None]]],
) -> Verdict:
    """Compare.

    Args:
        routes: The daemon's own.
        names: Topics: alerts, dead, and scores where they were asked for.
        inputs: All records of each input partition.
        outputs: Topic and record of all that a read_committed consumer sees, in its order.
        changelog: Records of each of its partitions, likewise.
    """
    verdict = Verdict()
    expected: list[Said] = []
    for chunk in inputs:
        records = changelog.get(chunk.partition.number, [])
        for route, part in routes.split(chunk):
            scorer = route.scorers[0]
            origin = scorer.origin(chunk.partition, routes.prefix(route, chunk.partition))
            arena, tags = origin.new_arena(), origin.new_tags()
            said = list(undisturbed(scorer, names, part, arena, tags))
            expected += [(m.topic, m.key, m.value, m.headers) for m in said]
            verdict.alerts += sum(m.topic == names["alerts"] for m in said)
            _compare_state(verdict, origin, chunk.next_offset, (arena, tags), records)
    seen: list[Said] = [(topic, r.key, r.value, tuple(r.headers)) for topic, r in outputs]
    _compare_said(verdict, expected, seen)
    return verdict


def undisturbed(
    scorer: Scorer, names: dict[str, str], chunk: Chunk, arena: Arena, tags: Arena
) -> Iterator[Message]:
    """Say all that a partition's records cause, in one go."""
    engine, decoded = scorer.engine, decode(chunk, scorer.form, tags)
    outcome = engine.run(arena, decoded.readings, chunk.partition, keep_trace="scores" in names)
    for alert in outcome.alerts:
        yield alert_message(alert, names["alerts"])
    for bad in decoded.bad:
        yield dead_letter(bad, chunk, names["dead"])
    if outcome.trace is not None:
        manifest = engine.model.manifest
        yield from score_messages(decoded.readings, outcome.trace, manifest, names["scores"])


def _compare_said(verdict: Verdict, expected: list[Said], seen: list[Said]) -> None:
    want, have = Counter(expected), Counter(seen)
    verdict.expected = len(expected)
    verdict.lost = sum((want - have).values())
    verdict.strange = sum(count for said, count in have.items() if said not in want)
    verdict.repeated = sum(
        max(count - want[said], 0) for said, count in have.items() if said in want
    )
    if not (verdict.lost or verdict.strange or verdict.repeated):
        verdict.reordered = sum(
            a != b for a, b in zip(_by_key(expected), _by_key(seen), strict=True)
        )
    for name, some in (("lost", want - have), ("strange", have - want)):
        verdict.examples += [f"{name}: {said}"[:600] for said in list(some)[:3]]


def _by_key(messages: list[Said]) -> list[Said]:
    """Return messages so that only the order within a topic's key is left."""
    return sorted(messages, key=lambda said: (said[0], said[1] or b""))


def _compare_state(
    verdict: Verdict,
    origin: Origin,
    end: int,
    arenas: tuple[Arena, Arena],
    records: list[tuple[bytes, bytes | None]],
) -> None:
    kept, (arena, tags) = Kept(), arenas
    for key, value in records:
        own = origin.own(key)
        if own is not None:
            kept.note(own, value)
    resumed = resume(kept, origin, Bounds(0, 0, end))
    want, have = rows(arena), rows(resumed.arena)
    verdict.streams += len(want)
    if rows(tags) != rows(resumed.tags):
        verdict.state_mismatches += 1
        verdict.examples.append(f"what waits to be joined in {origin.partition}")
    wrong = [stream for stream in want.keys() | have.keys() if want.get(stream) != have.get(stream)]
    for name in ("clock", "tally", "withheld"):
        if getattr(resumed.arena, name) != getattr(arena, name):
            wrong = list(want)
            verdict.examples.append(f"{name} of {origin.partition}: {getattr(resumed.arena, name)}")
    if resumed.start != end:
        wrong = list(want)
        verdict.examples.append(
            f"state of {origin.partition}: {resumed.outcome} {resumed.detail}, up to "
            f"{resumed.start} of {end}"
        )
    verdict.state_mismatches += len(wrong)
    verdict.examples += [f"state of {stream!r} in {origin.partition}" for stream in wrong[:3]]


def rows(arena: Arena) -> dict[bytes, bytes]:
    """Return each stream's row, to the bit."""
    streams, _ = arena.docket()
    streams = [stream for stream in streams if stream]
    taken = arena.take(arena.rows(streams))
    found = {}
    for n, stream in enumerate(streams):
        before = arena.ring.before(int(taken.index[n]), int(taken.pace["seen"][n]) + 1)
        watched = arena.watched(taken.index[n : n + 1])
        rows = (taken.model[n], taken.pace[n], taken.docket[n], watched)
        columns = (*rows, before.at_us, before.x)
        found[stream] = b"".join(np.asarray(column).tobytes() for column in columns)
    return found


def chunk_of(partition: Partition, records: list[Any]) -> Chunk:
    """Return a partition's records as one chunk."""
    return Chunk(
        partition,
        np.array([r.offset for r in records], np.int64),
        np.array([r.timestamp for r in records], np.int64) * 1000,
        [r.key for r in records],
        [r.value for r in records],
    )
