"""The fleet without an end: `python -m training.demo.live`, for a broker and a daemon of yours.

It begins a quarter of an hour ago, so that warm-up is over at once, or longer, to leave some
history; half of that is healthy. Then every pump says a reading a second, and every few minutes
one of them breaks.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from detector.emit import KafkaSink
from detector.errors import ConnectionLost
from detector.messages import rfc3339
from detector.records import US_PER_S, Doubles
from detector.topics import create_topics
from training.demo.fleet import Fault, break_down, drop_some, schedule, simulate
from training.demo.story import PARTITIONS, PUMPS, TOPIC, messages

ROUND_S = 6 * 3600  # then the same again, as if all pumps had been overhauled
LEAD_S = 900  # seconds of the past
SPELL_S = 1800  # in which every kind of fault comes once
SEED = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Play until stopped, or for as long as asked."""
    parser = argparse.ArgumentParser(prog="python -m training.demo.live", description=__doc__)
    parser.add_argument("--servers", default="localhost:9092", help="of Kafka (%(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long (for ever)")
    parser.add_argument(
        "--past", type=int, default=LEAD_S, help="seconds that are history (%(default)s)"
    )
    parser.add_argument("--incidents", type=Path, help="CSV file to tell what broke, and when")
    options = parser.parse_args(arguments)
    try:
        create_topics(options.servers, [TOPIC], PARTITIONS)
        create_topics(options.servers, ["alerts", "dead-letters"], 1)
        _play(options.servers, options.seconds, options.past, options.incidents)
    except ConnectionLost as error:
        print(f"live: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def faults(healthy_s: int = LEAD_S // 2) -> list[Fault]:
    """Return what breaks in a round, in order: another pump each time, none at first."""
    return [
        replace(
            fault,
            pump=(fault.pump + spell) % PUMPS,
            start=fault.start + spell * SPELL_S,
            stop=fault.stop + spell * SPELL_S,
        )
        for spell in range(ROUND_S // SPELL_S)
        for fault in schedule(PUMPS, SPELL_S, lead=0)
        if fault.start + spell * SPELL_S >= healthy_s
    ]


def _play(servers: str, seconds: float, past_s: int, incidents: Path | None) -> None:
    sink = KafkaSink(servers, [])
    began_s, first_s = time.monotonic(), int(time.time()) - past_s
    if incidents is not None:
        incidents.write_text("stream,from,to\n", encoding="utf-8")
    sent = 0
    while (passed_s := time.monotonic() - began_s) < seconds or sent < past_s:
        now = past_s + int(min(passed_s, seconds))
        upto = min(now, sent + SPELL_S, (sent // ROUND_S + 1) * ROUND_S)
        if upto > sent:
            if sent % ROUND_S == 0:
                untold = faults(past_s // 2)
                x = _round(untold)
            at, to = sent % ROUND_S, (upto - 1) % ROUND_S + 1
            sink.send(messages(x[:, at:to], first_s + sent))
            while untold and untold[0].start < to:
                _tell(untold.pop(0), first_s + sent - at, incidents)
            sent = upto
        if upto == now:
            time.sleep(0.1)
    sink.close()


def _tell(fault: Fault, round_s: int, incidents: Path | None) -> None:
    """Say what breaks, in a round that began at `round_s`."""
    print(f"pump-{fault.pump:02} breaks: {fault.name}", flush=True)
    if incidents is not None:
        start, stop = (rfc3339((round_s + t) * US_PER_S) for t in (fault.start, fault.stop))
        with incidents.open("a", encoding="utf-8") as file:
            file.write(f"pump-{fault.pump:02},{start},{stop}\n")


def _round(broken: Sequence[Fault]) -> Doubles:
    x = simulate(PUMPS, ROUND_S, SEED)
    for seed, fault in enumerate(broken):
        break_down(x, fault, seed)
    return drop_some(x, SEED + 1)


if __name__ == "__main__":
    sys.exit(main())
