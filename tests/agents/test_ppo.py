"""PPO's update against the same arithmetic written a second time: in NumPy, and with another autograd graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import AUTORESET_MODES, GuessBitEnv, RandomLengthEnv, quick_config, sync_vector
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rlgames
from rlgames.agents.ppo import PPO, SCALARS, PPOConfig, ScheduledValues
from rlgames.experience.rollout import Minibatch
from rlgames.networks.models import sample_actions

SIZE = 24  # of a minibatch
UNLIMITED = 1e30  # norm: no clipping


def make_agent(seed: int = 0, **changes: Any) -> PPO:
    return PPO(sync_vector(RandomLengthEnv, 4), quick_config("ppo", compiled="off", **changes), seed=seed)


def scheduled_values(agent: PPO, clip_range: float) -> ScheduledValues:
    return ScheduledValues(agent.config.learning_rate, clip_range, agent.config.ent_coef)


def train_minibatch(agent: PPO, minibatch: Minibatch, clip_range: float = 0.2) -> dict[str, float]:
    scalars = agent.train_minibatch(minibatch, scheduled_values(agent, clip_range)).tolist()
    return dict(zip(SCALARS, scalars, strict=True))


def random_minibatch(agent: PPO, seed: int) -> Minibatch:
    """Return a minibatch of an older policy with older values, so that every clip applies somewhere."""
    rng = np.random.default_rng(seed)
    obs, actions = rng.normal(size=(SIZE, 3)), rng.integers(3, size=SIZE)
    with torch.no_grad():
        logits, values = agent.net(torch.from_numpy(obs))
    log_prob = torch.log_softmax(logits, 1)[torch.arange(SIZE), torch.from_numpy(actions)]

    def noise(scale: float) -> Tensor:
        return torch.from_numpy(rng.normal(size=SIZE, scale=scale).astype(np.float32))

    weights = torch.from_numpy(rng.integers(4, size=SIZE).astype(np.float32))
    numbers = (log_prob + noise(0.3), values + noise(0.3), noise(1.0), values + noise(1.0), weights)
    return Minibatch(torch.from_numpy(obs), torch.from_numpy(actions), *numbers)


def scalars_by_numpy(agent: PPO, minibatch: Minibatch, clip_range: float) -> dict[str, float]:
    """Return the terms of the loss, computed for one transition at a time."""
    c = agent.config
    with torch.no_grad():
        logits, values = (x.double().numpy() for x in agent.net(minibatch.obs))
    advantages = minibatch.advantages.double().numpy()
    names = ("policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction")
    terms: dict[str, list[float]] = {f"train/{name}": [] for name in names}
    for i in range(SIZE):
        pi, advantage = np.exp(logits[i]) / np.exp(logits[i]).sum(), advantages[i]
        ratio = pi[minibatch.actions[i]] / math.exp(minibatch.log_prob[i])
        clipped_ratio = min(max(ratio, 1 - clip_range), 1 + clip_range)
        old_value, target = float(minibatch.old_values[i]), float(minibatch.returns[i])
        error = (values[i] - target) ** 2
        if c.clip_range_vf is not None:
            clipped_value = min(max(values[i], old_value - c.clip_range_vf), old_value + c.clip_range_vf)
            error = max(error, (clipped_value - target) ** 2)
        terms["train/policy_gradient_loss"].append(-min(ratio * advantage, clipped_ratio * advantage))
        terms["train/value_loss"].append(error)
        terms["train/entropy_loss"].append(sum(p * math.log(p) for p in pi))
        terms["train/approx_kl"].append(ratio - 1 - math.log(ratio))  # joschu.net/blog/kl-approx.html
        terms["train/clip_fraction"].append(abs(ratio - 1) > clip_range)
    means = {name: float(np.average(values, weights=minibatch.weights)) for name, values in terms.items()}
    policy_loss, value_loss, entropy_loss = list(means.values())[:3]
    return means | {"train/loss": policy_loss + c.vf_coef * value_loss + c.ent_coef * entropy_loss}


def gradients_by_autograd(agent: PPO, minibatch: Minibatch, clip_range: float) -> list[Tensor]:
    """Return the gradients of the same loss, written with torch's distributions and cases instead of min and max."""
    c = agent.config
    logits, values = agent.net(minibatch.obs)
    pi, advantages = torch.distributions.Categorical(logits=logits), minibatch.advantages
    weights = minibatch.weights / sum(minibatch.weights)
    ratio = (pi.log_prob(minibatch.actions) - minibatch.log_prob).exp()
    clipped = ((advantages > 0) & (ratio > 1 + clip_range)) | ((advantages < 0) & (ratio < 1 - clip_range))
    gain = torch.where(clipped, torch.zeros_like(ratio), ratio * advantages)  # a constant has no gradient
    returns, old_values = minibatch.returns, minibatch.old_values
    error = (values - returns) ** 2
    if c.clip_range_vf is not None:
        far = (values - old_values).abs() > c.clip_range_vf
        clipped_values = old_values + c.clip_range_vf * (values - old_values).sign()
        error = torch.where(far & ((clipped_values - returns) ** 2 >= error), torch.zeros_like(error), error)
    loss = -gain @ weights + c.vf_coef * error @ weights - c.ent_coef * pi.entropy() @ weights
    return list(torch.autograd.grad(loss, list(agent.net.parameters())))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    clip_range=st.sampled_from([0.05, 0.2, 0.5]),
    clip_range_vf=st.sampled_from([None, 0.1, 0.4]),
    ent_coef=st.sampled_from([0.0, 0.05]),
    vf_coef=st.sampled_from([0.1, 1.0]),
    n_threads=st.sampled_from([1, 2, 5]),
)
def test_a_gradient_step_is_the_papers(
    seed: int, clip_range: float, clip_range_vf: float | None, ent_coef: float, vf_coef: float, n_threads: int
):
    coefficients = {"clip_range_vf": clip_range_vf, "ent_coef": ent_coef, "vf_coef": vf_coef}
    with make_agent(seed, max_grad_norm=UNLIMITED, n_threads=n_threads, **coefficients) as agent:
        minibatch = random_minibatch(agent, seed)
        expected = scalars_by_numpy(agent, minibatch, clip_range)
        gradients = gradients_by_autograd(agent, minibatch, clip_range)
        copies = [p.detach().clone().requires_grad_() for p in agent.net.parameters()]
        found = train_minibatch(agent, minibatch, clip_range)

    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    for p, gradient in zip(agent.net.parameters(), gradients, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradient, rtol=1e-4, atol=1e-6)
    groups = agent.parameter_groups
    norms = [torch.stack([p.grad.norm() for p in group if p.grad is not None]).norm() for group in groups]
    found_norms = found["train/grad_norm"], found["train/value_grad_norm"]
    assert found_norms == pytest.approx(tuple(map(float, norms)), rel=1e-4)

    adam = torch.optim.Adam(copies, agent.config.learning_rate, eps=1e-5, foreach=False)
    for p, copied in zip(agent.net.parameters(), copies, strict=True):
        copied.grad = p.grad
    adam.step()
    for p, copied in zip(agent.net.parameters(), copies, strict=True):
        torch.testing.assert_close(p.detach(), copied.detach(), rtol=1e-5, atol=1e-6)


