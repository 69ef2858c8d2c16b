"""Feeds the daemon broken bytes, millions of them, and counts: in = scored + late + set aside.

`make fuzz RECORDS=1000000` runs them through the loop in this process, and a part of them through
`detector run` on a real broker. Writes build/fuzz.json; what made it crash is kept beside it.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import structlog
from fakes import MemoryBroker, Record, as_chunk
from mutate import Mutator, Pair
from rich.progress import track
from rigs import ZERO, Rig

from detector.decode import decode
from detector.engine import Engine
from detector.judge import rules
from detector.limit import DeadLetters
from detector.model import load
from detector.records import Partition
from detector.scorer import Scorer
from detector.validate import Format, format_of

BUILD = Path(__file__).parents[2] / "build"
AT_ONCE = 2000
STAMP_MS = 1_760_000_000_000
THROUGH_KAFKA = 0.02  # of the records: the way through a broker is slow


@dataclass
class Tally:
    """What became of records.

    Attributes:
        records: All of them.
        readings: In those that could be read.
        scored: Readings.
        late: Readings.
        dead: Records set aside.
        unaccounted: Records that are neither, and readings that are neither scored nor late.
        crashes: Times that something was raised.
    """

    records: int = 0
    readings: int = 0
    scored: int = 0
    late: int = 0
    dead: int = 0
    unaccounted: int = 0
    crashes: int = 0

    def add(self, other: "Tally") -> None:
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)


def in_process(rig: Rig, pairs: list[Pair]) -> Tally:
    """Let the loop poll records from memory; count what its metrics and its topics say."""
    before = _counts(rig)
    log = rig.broker.partitions[ZERO]
    log += [Record(key, value, STAMP_MS) for key, value in pairs]
    rig.broker.sent.clear()
    rig.turn()
    chunk_readings, bad = _expected(pairs, rig.form)
    seen = {name: count - before[name] for name, count in _counts(rig).items()}
    dead = sum(message.topic == "dead-letters" for message in rig.broker.sent)
    off = abs(seen["records"] - len(pairs)) + abs(dead - bad) + abs(dead - seen["dead"])
    off += abs(chunk_readings - seen["scored"] - seen["late"])
    return Tally(len(pairs), chunk_readings, seen["scored"], seen["late"], dead, off)


def _expected(pairs: list[Pair], form: Format, stamp_ms: int = STAMP_MS) -> tuple[int, int]:
    """Return how many readings and how many bad records decode sees, one record at a time."""
    readings = bad = 0
    for key, value in pairs:
        decoded = decode(as_chunk(Partition("one", 0), 0, [Record(key, value, stamp_ms)]), form)
        readings += len(decoded.readings.offset)
        bad += len(decoded.bad)
        assert bool(decoded.bad) != bool(len(decoded.readings.offset)), (key, value)
    return readings, bad


def _counts(rig: Rig) -> dict[str, int]:
    dead = [
        int(sample.value)
        for metric in rig.metrics.dead_letters.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    ]
    return {
        "records": int(rig.value("detector_records_total") or 0),
        "scored": int(rig.value("detector_readings_total") or 0),
        "late": int(rig.value("detector_late_readings_total") or 0),
        "dead": sum(dead),
    }


def through_kafka(model: Path, pairs: list[Pair], folder: Path) -> Tally:
    """Let `detector run` read records from a broker, and count likewise."""
    from brokers import Tansu  # noqa: PLC0415
    from daemons import Daemon, Topics, until  # noqa: PLC0415

    form = format_of(load(model).manifest)
    # The broker stamps records with the present, not with that of the story.
    readings, bad = _expected(pairs, form, int(time.time() * 1000))
    broker = Tansu()
    broker.start()
    topics = Topics(broker.bootstrap_servers, partitions=1).create()
    limits = {"dead_letter_limit__consecutive": 10**9, "dead_letter_limit__share": 1.0}
    try:
        with Daemon(model, topics, folder, **limits) as member:
            member.ready()
            topics.write(pairs)
            count = len(pairs)
            until(
                lambda: member.metric("detector_records_total") == count or not member.running,
                "all read",
                300,
            )
            scored = int(member.metric("detector_readings_total"))
            late = int(member.metric("detector_late_readings_total"))
            dead = int(member.metric("detector_dead_letters_total"))
            letters = len(topics.read(topics.dead, bad, 60))
            crashed = int(member.stop() != 0 or "Traceback" in member.said)
    finally:
        broker.close()
    off = abs(readings - scored - late) + abs(dead - bad) + abs(letters - bad)
    return Tally(len(pairs), readings, scored, late, dead, off, crashed)


def new_rig(model: Path) -> Rig:
    """Return the loop in memory, with the real model."""
    loaded = load(model)
    rig = Rig(
        MemoryBroker({ZERO: []}), limit=DeadLetters(10**9, 1.0), max_poll_records=AT_ONCE,
        about=loaded.manifest,
    )  # fmt: skip
    rig.form = format_of(loaded.manifest)
    engine = Engine(loaded, rules(loaded.manifest, 0.1))
    rig.pipeline._owned.routes.each[0].scorers = (Scorer(engine, rig.form),)
    return rig


def fuzz(model: Path, records: int, seed: int) -> Iterator[Tally]:
    """Yield the tally of each portion."""
    mutator, rig = Mutator(seed), new_rig(model)
    for portion in range(-(-records // AT_ONCE)):
        pairs = mutator.records(min(AT_ONCE, records - portion * AT_ONCE))
        try:
            yield in_process(rig, pairs)
        except Exception:  # noqa: BLE001 - whatever it is, it is the finding
            where = BUILD / "fuzz" / f"crash-{seed}-{portion}.txt"
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(traceback.format_exc() + "\n".join(map(repr, pairs)))
            print(f"crashed; see {where}")
            yield Tally(len(pairs), crashes=1)
            rig = new_rig(model)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, required=True)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    total = Tally()
    portions = fuzz(options.model, options.records, options.seed)
    for tally in track(portions, "fuzzing", total=-(-options.records // AT_ONCE)):
        total.add(tally)
    pairs = Mutator(options.seed + 1).records(max(int(options.records * THROUGH_KAFKA), 1))
    with tempfile.TemporaryDirectory() as folder:
        total.add(through_kafka(options.model, pairs, Path(folder)))
    BUILD.mkdir(exist_ok=True)
    text = json.dumps(asdict(total), indent=2)
    (BUILD / "fuzz.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return int(bool(total.unaccounted or total.crashes))


if __name__ == "__main__":
    sys.exit(main())
