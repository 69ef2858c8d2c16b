"""The numbers that make the score: none comes from rows that it would flatter."""

import numpy as np
import pytest
import torch

from detector.records import Doubles
from training.calibrate import calibrate, weigh_rows
from training.channels import look
from training.config import Config, Fit
from training.data import History, Piece, Report, _sorted
from training.evidence.curves import compress
from training.evidence.scoring import Evidence
from training.evidence.windows import LONGEST
from training.joints import Joints
from training.memories import Memories
from training.model import Autoencoder
from training.train import fit

ROWS, CHANNELS = 1200, 3


def config(**score: int) -> Config:
    return Config.model_validate(
        {
            "name": "toy",
            "data": {"files": ["h.csv"], "channels": [f"c{c}" for c in range(CHANNELS)]},
            "network": {"hidden": 6, "bottleneck": 2, "window": 2},
            "fit": {"epochs": 1, "lanes": 4},
            "score": {"warm_up": 50, "windows": 64, "levels": 16} | score,
        }
    )


def ar1(keep: float, seed: int, rows: int = ROWS) -> Doubles:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, CHANNELS)) @ (np.eye(CHANNELS) + 0.3 * np.tri(CHANNELS, k=-1)).T
    for t in range(1, rows):
        x[t] = keep * x[t - 1] + np.sqrt(1 - keep**2) * x[t]
    return x


def history(x: Doubles, stream: Doubles | None = None) -> History:
    rows = np.arange(len(x))
    code = np.zeros(len(x), np.int64) if stream is None else stream.astype(np.int64)
    names = [f"s{n}" for n in range(int(code.max()) + 1)]
    return _sorted(x.astype(np.float32), code, rows * 10**6, names, Report())


def whole(told: History) -> list[Piece]:
    return told.split((1.0,), 60, 0)[0]


