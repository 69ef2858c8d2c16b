"""Numbers as people say them."""

import math
from datetime import UTC, datetime

from detector.records import US_PER_S

NOTHING = "–"  # noqa: RUF001 - an en dash, as tables have it
MINUS, THIN_SPACE = "\u2212", "\u202f"
SIGMA = "\u03c3"
MILLION = 1e6
RAREST = 1e-9  # beyond, a fitted tail says no more than "very"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits and no exponent in the usual range."""
    if not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 9:  # noqa: PLR2004 - what people read without counting zeros
        return f"{value:.{digits - 1}e}"
    decimals = max(digits - 1 - size, 0)
    text = f"{value:,.{decimals}f}".replace(",", THIN_SPACE).replace("-", MINUS)
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
    """Return a share of one in percent.

    >>> percent(0.385)
    '38.5 %'
    """
    digits = 3 if abs(share) >= 0.01 else 2  # noqa: PLR2004 - 38.5 %, but 0.11 %
    return f"{number(100 * share, digits)} %" if math.isfinite(share) else NOTHING


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    if not math.isfinite(seconds):
        return NOTHING
    for unit, size in (("days", DAY_S), ("h", HOUR_S), ("min", MINUTE_S)):
        if abs(seconds) >= 2 * size:
            return f"{number(seconds / size, 2)} {unit}"
    return f"{number(seconds, 2)} s"


def one_in(probability: float) -> str:
    """Return how rare something is."""
    if probability < RAREST:
        return "rarer than 1 in a billion"
    times = 1 / probability
    if times < 1.05:  # noqa: PLR2004 - rounds to one
        return "nearly always"
    rounded = float(f"{times:.1e}")
    if rounded >= MILLION:
        return f"1 in {number(rounded / MILLION, 2)} million"
    return f"1 in {number(rounded, 2)}"


def one_in_power(power: float) -> str:
    """Return how rare a probability of 10 to the minus `power` is, a whole number; for an axis."""
    if round(power) < 2:  # noqa: PLR2004 - needs no exponent
        return "1 in 10" if round(power) else "every"
    return "1 in 10" + str(round(power)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def clock(ts_us: int) -> str:
    """Return a time to the second, in UTC."""
    return datetime.fromtimestamp(ts_us / US_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(first_us: int, last_us: int) -> str:
    """Return from when to when, in UTC, the day once where it is one."""
    first, last = clock(first_us), clock(last_us)
    same = first[:10] == last[:10]
    return f"{first[:16]} to {last[11:16] if same else last[:16]} UTC"


def with_unit(name: str, unit: str) -> str:
    """Return a channel's name, with its unit where it has one."""
    return f"{name} ({unit})" if unit else name
