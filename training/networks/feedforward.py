"""Rivals without recurrence: they see a few of the newest readings, or none but the last."""

from math import gcd

import torch
from torch import Tensor, nn

from training.config import Network as Sizes
from training.networks.contract import Network
from training.networks.heads import Headed, Heads
from training.networks.rings import lag, push, slide

LAYERS = 2  # of a transformer
HEADS = 4  # of each, where the width can be divided so


class Persistence(Network):
    """No network: it forecasts the newest reading, and reconstructs nothing (the mean).

    What is left are plain readings and their steps. A network that is no better is no use.
    """

    def __init__(self, channels: int, sizes: Sizes) -> None:
        """Take C and the widths."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        self.state_width = 0  # the forecast is carried by the wrapper

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream: it is the features."""
        return z, state

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        return z, state

    def newest(self, features: Tensor) -> Tensor:
        """Return zeros: [..., F] -> [..., C]."""
        return torch.zeros_like(features)

    def windows(self, features: Tensor) -> Tensor:
        """Return zeros: [..., F] -> [..., W, C]."""
        return self.newest(features).unsqueeze(-2).expand(*features.shape[:-1], self.window, -1)

    def ahead(self, features: Tensor) -> Tensor:
        """Return the newest reading: [..., F] -> [..., C]."""
        return features


class Tcn(Headed):
    """Dilated causal convolutions of width 2, with a way around each.

    Bai et al., "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
    Sequence Modeling" (2018); one convolution and one pointwise layer a block, no normalisation.
    The state is a line for each dilation.
    """

    def __init__(self, channels: int, sizes: Sizes, dropout: float) -> None:
        """Take C, the widths, and what is left out in training."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        hidden, dilations = sizes.hidden, [1]
        while 2 * dilations[-1] < 2 * sizes.window:
            dilations.append(2 * dilations[-1])
        self.embed = nn.Linear(channels, hidden)
        self.taps = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in dilations)
        self.mixes = nn.ModuleList(nn.Linear(hidden, hidden) for _ in dilations)
        self.heads = Heads(channels, sizes, hidden, dropout)
        self._widths = [dilation * hidden for dilation in dilations]
        self.state_width = sum(self._widths)

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream."""
        return self._read(z, state)

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        return self._read(z, state)

    def _read(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Go through all blocks, with one reading or with many: only the lines can tell."""
        x, lines = self.embed(z), []
        lines_before = torch.split(state, self._widths, 1)
        for tap, mix, line in zip(self.taps, self.mixes, lines_before, strict=True):
            before, after = lag(line, x)
            lines.append(after)
            seen = torch.relu(tap(torch.cat([x, before], -1)))
            x = x + torch.relu(mix(seen))
        return x, torch.cat(lines, 1)


class Layer(nn.Module):
    """A layer of a transformer, over a window of K keys and values.

    Attributes:
        state_width: Of its ring: K - 1 keys and values.
    """

    def __init__(self, hidden: int, tokens: int) -> None:
        """Take the widths H and K."""
        super().__init__()
        self.hidden, self.heads = hidden, gcd(HEADS, hidden)
        self.state_width = (tokens - 1) * 2 * hidden
        self.calm, self.calm_again = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.ask = nn.Linear(hidden, hidden)
        self.offer = nn.Linear(hidden, 2 * hidden)
        self.age = nn.Parameter(torch.zeros(self.heads, 1, tokens))  # of a token, not its place
        self.join = nn.Linear(hidden, hidden)
        self.think = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, hidden)
        )

    def forward(self, x: Tensor, ring: Tensor) -> tuple[Tensor, Tensor]:
        """Go through the layer with one token of each stream [B, H], or with T: [B, T, H]."""
        calm = self.calm(x)
        offered = self.offer(calm)
        if x.dim() == 2:  # noqa: PLR2004 - one token
            window, ring = push(ring, offered)
            window = window.reshape(x.shape[0], -1, 2 * self.hidden)
        else:
            window, ring = slide(ring, offered)
        return self._attend(x, calm, window), ring

    def _attend(self, x: Tensor, calm: Tensor, offered: Tensor) -> Tensor:
        """Add what a token [..., H] finds among K keys and values [..., K, 2 H]."""
        split = (self.heads, self.hidden // self.heads)
        asked = self.ask(calm).reshape(*x.shape[:-1], *split).unsqueeze(-2) / split[1] ** 0.5
        # [..., K, 2 H] -> [..., heads, K, H / heads], twice
        keys, values = (
            part.reshape(*offered.shape[:-1], *split).transpose(-2, -3)
            for part in offered.chunk(2, -1)
        )
        weights = torch.softmax(asked @ keys.transpose(-1, -2) + self.age, -1)
        x = x + self.join((weights @ values).flatten(-3))
        out: Tensor = x + self.think(self.calm_again(x))
        return out


class Transformer(Headed):
    """A small causal transformer over the newest 2 W readings.

    Vaswani et al., "Attention Is All You Need" (2017), normalised before each part (Xiong et
    al., 2020), with a learnt bias for each age in place of positions. The state is a ring of keys
    and values a layer: what was once computed is not computed again.
    """

    def __init__(self, channels: int, sizes: Sizes, dropout: float) -> None:
        """Take C, the widths, and what is left out in training."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        hidden, tokens = sizes.hidden, 2 * sizes.window
        self.embed = nn.Linear(channels, hidden)
        self.layers = nn.ModuleList(Layer(hidden, tokens) for _ in range(LAYERS))
        self.calm = nn.LayerNorm(hidden)
        self.heads = Heads(channels, sizes, hidden, dropout)
        self._width = (tokens - 1) * 2 * hidden
        self.state_width = LAYERS * self._width

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream."""
        return self._read(z, state)

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        return self._read(z, state)

    def _read(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Go through all layers, with one reading or with many: only the rings can tell."""
        x, rings = self.embed(z), []
        rings_before = torch.split(state, self._width, 1)
        for layer, ring in zip(self.layers, rings_before, strict=True):
            x, after = layer(x, ring)
            rings.append(after)
        return self.calm(x), torch.cat(rings, 1)
