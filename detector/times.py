"""Event times, in whatever producers write them, as microseconds. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from detector.records import Bools, Doubles
from detector.validate import Stamp, epoch_us

US_PER_UNIT = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
NUMBERS = {int, float}
LARGE = 1 << 63


def microseconds(stamps: Sequence[Any], form: str) -> tuple[Doubles, Bools]:
    """Return event times, and which of them could not be read.

    Args:
        stamps: [N] numbers, text or datetimes.
        form: `auto` (RFC 3339, or an epoch number whose unit its size tells), `rfc3339`, one of
            `s`, `ms`, `us`, `ns` (epoch numbers), or what `strptime` takes. A datetime (Avro
            has such) is read in any; times that name no offset are UTC.

    Returns:
        [N] float64, NaN where wrong; [N] bool.
    """
    kinds, wrong = set(map(type, stamps)), np.zeros(len(stamps), np.bool_)
    scale = US_PER_UNIT.get(form)
    if kinds <= NUMBERS and form == "auto":
        return epoch_us(stamps), wrong
    if kinds == {int} and scale and max(map(abs, stamps)) < LARGE:
        return np.rint(np.array(stamps, np.float64) * scale), wrong
    if kinds == {str} and form in {"auto", "rfc3339"}:
        try:
            return epoch_us(msgspec.convert(stamps, list[datetime])), wrong
        except ValueError:
            pass  # find out which
    read = [_read(stamp, form) for stamp in stamps]
    wrong = np.array([stamp is None for stamp in read], np.bool_)
    if scale is None:
        return epoch_us([np.nan if stamp is None else stamp for stamp in read]), wrong
    return np.array([_scaled(stamp, scale) for stamp in read], np.float64), wrong


def _scaled(stamp: Stamp | None, scale: float) -> float:
    """Return microseconds."""
    if isinstance(stamp, datetime):
        return float(epoch_us([stamp])[0])
    try:
        return np.nan if stamp is None else round(stamp * scale)
    except (OverflowError, ValueError):  # 400 digits, infinity
        return np.inf


def _read(stamp: Any, form: str) -> Stamp | None:  # noqa: ANN401
    """Return one time; None where it is not as `form` says."""
    if type(stamp) in NUMBERS and form != "auto" and form not in US_PER_UNIT:
        return None
    if isinstance(stamp, datetime) or type(stamp) in NUMBERS:
        return stamp  # type: ignore[no-any-return]
    text = stamp.decode(errors="replace") if isinstance(stamp, bytes) else stamp
    try:
        return _read_text(text, form) if isinstance(text, str) else None
    except ValueError:
        return None


def _read_text(text: str, form: str) -> Stamp:
    if "%" in form:
        return datetime.strptime(text, form)  # noqa: DTZ007 - UTC where it does not say
    if form == "rfc3339" or (form == "auto" and "-" in text[1:]):
        return msgspec.convert(text, datetime)
    return float(text)  # epoch numbers in headers are text
