"""A simulated fleet of pumps, and what goes wrong with them.

Axes: P pumps, T seconds, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter  # type: ignore[import-untyped]

from detector.records import Doubles

CHANNELS = {
    "speed": "rpm",
    "flow": "l/min",
    "pressure": "bar",
    "current": "A",
    "temperature": "°C",
    "vibration": "mm/s",
}
SPEED, FLOW, PRESSURE, CURRENT, TEMPERATURE, VIBRATION = range(6)
SETPOINT_S = 400  # mean time between two changes of a pump's speed
RAMP_S = 40  # its drive follows softly
MISSING_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with one pump: start <= second < stop."""

    name: str
    pump: int
    start: int
    stop: int


def simulate(pumps: int, seconds: int, seed: int) -> Doubles:
    """Return healthy readings, [P, T, C]: all channels follow the speed, each in its way."""
    random = np.random.default_rng(seed)
    shape = (pumps, seconds)
    changes = random.random(shape) < 1 / SETPOINT_S
    changes[:, 0] = True
    setpoints = random.uniform(1400, 2900, shape)
    latest = np.maximum.accumulate(np.where(changes, np.arange(seconds), 0), axis=1)
    speed = _lag(np.take_along_axis(setpoints, latest, 1), RAMP_S) + random.normal(0, 4, shape)
    part = speed / 2900
    build = random.normal(1, 0.02, (pumps, 4, 1))  # no two pumps are quite the same
    flow = 32 * part * build[:, 0] + _noise(random, shape, 0.15, 5)
    pressure = 4.5 * part**2 * build[:, 1] - 0.02 * flow + _noise(random, shape, 0.03, 3)
    current = 2 + 9 * part**3 * build[:, 2] + _noise(random, shape, 0.06, 4)
    temperature = 22 + _lag(4.2 * current, 180) + _noise(random, shape, 0.1, 60)
    resonance = 1.2 * np.exp(-(((speed - 2300) / 120) ** 2))
    vibration = 0.8 + 1.4 * part * build[:, 3] + resonance + np.abs(_noise(random, shape, 0.1, 2))
    return np.stack([speed, flow, pressure, current, temperature, vibration], 2)


def drop_some(x: Doubles, seed: int) -> Doubles:
    """Return readings of which a few values did not arrive (NaN)."""
    random = np.random.default_rng(seed)
    return np.where(random.random(x.shape) < MISSING_SHARE, np.nan, x)


def break_down(x: Doubles, fault: Fault, seed: int) -> None:
    """Change a pump's readings as its fault does, in place."""
    random = np.random.default_rng(seed)
    readings = x[fault.pump, fault.start : fault.stop]
    progress = np.linspace(0, 1, len(readings))
    FAULTS[fault.name](readings, progress, random)


def schedule(pumps: int, seconds: int, lead: int) -> list[Fault]:
    """Spread one fault of each kind, each on a pump of its own, over the time after `lead`."""
    lasting = max(min(360, (seconds - lead) // 3), 1)
    starts = np.linspace(lead, max(seconds - lasting - 60, lead), len(FAULTS)).astype(int)
    step = max(1, pumps // len(FAULTS))
    return [
        Fault(name, (i * step + 1) % pumps, int(start), min(int(start) + lasting, seconds))
        for i, (name, start) in enumerate(zip(FAULTS, starts, strict=True))
    ]


def _bearing(x: Doubles, progress: Doubles, random: np.random.Generator) -> None:
    x[:, VIBRATION] += 3 * progress + np.abs(random.normal(0, 0.6, len(x))) * progress
    x[:, TEMPERATURE] += 14 * progress


def _leak(x: Doubles, progress: Doubles, _: np.random.Generator) -> None:
    opening = np.minimum(progress * 8, 1)
    x[:, PRESSURE] *= 1 - 0.45 * opening
    x[:, FLOW] *= 1 + 0.15 * opening


def _sensor_drift(x: Doubles, progress: Doubles, _: np.random.Generator) -> None:
    x[:, CURRENT] *= 1 + 0.6 * progress


def _cavitation(x: Doubles, _: Doubles, random: np.random.Generator) -> None:
    bursts = _noise(random, (1, len(x)), 1, 10)[0] > 0
    x[:, PRESSURE] += random.normal(0, 0.35, len(x)) * bursts
    x[:, VIBRATION] += np.abs(random.normal(0, 1.2, len(x))) * bursts


def _blockage(x: Doubles, progress: Doubles, _: np.random.Generator) -> None:
    closing = np.minimum(progress * 4, 1)
    x[:, FLOW] *= 1 - 0.5 * closing
    x[:, CURRENT] *= 1 - 0.2 * closing


def _slipping_coupling(x: Doubles, progress: Doubles, _: np.random.Generator) -> None:
    # Every value stays within its usual range; only together they are impossible.
    slower = 1 - 0.25 * np.minimum(progress * 3, 1)
    x[:, FLOW] *= slower
    x[:, PRESSURE] *= slower**2


FAULTS: dict[str, Callable[[Doubles, Doubles, np.random.Generator], None]] = {
    "leak": _leak,
    "bearing wear": _bearing,
    "cavitation": _cavitation,
    "blockage": _blockage,
    "sensor drift": _sensor_drift,
    "slipping coupling": _slipping_coupling,
}


def _lag(signal: Doubles, memory: float) -> Doubles:
    """Follow a signal with a first-order lag, along its last axis, settled from the start."""
    rate = 1 / memory
    start = signal[..., :1] * (1 - rate)
    lagged, _ = lfilter([rate], [1, rate - 1], signal, zi=start)
    return np.asarray(lagged)


def _noise(
    random: np.random.Generator, shape: tuple[int, int], size: float, memory: float
) -> Doubles:
    """Return noise of standard deviation `size` that remembers itself for `memory` seconds."""
    keep = np.exp(-1 / memory)
    white = random.normal(0, size * np.sqrt(1 - keep**2), shape)
    return np.asarray(lfilter([1], [1, -keep], white))
