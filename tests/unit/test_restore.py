"""What the changelog kept, and when it may be used."""

import msgspec
import numpy as np
import pytest
from fakes import manifest

from detector.budget import Tally
from detector.flood import Flood
from detector.records import Bounds, Partition, alert_id
from detector.restore import OUTCOMES, Kept, resume
from detector.silence import WATCH
from detector.slab import Slab
from detector.snapshot import FORMAT, Entry, Origin, number_of, read_entry
from detector.state import DOCKET, PACE, Arena

PARTITION = Partition("readings", 3)
ORIGIN = Origin(manifest(), PARTITION)
AT = 100  # the offset up to which state is kept


def arena_of(*streams: bytes) -> Arena:
    arena = Arena(3, 1)
    rows = arena.take(arena.rows(list(streams)))
    rows.model[:] = rows.index[:, None] + 1
    rows.pace["last_us"], rows.pace["seen"] = 5, 9
    arena.put(rows)
    return arena


def kept_of(origin: Origin = ORIGIN, *streams: bytes, at: int = AT) -> Kept:
    kept = Kept()
    for slab in arena_of(*(streams or (b"a", b"b"))).touched():
        kept.note(b"slab/%d" % slab.number, origin.slab(slab, at))
    kept.note(b"mark", origin.mark(at))
    return kept


def bounds(start: int = 0, committed: int | None = AT) -> Bounds:
    return Bounds(7, start, committed)


def test_state_comes_back_to_the_bit_and_starts_where_it_was() -> None:
    resumed = resume(kept_of(), ORIGIN, bounds(committed=120))
    assert (resumed.outcome, resumed.start, resumed.live_from) == ("restored", AT, 120)
    index = resumed.arena.rows([b"a", b"b"])
    again, before = resumed.arena.take(index), arena_of(b"a", b"b").take(index)
    for name in ("model", "pace", "docket"):
        assert getattr(again, name).tobytes() == getattr(before, name).tobytes()


def test_state_that_is_ahead_of_what_was_committed_was_said() -> None:
    """At least once, positions are committed last."""
    resumed = resume(kept_of(), ORIGIN, bounds(committed=80))
    assert (resumed.start, resumed.live_from) == (AT, AT)


def other(**changes: object) -> Origin:
    return Origin(manifest(**changes), PARTITION)  # type: ignore[arg-type]


def broken() -> Kept:
    kept = kept_of()
    entry = read_entry(kept.values[b"slab/0"])
    assert isinstance(entry, Entry)
    changed = msgspec.structs.replace(entry, state=bytes(len(entry.state)))
    kept.values[b"slab/0"] = msgspec.msgpack.encode(changed)
    return kept


def newer() -> Kept:
    kept = kept_of()
    entry = msgspec.structs.replace(read_entry(kept.values[b"mark"]), format=FORMAT + 1)  # type: ignore[type-var]
    kept.values[b"mark"] = msgspec.msgpack.encode(entry)
    return kept


def narrow() -> Kept:
    kept = Kept()
    slab = Slab(
        0,
        [b"a"],
        np.zeros((1, 2), np.float32),
        np.zeros(1, PACE),
        np.zeros((1, 1), DOCKET),
        b"",
        np.zeros(1, WATCH),
    )
    kept.note(b"slab/0", ORIGIN.slab(slab, AT))
    kept.note(b"mark", ORIGIN.mark(AT))
    return kept


def mixed() -> Kept:
    kept = kept_of(other(version="1" * 64))
    kept.note(b"mark", ORIGIN.mark(AT))
    return kept


