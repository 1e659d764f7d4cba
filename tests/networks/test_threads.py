"""Rows drawn by importance: unbiased, of less variance than rows drawn alike, and each by the probability it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import Dice, quick, several
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.agents.ppo import PPO, Now, PPOConfig
from rlgames.experience.rollout import Rows, importance_sample


def rows_of(n: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    numbers = (torch.from_numpy(rng.normal(size=n).astype(np.float32)) for _ in range(4))
    return Rows(torch.arange(n)[:, None], torch.arange(n), *numbers, weight=torch.ones(n))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 50), count=st.integers(1, 80), empty=st.booleans())
def test_each_row_is_drawn_as_often_as_it_should(seed: int, n: int, count: int, empty: bool):
    rng = np.random.default_rng(seed)
    size = np.zeros(n, np.float32) if empty else rng.exponential(size=n).astype(np.float32) ** 3
    order, weight = importance_sample(size, count, rng)
    assert order.shape == (count,)
    assert weight.shape == (n,)
    assert weight.dtype == np.float32
    p = 1 / (n * weight.astype(np.float64))
    assert p.sum() == pytest.approx(1.0, rel=1e-5)
    wanted = np.full(n, 1 / n) if empty else (size + 0.5 * size.mean()) / (1.5 * size.sum())
    np.testing.assert_allclose(p, wanted, rtol=1e-4)
    assert weight.max() <= 3.0 + 1e-4
    drawn = np.bincount(order, minlength=n)
    assert np.all(np.abs(drawn - count * p) < 2)  # a stretch of probability touches as many equal ones, and two ends


def test_the_weighted_mean_is_the_mean_of_all_with_less_noise():
    rng = np.random.default_rng(0)
    surprise = rng.exponential(size=400).astype(np.float32) ** 3
    x = surprise * rng.normal(1.0, 0.3, size=400)  # what is to be averaged goes with the surprise
    by_importance, alike = [], []
    for _ in range(400):
        order, weight = importance_sample(surprise, 40, rng)
        by_importance.append((x * weight)[order].mean())
        alike.append(x[rng.permutation(400)[:40]].mean())
    error = np.std(by_importance) / np.sqrt(400)
    assert np.mean(by_importance) == pytest.approx(x.mean(), abs=4 * error)
    assert np.std(by_importance) < 0.3 * np.std(alike)


@pytest.mark.parametrize(("n", "count", "sample", "sizes"), [
    (32, 4, 0.25, [2, 2, 2, 2]),
    (10, 3, 0.5, [2, 2, 2]),
    (5, 2, 0.01, [1, 1]),
    (10, 3, 1.0, [4, 4, 2]),
])  # fmt: skip
def test_a_pass_has_its_minibatches(n: int, count: int, sample: float, sizes: list[int]):
    few = list(rows_of(n).minibatches(count, sample, np.random.default_rng(0)))
    assert [len(part.obs) for part in few] == sizes
    for part in few:
        assert torch.equal(part.obs[:, 0], part.action)  # all columns in the same order


def test_what_is_no_transition_is_seldom_drawn_and_never_counts():
    rows = rows_of(40)
    rows = rows._replace(weight=(torch.arange(40) % 2).float(), advantage=10 * torch.ones(40))
    parts = list(rows.minibatches(1, 0.9, np.random.default_rng(0)))
    idle = sum(int((part.weight == 0).sum()) for part in parts)
    assert idle <= 0.5 * sum(len(part.obs) for part in parts)
    assert all(torch.all(part.weight[part.action % 2 == 0] == 0) for part in parts)


def test_shares_are_all_the_rows_in_order():
    rows = rows_of(10)._replace(memory=(torch.arange(10),))
    for count in (1, 2, 3, 20):
        shares = rows.shares(count)
        assert len(shares) <= count
        assert torch.equal(torch.cat([share.action for share in shares]), rows.action)
        assert torch.equal(torch.cat([share.memory[0] for share in shares]), rows.memory[0])


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_gradient_of_samples_is_that_of_all_rows(recurrent: bool):
    """Its mean over many draws, that is, before any step has been taken."""
    agent = PPO(several(Dice, 16), quick("ppo", recurrent=recurrent, memory=8, n_steps=16, entropy=0.0), seed=0)
    kept: list[Any] = []
    agent.improve = lambda rows, now: kept.append(rows) or torch.zeros(7)  # type: ignore[method-assign]
    next(agent.train(10_000))
    del agent.improve
    whole = next(kept[0].minibatches(1, 1.0, np.random.default_rng(0)))

    def gradient(rows: Rows) -> torch.Tensor:
        return torch.cat([g.flatten() for g in agent.gradients(rows, Now(0.2, 0.0), float(len(rows.obs)))[0]])

    rng = np.random.default_rng(1)
    draws = torch.stack([gradient(next(whole.minibatches(1, 0.5, rng))) for _ in range(300)])
    error, expected = float((draws.mean(0) - gradient(whole)).norm()), float(draws.std(0).norm()) / 300**0.5
    assert 0.0 < error < 2 * expected < 0.2 * float(gradient(whole).norm())


@pytest.mark.parametrize("sample", [0.0, -0.5, 1.01])
def test_a_wrong_share_is_refused(sample: float):
    with pytest.raises(ValueError, match=f"sample above 0 and up to 1, got {sample}"):
        PPOConfig(sample=sample)
