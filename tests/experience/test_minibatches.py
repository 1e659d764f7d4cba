"""Minibatches of a rollout: importance sampling against its probabilities, and its gradients against those of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import RandomLengthEnv, quick_config, sync_vector
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.agents.ppo import PPO, SCALARS, PPOConfig, ScheduledValues
from rlgames.experience.rollout import Minibatch, importance_sample


def make_batch(n: int, **fields: Any) -> Minibatch:
    rng = np.random.default_rng(0)
    numbers = (torch.from_numpy(rng.normal(size=n).astype(np.float32)) for _ in range(4))
    return Minibatch(torch.arange(n)[:, None], torch.arange(n), *numbers, weights=torch.ones(n))._replace(**fields)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 50), count=st.integers(1, 80), all_zero=st.booleans())
def test_importance_sample_draws_by_its_probabilities(seed: int, n: int, count: int, all_zero: bool):
    rng = np.random.default_rng(seed)
    magnitude = np.zeros(n, np.float32) if all_zero else rng.exponential(size=n).astype(np.float32) ** 3
    order, weights = importance_sample(magnitude, count, rng)
    assert order.shape == (count,)
    assert weights.shape == (n,)
    assert weights.dtype == np.float32
    p = 1 / (n * weights.astype(np.float64))
    assert p.sum() == pytest.approx(1.0, rel=1e-5)
    expected = np.full(n, 1 / n) if all_zero else (magnitude + 0.5 * magnitude.mean()) / (1.5 * magnitude.sum())
    np.testing.assert_allclose(p, expected, rtol=1e-4)
    assert weights.max() <= 3.0 + 1e-4
    draws = np.bincount(order, minlength=n)
    assert np.all(np.abs(draws - count * p) < 2)  # stratified: count * p intervals, and one cut at either end


def test_importance_sampled_means_are_unbiased_and_of_less_variance_than_uniform_ones():
    rng = np.random.default_rng(0)
    magnitude = rng.exponential(size=400).astype(np.float32) ** 3
    x = magnitude * rng.normal(1.0, 0.3, size=400)  # proportional to the magnitude, but for noise
    importance_means, uniform_means = [], []
    for _ in range(400):
        order, weights = importance_sample(magnitude, 40, rng)
        importance_means.append((x * weights)[order].mean())
        uniform_means.append(x[rng.permutation(400)[:40]].mean())
    error = np.std(importance_means) / np.sqrt(400)
    assert np.mean(importance_means) == pytest.approx(x.mean(), abs=4 * error)
    assert np.std(importance_means) < 0.3 * np.std(uniform_means)


@pytest.mark.parametrize(("n", "count", "fraction", "sizes"), [
    (32, 4, 0.25, [2, 2, 2, 2]),
    (10, 3, 0.5, [2, 2, 2]),
    (5, 2, 0.01, [1, 1]),
    (10, 3, 1.0, [4, 4, 2]),
])  # fmt: skip
def test_minibatches_have_their_number_and_sizes(n: int, count: int, fraction: float, sizes: list[int]):
    minibatches = list(make_batch(n).minibatches(count, fraction, np.random.default_rng(0)))
    assert [len(each.obs) for each in minibatches] == sizes
    for each in minibatches:
        assert torch.equal(each.obs[:, 0], each.actions)  # all fields in the same order
    if fraction == 1:
        assert sorted(torch.cat([each.actions for each in minibatches]).tolist()) == list(range(n))


def test_minibatches_rarely_sample_invalid_steps_and_give_them_no_weight():
    batch = make_batch(40, weights=(torch.arange(40) % 2).float(), advantages=10 * torch.ones(40))
    minibatches = list(batch.minibatches(1, 0.9, np.random.default_rng(0)))
    invalid = sum(int((each.weights == 0).sum()) for each in minibatches)
    assert invalid <= 0.5 * sum(len(each.obs) for each in minibatches)
    assert all(torch.all(each.weights[each.actions % 2 == 0] == 0) for each in minibatches)


def test_slices_are_the_whole_batch_in_order():
    batch = make_batch(10, lstm=(torch.arange(10),))
    for count in (1, 2, 3, 20):
        slices = batch.slices(count)
        assert len(slices) <= count
        assert torch.equal(torch.cat([each.actions for each in slices]), batch.actions)
        assert torch.equal(torch.cat([each.lstm[0] for each in slices]), batch.lstm[0])


@pytest.mark.parametrize("recurrent", [False, True])
def test_mean_gradient_of_importance_samples_is_the_gradient_of_the_rollout(recurrent: bool, monkeypatch):
    """Before any gradient step, over many samples."""
    config = quick_config("ppo", recurrent=recurrent, lstm_hidden_size=8, n_steps=16, ent_coef=0.0, compiled="off")
    agent = PPO(sync_vector(RandomLengthEnv, 16), config, seed=0)
    minibatches: list[Minibatch] = []

    def keep(minibatch: Minibatch, scheduled: ScheduledValues) -> torch.Tensor:
        minibatches.append(minibatch)
        return torch.zeros(len(SCALARS))

    monkeypatch.setattr(agent, "train_minibatch", keep)
    next(agent.train(10_000))
    batch = minibatches[0]

    def gradient(minibatch: Minibatch) -> torch.Tensor:
        gradients, _ = agent.loss_gradients(minibatch, ScheduledValues(0.0, 0.2, 0.0), float(len(minibatch.obs)))
        return torch.cat([each.flatten() for each in gradients])

    rng = np.random.default_rng(1)
    samples = torch.stack([gradient(next(batch.minibatches(1, 0.5, rng))) for _ in range(300)])
    expected = gradient(batch)
    error, standard_error = float((samples.mean(0) - expected).norm()), float(samples.std(0).norm()) / 300**0.5
    assert 0.0 < error < 2 * standard_error < 0.2 * float(expected.norm())


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01])
def test_rollout_fraction_outside_0_to_1_raises(fraction: float):
    with pytest.raises(ValueError, match=f"rollout_fraction to be a number above 0 and up to 1, got {fraction}"):
        PPOConfig(rollout_fraction=fraction)
