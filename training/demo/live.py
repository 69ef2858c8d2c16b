"""The fleet without an end: `python -m training.demo.live`, for a broker and a daemon of yours.

It begins a quarter of an hour ago, so that warm-up is over at once; then every pump says a
reading a second, and every few minutes one of them breaks.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from detector.emit import KafkaSink
from detector.errors import ConnectionLost
from detector.records import Doubles
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
    options = parser.parse_args(arguments)
    try:
        create_topics(options.servers, [TOPIC], PARTITIONS)
        create_topics(options.servers, ["alerts", "dead-letters"], 1)
        _play(options.servers, options.seconds)
    except ConnectionLost as error:
        print(f"live: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def faults() -> list[Fault]:
    """Return what breaks in a round, in order: another pump each time."""
    return [
        replace(
            fault,
            pump=(fault.pump + spell) % PUMPS,
            start=fault.start + spell * SPELL_S,
            stop=fault.stop + spell * SPELL_S,
        )
        for spell in range(ROUND_S // SPELL_S)
        for fault in schedule(PUMPS, SPELL_S, lead=0)
        if spell or fault.start >= LEAD_S // 2
    ]


def _play(servers: str, seconds: float) -> None:
    sink = KafkaSink(servers, [])
    began_s, first_s = time.monotonic(), int(time.time()) - LEAD_S
    sent = 0
    while (passed_s := time.monotonic() - began_s) < seconds:
        upto = min(LEAD_S + int(passed_s), (sent // ROUND_S + 1) * ROUND_S)
        if upto > sent:
            if sent % ROUND_S == 0:
                x, untold = _round(), faults()
            at, to = sent % ROUND_S, (upto - 1) % ROUND_S + 1
            sink.send(messages(x[:, at:to], first_s + sent))
            while untold and untold[0].start < to:
                fault = untold.pop(0)
                print(f"pump-{fault.pump:02} breaks: {fault.name}", flush=True)
            sent = upto
        time.sleep(0.1)
    sink.close()


def _round() -> Doubles:
    x = simulate(PUMPS, ROUND_S, SEED)
    for seed, fault in enumerate(faults()):
        break_down(x, fault, seed)
    return drop_some(x, SEED + 1)


if __name__ == "__main__":
    sys.exit(main())
