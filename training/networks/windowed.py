"""Networks that read a window anew with every reading, from its one end or from both."""

import torch
from torch import Tensor, nn

from training.config import Network as Sizes
from training.networks.cells import Lstm
from training.networks.contract import Network
from training.networks.heads import Headed, Heads
from training.networks.rings import lag, push, slide


def _last(cell: Lstm, window: Tensor) -> Tensor:
    """Read [..., K, I] from an empty state, in one go: the last hidden state [..., H]."""
    flat = window.flatten(0, -3)
    hidden, _ = cell.sequence(flat, flat.new_zeros(flat.shape[0], cell.state_width))
    return hidden[:, -1].reshape(*window.shape[:-2], cell.hidden)


def _last_stepwise(cell: Lstm, vectors: tuple[Tensor, ...]) -> Tensor:
    """Read K times [B, I] from an empty state: the last hidden state [B, H]."""
    state = vectors[0].new_zeros(vectors[0].shape[0], cell.state_width)
    hidden = state
    for vector in vectors:
        hidden, state = cell.step(vector, state)
    return hidden


class EncoderDecoder(Network):
    """An LSTM encodes the newest W readings, another decodes them in reverse order.

    Malhotra et al., "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection" (2016), but
    for three things: the window slides by one reading; between the two is a bottleneck; and the
    decoder is fed its own guesses in training, too. The state is a ring of readings.
    """

    def __init__(self, channels: int, sizes: Sizes, dropout: float) -> None:
        """Take C, the widths, and what is left out in training."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        self.dropout = nn.Dropout(dropout)
        self.encoder = Lstm(channels, sizes.hidden)
        self.squeeze = nn.Linear(sizes.hidden, sizes.bottleneck)
        self.expand = nn.Linear(sizes.bottleneck, sizes.hidden)
        self.decoder = Lstm(channels, sizes.hidden)
        self.reconstruct = nn.Linear(sizes.hidden, channels)
        self.predict = nn.Linear(sizes.hidden, channels)
        self.encoder.initialise()
        self.decoder.initialise()
        self.state_width = (max(2, sizes.window) - 1) * channels

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream."""
        window, ring = push(state, z)
        readings = torch.split(window, self.channels, 1)
        return _last_stepwise(self.encoder, readings[::-1]), ring

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        windows, ring = slide(state, z)
        return _last(self.encoder, windows.flip(-2)), ring

    def newest(self, features: Tensor) -> Tensor:
        """Reconstruct the newest reading: [..., F] -> [..., C]."""
        guess: Tensor = self.reconstruct(self._code(features))
        return guess

    def windows(self, features: Tensor) -> Tensor:
        """Reconstruct the newest W readings, newest first: [..., F] -> [..., W, C]."""
        hidden = self._code(features).flatten(0, -2)
        state = torch.cat([hidden, torch.zeros_like(hidden)], 1)
        guesses = [self.reconstruct(hidden)]
        for _ in range(self.window - 1):
            hidden, state = self.decoder.step(guesses[-1], state)
            guesses.append(self.reconstruct(hidden))
        return torch.stack(guesses, 1).reshape(*features.shape[:-1], self.window, self.channels)

    def ahead(self, features: Tensor) -> Tensor:
        """Forecast the next reading: [..., F] -> [..., C]."""
        forecast: Tensor = self.predict(self.dropout(features))
        return forecast

    def _code(self, features: Tensor) -> Tensor:
        return torch.tanh(self.expand(torch.tanh(self.squeeze(self.dropout(features)))))


class Bidirectional(Headed):
    """A reading is reconstructed from what came before it and from what came after.

    Schuster and Paliwal, "Bidirectional Recurrent Neural Networks" (1997), for a stream: one
    LSTM reads for ever; another reads the newest readings backwards, down to the one that is
    reconstructed, which is W / 2 readings old. The state is the first LSTM's, and the newest of
    its hidden states and of the readings.
    """

    def __init__(self, channels: int, sizes: Sizes, dropout: float) -> None:
        """Take C, the widths, and what is left out in training."""
        super().__init__()
        self.channels, self.window = channels, sizes.window
        self.delay = max(1, sizes.window // 2)
        hidden = sizes.hidden
        self.forwards = Lstm(channels, hidden)
        self.backwards = Lstm(channels, hidden)
        self.heads = Heads(channels, sizes, 3 * hidden, dropout)
        self.forwards.initialise()
        self.backwards.initialise()
        self._widths = [self.forwards.state_width, self.delay * hidden, self.delay * channels]
        self.state_width = sum(self._widths)

    def step(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one reading of each stream."""
        carried, hiddens, readings = torch.split(state, self._widths, 1)
        h, carried = self.forwards.step(z, carried)
        before, hiddens = lag(hiddens, h)
        after, readings = push(readings, z)
        back = _last_stepwise(self.backwards, torch.split(after, self.channels, 1))
        features = torch.cat([before, back, h], 1)
        return features, torch.cat([carried, hiddens, readings], 1)

    def sequence(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences."""
        carried, hiddens, readings = torch.split(state, self._widths, 1)
        hidden, carried = self.forwards.sequence(z, carried)
        before, hiddens = lag(hiddens, hidden)
        after, readings = slide(readings, z)
        features = torch.cat([before, _last(self.backwards, after), hidden], -1)
        return features, torch.cat([carried, hiddens, readings], 1)