def test_the_gradient_is_the_slope_of_the_loss():
    """By finite differences along a random direction."""
    agent = make_agent(3, max_grad_norm=UNLIMITED, clip_range_vf=0.2, ent_coef=0.03, vf_coef=0.7)
    minibatch, parameters = random_minibatch(agent, 3), list(agent.net.parameters())
    start, rng = [p.detach().clone() for p in parameters], np.random.default_rng(0)
    directions = [torch.from_numpy(rng.normal(size=p.shape).astype(np.float32)) for p in start]

    def loss(shift: float) -> float:
        with torch.no_grad():
            for p, origin, direction in zip(parameters, start, directions, strict=True):
                p.copy_(origin + shift * direction)
        return scalars_by_numpy(agent, minibatch, 0.2)["train/loss"]

    step = 2e-4
    slope = (loss(step) - loss(-step)) / (2 * step)
    loss(0.0)
    train_minibatch(agent, minibatch)
    gradients = [p.grad for p in parameters if p.grad is not None]
    found = sum(float((gradient * way).sum()) for gradient, way in zip(gradients, directions, strict=True))
    assert found == pytest.approx(slope, rel=0.01)


# ---- clipping of gradients ----


def unclipped_gradients(agent: PPO, minibatch: Minibatch) -> list[Tensor]:
    """Return the flat gradient of each parameter group."""
    gradients = gradients_by_autograd(agent, minibatch, 0.2)
    by_parameter = dict(zip(agent.net.parameters(), gradients, strict=True))
    return [torch.cat([by_parameter[p].flatten() for p in group]) for group in agent.parameter_groups]


