"""What normal history says of each channel: its scale, and what it is to the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from detector.errors import SettingsRejected
from detector.records import Bools, Doubles, Floats, Ints
from training.config import DataChannel
from training.data import History

Role = Literal["telemetry", "command", "status", "constant", "event"]

ROWS = 1 << 16  # looked at together
SCALE_FLOOR = 1e-6  # of a channel's typical size: below, it is constant
CONSTANT_SCALE = 0.01  # of its value: what a change of a constant channel is measured in
STRANGE = 0.01  # of an event's codes; if more are no symbol, it is the symbols that are wrong


@dataclass(frozen=True, slots=True)
class Channels:
    """C channels.

    Attributes:
        mean: [C] engineering units.
        scale: [C] standard deviation; of a constant channel a hundredth of its value, or 1.
        moves: [C] not the same in all of the history; no event does, its codes are no quantity.
        roles: [C].
    """

    mean: Doubles
    scale: Doubles
    moves: Bools
    roles: list[Role]

    @property
    def judged(self) -> list[int]:
        """Which channels are scored: telemetry, and constants because any change is new."""
        return [c for c, role in enumerate(self.roles) if role in ("telemetry", "constant")]


def look(channels: Sequence[DataChannel], history: History) -> Channels:
    """Measure the channels of normal history.

    A channel of nothing but 0 and 1 is a status: it says what the machine is doing. Where no
    other channel is left, these are scored after all.

    Args:
        channels: As configured; a role that is given there stands.
        history: All of its readings count.

    Raises:
        SettingsRejected: If an event's codes are not those of its symbols.
    """
    count, total, squares, strange = (np.zeros(len(channels)) for _ in range(4))
    event = np.array([channel.role == "event" for channel in channels])
    sizes = np.array([len(channel.symbols) for channel in channels])
    flag = np.ones(len(channels), np.bool_)
    shift = np.nan_to_num(history.rows(0, 1)[0].astype(np.float64))
    for start in range(0, len(history.order), ROWS):
        seen = history.rows(start, start + ROWS)
        flag &= np.all((seen == 0) | (seen == 1) | np.isnan(seen), axis=0)
        strange += (event & np.isfinite(seen) & ~_known(seen, sizes)).sum(0)
        rows = seen.astype(np.float64) - shift
        count += np.isfinite(rows).sum(0)
        total += np.nansum(rows, 0)
        squares += np.nansum(rows**2, 0)
    for c in np.flatnonzero(strange > STRANGE * count).tolist():
        msg = (
            f"expected codes 0 to {sizes[c] - 1} in event {channels[c].name!r}, saw others in "
            f"{strange[c]:g} of {count[c]:g} readings; mend its `symbols`"
        )
        raise SettingsRejected(msg)
    off = total / np.maximum(count, 1)
    mean, scale = off + shift, np.sqrt(np.maximum(squares / np.maximum(count, 1) - off**2, 0))
    moves = scale > SCALE_FLOOR * np.maximum(np.abs(mean), SCALE_FLOOR)
    nominal = np.where(mean == 0, 1.0, CONSTANT_SCALE * np.abs(mean))
    scale = np.where(moves, scale, nominal)
    return Channels(
        np.where(event, 0.0, mean),
        np.where(event, 1.0, scale),
        moves & ~event,
        _roles(channels, flag, moves),
    )


def _known(seen: Floats, sizes: Ints) -> Bools:
    """Return which values [R, C] are codes of channels that have so many symbols [C]."""
    return np.asarray((seen >= 0) & (seen < sizes) & (seen == np.floor(seen)))


def _roles(channels: Sequence[DataChannel], flag: Bools, moves: Bools) -> list[Role]:
    plain: list[Role] = ["telemetry" if move else "constant" for move in moves.tolist()]
    found: list[Role] = []
    for channel, is_flag, role in zip(channels, flag.tolist(), plain, strict=True):
        found.append(channel.role or ("status" if is_flag else role))
    informs_only = all(role in ("command", "status") for role in found)
    return plain if informs_only else found
