"""Bytes as no producer should write them: valid records, broken in every way we know."""

import json
from collections.abc import Callable
from random import Random

CHANNELS = ("speed", "flow", "pressure", "current", "temperature", "vibration")
NOW_S = 1_760_000_000
STEP_S = 0.003  # between records: a million of them stay within the hour of their broker's time
INTERESTING = (
    b"", b"null", b"NaN", b"Infinity", b"-1", b"1e999", b"1e400", b"0" * 400, b'"1.5"', b"[]",
    b"{}", b"[[", b"true", b"\x00", b"\xff\xfe", b"\\ud800", b"9" * 30, b"-0.0", b"1760000000000",
    b'{"ts":1760000000,"values":{}}', b'"2025-10-09T08:54:12Z"', b"\xe2\x80\xae",
)  # fmt: skip

Pair = tuple[bytes | None, bytes | None]


class Mutator:
    """Makes records from a seed; many are valid, many nearly so."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._now_s = float(NOW_S)

    def records(self, count: int) -> list[Pair]:
        """Return keys and values."""
        return [self._record() for _ in range(count)]

    def _record(self) -> Pair:
        random = self._random
        self._now_s += STEP_S
        key: bytes | None = b"pump-%d" % random.randrange(40)
        value: bytes | None = self._valid()
        if random.random() < 0.4:
            for _ in range(random.choice([1, 1, 1, 2, 5])):
                value = random.choice(CUTS)(random, value or b"")
        if random.random() < 0.03:
            key = random.choice([None, b"", b"\xff", b"x" * 300, b"a\nb", random.randbytes(8)])
        if random.random() < 0.005 and key is not None:  # Kafka takes no record without both
            value = None
        return key, value

    def _valid(self) -> bytes:
        random = self._random
        if random.random() < 0.05:
            return json.dumps([self._reading() for _ in range(random.randrange(5))]).encode()
        return json.dumps(self._reading()).encode()

    def _reading(self) -> dict[str, object]:
        random = self._random
        row = [random.choice([random.gauss(20, 5), 1e30, 0, None]) for _ in CHANNELS]
        now_s = self._now_s - random.choice([0, 0, 0, 0, 5, 90])
        ts = random.choice([now_s, int(now_s * 1e3), int(now_s * 1e6), int(now_s * 1e9)])
        values: object = dict(zip(CHANNELS, row, strict=True))
        if random.random() < 0.1:
            values = row
        return {"ts": ts, "values": values}


def _flip(random: Random, value: bytes) -> bytes:
    if not value:
        return value
    at = random.randrange(len(value))
    return value[:at] + bytes([value[at] ^ (1 << random.randrange(8))]) + value[at + 1 :]


def _insert(random: Random, value: bytes) -> bytes:
    at = random.randint(0, len(value))
    return value[:at] + random.choice(INTERESTING) + value[at:]


def _delete(random: Random, value: bytes) -> bytes:
    at = random.randint(0, len(value))
    return value[:at] + value[at + random.randint(1, 20) :]


def _replace_word(random: Random, value: bytes) -> bytes:
    words = value.split(b",")
    words[random.randrange(len(words))] = random.choice(INTERESTING)
    return b",".join(words)


def _repeat(random: Random, value: bytes) -> bytes:
    at = random.randint(0, len(value))
    return value[:at] + value[at : at + 20] * random.randint(2, 50) + value[at:]


def _noise(random: Random, value: bytes) -> bytes:
    return random.randbytes(random.randint(0, 64))


def _nest(random: Random, value: bytes) -> bytes:
    depth = random.choice([1, 10, 2000])
    return b"[" * depth + value + b"]" * depth


CUTS: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip, _insert, _delete, _replace_word, _repeat, _noise, _nest,
)  # fmt: skip