def flat_gradients(agent: PPO) -> list[Tensor]:
    groups = agent.parameter_groups
    return [torch.cat([p.grad.flatten() for p in group if p.grad is not None]) for group in groups]


def test_value_errors_do_not_shrink_the_policys_gradient():
    """Two networks have two norms: a huge value error clips the value's gradient alone."""
    agent = make_agent(1, max_grad_norm=0.01)
    minibatch = random_minibatch(agent, 1)
    minibatch = minibatch._replace(returns=minibatch.returns + 1000.0)
    policy, value = unclipped_gradients(agent, minibatch)
    found = train_minibatch(agent, minibatch)
    assert found["train/value_grad_norm"] == pytest.approx(float(value.norm()), rel=1e-4)
    assert found["train/grad_norm"] == pytest.approx(float(policy.norm()), rel=1e-4)
    assert found["train/value_grad_norm"] > 100 > 1 > found["train/grad_norm"] > 0.01
    for clipped, gradient in zip(flat_gradients(agent), (policy, value), strict=True):
        torch.testing.assert_close(clipped, gradient * 0.01 / gradient.norm(), rtol=1e-3, atol=1e-6)
    assert sum(map(len, agent.parameter_groups)) == len(list(agent.net.parameters()))


def test_gradients_below_the_limit_are_not_changed():
    agent = make_agent(1, max_grad_norm=1e6)
    minibatch = random_minibatch(agent, 1)
    expected = unclipped_gradients(agent, minibatch)
    train_minibatch(agent, minibatch)
    for found, gradient in zip(flat_gradients(agent), expected, strict=True):
        torch.testing.assert_close(found, gradient)


def test_images_share_one_network_and_one_norm():
    agent = PPO(rlgames.make_vec("CatchBall", 2), quick_config("ppo", pictures=True, max_grad_norm=0.01))
    [group] = agent.parameter_groups
    assert {id(p) for p in group} == {id(p) for p in agent.net.parameters()}
    scalars = next(agent.train(16)).scalars
    assert scalars["train/grad_norm"] == scalars["train/value_grad_norm"] > 0.01


# ---- epochs, minibatches, schedules ----


class Recorder:
    """Stands in for `train_minibatch`: records its arguments, changes nothing, and returns the given KLs in turn."""

    def __init__(self, agent: PPO, kl: list[float]) -> None:
        self.agent, self.kl = agent, kl
        self.minibatches: list[Minibatch] = []
        self.clip_ranges, self.ent_coefs, self.rates = [], [], []
        agent.train_minibatch = self  # type: ignore[method-assign]  # stands in for it

    def __call__(self, minibatch: Minibatch, scheduled: ScheduledValues) -> Tensor:
        self.minibatches.append(minibatch)
        self.clip_ranges.append(scheduled.clip_range)
        self.ent_coefs.append(scheduled.ent_coef)
        self.rates.append(self.agent.optimizer.param_groups[0]["lr"])
        scalars = torch.zeros(len(SCALARS))
        scalars[SCALARS.index("train/approx_kl")] = self.kl[(len(self.minibatches) - 1) % len(self.kl)]
        return scalars


