"""The model: one class, two doors - a whole sequence at once, or one step.

Axes: B streams, T readings, C channels, W columns of the network (C, and one for each symbol of
event channels), N floats of its state, F features, V channels that are scored, K kinds of
evidence.

A network reads the stream for ever. From its features it must reconstruct the newest readings,
and forecast the next one: what is expected of each channel. What is unlike itself is judged by
`training.evidence`, on the readings and on the network's errors. Which network it is makes no
difference here.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from training.alphabets import Alphabets
from training.config import Network, Score
from training.evidence.curves import compress
from training.evidence.scoring import Evidence, Scoring
from training.networks import build
from training.networks.rings import lag
from training.networks.rows import apart
from training.told import Carry, Read, Scored

INPUT_LIMIT = 10.0  # standard deviations; beyond, a gate is saturated anyway
SEEN_LIMIT = 1e6  # standard deviations; keeps all that follows finite for any float32


class Autoencoder(nn.Module):
    """The network, and the numbers that turn readings and errors into scores.

    The numbers are buffers; `training.calibrate` sets them from rows the network never saw.
    """

    mean: Tensor  # [C] of training rows, engineering units
    scale: Tensor  # [C] standard deviation of them, or what stands for it in a constant channel
    moves: Tensor  # [C] 1, or 0 for a channel that was constant: the network need not see it
    blend: Tensor  # [C] weight of the reconstruction in `expected`; the forecast has the rest
    spread: Tensor  # [C] standard deviation of the blended error, standardised units
    judged: Tensor  # [V] which channels are scored

    def __init__(
        self,
        channels: int,
        network: Network,
        score: Score,
        judged: Sequence[int] | None = None,
        noise: float = 0.0,
        dropout: float = 0.0,
        symbols: Mapping[int, int] | None = None,
    ) -> None:
        """Make the network, and numbers that change nothing.

        Args:
            channels: C.
            network: Kind and widths.
            score: Sizes of what is remembered of normal.
            judged: Channels that are scored, the others only inform; default: all.
            noise: Added to inputs while training, in standard deviations.
            dropout: Share of features left out while training.
            symbols: How many symbols each event channel has; default: there are no such channels.
                They are not among the `judged`; their `mean` stays 0, `scale` 1 and `moves` 0.
        """
        super().__init__()
        self._shape = f"{network}, levels={score.levels}, windows={score.windows}, {symbols}"
        chosen = range(channels) if judged is None else judged
        self.channels, self.noise = channels, noise
        self.alphabets = Alphabets(channels, symbols) if symbols else None
        width = channels + (self.alphabets.width if self.alphabets else 0)
        self.network = build(width, network, dropout)
        self.scoring = Scoring(len(chosen), score, len(symbols or ()))
        for name, value in {
            "mean": torch.zeros(channels),
            "scale": torch.ones(channels),
            "moves": torch.ones(channels),
            "blend": torch.full((channels,), 0.5),
            "spread": torch.ones(channels),
            "judged": torch.tensor(list(chosen), dtype=torch.long),
        }.items():
            self.register_buffer(name, value)
        self.moves[list(symbols or ())] = 0

    @property
    def state_width(self) -> int:
        """S: the sum of the widths of `Carry`."""
        return sum(self._widths)

    @property
    def _widths(self) -> list[int]:
        width = self.network.channels
        past = self.network.delay * (2 * width + self.channels)
        return [self.network.state_width, width, sum(self.scoring.widths), past]

    def fresh(self, streams: int) -> Carry:
        """Return what streams never seen leave behind: zeros."""
        zeros = torch.zeros(streams, self.state_width, device=self.mean.device)
        return Carry(*apart(zeros, self._widths))

    def extra_repr(self) -> str:
        """Return what makes this architecture another one than those of the same modules."""
        return self._shape

    # The step door ------------------------------------------------------------------------

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score one reading of each of B streams; this is what is exported.

        Args:
            x: [B, C] engineering units, NaN where missing.
            state: [B, S].

        Returns:
            expected, residual, score and the next state, as in the model file.
        """
        return self.step(x, state)[0]

    def step(
        self, x: Tensor, state: Tensor
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Evidence]:
        """Score one reading as `forward` does, and say what the score is made of."""
        network, width, _, delayed = self._widths
        parts = apart(state, [network, width, *self.scoring.widths, delayed])
        before, forecast, *evidence, past = parts
        z, missing = self._standardise(x, forecast)
        features, after = self.network.step(self._inputs(z), before)
        read, past = self._lag(Read(z, missing, features, forecast), past)
        expected = self.expected(read)
        residual = self.residual(read, expected)
        weighed, kept = self.weigh(read, residual, evidence)
        score = self.scoring.score(weighed)
        row = torch.cat([after, self.network.ahead(features), *kept, past], 1)
        return (self.natural(expected), residual, score, row), weighed

    # The sequence door --------------------------------------------------------------------

    def sequence(self, x: Tensor, carry: Carry) -> tuple[Scored, Carry]:
        """Score whole sequences; the same numbers as stepping through them.

        Args:
            x: [B, T, C] engineering units, NaN where missing.
            carry: What the streams left behind.
        """
        read, after = self.unroll(x, carry)
        expected = self.expected(read)
        residual = self.residual(read, expected)
        weighed, evidence = self.weigh_all(read, residual, carry.evidence)
        said = Scored(self.natural(expected), residual, self.scoring.score(weighed))
        return said, after._replace(evidence=evidence)

    def unroll(self, x: Tensor, carry: Carry) -> tuple[Read, Carry]:
        """Read whole sequences: [B, T, C] to features and forecasts.

        Where nothing is missing the network reads all at once; a missing reading is filled
        with the forecast that the reading before it caused, which needs one step after another.

        Returns:
            What was read, and the carry for the next reading; its `evidence` is as it was.
        """
        if torch.isnan(x).any():
            return self._unroll_stepwise(x, carry)
        nothing = x.new_zeros(*x.shape[:-1], self.network.channels)
        z, missing = self._standardise(x, nothing)
        features, after = self.network.sequence(self._inputs(z), carry.network)
        ahead = self.network.ahead(features)
        forecast = torch.cat([carry.forecast.unsqueeze(1), ahead[:, :-1]], 1)
        read, past = self._lag(Read(z, missing, features, forecast), carry.past)
        return read, Carry(after, ahead[:, -1], carry.evidence, past)

    def _unroll_stepwise(self, x: Tensor, carry: Carry) -> tuple[Read, Carry]:
        state, forecast, evidence, past = carry
        steps = []
        for reading in x.unbind(1):
            z, missing = self._standardise(reading, forecast)
            features, state = self.network.step(self._inputs(z), state)
            steps.append((z, missing, features, forecast))
            forecast = self.network.ahead(features)
        columns = (torch.stack(column, 1) for column in zip(*steps, strict=True))
        read, past = self._lag(Read(*columns), past)
        return read, Carry(state, forecast, evidence, past)

    # What both share ----------------------------------------------------------------------

    def weigh_all(self, read: Read, residual: Tensor, evidence: Tensor) -> tuple[Evidence, Tensor]:
        """Weigh whole sequences, reading by reading: [B, T, 1] each, and what is left behind."""
        kept, weighed = apart(evidence, self.scoring.widths), []
        for t in range(read.z.shape[1]):
            now, kept = self.weigh(Read(*(part[:, t] for part in read)), residual[:, t], kept)
            weighed.append(now)
        columns = (torch.stack(column, 1) for column in zip(*weighed, strict=True))
        return Evidence(*columns), torch.cat(kept, 1)

    def weigh(
        self, read: Read, residual: Tensor, state: Sequence[Tensor]
    ) -> tuple[Evidence, list[Tensor]]:
        """Weigh one reading of each stream: evidence, and the state of `training.evidence`."""
        z, missing, error, odd = read.z, read.missing, residual, None
        if self.alphabets:
            odd = residual.index_select(1, self.alphabets.events)
        if len(self.judged) < self.channels:
            z, missing, error = (part.index_select(1, self.judged) for part in (z, missing, error))
        return self.scoring.step(compress(z), missing, error, state, odd)

    def expected(self, read: Read) -> Tensor:
        """Return what was held to be normal, standardised units, or likely symbols: [..., C]."""
        guess, _ = self._apart(self.network.newest(read.features))
        forecast, logits = self._apart(read.forecast)
        expected = (self.blend * guess + (1 - self.blend) * forecast) * self.moves
        if self.alphabets is None:
            return expected
        return self.alphabets.put(expected, self.alphabets.likely(logits))

    def natural(self, expected: Tensor) -> Tensor:
        """Return standardised values in engineering units."""
        return expected * self.scale + self.mean

    def residual(self, read: Read, expected: Tensor) -> Tensor:
        """Return expected minus seen, in deviations of held-out errors, 0 where missing.

        Of an event channel it is its symbol's surprise beyond the usual one.
        """
        z, hot = self._apart(read.z)
        residual = (expected - z) / self.spread
        if self.alphabets and self.scoring.symbols:
            nats = self.alphabets.nats(hot, self._apart(read.forecast)[1])
            residual = self.alphabets.put(residual, self.scoring.symbols.residual(nats))
        return torch.where(read.missing, torch.zeros_like(residual), residual)

    def _lag(self, read: Read, past: Tensor) -> tuple[Read, Tensor]:
        """Put the readings that the features reconstruct in place of the newest ones."""
        if not self.network.delay:
            return read, past
        now = torch.cat([read.z, read.forecast, (~read.missing).float()], -1)
        then, past = lag(past, now)
        width = self.network.channels
        z, forecast, present = torch.split(then, [width, width, self.channels], -1)
        return Read(z, present == 0, read.features, forecast), past

    def _standardise(self, x: Tensor, forecast: Tensor) -> tuple[Tensor, Tensor]:
        missing = torch.isnan(x)
        seen = torch.where(missing, torch.zeros_like(x), x)
        z = ((seen - self.mean) / self.scale).clamp(-SEEN_LIMIT, SEEN_LIMIT)
        if self.alphabets is None:
            return torch.where(missing, forecast, z), missing
        forecast, logits = self._apart(forecast)
        symbols = self.alphabets.encode(x, logits)
        return torch.cat([torch.where(missing, forecast, z), symbols], -1), missing

    def _inputs(self, z: Tensor) -> Tensor:
        """Return what the network reads: bounded, and with noise while training."""
        plain, symbols = self._apart(z)
        bounded = plain.clamp(-INPUT_LIMIT, INPUT_LIMIT) * self.moves
        if self.alphabets:
            bounded = torch.cat([bounded, symbols], -1)
        return bounded + self.noise * torch.randn_like(z) if self.training else bounded

    def _apart(self, wide: Tensor) -> tuple[Tensor, Tensor]:
        """Part the columns of the network: [..., W] -> [..., C], and those of symbols."""
        if self.alphabets is None:
            return wide, wide[..., :0]
        return wide[..., : self.channels], wide[..., self.channels :]
