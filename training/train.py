"""Fit the network: truncated back-propagation through time with the state carried over."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.channels import Channels
from training.config import Config, Fit
from training.data import History, Piece
from training.lanes import Batch, batches, cut, start_fresh
from training.model import Autoencoder
from training.told import Carry

STEPWISE_SHARE = 0.25  # of chunks in which channels are hidden: they cost four times a fused one


class Losses(NamedTuple):
    """One pass: mean losses a reading, standardised units, and the learning rate."""

    epoch: int
    train: float
    valid: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """The best network that was seen, by its validation loss.

    Attributes:
        model: In evaluation mode, not calibrated yet.
        losses: Of every pass.
        best: Index of the pass it is from.
    """

    model: Autoencoder
    losses: list[Losses]
    best: int


def fit(
    config: Config,
    history: History,
    channels: Channels,
    train: Sequence[Piece],
    valid: Sequence[Piece],
    progress: Callable[[Losses], object] = lambda _: None,
) -> Fitted:
    """Train until the held-out time gets no better.

    Args:
        config: All of the run; `config.fit.seed` decides every random number.
        history: The readings.
        channels: What all of them say of each channel.
        train: What the network learns from.
        valid: Later pieces that decide when to stop.
        progress: Takes the losses after each pass.
    """
    options, device = config.fit, "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    model = Autoencoder(
        len(config.data.channels),
        config.network,
        config.score,
        channels.judged,
        options.noise,
        options.dropout,
        config.data.symbols,
    )
    _scale(model, channels)
    model.to(device)
    if not list(model.parameters()):
        held_out = validate(model, history, cut(valid, options.piece), options)
        return Fitted(model.eval(), [Losses(0, held_out, held_out, 0.0)], 0)
    optimiser = torch.optim.Adam(model.parameters(), options.learning_rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=0.3, patience=options.patience // 3
    )
    pieces, losses, best = cut(train, options.piece), [], deepcopy(model.state_dict())
    for epoch in range(options.epochs):
        order = [pieces[i] for i in random.permutation(len(pieces))]
        seen = _train_pass(model, optimiser, history, order, options, random)
        held_out = validate(model, history, cut(valid, options.piece), options)
        rate = optimiser.param_groups[0]["lr"]
        losses.append(Losses(epoch, seen, held_out, rate))
        progress(losses[-1])
        schedule.step(held_out)
        if held_out <= min(loss.valid for loss in losses):
            best = deepcopy(model.state_dict())
        if epoch - _best(losses) >= options.patience:
            break
    model.load_state_dict(best)
    return Fitted(model.eval(), losses, _best(losses))


def _best(losses: list[Losses]) -> int:
    return int(np.argmin([loss.valid for loss in losses]))


def _scale(model: Autoencoder, channels: Channels) -> None:
    model.mean.copy_(torch.from_numpy(channels.mean))
    model.scale.copy_(torch.from_numpy(channels.scale))
    model.moves.copy_(torch.from_numpy(channels.moves.astype(np.float64)))


def _train_pass(
    model: Autoencoder,
    optimiser: torch.optim.Optimizer,
    history: History,
    pieces: Sequence[Piece],
    options: Fit,
    random: np.random.Generator,
) -> float:
    model.train()
    carry, past, total, weight = None, None, 0.0, 0.0
    for batch in batches(history, pieces, options.lanes, options.chunk):
        carry = start_fresh(model, carry, batch.fresh)
        hide = options.channel_dropout if random.random() < STEPWISE_SHARE else 0.0
        loss, readings, carry, past = _loss(model, batch, carry, past, hide)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimiser.step()
        total += float(loss.detach()) * readings
        weight += readings
    return total / weight


@torch.no_grad()
def validate(model: Autoencoder, history: History, pieces: Sequence[Piece], options: Fit) -> float:
    """Return the mean loss a reading, without noise or dropout."""
    model.eval()
    carry, past, total, weight = None, None, 0.0, 0.0
    for batch in batches(history, pieces, options.lanes, options.chunk):
        carry = start_fresh(model, carry, batch.fresh)
        loss, readings, carry, past = _loss(model, batch, carry, past, 0.0)
        total += float(loss) * readings
        weight += readings
    return total / weight


def _loss(
    model: Autoencoder, batch: Batch, carry: Carry, past: Tensor | None, hide: float
) -> tuple[Tensor, float, Carry, Tensor]:
    """Return the loss of one chunk, over how many readings, and what the next one needs.

    Args:
        model: The network.
        batch: One chunk of every lane.
        carry: The lanes' state.
        past: [L, W - 1 + D, C + E] standardised readings before this chunk, and symbols, NaN
            where there are none; D is the network's delay.
        hide: Share of channels to hide from the network, which must still reconstruct them.
    """
    device, window, delay = model.mean.device, model.network.window, model.network.delay
    x = batch.x.to(device)
    shown = x
    if hide:
        lanes, _, channels = x.shape
        hidden = torch.rand(lanes, 1, channels, device=device) < hide
        shown = torch.where(hidden, torch.nan, x)
    read, after = model.unroll(shown, carry)
    target = (x - model.mean) / model.scale * model.moves
    if model.alphabets:
        target = torch.cat([target, x.index_select(-1, model.alphabets.events)], -1)
    if past is None:
        past = torch.full_like(target[:, :1], torch.nan).repeat(1, window - 1 + delay, 1)
    begin = torch.from_numpy(batch.fresh).to(device).reshape(-1, 1, 1)
    seen = torch.cat([torch.where(begin, torch.nan, past), target], 1)
    # Where the network lags, so do its targets: [L, T, W, C + E], newest first.
    windows = seen[:, : seen.shape[1] - delay].unfold(1, window, 1).flip(-1).transpose(-1, -2)
    inside = torch.from_numpy(batch.row >= 0).to(device)
    guess, ahead, own = model.network.windows(read.features), read.forecast, model.channels
    loss = _robust(guess[..., :own], windows[..., :own], inside)
    loss = loss + _robust(ahead[..., :own], windows[:, :, 0, :own], inside)
    if model.alphabets:
        codes = windows[:, :, 0, own:]
        loss = loss + model.alphabets.cross_entropy(ahead[..., own:], codes, inside)
    if model.training:
        loss = loss + model.network.penalty(read.features)
    kept = seen[:, x.shape[1] :]
    return loss, float(inside.sum()), after, kept


def _robust(guess: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Return the mean Huber loss where there is a target: history is only mostly normal."""
    known = torch.isfinite(target) & inside.reshape(*inside.shape, *[1] * (target.dim() - 2))
    filled = torch.where(known, target, guess.detach())
    loss = functional.smooth_l1_loss(guess, filled, reduction="none")
    return loss.sum() / known.sum().clamp(min=1)