@pytest.mark.parametrize(("target_kl", "epochs"), [(None, 5), (0.5, 3), (0.65, 4), (2.0, 5), (0.0, 1)])
def test_epochs_stop_at_the_target_kl(target_kl: float | None, epochs: int):
    agent = make_agent(n_epochs=5, num_minibatches=2, target_kl=target_kl)
    recorder = Recorder(agent, [9.0, 0.2, 0.0, 0.4, 0.0, 0.6, 0.0, 0.7, 0.0, 1.0])  # an epoch's last minibatch counts
    update = next(agent.train(10_000))
    assert len(recorder.minibatches) == 2 * epochs
    assert float(update.scalars["train/approx_kl"]) == pytest.approx(np.mean(recorder.kl[: 2 * epochs]))


@pytest.mark.parametrize("num_minibatches", [1, 3, 5, 32, 100])
def test_an_epoch_takes_every_transition_once(num_minibatches: int):
    agent = make_agent(n_epochs=3, num_minibatches=num_minibatches, n_steps=8)
    recorder = Recorder(agent, [0.0])
    next(agent.train(10_000))
    count = -(-32 // -(-32 // num_minibatches))
    assert len(recorder.minibatches) == 3 * count
    epochs = [torch.cat([each.obs for each in recorder.minibatches[k * count : (k + 1) * count]]) for k in range(3)]
    transitions = [sorted(map(tuple, obs.tolist())) for obs in epochs]
    assert transitions[0] == transitions[1] == transitions[2]
    assert len(set(transitions[0])) == 32
    assert num_minibatches == 1 or not torch.equal(epochs[0], epochs[1])  # in another order


def test_schedules_are_linear():
    initial = {"learning_rate": 8e-3, "clip_range": 0.4, "ent_coef": 0.04}
    final = {"final_learning_rate": 4e-3, "final_clip_range": 0.2, "final_ent_coef": 0.0}
    agent = make_agent(0, **initial, **final, n_epochs=1, num_minibatches=1)
    recorder = Recorder(agent, [0.0])
    updates = list(agent.train(4 * 32))
    assert recorder.rates == pytest.approx([8e-3, 7e-3, 6e-3, 5e-3])
    assert recorder.clip_ranges == pytest.approx([0.4, 0.35, 0.3, 0.25])
    assert recorder.ent_coefs == pytest.approx([0.04, 0.03, 0.02, 0.01])
    assert [float(x.scalars["train/learning_rate"]) for x in updates] == pytest.approx(recorder.rates)
    assert [float(x.scalars["train/clip_range"]) for x in updates] == pytest.approx(recorder.clip_ranges)


def test_without_final_values_only_the_learning_rate_falls():
    agent = make_agent(clip_range=0.3, ent_coef=0.02, n_epochs=1, num_minibatches=1)
    recorder = Recorder(agent, [0.0])
    list(agent.train(4 * 32))
    assert (recorder.clip_ranges, recorder.ent_coefs) == ([0.3] * 4, [0.02] * 4)
    assert recorder.rates == pytest.approx([2.5e-4 * (1 - k / 4) for k in range(4)])


@pytest.mark.parametrize("mode", AUTORESET_MODES, ids=lambda mode: mode.name)
def test_the_first_epoch_starts_at_the_policy_of_the_rollout(mode: Any):
    """Before any gradient step the ratio is 1: no KL, nothing is clipped."""
    config = quick_config("ppo", n_epochs=1, num_minibatches=1, normalize_advantage=False)
    scalars = next(PPO(sync_vector(RandomLengthEnv, 4, mode), config).train(32)).scalars
    assert float(scalars["train/approx_kl"]) == pytest.approx(0.0, abs=1e-6)
    assert float(scalars["train/clip_fraction"]) == 0.0


@pytest.mark.parametrize("mode", AUTORESET_MODES, ids=lambda mode: mode.name)
def test_advantages_are_normalized_over_the_rollout(mode: Any):
    config = quick_config("ppo", n_epochs=1, num_minibatches=1, n_steps=16, compiled="off")
    agent = PPO(sync_vector(RandomLengthEnv, 4, mode), config, seed=2)
    recorder = Recorder(agent, [0.0])
    next(agent.train(10_000))
    [minibatch] = recorder.minibatches
    assert float(minibatch.advantages.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(minibatch.advantages.std()) == pytest.approx(1.0, rel=1e-4)
    raw = minibatch.returns - minibatch.old_values
    torch.testing.assert_close(minibatch.advantages, (raw - raw.mean()) / raw.std())


def test_actions_are_sampled_from_the_policy():
    agent = PPO(sync_vector(GuessBitEnv, 1), quick_config("ppo"), seed=5)
    with torch.no_grad():
        agent.net.policy.bias.copy_(torch.tensor([0.0, 1.2]))
    obs = np.repeat(np.array([[1.0, 0.5]], np.float32), 20_000, 0)
    expected = float(torch.softmax(torch.from_numpy(agent.policy_outputs(obs[:1]).logits), 1)[0, 1])
    found = sample_actions(agent.policy_outputs(obs).logits, np.random.default_rng(0)).mean()
    assert found == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(len(obs)))


# ---- threads and precision ----


def test_slices_in_threads_learn_what_one_thread_learns():
    """Equal but for rounding, to the bit each time; torch has its own threads between the updates."""

    def trained(n_threads: int) -> list[Tensor]:
        torch.set_num_threads(n_threads)
        config = quick_config("ppo", n_threads=n_threads, num_minibatches=3)
        with PPO("CatchBall", config, num_envs=2) as agent:
            for _ in agent.train(64):
                assert torch.get_num_threads() == n_threads
            assert torch.get_num_threads() == n_threads
            return [p.detach() for p in agent.net.parameters()]

    threads = torch.get_num_threads()
    try:
        results = zip(trained(1), trained(2), trained(2), strict=True)
    finally:
        torch.set_num_threads(threads)
    for one, two, again in results:
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)
        assert torch.equal(two, again)


