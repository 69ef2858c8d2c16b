"""Channels of symbols: coded, foretold, judged; and nothing of it where there are none."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from detector.errors import SettingsRejected
from detector.files import Columns, read_parts
from detector.validate import Format
from training.alphabets import FLOOR, Alphabets
from training.channels import look
from training.config import Config, Data, DataChannel, Kind, Network, Score
from training.data import History, Report, _sorted, read_history
from training.evidence.symbols import HELD, NAT, Symbols
from training.lanes import Batch
from training.model import Autoencoder
from training.perplexity import lines, perplexities, weigh_symbols
from training.told import Read, Scored

B, T = 2, 60
EVENTS = {1: 3, 3: 4}  # of four channels
NAN = float("nan")


@pytest.fixture
def alphabets() -> Alphabets:
    return Alphabets(4, EVENTS)


def logits(*shape: int) -> Tensor:
    return 2 * torch.randn(*shape, 7, generator=torch.Generator().manual_seed(1))


def test_a_symbol_is_one_hot_and_an_unknown_code_is_nothing(alphabets: Alphabets) -> None:
    x = torch.tensor([[9.0, 2, 9, 0], [9, 3, 9, -1], [9, 0.5, 9, 3.4e38]])
    hot = alphabets.encode(x, logits(3))
    assert hot.tolist() == [[0, 0, 1, 1, 0, 0, 0], [0] * 7, [0] * 7]


def test_what_is_missing_is_as_likely_as_it_was_foretold(alphabets: Alphabets) -> None:
    ahead = logits(1)
    hot = alphabets.encode(torch.tensor([[NAN, NAN, 1, 2]]), ahead)
    torch.testing.assert_close(hot[:, :3], ahead[:, :3].softmax(1))
    assert hot[0, 3:].tolist() == [0, 0, 1, 0]
    fresh = alphabets.encode(torch.full((1, 4), NAN), torch.zeros(1, 7))
    torch.testing.assert_close(fresh, torch.tensor([[1 / 3] * 3 + [1 / 4] * 4]))


def test_surprise_is_the_cross_entropy_of_torch(alphabets: Alphabets) -> None:
    codes = torch.stack([torch.arange(50) % 3, torch.arange(50) % 4], 1).float()
    x = torch.stack([codes[:, 0], codes[:, 0], codes[:, 1], codes[:, 1]], 1)
    ahead = logits(50)
    wanted = torch.stack(
        [
            functional.cross_entropy(ahead[:, :3], codes[:, 0].long(), reduction="none"),
            functional.cross_entropy(ahead[:, 3:], codes[:, 1].long(), reduction="none"),
        ],
        1,
    )
    got = alphabets.nats(alphabets.encode(x, ahead), ahead)
    torch.testing.assert_close(got, wanted, rtol=2e-4, atol=1e-5)
    counts = torch.ones(1, 50, dtype=torch.bool)
    mean = alphabets.cross_entropy(ahead[None], codes[None], counts)
    torch.testing.assert_close(mean, wanted.mean())
    counts[0, 25:] = False
    codes[:5, 0], codes[5:9, 1] = NAN, 17
    known = torch.ones(50, 2, dtype=torch.bool)
    known[25:], known[:5, 0], known[5:9, 1] = False, False, False
    mean = alphabets.cross_entropy(ahead[None], codes[None], counts)
    torch.testing.assert_close(mean, wanted[known].mean())
    assert alphabets.cross_entropy(ahead[None], codes[None], counts & False) == 0


def test_nothing_surprises_more_than_an_unknown_code(alphabets: Alphabets) -> None:
    ahead = torch.tensor([[60.0, 0, 0, 0, 0, 0, 0]])
    for code in (1.0, 77.0):
        x = torch.tensor([[0, code, 0, 0]])
        said = alphabets.nats(alphabets.encode(x, ahead), ahead)[0, 0]
        assert float(said) == pytest.approx(-np.log(FLOOR), rel=1e-4)


def test_the_likeliest_symbol_is_named_and_values_keep_their_places(alphabets: Alphabets) -> None:
    ahead = torch.tensor([[0.0, 2, 1, 5, 6, 8, 7]])
    assert alphabets.likely(ahead).tolist() == [[1, 2]]
    put = alphabets.put(torch.tensor([[10.0, 11, 12, 13]]), alphabets.likely(ahead))
    assert put.tolist() == [[10, 1, 12, 2]]


def weighed(usual: float = 0.5, entropy: float = 2.0) -> Symbols:
    symbols = Symbols(1)
    for name, value in (("usual", usual), ("entropy", entropy), ("deviation", 0.7)):
        getattr(symbols, name).fill_(value)
    return symbols


def evidence(symbols: Symbols, nats: list[float | None]) -> list[float]:
    state, said = [torch.zeros(1, 1)], []
    for one in nats:
        residual = torch.zeros(1, 1) if one is None else symbols.residual(torch.tensor([[one]]))
        told, state = symbols.step(residual, state)
        said.append(float(told))
    return said


def test_surprise_beyond_the_usual_adds_up_and_falls_off() -> None:
    once = evidence(weighed(), [4.5, 0.5, 0.5])
    assert once[0] == pytest.approx(NAT * 0.75 * 4.0)
    assert once[2] == pytest.approx(once[0] * (1 - 1 / HELD) ** 2)
    assert evidence(weighed(), [4.5, 4.5])[1] > 1.8 * once[0]
    assert evidence(weighed(), [0.2] * 9) == [0] * 9


def test_a_missing_symbol_says_nothing() -> None:
    usual = evidence(weighed(), [4.5, 0.5, 0.5])
    assert evidence(weighed(), [4.5, None, None]) == pytest.approx(usual)
    assert evidence(weighed(), [None, None]) == [0, 0]


def test_who_foretells_no_better_than_frequencies_does_not_speak() -> None:
    assert evidence(weighed(usual=2.0), [13.0, 13.0]) == [0, 0]
    assert evidence(weighed(usual=2.5), [13.0, 13.0]) == [0, 0]
    # A channel that always says the same needs no network to be known.
    assert evidence(weighed(usual=0.001, entropy=0.0), [13.0])[0] > 12


SCORE = Score(warm_up=20, windows=16, levels=8)
MIXED, LONE = (4, EVENTS, [0, 2]), (1, {0: 5}, [])


def made(kind: Kind = "lstm", case: tuple[int, dict[int, int], list[int]] = MIXED) -> Autoencoder:
    """A network of some telemetry and two events, every calibrated number of which matters."""
    torch.manual_seed(0)
    channels, symbols, judged = case
    sizes = Network(kind=kind, hidden=8, bottleneck=2, window=3)
    model = Autoencoder(channels, sizes, SCORE, judged, symbols=symbols)
    for name, buffer in model.named_buffers():
        part = name.rpartition(".")[-1]
        if part in ("spread", "blend", "usual", "skill", "trust", "entropy", "deviation"):
            buffer.uniform_(0.3, 1)
        elif part == "memory":
            buffer.normal_(0, 0.3)
    return model.eval()


def readings(missing: float, channels: int = 4, seed: int = 1) -> Tensor:
    random = np.random.default_rng(seed)
    x = random.normal(0, 2, (B, T, channels))
    for c in range(channels):
        if channels == 1 or c in EVENTS:
            x[..., c] = random.integers(0, 5, (B, T))  # now and then a code that is unknown
    return torch.from_numpy(np.where(random.random(x.shape) < missing, np.nan, x)).float()


@pytest.mark.parametrize("missing", [0, 0.3])
@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("case", [MIXED, LONE], ids=["mixed", "lone"])
@torch.no_grad()
def test_stepping_says_what_the_whole_sequence_says(
    kind: Kind, case: tuple[int, dict[int, int], list[int]], missing: float
) -> None:
    model, x = made(kind, case), readings(missing, case[0])
    state, said = torch.zeros(B, model.state_width), []
    for reading in x.unbind(1):
        *now, state = model(reading, state)
        said.append(now)
    stepped = Scored(*(torch.stack(column, 1) for column in zip(*said, strict=True)))
    whole, carry = model.sequence(x, model.fresh(B))
    for name in Scored._fields:
        torch.testing.assert_close(
            getattr(stepped, name), getattr(whole, name), rtol=1e-5, atol=1e-5, msg=name
        )
    torch.testing.assert_close(state, torch.cat(carry, 1), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_residual_of_a_symbol_is_its_surprise_and_of_a_missing_one_nothing() -> None:
    model, x = made(), readings(0)
    x[:, 20:30, 3] = torch.nan
    x[:, 40, 1] = 99
    said, _ = model.sequence(x, model.fresh(B))
    assert not said.residual[:, 20:30, 3].any()
    symbols = model.scoring.symbols
    assert symbols is not None
    nats = said.residual[..., 1] * symbols.deviation[0] + symbols.usual[0]
    assert float(nats.min()) >= 0
    torch.testing.assert_close(
        nats[:, 40], torch.full((B,), -float(np.log(FLOOR))), rtol=1e-3, atol=0
    )
    assert set(said.expected[..., 3].flatten().tolist()) <= {0, 1, 2, 3}


@torch.no_grad()
def test_a_code_means_no_more_than_its_symbol() -> None:
    model, x = made(), readings(0)
    swapped, other = x.clone(), made()
    swapped[..., 3] = torch.where(x[..., 3] == 1, 2.0, torch.where(x[..., 3] == 2, 1.0, x[..., 3]))
    order = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 9, 8, 10])  # of the network's columns
    cell, heads = other.network.cell.fused, other.network.heads
    cell.weight_ih_l0.copy_(cell.weight_ih_l0[:, order])
    heads.predict.weight.copy_(heads.predict.weight[order])
    heads.predict.bias.copy_(heads.predict.bias[order])
    one, same = (m.sequence(z, m.fresh(B))[0] for m, z in ((model, x), (other, swapped)))
    torch.testing.assert_close(one.score, same.score, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "bidirectional"])
def test_a_model_without_events_has_nothing_of_them(kind: str) -> None:
    sizes = Score(windows=16, levels=8, warm_up=20)
    network = Network.model_validate({"kind": kind, "hidden": 8, "bottleneck": 2, "window": 4})
    model = Autoencoder(5, network, sizes, [0, 1, 3])
    own = [model.network.state_width, 5, sum(model.scoring.widths), 15 * model.network.delay]
    assert model.network.channels == 5
    assert model.state_width == sum(own)
    assert not [name for name in model.state_dict() if "alphabets" in name or "symbols" in name]


def batches(model: Autoencoder, x: Tensor) -> Iterator[tuple[Read, Batch]]:
    row = np.arange(B * T).reshape(B, T)
    row[:, :10] = -1
    with torch.no_grad():
        yield model.unroll(x, model.fresh(B))[0], Batch(x, row, np.ones(B, np.bool_))


def test_what_is_usual_is_measured_on_rows_that_count() -> None:
    model, x = made(), readings(0.2)
    weigh_symbols(model, batches(model, x))
    symbols, alphabets = model.scoring.symbols, model.alphabets
    assert symbols is not None
    assert alphabets is not None
    read, _ = next(batches(model, x))
    for e, c in enumerate(EVENTS):
        seen = x[:, 10:, c].flatten()
        there = ~torch.isnan(seen)
        hot, ahead = read.z[:, 10:, 4:], read.forecast[:, 10:, 4:]
        nats = alphabets.nats(hot, ahead)[..., e].flatten()[there]
        torch.testing.assert_close(symbols.usual[e], nats.mean(), rtol=1e-5, atol=1e-5)
        wanted = nats.double().std(correction=0).float()
        torch.testing.assert_close(symbols.deviation[e], wanted, rtol=1e-4, atol=1e-4)
        known = seen[there & (seen < EVENTS[c])]
        share = known.long().bincount().float() / len(known)
        torch.testing.assert_close(symbols.entropy[e], -(share * share.log()).sum())
    said = perplexities(model, ["a", "step", "b", "fault"])
    assert said["step"]["frequencies"] == pytest.approx(float(symbols.entropy[0].exp()))
    (first, second) = lines({"quality": {"perplexity": said}})
    assert first.startswith("step: perplexity ")
    assert second.startswith("fault: perplexity ")
    assert lines({}) == []


def test_of_an_event_that_was_never_heard_nothing_is_said() -> None:
    model, x = made(), readings(0)
    x[..., 3] = torch.nan
    weigh_symbols(model, batches(model, x))
    assert model.scoring.symbols is not None
    assert model.scoring.symbols.skill[1] == 0


def channel(**entries: object) -> DataChannel:
    return DataChannel.model_validate({"name": "step"} | entries)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"role": "event"}, "two `symbols` or more, saw 0; name all that can come, in the order"),
        ({"role": "event", "symbols": ["a"]}, "two `symbols` or more, saw 1"),
        ({"symbols": ["a", "b"]}, 'expected `role = "event"` beside `symbols`, saw no role'),
        ({"role": "status", "symbols": ["a", "b"]}, "beside `symbols`, saw status"),
        ({"role": "event", "symbols": ["a", "b", "a"]}, "`symbols` that differ, saw a, b, a"),
        ({"role": "event", "symbols": ["ok", "404"]}, "saw '404': a number is a code already"),
        ({"role": "event", "symbols": [f"s{n}" for n in range(257)]}, "at most 256 items"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(
    entries: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match="symbols") as caught:
        channel(**entries)
    assert says in str(caught.value)


def history(codes: np.ndarray) -> History:
    rows = np.arange(len(codes))
    x = np.stack([np.sin(rows), codes], 1).astype(np.float32)
    return _sorted(x, 0 * rows, rows * 10**6, ["s"], Report())


EVENT = {"name": "step", "role": "event", "symbols": ["idle", "fill", "drain"]}
CONFIG = Config.model_validate(
    {"name": "toy", "data": {"files": ["h.csv"], "channels": ["a", EVENT]}}
)


def test_an_event_is_not_scaled_and_not_judged_by_its_code() -> None:
    seen = look(CONFIG.data.channels, history(np.arange(300) % 3))
    assert seen.roles == ["telemetry", "event"]
    assert (seen.mean[1], seen.scale[1], seen.moves[1]) == (0, 1, False)
    assert seen.judged == [0]
    assert CONFIG.data.symbols == {1: 3}


def test_symbols_that_are_not_those_of_the_history_are_refused() -> None:
    codes = np.arange(300) % 3
    codes[7] = 8  # one of 300 may be wrong
    assert look(CONFIG.data.channels, history(codes))
    with pytest.raises(SettingsRejected, match=r"codes 0 to 2 in event 'step', saw others in 75 "):
        look(CONFIG.data.channels, history(np.arange(300) % 4))


@pytest.mark.parametrize("name", ["h.csv", "h.jsonl"])
def test_a_file_may_hold_codes_or_names(tmp_path: Path, name: str) -> None:
    cells = ["idle", 1, "2", " drain ", "", "1.0", "fill"]
    if name == "h.csv":
        rows = [f"{1_700_000_000 + t},{t},{cell}" for t, cell in enumerate(cells)]
        (tmp_path / name).write_text("ts,a,step\n" + "\n".join(rows))
    else:
        quoted = [f'"{cell}"' if isinstance(cell, str) else cell for cell in cells]
        rows = [
            f'{{"ts": {1_700_000_000 + t}, "a": {t}, "step": {c}}}' for t, c in enumerate(quoted)
        ]
        (tmp_path / name).write_text("\n".join(rows))
    data = Data.model_validate({"files": [name], "channels": ["a", EVENT]})
    told = read_history(data, tmp_path)
    assert not told.report.bad
    np.testing.assert_array_equal(told.rows(0, 7)[:, 1], [0, 1, 2, 2, np.nan, 1, 1])


def test_a_name_that_is_no_symbol_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("ts,step\n1700000000,idle\n1700000001,boil\n")
    columns = Columns("ts", ("step",), None, {"step": EVENT["symbols"]})
    (part,) = read_parts(path, columns, Format(("step",)), "s")
    assert [bad.detail for bad in part.decoded.bad] == [
        "expected a symbol or its code in 'step', saw 'boil'"
    ]