def model_of(told: History, settings: Config) -> Autoencoder:
    channels = look(settings.data.channels, told)
    end = len(told.order)
    return fit(settings, told, channels, [Piece(0, end // 2)], [Piece(end // 2, end)]).model


@pytest.mark.parametrize("seed", [0, 1])
def test_later_readings_exceed_a_level_as_often_as_it_says(seed: int) -> None:
    told = history(ar1(0.5, seed))
    model = model_of(told, config())
    half, end = len(told.order) // 2, len(told.order)
    valid, last = [Piece(half, end - 300)], [Piece(end - 300, end)]
    tails, _ = calibrate(model, told, valid, last, whole(told), Fit(lanes=4))
    assert [tail.kind for tail in tails] == ["state", "onset"]

    later = history(ar1(0.5, seed + 100, 3000))
    columns, _ = weigh_rows(model, later, [Piece(0, 3000)], Fit(lanes=4))
    scores = model.scoring.score(Evidence(*torch.split(columns, 1, 1))).numpy()[500:]
    for k, tail in enumerate(tails):
        above = (scores[:, k] > tail.level(2e-2)).mean()
        assert 2e-2 / 4 < above < 2e-2 * 4, tail.kind


def test_a_memory_judges_only_what_it_does_not_hold() -> None:
    told = history(ar1(0.9, 3))
    model = model_of(told, config())
    memories = Memories(model, told, whole(told), seed=0)
    novelty = model.scoring.novelty
    assert novelty is not None
    every = memories.windows(np.arange(ROWS))
    for fold in memories.folds():
        memories.remember(fold)
        for piece in fold:
            own = np.arange(piece.start + piece.lead - LONGEST + 1, piece.stop + LONGEST)
            own = own[(own >= 0) & (own < ROWS)]
            same = torch.cdist(novelty.memory, every[own]).min()
            assert same > 0, "a window that shares readings with the stretch is remembered"
    counted = [np.arange(p.start + p.lead, p.stop) for f in memories.folds() for p in f]
    assert np.concatenate(counted).tolist() == list(range(ROWS // 4, ROWS))


def test_a_memory_that_explains_little_says_little() -> None:
    skills = []
    for x in (ar1(0.0, 1), np.sin(np.arange(ROWS)[:, np.newaxis] / 9 + np.arange(CHANNELS))):
        told = history(x)
        model = model_of(told, config())
        Memories(model, told, whole(told), seed=0).weigh()
        assert model.scoring.novelty is not None
        skills.append(float(model.scoring.novelty.skill))
    assert skills[0] < 0.5
    assert skills[1] > 0.9


def test_a_network_that_knows_no_better_than_a_guess_is_silent() -> None:
    told = history(ar1(0.0, 2))  # noise: nothing is better than its mean
    model = model_of(told, config())
    end = len(told.order)
    calibrate(model, told, [Piece(600, 900)], [Piece(900, end)], whole(told), Fit(lanes=4))
    assert float(model.scoring.surprise.skill) < 0.05


def together(seed: int, rows: int = ROWS) -> Doubles:
    """Return channels that follow one another but for a tenth, [N, C]."""
    common = ar1(0.9, seed, rows)[:, :1]
    return common + 0.1 * ar1(0.0, seed + 50, rows)


def strangers(seed: int) -> Doubles:
    """Return channels that have nothing to do with each other, [N, C]."""
    return np.random.default_rng(seed).normal(size=(ROWS, CHANNELS))


def test_what_channels_say_of_each_other_is_measured_on_rows_left_out() -> None:
    skills = []
    for x in (strangers(7), together(8)):
        told = history(x)
        model = model_of(told, config())
        folds = Memories(model, told, whole(told), seed=0).folds()
        Joints(model, told, whole(told), folds).weigh()
        skills.append(float(model.scoring.joint.skill))
    assert skills[0] < 0.05
    assert skills[1] > 0.9


def test_what_fits_all_rows_whitens_them_as_the_step_sees_them() -> None:
    x = together(9) + 2 * strangers(10)
    x[5, 0] = x[700, 1] = np.nan
    told = history(x)
    model = model_of(told, config())
    joint = model.scoring.joint
    Joints(model, told, whole(told), [[Piece(900, ROWS, 0)]]).fit()
    state, seen = [torch.zeros(1, width) for width in joint.widths], []
    u = compress((torch.from_numpy(told.x) - model.mean) / model.scale)
    last = torch.zeros(CHANNELS)
    for row in u:
        last = torch.where(torch.isnan(row), last, row)
        before, centre, _ = state
        seen.append(torch.cat(joint.smooth(last[None] - centre, before)))
        _, state = joint.step(last[None], state)
    white = torch.einsum("tmv,mwv->mtw", torch.stack(seen), joint.whiten)
    for part in white:
        product = (part.T @ part / len(part)).numpy()
        np.testing.assert_allclose(product, np.eye(CHANNELS), atol=0.25)


def test_joint_evidence_is_as_rare_as_the_rest_and_silent_where_nothing_goes_together() -> None:
    weights = []
    for x in (strangers(11), together(12)):
        told = history(x)
        model = model_of(told, config())
        valid, last = [Piece(600, 900)], [Piece(900, ROWS)]
        calibrate(model, told, valid, last, whole(told), Fit(lanes=4))
        weights.append(float(model.scoring.agree))
    assert weights[0] < 0.1
    assert weights[1] > 0.3


def test_streams_that_differ_more_than_each_varies_are_measured_by_what_each_varies() -> None:
    least = []
    for apart in (0, 100):
        x = np.concatenate([ar1(0.5, seed, 500) + apart * seed for seed in (1, 2, 3)])
        told = history(x, np.repeat([0.0, 1.0, 2.0], 500))
        model = model_of(told, config())
        pieces = whole(told)
        end = pieces[-1].stop
        calibrate(model, told, pieces[:1], [Piece(end - 300, end)], pieces, Fit(lanes=4))
        least.append(float(model.scoring.shift.least.mean()))
    assert least[1] < least[0] / 100


def test_a_stream_that_shifts_by_itself_is_trusted_less() -> None:
    trust = []
    for jump in (0, 8):
        x = ar1(0.0, 5)
        x += jump * ((np.arange(ROWS) // 150) % 3)[:, np.newaxis]
        told = history(x)
        model = model_of(told, config())
        valid, last = [Piece(600, 900)], [Piece(900, ROWS)]
        calibrate(model, told, valid, last, whole(told), Fit(lanes=4))
        trust.append(float(model.scoring.trust))
    assert trust[0] == 1
    assert trust[1] < trust[0]


def test_all_streams_count_and_no_window_reaches_across_them() -> None:
    x = np.concatenate([ar1(0.5, 1, 1000), 50 + ar1(0.5, 2, 1000)])
    told = history(x, np.repeat([0.0, 1.0], 1000))
    model = model_of(told, config())
    window = Memories(model, told, whole(told), seed=0).windows(np.array([1000, 1005]))
    alone = history(x[1000:])
    model_alone = Memories(model, alone, whole(alone), seed=0).windows(np.array([0, 5]))
    torch.testing.assert_close(window, model_alone)


def test_no_window_reaches_across_a_gap() -> None:
    x = ar1(0.5, 4)
    told = history(x)
    told.ts_us[600:] += 3600 * 10**6
    model = model_of(told, config())
    memories = Memories(model, told, whole(told), seed=0)
    assert [(piece.start, piece.stop) for piece in whole(told)] == [(0, 600), (600, ROWS)]
    after = Memories(model, history(x[600:]), [Piece(0, ROWS - 600)], seed=0)
    rows = np.array([0, 3, 40])
    torch.testing.assert_close(memories.windows(600 + rows), after.windows(rows))
    for fold in memories.folds():
        assert all(piece.stop <= 600 or piece.start >= 600 for piece in fold)
