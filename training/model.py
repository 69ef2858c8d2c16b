"""The autoencoder: one class, two doors - a whole sequence at once, or one step.

Axes: B streams, T readings, C channels, N floats of the network's state, F features, M memories
(horizons over which errors are smoothed), E = 2C errors: of the reconstruction, then of the
forecast.

A network reads the stream for ever. From its features it must reconstruct the newest readings,
and forecast the next one. Both errors, centred, scaled and whitened as on held-out rows, make
the score. Which network it is makes no difference here.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.config import Network
from training.networks import build
from training.networks.rings import lag
from training.networks.rows import total

INPUT_LIMIT = 10.0  # standard deviations; beyond, a gate is saturated anyway
ERROR_LIMIT = 10.0  # of held-out errors; one wild reading must not fill the memories
SEEN_LIMIT = 1e6  # standard deviations; keeps all that follows finite for any float32


class Carry(NamedTuple):
    """What a stream leaves behind: [B, ...] each.

    Attributes:
        network: [B, N].
        forecast: [B, C] of the next reading, standardised.
        memory: [B, (M - 1) E] smoothed errors.
        past: [B, D 3C] where the reconstruction lags by D readings: those readings, what was
            forecast for them, and 1 where they were not missing.
    """

    network: Tensor
    forecast: Tensor
    memory: Tensor
    past: Tensor


class Read(NamedTuple):
    """What the network made of readings, [B, T, ...], or [B, ...] for one step.

    Where the network lags, all but the features are of the reading that they reconstruct.

    Attributes:
        z: [..., C] standardised readings, the forecast where one is missing.
        missing: [..., C] bool.
        features: [..., F].
        forecast: [..., C] what was forecast for each reading, standardised.
    """

    z: Tensor
    missing: Tensor
    features: Tensor
    forecast: Tensor


class Scored(NamedTuple):
    """expected, residual [B, T, C], score [B, T, K]; without T from `step`."""

    expected: Tensor
    residual: Tensor
    score: Tensor


class Autoencoder(nn.Module):
    """The network, and the numbers that turn its errors into a score.

    The numbers are buffers; `training.calibrate` sets them from held-out rows.
    """

    mean: Tensor  # [C] of training rows, engineering units
    scale: Tensor  # [C] standard deviation of them
    scored: Tensor  # [C] 1, or 0 for a channel that was constant: it says nothing
    blend: Tensor  # [C] weight of the reconstruction in `expected`; the forecast has the rest
    spread: Tensor  # [C] standard deviation of the blended error, standardised units
    error_mean: Tensor  # [E]
    error_scale: Tensor  # [E]
    fill: Tensor  # [E, E] expectation of a missing channel's errors given all others
    whiten: Tensor  # [M, E, E]
    rate: Tensor  # [M] 1 / memory

    def __init__(
        self,
        channels: int,
        network: Network,
        memories: tuple[float, ...],
        noise: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        """Make the network, and numbers that change nothing.

        Args:
            channels: C.
            network: Kind and widths.
            memories: Of the smoothed errors, in readings; the first must be 1 (none).
            noise: Added to inputs while training, in standard deviations.
            dropout: Share of features left out while training.
        """
        super().__init__()
        errors, horizons = 2 * channels, len(memories)
        self.channels, self.noise = channels, noise
        self.network = build(channels, network, dropout)
        for name, value in {
            "mean": torch.zeros(channels),
            "scale": torch.ones(channels),
            "scored": torch.ones(channels),
            "blend": torch.full((channels,), 0.5),
            "spread": torch.ones(channels),
            "error_mean": torch.zeros(errors),
            "error_scale": torch.ones(errors),
            "fill": torch.zeros(errors, errors),
            "whiten": torch.eye(errors).repeat(horizons, 1, 1),
            "rate": 1 / torch.tensor(memories),
        }.items():
            self.register_buffer(name, value)

    @property
    def state_width(self) -> int:
        """S: the sum of the widths of `Carry`."""
        return sum(self._widths)

    @property
    def _widths(self) -> list[int]:
        smoothed = (len(self.rate) - 1) * 2 * self.channels
        past = self.network.delay * 3 * self.channels
        return [self.network.state_width, self.channels, smoothed, past]

    def fresh(self, streams: int) -> Carry:
        """Return what streams never seen leave behind: zeros."""
        zeros = torch.zeros(streams, self.state_width, device=self.mean.device)
        return Carry(*torch.split(zeros, self._widths, 1))

    # The step door ------------------------------------------------------------------------

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score one reading of each of B streams; this is what is exported.

        Args:
            x: [B, C] engineering units, NaN where missing.
            state: [B, S].

        Returns:
            expected, residual, score and the next state, as in the model file.
        """
        before, forecast, memory, past = torch.split(state, self._widths, 1)
        z, missing = self._standardise(x, forecast)
        features, after = self.network.step(self._inputs(z), before)
        read, past = self._lag(Read(z, missing, features, forecast), past)
        smoothed = [self.errors(read)]
        for m, before in enumerate(self._horizons(memory), 1):
            smoothed.append(before + self.rate[m] * (smoothed[0] - before))
        said = self.say(read, torch.stack(smoothed))
        return *said, torch.cat([after, self.network.ahead(features), *smoothed[1:], past], 1)

    # The sequence door --------------------------------------------------------------------

    def sequence(self, x: Tensor, carry: Carry) -> tuple[Scored, Carry]:
        """Score whole sequences; the same numbers as stepping through them.

        Args:
            x: [B, T, C] engineering units, NaN where missing.
            carry: What the streams left behind.
        """
        read, after = self.unroll(x, carry)
        smoothed, memory = self.smooth(self.errors(read), carry.memory)
        return self.say(read, smoothed), after._replace(memory=memory)

    def unroll(self, x: Tensor, carry: Carry) -> tuple[Read, Carry]:
        """Read whole sequences: [B, T, C] to features and forecasts.

        Where nothing is missing the network reads all at once; a missing reading is filled
        with the forecast that the reading before it caused, which needs one step after another.

        Returns:
            What was read, and the carry for the next reading; its `memory` is as it was.
        """
        if torch.isnan(x).any():
            return self._unroll_stepwise(x, carry)
        z, missing = self._standardise(x, torch.zeros_like(x))
        features, after = self.network.sequence(self._inputs(z), carry.network)
        ahead = self.network.ahead(features)
        forecast = torch.cat([carry.forecast.unsqueeze(1), ahead[:, :-1]], 1)
        read, past = self._lag(Read(z, missing, features, forecast), carry.past)
        return read, Carry(after, ahead[:, -1], carry.memory, past)

    def _unroll_stepwise(self, x: Tensor, carry: Carry) -> tuple[Read, Carry]:
        state, forecast, memory, past = carry
        steps = []
        for reading in x.unbind(1):
            z, missing = self._standardise(reading, forecast)
            features, state = self.network.step(self._inputs(z), state)
            steps.append((z, missing, features, forecast))
            forecast = self.network.ahead(features)
        columns = (torch.stack(column, 1) for column in zip(*steps, strict=True))
        read, past = self._lag(Read(*columns), past)
        return read, Carry(state, forecast, memory, past)

    def smooth(self, error: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Smooth errors [B, T, E] over every horizon: [M, B, T, E], and the memory after."""
        horizons = [error]
        left = []
        for m, kept in enumerate(self._horizons(memory), 1):
            before, smoothed = kept, []
            for now in error.unbind(1):
                before = before + self.rate[m] * (now - before)
                smoothed.append(before)
            horizons.append(torch.stack(smoothed, 1))
            left.append(before)
        return torch.stack(horizons), torch.cat([memory[:, :0], *left], 1)

    # What both share ----------------------------------------------------------------------

    def _lag(self, read: Read, past: Tensor) -> tuple[Read, Tensor]:
        """Put the readings that the features reconstruct in place of the newest ones."""
        if not self.network.delay:
            return read, past
        now = torch.cat([read.z, read.forecast, (~read.missing).float()], -1)
        then, past = lag(past, now)
        z, forecast, present = then.chunk(3, -1)
        return Read(z, present == 0, read.features, forecast), past

    def raw_errors(self, read: Read) -> Tensor:
        """Return expected minus seen of both heads, standardised units: [..., E]."""
        guess = self.network.newest(read.features)
        both = torch.cat([guess - read.z, read.forecast - read.z], -1)
        return both * torch.cat([self.scored, self.scored])

    def errors(self, read: Read) -> Tensor:
        """Return both errors in units of held-out ones; a missing channel adds nothing."""
        error = (self.raw_errors(read) - self.error_mean) / self.error_scale
        error = error.clamp(-ERROR_LIMIT, ERROR_LIMIT)
        absent = torch.cat([read.missing, read.missing], -1)
        error = torch.where(absent, torch.zeros_like(error), error)
        return torch.where(absent, error @ self.fill.T, error)

    def say(self, read: Read, smoothed: Tensor) -> Scored:
        """Put what was read into expected, residual and score; `smoothed` is [M, ..., E]."""
        guess = self.network.newest(read.features)
        expected = self.blend * guess + (1 - self.blend) * read.forecast
        residual = (expected - read.z) / self.spread * self.scored
        residual = torch.where(read.missing, torch.zeros_like(residual), residual)
        distances = [
            (total((errors @ whiten.T).square()) / errors.shape[-1]).sqrt()
            for errors, whiten in zip(smoothed, self.whiten, strict=True)
        ]
        # No logarithm: onnxruntime's gives other bits to the last rows of a tick.
        score = total(torch.cat(distances, -1)) / len(distances)
        return Scored(expected * self.scale + self.mean, residual, score)

    def _horizons(self, memory: Tensor) -> tuple[Tensor, ...]:
        """Take the memory [B, (M - 1) E] apart: M - 1 times [B, E]."""
        widths = [2 * self.channels] * (len(self.rate) - 1)
        return tuple(torch.split(memory, widths, 1)) if widths else ()

    def _standardise(self, x: Tensor, forecast: Tensor) -> tuple[Tensor, Tensor]:
        missing = torch.isnan(x)
        seen = torch.where(missing, torch.zeros_like(x), x)
        z = ((seen - self.mean) / self.scale * self.scored).clamp(-SEEN_LIMIT, SEEN_LIMIT)
        return torch.where(missing, forecast, z), missing

    def _inputs(self, z: Tensor) -> Tensor:
        """Return what the network reads: bounded, and with noise while training."""
        bounded = z.clamp(-INPUT_LIMIT, INPUT_LIMIT)
        return bounded + self.noise * torch.randn_like(z) if self.training else bounded
