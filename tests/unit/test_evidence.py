"""What each witness says, and what it must not say. Streams are [B = 1 or 2, T, C]."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from training.config import Score
from training.evidence.curves import compress, held, log1p
from training.evidence.joint import Joint
from training.evidence.novelty import Novelty
from training.evidence.onset import GROWN, Onset
from training.evidence.scoring import Evidence, Scoring
from training.evidence.shift import Memory, Shift
from training.evidence.surprise import Surprise
from training.evidence.windows import BLOCKS, LONGEST, blocks, window

C = 2


def noise(rows: int, seed: int = 0, channels: int = C) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, channels))).float()


def empty(widths: Sequence[int]) -> list[Tensor]:
    return [torch.zeros(1, width) for width in widths]


def shifts(x: Tensor, settle: int = 100) -> Tensor:
    """Return the evidence of one stream, [T, C]."""
    shift, said = Shift(x.shape[1]), []
    state = empty(shift.widths)
    for t, u in enumerate(x):
        evidence, state = shift.step(u[None], state, torch.tensor([[t >= settle]]))
        said.append(evidence[0])
    return torch.stack(said)


def left_behind(shift: Shift, state: Sequence[Tensor]) -> Memory:
    return shift.recall(state[0], torch.zeros(1, shift.channels, len(state[0])))


def test_the_logarithm_is_one_and_compression_is_odd_and_rising() -> None:
    x = torch.logspace(-8, 7, 300)
    torch.testing.assert_close(log1p(x), torch.log1p(x.double()).float(), rtol=2e-5, atol=1e-12)
    wide = torch.logspace(-8, 6, 300)
    torch.testing.assert_close(compress(wide), 3 * torch.asinh(wide / 3), rtol=2e-5, atol=1e-12)
    z = torch.linspace(-60, 60, 2001)
    torch.testing.assert_close(compress(z), 3 * torch.asinh(z / 3), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compress(z, 10), 10 * torch.asinh(z / 10), rtol=1e-4, atol=1e-5)
    assert (compress(z).diff() > 0).all()
    assert torch.equal(compress(-z), -compress(z))


def test_held_evidence_rises_at_once_and_falls_off() -> None:
    now = held(torch.tensor(5.0), torch.tensor(1.0), 10)
    assert now == 5
    assert held(torch.tensor(0.0), now, 10) == pytest.approx(4.5)


def test_a_channel_that_moves_away_is_seen_and_the_other_is_not_blamed() -> None:
    x = noise(700)
    x[500:, 0] += 2
    said = shifts(x)
    assert said[150:500].max() < 5
    assert said[520:600, 0].min() > 5
    assert said[520:600, 1].max() < 4


def test_a_channel_that_comes_back_is_quiet_again() -> None:
    x = noise(900)
    x[500:600, 0] += 2
    said = shifts(x)
    assert said[530:600, 0].min() > 5
    assert said[680:, 0].mean() < 2


def test_the_size_and_the_level_of_a_channel_are_no_matter() -> None:
    x = noise(600)
    x[400:, 0] += 2
    plain, other = shifts(x), shifts(8 * x + 30)
    torch.testing.assert_close(plain[150:], other[150:], rtol=0.05, atol=0.1)


def test_a_channel_that_always_drifted_is_given_more_room_the_longer_it_is_away() -> None:
    random = np.random.default_rng(3)
    walk = torch.from_numpy(np.cumsum(random.normal(0, 0.05, (3000, 1)), 0)).float()
    still = 0.3 * noise(3000, channels=1)
    for x, least, most in ((walk, 0.0, 0.7), (still, 0.75, 1.1)):
        x[2500:] += 4
        said = shifts(x)
        assert least < said[2900:2990].mean() / said[2505:2530].max() < most


def test_learning_stops_while_a_channel_is_away_and_goes_on_after() -> None:
    x = noise(900)
    x[500:600, 0] += 2
    shift, learnt = Shift(C), []
    state = empty(shift.widths)
    for t, u in enumerate(x):
        _, state = shift.step(u[None], state, torch.tensor([[t >= 100]]))
        learnt.append(left_behind(shift, state).learnt[0, :, 0].tolist())
    away = np.array(learnt)
    assert away[590, 0] == away[520, 0]
    assert away[590, 1] == 591
    assert away[899, 0] - away[700, 0] == 199


@pytest.mark.parametrize("size", [1.5, 6.0])
def test_a_new_normal_is_one_story_and_the_old_one_none(size: float) -> None:
    x = 0.3 * noise(6000, channels=1)
    before = shifts(x)
    x[1500:4500] += size
    said = shifts(x)
    assert said[1510:1600].mean() > 5
    assert said[2500:4500].max() < 3.5, "it moved and stayed: that is its normal now"
    assert said[4500:].max() < before[500:].max() + 1, "where it was before is no news"


def test_nothing_is_believed_before_it_has_settled() -> None:
    x = noise(300)
    x[50:, 0] += 5
    shift, state = Shift(C), empty(Shift(C).widths)
    for u in x:
        _, state = shift.step(u[None], state, torch.tensor([[False]]))
    left = left_behind(shift, state)
    assert (left.learnt == 300).all()
    assert not left.age.any()


def test_a_window_is_the_means_of_its_blocks() -> None:
    x, sums = noise(50), torch.zeros(1, (LONGEST - 1) * C)
    for u in x:
        seen, sums = window(u[None], sums)
    newest_first, wanted, first = x.flip(0), [], 0
    for size in BLOCKS:
        wanted.append(newest_first[first : first + size].mean(0))
        first += size
    assert first == LONGEST
    torch.testing.assert_close(seen[0], torch.cat(wanted))
    at_once = blocks(newest_first[:LONGEST].reshape(1, -1), C)
    torch.testing.assert_close(seen, at_once)


def novelty_of(x: Tensor, known: Tensor) -> Tensor:
    """Return the evidence of one stream, [T], by a memory of windows of `known`."""
    lasts = range(LONGEST - 1, len(known))
    seen = torch.stack([known[t - LONGEST + 1 : t + 1].flip(0).flatten() for t in lasts])
    novelty = Novelty(x.shape[1], len(seen))
    novelty.memory.copy_(blocks(seen, x.shape[1]))
    state, said = empty(novelty.widths), []
    for u in x:
        evidence, _, state = novelty.step(u[None], state)
        said.append(evidence[0, 0])
    return torch.stack(said)


def wave(rows: int, begin: float = 0.0) -> Tensor:
    phase = begin + torch.arange(rows)[:, None] / 6 + torch.tensor([[0.0, 1.5]])
    return 2 * torch.sin(phase)


def test_what_was_normal_is_not_novel_and_a_pair_that_never_was_is() -> None:
    # A stream begins as if all before it had been the mean: what that says is held for a while.
    said = novelty_of(wave(300, begin=0.3), wave(400))
    assert said[150:].max() < 0.02
    x = wave(300)
    x[150:, 1] = -x[150:, 1]  # each channel is within its range; together they never were so
    assert novelty_of(x, wave(400))[160:].min() > 0.3


def test_the_distance_is_that_of_the_nearest_window() -> None:
    novelty, seen = Novelty(C, 40), noise(7, 1, len(BLOCKS) * C)
    novelty.memory.copy_(noise(40, 2, len(BLOCKS) * C))
    wanted = torch.cdist(seen, novelty.memory).amin(1, keepdim=True)
    torch.testing.assert_close(novelty.distance(seen), wanted, rtol=1e-4, atol=1e-4)


def test_a_memory_without_skill_is_silent() -> None:
    novelty = Novelty(C, 1)
    novelty.skill.fill_(0)
    evidence, distance, _ = novelty.step(torch.full((1, C), 30.0), empty(novelty.widths))
    assert distance > 10
    assert evidence == 0


def onsets(x: Tensor, levels: int = 16) -> Tensor:
    onset, said = Onset(x.shape[1], levels), []
    state = empty(onset.widths)
    for t, u in enumerate(x):
        evidence, state = onset.step(
            u[None], torch.zeros(1, 1), state, torch.full((1, 1), float(t))
        )
        said.append(evidence[0, 0])
    return torch.stack(said)


def test_a_level_that_never_was_is_told_once() -> None:
    x = 0.01 * noise(600, channels=1)
    x[300:320] += 3
    x[450:470] += 3  # known by now
    said = onsets(x)
    begun = int(said.argmax())
    assert begun == 300
    assert said[301:320].max() < 0
    assert said[450:].max() < 0.3
    assert not said[: int(GROWN)].any()


def test_what_follows_a_surprise_must_exceed_it() -> None:
    x = 0.01 * noise(600, channels=1)
    x[300:310] += torch.linspace(3, 9, 10)[:, None]  # ten levels that never were
    said = onsets(x)
    assert said[300] > 5
    assert said[301:310].max() < 0


def test_a_stream_that_remembers_few_levels_forgets_the_oldest() -> None:
    ladder = torch.arange(400).float()[:, None] % 40
    assert onsets(ladder, levels=64)[200:].max() < onsets(ladder, levels=4)[200:].max() - 0.1


def test_a_network_that_explains_nothing_is_not_heard() -> None:
    surprise = Surprise(C)
    error = torch.full((1, C), 9.0)
    assert surprise.step(error, empty(surprise.widths))[0] == 0
    surprise.skill.fill_(1)
    assert surprise.step(error, empty(surprise.widths))[0] > 2


def test_errors_that_usually_go_together_surprise_less_than_those_that_part() -> None:
    surprise = Surprise(C)
    surprise.skill.fill_(1)
    covariance = torch.tensor([[1.0, 0.95], [0.95, 1.0]]).double()
    values, vectors = torch.linalg.eigh(covariance)
    surprise.whiten.copy_((vectors / values.sqrt()).T.float().expand(3, C, C))
    said = [
        surprise.step(torch.tensor([pair]), empty(surprise.widths))[0]
        for pair in ([2.0, 2.0], [2.0, -2.0])
    ]
    assert said[1] > said[0] + 1


def joints(x: Tensor, correlation: float = 0.95) -> Tensor:
    """Return the evidence of one stream, [T], where channels usually follow each other."""
    joint = Joint(C)
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]]).double()
    values, vectors = torch.linalg.eigh(covariance)
    joint.whiten.copy_((vectors / values.sqrt()).T.float().expand(3, C, C))
    state, said = empty(joint.widths), []
    for u in x:
        evidence, state = joint.step(u[None], state)
        said.append(evidence[0, 0])
    return torch.stack(said)


def test_channels_that_part_are_seen_where_each_is_in_its_own_range() -> None:
    x = noise(600)
    x[:, 1] = 0.95 * x[:, 0] + 0.31 * x[:, 1]
    broken = x.clone()
    broken[400:, 1] = -x[400:, 1]
    assert broken.abs().max() == x.abs().max()
    assert joints(broken)[420:].mean() > 2 * joints(x)[420:].mean() + 0.5


def test_a_stream_of_another_mean_is_granted_it_in_time() -> None:
    x = noise(12_000) + torch.tensor([2.0, -2.0])
    said = joints(x)
    assert said[-500:].mean() < said[:500].mean() / 3


def test_state_is_the_louder_of_joint_evidence_and_the_rest() -> None:
    scoring = Scoring(C, Score(warm_up=5, windows=0, levels=0))
    one, none = torch.ones(1, 1), torch.zeros(1, 1)
    for shift, joint, told in ((one, 2 * one, 2.0), (3 * one, 2 * one, 3.5), (none, none, 0.5)):
        evidence = Evidence(shift, none, 0.5 * one, joint, none, none)
        assert scoring.score(evidence).item() == told


def test_what_is_missing_says_what_was_said_last() -> None:
    scoring = Scoring(C, Score(warm_up=5, windows=4, levels=4))
    state = empty(scoring.widths)
    there, gone = torch.zeros(1, C, dtype=torch.bool), torch.ones(1, C, dtype=torch.bool)
    for u in noise(20):
        _, state = scoring.step(u[None], there, torch.zeros(1, C), state)
    last = state[1].clone()
    one, after = scoring.step(torch.full((1, C), 1e3), gone, torch.zeros(1, C), state)
    other, _ = scoring.step(last, there, torch.zeros(1, C), state)
    assert torch.equal(after[1], last)
    assert torch.equal(scoring.score(one), scoring.score(other))