UNUSABLE = {
    "new": (Kept(), bounds(committed=None), ""),
    "missing": (Kept(), bounds(), "expected a mark for offset 100, saw none"),
    "damaged": (broken(), bounds(), "crc32c"),
    "damaged: format": (newer(), bounds(), f"expected format {FORMAT}, saw {FORMAT + 1}: another"),
    "damaged: width": (narrow(), bounds(), "expected 1 rows of 3 numbers"),
    "damaged: models": (mixed(), bounds(), "saw that of several"),
    "other_topic": (
        kept_of(Origin(manifest(), Partition("other", 3))), bounds(), "expected state of readings"
    ),
    "other_model": (kept_of(other(version="1" * 64)), bounds(), "saw that of 111111111111"),
    "behind": (kept_of(), bounds(start=101, committed=130), "retention was faster"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSABLE)
def test_state_that_cannot_be_used_is_left_with_its_reason(case: str) -> None:
    kept, where, why = UNUSABLE[case]
    resumed = resume(kept, ORIGIN, where)
    assert resumed.outcome == case.split(":", maxsplit=1)[0]
    assert why in resumed.detail
    begins = 7 if case == "new" else None  # where the group stands
    assert (resumed.start, resumed.live_from, len(resumed.arena)) == (begins, 0, 0)
    assert resumed.stale == frozenset(kept.values)
    assert resumed.outcome in OUTCOMES


def test_offsets_that_went_back_are_those_of_another_topic() -> None:
    resumed = resume(kept_of(), ORIGIN, bounds(), went_back_to=3)
    assert (resumed.outcome, resumed.start, resumed.live_from) == ("recreated", 3, 0)
    assert "saw 3: the input topic was made anew" in resumed.detail


def test_bytes_that_are_nothing_of_ours_are_damage_and_no_crash() -> None:
    for value in (b"", b"\x00", b"{}", msgspec.msgpack.encode([1, 2])):
        kept = kept_of()
        kept.values[b"slab/7"] = value
        assert resume(kept, ORIGIN, bounds()).outcome == "damaged"


def test_judged_entries_count_between_the_mark_and_what_was_committed() -> None:
    kept, docket, arena = kept_of(), np.zeros((1, 1), DOCKET), arena_of(b"a")
    for slot, (offset, peak) in enumerate([(AT, 1), (AT + 5, 2), (AT + 9, 3), (AT + 20, 4)]):
        docket["peak"], docket["open"] = peak, True
        arena.correct(arena.rows([b"a"]), docket)
        arena.tally, arena.withheld = Tally(7, peak), {(b"a", "state"), (b"b", "state")}
        kept.note(b"judged/%d" % slot, ORIGIN.judged(arena, [b"a"], offset))
    resumed = resume(kept, ORIGIN, bounds(committed=AT + 10))
    assert resumed.said is not None
    assert resumed.said.judged[b"a"]["peak"].tolist() == [3]
    assert resumed.slot == 3
    assert resumed.said.overrule(resumed.arena) == 1
    assert resumed.arena.alerting["open"].sum() == 1
    assert resumed.arena.tally == Tally(7, 3)
    assert resumed.arena.withheld == {(b"a", "state")}, "of b it says nothing"


def test_a_tombstone_takes_a_key_back() -> None:
    kept = kept_of()
    kept.note(b"slab/0", None)
    resumed = resume(kept, ORIGIN, bounds())
    assert (resumed.outcome, len(resumed.arena)) == ("restored", 0)


def test_numbers_in_keys() -> None:
    assert number_of(b"slab/12", b"slab/") == 12
    assert [number_of(key, b"slab/") for key in (b"judged/1", b"slab/", b"slab/x", b"mark")] == [
        None
    ] * 4


def test_the_layout_of_rows_belongs_to_the_format() -> None:
    """Whoever changes one changes FORMAT, or state of before is misread."""
    assert FORMAT == 4
    assert (PACE.itemsize, DOCKET.itemsize, WATCH.itemsize) == (16, 50, 29)
    assert WATCH.names == ("readings", "silent", "heard_us", "heard", "envelope")
    assert PACE.names == ("last_us", "seen")
    assert DOCKET.names == (
        "open", "severity", "run", "calm", "since_us", "since_offset", "quiet_until_us", "peak",
        "bar", "barred_at",
    )  # fmt: skip
    assert Tally._fields == ("hour", "told", "withheld", "since_us", "streams", "flood")
    assert Flood._fields == (
        "recent", "offset", "since_us", "joined_us", "members", "told", "told_us", "streams",
    )  # fmt: skip
    fields = [field.name for field in msgspec.structs.fields(Entry)]
    assert fields == [
        "format", "model", "kinds", "topic", "partition", "offset", "streams", "state", "pace",
        "docket", "adopted", "ring", "watch", "clock", "tally", "crc32c",
    ]  # fmt: skip


def test_an_adopted_id_is_not_that_of_what_opened_after_it() -> None:
    """One poll may close the one and open the other: only its last word is kept."""
    arena, kept = arena_of(b"a"), Kept()
    docket = arena.take(arena.rows([b"a"])).docket
    docket["open"], docket["since_offset"] = True, 90
    arena.correct(arena.rows([b"a"]), docket)
    arena.adopted[b"a", 0] = "an older model's"
    kept.note(b"adopted/0", ORIGIN.adopted(AT, [(b"a", "state", "an older model's")]))
    for slab in arena.touched():
        kept.note(b"slab/%d" % slab.number, ORIGIN.slab(slab, AT))
    kept.note(b"mark", ORIGIN.mark(AT))
    heir = other(version="1" * 64)
    still = resume(kept, heir, bounds(committed=AT + 10)).arena.adopted
    assert still == {(b"a", 0): "an older model's"}
    docket["since_offset"] = AT + 4
    arena.correct(arena.rows([b"a"]), docket)
    kept.note(b"judged/0", ORIGIN.judged(arena, [b"a"], AT + 5))
    (now,) = resume(kept, heir, bounds(committed=AT + 10)).arena.adopted.values()
    assert now == alert_id(PARTITION, b"a", "state", ORIGIN.manifest.version, 0, AT + 4)
    # Under the same model, too: it goes by its own id, and the adopted one is forgotten.
    resumed = resume(kept, ORIGIN, bounds(committed=AT + 10))
    assert resumed.said is not None
    resumed.said.overrule(resumed.arena)
    assert resumed.arena.adopted == {}


def test_the_state_of_one_model_may_lie_among_what_no_longer_counts_of_another() -> None:
    before, kept = other(version="1" * 64), kept_of()
    kept.note(b"judged/7", before.judged(arena_of(b"a"), [b"a"], AT - 5))
    kept.note(b"adopted/3", before.adopted(AT - 5, [(b"a", "state", "gone")]))
    assert resume(kept, ORIGIN, bounds()).outcome == "restored"
    kept.note(b"judged/8", before.judged(arena_of(b"a"), [b"a"], AT + 5))
    assert resume(kept, ORIGIN, bounds()).outcome == "damaged"


def test_another_kind_of_evidence_is_another_model() -> None:
    onset = manifest().calibration[0].model_copy(update={"kind": "onset"})
    assert resume(kept_of(), other(calibration=(onset,)), bounds()).outcome == "other_model"