@pytest.mark.parametrize("encoder", ["grid", "vector"])
def test_bfloat16_trains_float32_parameters(encoder: str):
    agent = PPO("CatchBall", quick_config("ppo", precision="bfloat16", encoder=encoder), num_envs=2)
    exact = PPO("CatchBall", quick_config("ppo", encoder=encoder), num_envs=2)
    obs = agent.start_training().obs
    logits, exact_logits = agent.policy_outputs(obs).logits, exact.policy_outputs(obs).logits
    assert not np.array_equal(logits, exact_logits)
    np.testing.assert_allclose(logits, exact_logits, atol=1e-3)
    scalars = next(agent.train(16)).scalars
    assert all(value.isfinite() for value in scalars.values())
    assert {p.dtype for p in agent.net.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_steps": 0}, "n_steps to be an integer >= 1, got 0"),
        ({"n_epochs": 0}, "n_epochs to be an integer >= 1, got 0"),
        ({"num_minibatches": -1}, "num_minibatches to be an integer >= 1, got -1"),
        ({"n_threads": 0}, "n_threads to be an integer >= 1, got 0"),
        ({"rollout_fraction": 0.0}, "rollout_fraction to be a number above 0 and up to 1, got 0.0"),
        ({"rollout_fraction": 1.01}, "rollout_fraction to be a number above 0 and up to 1, got 1.01"),
        ({"gamma": 1.1}, "gamma to be a number in 0..1, got 1.1"),
        ({"gae_lambda": -0.1}, "gae_lambda to be a number in 0..1, got -0.1"),
        ({"precision": "float16"}, "got 'float16'"),
        ({"compiled": "always"}, "compiled to be 'auto', 'on' or 'off', got 'always'"),
    ],
)
def test_wrong_settings_are_rejected(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**changes)
