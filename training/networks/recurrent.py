"""Networks that read the stream for ever, each reading once: a cell, and what is put around it."""

import torch
from torch import Tensor, nn

from training.config import Network as Sizes
from training.networks.cells import Cell, Lstm
from training.networks.heads import Headed, Heads
from training.networks.rings import push, slide
from training.networks.rows import apart


class Recurrent(Headed):
    """One cell; its hidden state is the features."""

    def __init__(
        self,
        channels: int,
        sizes: Sizes,
        dropout: float,
        cell: type[Cell],
        heads: type[Heads] = Heads,
    ) -> None:
        """Take C, the widths, what is left out in training, and the kinds of cell and heads."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        self.cell = cell(channels, sizes.hidden)
        self.heads = heads(channels, sizes, sizes.hidden, dropout)
        self.cell.initialise()
        self.state_width = self.cell.state_width

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream."""
        return self.cell.step(z, state)

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        return self.cell.sequence(z, state)


class Convolution(Headed):
    """A causal convolution over the newest W readings in front of an LSTM.

    The LSTM reads shapes instead of single readings, as in the convolutional front ends of
    Sainath et al., "Convolutional, Long Short-Term Memory, Fully Connected Deep Neural Networks"
    (ICASSP 2015). The state is the LSTM's, and a ring of readings.
    """

    def __init__(self, channels: int, sizes: Sizes, dropout: float) -> None:
        """Take C, the widths, and what is left out in training."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        kernel = max(2, sizes.window)
        self.filters = nn.Linear(kernel * channels, sizes.hidden)
        self.cell = Lstm(sizes.hidden, sizes.hidden)
        self.heads = Heads(channels, sizes, sizes.hidden, dropout)
        self.cell.initialise()
        self._widths = [self.cell.state_width, (kernel - 1) * channels]
        self.state_width = sum(self._widths)

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream."""
        carried, ring = apart(state, self._widths)
        window, ring = push(ring, z)
        h, carried = self.cell.step(torch.relu(self.filters(window)), carried)
        return h, torch.cat([carried, ring], 1)

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        carried, ring = apart(state, self._widths)
        windows, ring = slide(ring, z)
        hidden, carried = self.cell.sequence(torch.relu(self.filters(windows.flatten(2))), carried)
        return hidden, torch.cat([carried, ring], 1)


class Attention(Headed):
    """An LSTM that looks back at its last 2 W hidden states.

    Luong et al., "Effective Approaches to Attention-based Neural Machine Translation" (2015),
    with its `general` score. The state is the LSTM's, and a ring of hidden states.
    """

    def __init__(self, channels: int, sizes: Sizes, dropout: float) -> None:
        """Take C, the widths, and what is left out in training."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        hidden, looks = sizes.hidden, 2 * sizes.window
        self.cell = Lstm(channels, hidden)
        self.ask = nn.Linear(hidden, hidden, bias=False)
        self.mix = nn.Linear(2 * hidden, hidden)
        self.heads = Heads(channels, sizes, hidden, dropout)
        self.cell.initialise()
        self._widths = [self.cell.state_width, (looks - 1) * hidden]
        self.state_width = sum(self._widths)

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream."""
        carried, ring = apart(state, self._widths)
        h, carried = self.cell.step(z, carried)
        window, ring = push(ring, h)
        features = self._look(h, window.reshape(h.shape[0], -1, self.cell.hidden))
        return features, torch.cat([carried, ring], 1)

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        carried, ring = apart(state, self._widths)
        hidden, carried = self.cell.sequence(z, carried)
        windows, ring = slide(ring, hidden)
        return self._look(hidden, windows), torch.cat([carried, ring], 1)

    def _look(self, h: Tensor, window: Tensor) -> Tensor:
        """Mix a hidden state [..., H] with what it finds in its window [..., K, H]."""
        asked = self.ask(h).unsqueeze(-2) / self.cell.hidden**0.5
        weights = torch.softmax(asked @ window.transpose(-1, -2), -1)  # [..., 1, K]
        found = (weights @ window).squeeze(-2)
        return torch.tanh(self.mix(torch.cat([found, h], -1)))
