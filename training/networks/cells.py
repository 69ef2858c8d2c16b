"""Recurrent cells: torch's fused kernels for sequences, the same weights for single steps."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.rows import apart


class Cell(nn.Module, ABC):
    """A recurrent cell that reads for ever.

    Attributes:
        hidden: H.
        state_width: Of all that it carries from one vector to the next.
    """

    hidden: int
    state_width: int
    fused: nn.RNNBase

    @abstractmethod
    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one vector [B, I]: the hidden state [B, H], and all that is carried on."""

    @abstractmethod
    def sequence(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read [B, T, I]: hidden states [B, T, H], and the state after the last."""

    def initialise(self) -> None:
        """Make the recurrence orthogonal: it neither swells nor fades at first."""
        nn.init.orthogonal_(self.fused.all_weights[0][1])

    def _together(self, x: Tensor, h: Tensor) -> Tensor:
        """Return what the gates get from the input and the hidden state, as one product."""
        weight, recurrent, bias, bias_recurrent = self.fused.all_weights[0]
        both = torch.cat([weight, recurrent], 1)
        return functional.linear(torch.cat([x, h], 1), both, bias + bias_recurrent)


class _Plain(Cell):
    """A cell that carries its hidden state and nothing else."""

    def sequence(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read all at once."""
        hidden, last = self.fused(x, state.unsqueeze(0).contiguous())
        return hidden, last[0]


class Rnn(_Plain):
    """Elman, "Finding Structure in Time" (1990), with tanh."""

    def __init__(self, inputs: int, hidden: int) -> None:
        """Take the widths."""
        super().__init__()
        self.hidden = self.state_width = hidden
        self.fused = nn.RNN(inputs, hidden, batch_first=True)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one vector."""
        h = torch.tanh(self._together(x, state))
        return h, h


class Gru(_Plain):
    """Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        """Take the widths."""
        super().__init__()
        self.hidden = self.state_width = hidden
        self.fused = nn.GRU(inputs, hidden, batch_first=True)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one vector; the reset gate acts on what the recurrence gives, as torch has it."""
        weight, weight_too, bias, bias_too = self.fused.all_weights[0]
        given = functional.linear(x, weight, bias)
        recurrent = functional.linear(state, weight_too, bias_too)
        reset, keep, new = apart(given, [self.hidden] * 3)
        reset_too, keep_too, recalled = apart(recurrent, [self.hidden] * 3)
        keep = torch.sigmoid(keep + keep_too)
        new = torch.tanh(new + torch.sigmoid(reset + reset_too) * recalled)
        h = (1 - keep) * new + keep * state
        return h, h


class Lstm(Cell):
    """Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with a forget gate."""

    def __init__(self, inputs: int, hidden: int) -> None:
        """Take the widths."""
        super().__init__()
        self.hidden, self.state_width = hidden, 2 * hidden
        self.fused = nn.LSTM(inputs, hidden, batch_first=True)

    def initialise(self) -> None:
        """Also open the forget gate (Jozefowicz et al., ICML 2015)."""
        super().initialise()
        _, _, bias, bias_recurrent = self.fused.all_weights[0]
        with torch.no_grad():
            bias[self.hidden : 2 * self.hidden] = 1.0
            bias_recurrent[self.hidden : 2 * self.hidden] = 0.0

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one vector; the state is [h, c]."""
        h, c = apart(state, [self.hidden] * 2)
        admit, keep, new, show = apart(self._together(x, h), [self.hidden] * 4)
        c = torch.sigmoid(keep) * c + torch.sigmoid(admit) * torch.tanh(new)
        h = torch.sigmoid(show) * torch.tanh(c)
        return h, torch.cat([h, c], 1)

    def sequence(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read all at once."""
        h, c = (part.unsqueeze(0).contiguous() for part in torch.split(state, self.hidden, 1))
        hidden, (h, c) = self.fused(x, (h, c))
        return hidden, torch.cat([h[0], c[0]], 1)
