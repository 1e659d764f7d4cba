"""PPO's update against the same arithmetic written a second time, in NumPy and with another autograd graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from helpers.toys import Bits, Dice, quick, several
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rlgames
from rlgames.agents.ppo import PPO, SCALARS, Now, PPOConfig, drawn
from rlgames.experience.rollout import Rows
from rlgames.networks.models import ActorCritic, default_encoder, encoder
from rlgames.networks.threads import ParallelSlices

ROWS = 24
ENDLESS = 1e30  # norm: no clipping


def agent_of(seed: int = 0, **changes: Any) -> PPO:
    return PPO(several(Dice, 4), quick("ppo", **changes), seed=seed)


def minibatch(agent: PPO, seed: int) -> Rows:
    """Rows as `judge` gives them, from an older policy and older values, so that every clip has work to do."""
    rng = np.random.default_rng(seed)
    obs, action = rng.normal(size=(ROWS, 3)), rng.integers(3, size=ROWS)
    with torch.no_grad():
        logits, value = agent.forward(torch.from_numpy(obs))
    logp = torch.log_softmax(logits, 1)[torch.arange(ROWS), torch.from_numpy(action)]

    def noise(scale: float) -> Tensor:
        return torch.from_numpy(rng.normal(size=ROWS, scale=scale).astype(np.float32))

    weight = torch.from_numpy(rng.integers(4, size=ROWS).astype(np.float32))
    numbers = (logp + noise(0.3), value + noise(0.3), noise(1.0), value + noise(1.0), weight)
    return Rows(torch.from_numpy(obs), torch.from_numpy(action), *numbers)


def by_numpy(agent: PPO, rows: Rows, clip: float) -> dict[str, float]:
    """The terms of the loss, one row at a time."""
    c = agent.config
    with torch.no_grad():
        logits, values = (x.double().numpy() for x in agent.forward(rows.obs)[:2])
    advantage = rows.advantage.double().numpy()
    terms = {name: [] for name in ("policy_loss", "value_loss", "entropy", "kl", "clipped")}
    for i in range(ROWS):
        pi = np.exp(logits[i]) / np.exp(logits[i]).sum()
        ratio = pi[rows.action[i]] / math.exp(rows.logp[i])
        terms["policy_loss"].append(-min(ratio * advantage[i], min(max(ratio, 1 - clip), 1 + clip) * advantage[i]))
        old, goal = float(rows.value[i]), float(rows.goal[i])
        error = (values[i] - goal) ** 2
        if c.value_clip is not None:
            held = min(max(values[i], old - c.value_clip), old + c.value_clip)
            error = max(error, (held - goal) ** 2)
        terms["value_loss"].append(error)
        terms["entropy"].append(-sum(p * math.log(p) for p in pi))
        terms["kl"].append(ratio - 1 - math.log(ratio))  # Schulman's estimator, joschu.net/blog/kl-approx.html
        terms["clipped"].append(abs(ratio - 1) > clip)
    return {name: float(np.average(values, weights=rows.weight)) for name, values in terms.items()}


def by_autograd(agent: PPO, rows: Rows, clip: float) -> list[Tensor]:
    """The gradient of the same loss, written with torch's distributions and cases instead of min and max."""
    c = agent.config
    logits, value = agent.net(rows.obs)
    pi, advantage, share = (
        torch.distributions.Categorical(logits=logits),
        rows.advantage,
        rows.weight / sum(rows.weight),
    )
    ratio = (pi.log_prob(rows.action) - rows.logp).exp()
    stopped = ((advantage > 0) & (ratio > 1 + clip)) | ((advantage < 0) & (ratio < 1 - clip))
    gain = torch.where(stopped, torch.zeros_like(ratio), ratio * advantage)  # a constant has no gradient
    goal, old = rows.goal, rows.value
    error = (value - goal) ** 2
    if c.value_clip is not None:
        far = (value - old).abs() > c.value_clip
        held = old + c.value_clip * (value - old).sign()
        error = torch.where(far & ((held - goal) ** 2 >= error), torch.zeros_like(error), error)
    loss = -gain @ share + c.value * error @ share - c.entropy * pi.entropy() @ share
    return list(torch.autograd.grad(loss, list(agent.net.parameters())))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    clip=st.sampled_from([0.05, 0.2, 0.5]),
    clip_range_vf=st.sampled_from([None, 0.1, 0.4]),
    entropy=st.sampled_from([0.0, 0.05]),
    value=st.sampled_from([0.1, 1.0]),
    threads=st.sampled_from([1, 2, 5]),
)
def test_one_step_is_the_papers(
    seed: int, clip: float, value_clip: float | None, entropy: float, value: float, threads: int
):
    weights = {"clip_range_vf": value_clip, "entropy": entropy, "value": value}
    agent = agent_of(seed, max_grad_norm=ENDLESS, threads=threads, **weights)
    rows = minibatch(agent, seed)
    expected, gradient = by_numpy(agent, rows, clip), by_autograd(agent, rows, clip)
    before = [p.detach().clone().requires_grad_() for p in agent.net.parameters()]
    found: dict[str, float] = dict(zip(SCALARS, agent.improve(rows, Now(clip, entropy)).tolist(), strict=True))

    for name, wanted in expected.items():
        assert found[name] == pytest.approx(wanted, rel=1e-4, abs=1e-5), name
    for p, wanted in zip(agent.net.parameters(), gradient, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, wanted, rtol=1e-4, atol=1e-6)
    norms = [torch.stack([p.grad.norm() for p in group if p.grad is not None]).norm() for group in agent.groups]
    assert (found["policy_norm"], found["value_norm"]) == pytest.approx(tuple(map(float, norms)), rel=1e-4)

    adam = torch.optim.Adam(before, agent.config.learning_rate, eps=1e-5, foreach=False)
    for p, kept in zip(agent.net.parameters(), before, strict=True):
        kept.grad = p.grad
    adam.step()
    for p, kept in zip(agent.net.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), kept.detach(), rtol=1e-5, atol=1e-6)


def test_the_gradient_is_the_slope_of_the_loss():
    """By finite differences along a random direction."""
    agent = agent_of(3, max_grad_norm=ENDLESS, clip_range_vf=0.2, entropy=0.03, value=0.7)
    rows, parameters = minibatch(agent, 3), list(agent.net.parameters())
    start, rng = [p.detach().clone() for p in parameters], np.random.default_rng(0)
    way = [torch.from_numpy(rng.normal(size=p.shape).astype(np.float32)) for p in start]

    def loss(shift: float) -> float:
        with torch.no_grad():
            for p, origin, direction in zip(parameters, start, way, strict=True):
                p.copy_(origin + shift * direction)
        terms = by_numpy(agent, rows, 0.2)
        return terms["policy_loss"] + 0.7 * terms["value_loss"] - 0.03 * terms["entropy"]

    step = 2e-4
    slope = (loss(step) - loss(-step)) / (2 * step)
    loss(0.0)
    agent.improve(rows, Now(0.2, agent.config.entropy))
    found = sum(
        float((p.grad * direction).sum()) for p, direction in zip(parameters, way, strict=True) if p.grad is not None
    )
    assert found == pytest.approx(slope, rel=0.01)


def raw_norms(agent: PPO, rows: Rows) -> list[Tensor]:
    """The gradient of the unclipped loss, by group."""
    gradient = dict(zip(agent.net.parameters(), by_autograd(agent, rows, 0.2), strict=True))
    return [torch.cat([gradient[p].flatten() for p in group]) for group in agent.groups]


def test_value_errors_do_not_starve_the_policy():
    """Two networks, two norms: a huge value error shrinks the value's gradient alone."""
    agent = agent_of(1, max_grad_norm=0.01)
    rows = minibatch(agent, 1)
    rows = rows._replace(goal=rows.goal + 1000.0)
    raw = raw_norms(agent, rows)
    found = dict(zip(SCALARS, agent.improve(rows, Now(0.2, agent.config.entropy)).tolist(), strict=True))
    assert found["value_norm"] == pytest.approx(float(raw[1].norm()), rel=1e-4)
    assert found["policy_norm"] == pytest.approx(float(raw[0].norm()), rel=1e-4)
    assert found["value_norm"] > 100 > 1 > found["policy_norm"] > 0.01
    for group, gradient in zip(agent.groups, raw, strict=True):
        kept = torch.cat([p.grad.flatten() for p in group if p.grad is not None])
        torch.testing.assert_close(kept, gradient * 0.01 / gradient.norm(), rtol=1e-3, atol=1e-6)
    assert sum(len(group) for group in agent.groups) == len(list(agent.net.parameters()))


def test_gradients_within_the_limit_stay_as_they_are():
    agent = agent_of(1, max_grad_norm=1e6)
    rows = minibatch(agent, 1)
    raw = raw_norms(agent, rows)
    agent.improve(rows, Now(0.2, agent.config.entropy))
    for group, gradient in zip(agent.groups, raw, strict=True):
        torch.testing.assert_close(torch.cat([p.grad.flatten() for p in group if p.grad is not None]), gradient)


def test_planes_share_one_network_and_one_norm():
    agent = PPO(rlgames.make_vec("CatchBall", 2), quick("ppo", max_grad_norm=0.01))
    [group] = agent.groups
    assert {id(p) for p in group} == {id(p) for p in agent.net.parameters()}
    update = next(agent.train(16))
    assert update.scalars["policy_norm"] == update.scalars["value_norm"] > 0.01


class Spy:
    """Stands in for `improve`: keeps what it was called with, learns nothing, and tells the KL that it was given."""

    def __init__(self, agent: PPO, kl: list[float]) -> None:
        self.agent, self.kl = agent, kl
        self.calls: list[Rows] = []
        self.clips, self.entropies, self.rates = [], [], []
        agent.improve = self  # type: ignore[method-assign]  # that is its purpose

    def __call__(self, rows: Rows, now: Now) -> Tensor:
        self.calls.append(rows)
        self.clips.append(now.clip)
        self.entropies.append(now.entropy)
        self.rates.append(self.agent.optimiser.param_groups[0]["lr"])
        row = torch.zeros(len(SCALARS))
        row[SCALARS.index("kl")] = self.kl[(len(self.calls) - 1) % len(self.kl)]
        return row


@pytest.mark.parametrize(("target", "passes"), [(None, 5), (0.5, 3), (0.65, 4), (2.0, 5), (0.0, 1)])
def test_the_passes_stop_at_the_target_kl(target: float | None, passes: int):
    agent = agent_of(n_epochs=5, num_minibatches=2, target_kl=target)
    spy = Spy(agent, [9.0, 0.2, 0.0, 0.4, 0.0, 0.6, 0.0, 0.7, 0.0, 1.0])  # the last minibatch of each pass counts
    update = next(agent.train(10_000))
    assert len(spy.calls) == 2 * passes
    assert float(update.scalars["kl"]) == pytest.approx(np.mean(spy.kl[: 2 * passes]))


def test_each_pass_takes_every_transition_once():
    for minibatches in (1, 3, 5, 32, 100):
        agent = agent_of(n_epochs=3, num_minibatches=minibatches, n_steps=8)
        spy = Spy(agent, [0.0])
        next(agent.train(10_000))
        count = -(-32 // -(-32 // minibatches))
        assert len(spy.calls) == 3 * count
        passes = [torch.cat([call.obs for call in spy.calls[k * count : (k + 1) * count]]) for k in range(3)]
        every = [sorted(map(tuple, rows.tolist())) for rows in passes]
        assert every[0] == every[1] == every[2]
        assert len(set(every[0])) == 32
        assert minibatches == 1 or not torch.equal(passes[0], passes[1])  # in another order


def test_learning_rate_clip_and_entropy_follow_their_lines():
    starts = {"learning_rate": 8e-3, "clip": 0.4, "entropy": 0.04}
    ends = {"final_learning_rate": 4e-3, "final_clip_range": 0.2, "final_ent_coef": 0.0}
    agent = agent_of(0, **starts, **ends, n_epochs=1, num_minibatches=1)
    spy = Spy(agent, [0.0])
    for _ in agent.train(4 * 32):
        pass
    assert spy.rates == pytest.approx([8e-3, 7e-3, 6e-3, 5e-3])
    assert spy.clips == pytest.approx([0.4, 0.35, 0.3, 0.25])
    assert spy.entropies == pytest.approx([0.04, 0.03, 0.02, 0.01])
    agent = agent_of(clip=0.3, entropy=0.02, n_epochs=1, num_minibatches=1)
    spy = Spy(agent, [0.0])
    list(agent.train(4 * 32))
    assert (spy.clips, spy.entropies) == ([0.3] * 4, [0.02] * 4)
    assert spy.rates == pytest.approx([2.5e-4 * (1 - k / 4) for k in range(4)])


def test_the_first_pass_starts_at_the_policy_that_played():
    """Before any gradient step the ratio is 1: nothing clipped, no KL, and the policy's loss is the mean advantage."""
    for mode in AutoresetMode:
        agent = PPO(several(Dice, 4, mode), quick("ppo", n_epochs=1, num_minibatches=1, normalize_advantage=False))
        scalars = next(agent.train(32)).scalars
        assert float(scalars["kl"]) == pytest.approx(0.0, abs=1e-6)
        assert float(scalars["clipped"]) == 0.0


def test_advantages_are_normalised_over_the_rollout():
    for mode in AutoresetMode:
        agent = PPO(several(Dice, 4, mode), quick("ppo", n_epochs=1, num_minibatches=1, n_steps=16), seed=2)
        spy = Spy(agent, [0.0])
        next(agent.train(10_000))
        [rows] = spy.calls
        assert float(rows.advantage.mean()) == pytest.approx(0.0, abs=1e-5)
        assert float(rows.advantage.std()) == pytest.approx(1.0, rel=1e-4)
        plain = rows.goal - rows.value
        torch.testing.assert_close(rows.advantage, (plain - plain.mean()) / plain.std())


def test_actions_are_drawn_from_the_policy():
    agent = PPO(several(Bits, 1), quick("ppo"), seed=5)
    with torch.no_grad():
        agent.net.policy.bias.copy_(torch.tensor([0.0, 1.2]))
    obs = np.repeat(np.array([[1.0, 0.5]], np.float32), 20_000, 0)
    expected = float(torch.softmax(torch.from_numpy(agent.see(obs[:1]).logits), 1)[0, 1])
    found = drawn(agent.see(obs).logits, np.random.default_rng(0)).mean()
    assert found == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(len(obs)))


def test_threads_share_the_work_and_nothing_else():
    """ParallelSlices give the sums of one thread but for rounding, the same bits every time, and torch its threads back."""

    def trained(threads: int) -> list[Tensor]:
        before = threads
        torch.set_num_threads(before)
        agent = PPO("CatchBall", quick("ppo", threads=threads, num_minibatches=3), num_envs=2)
        for _ in agent.train(64):
            assert torch.get_num_threads() == before
        assert torch.get_num_threads() == before
        return [p.detach() for p in agent.net.parameters()]

    try:
        one, other, again = trained(1), trained(2), trained(2)
    finally:
        torch.set_num_threads(1)
    for alone, shared, same in zip(one, other, again, strict=True):
        torch.testing.assert_close(alone, shared, rtol=1e-3, atol=1e-5)
        assert torch.equal(shared, same)


def test_what_fails_in_a_share_is_raised():
    def square(x: int) -> int:
        return x * x

    for count in (1, 2):
        shares, before = ParallelSlices(count), torch.get_num_threads()
        assert shares.map(square, range(7)) == [0, 1, 4, 9, 16, 25, 36]
        assert shares.map(square, []) == []
        with pytest.raises(ZeroDivisionError), shares.torch_threads():
            shares.map(lambda x: 1 // x, [2, 1, 0])
        assert torch.get_num_threads() == before


@pytest.mark.parametrize("encoder", ["grid", "vector"])
def test_bfloat16_learns_in_float32_parameters(encoder: str):
    agent = PPO("CatchBall", quick("ppo", precision="bfloat16", encoder=encoder), num_envs=2)
    exact = PPO("CatchBall", quick("ppo", encoder=encoder), num_envs=2)
    obs = agent.playing().obs
    assert not np.array_equal(agent.see(obs).logits, exact.see(obs).logits)
    np.testing.assert_allclose(agent.see(obs).logits, exact.see(obs).logits, atol=1e-3)
    scalars = next(agent.train(16)).scalars
    assert all(value.isfinite() for value in scalars.values())
    assert {p.dtype for p in agent.net.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_steps": 0}, "horizon >= 1, got 0"),
        ({"n_epochs": 0}, "epochs >= 1, got 0"),
        ({"num_minibatches": -1}, "minibatches >= 1, got -1"),
        ({"threads": 0}, "threads >= 1, got 0"),
        ({"gamma": 1.1}, "gamma in 0..1, got 1.1"),
        ({"gae_lambda": -0.1}, "gae_lambda in 0..1, got -0.1"),
        ({"precision": "float16"}, "got 'float16'"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**changes)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((), "vector"),
        ((4,), "vector"),
        ((8, 8), "grid"),
        ((16, 16), "grid"),
        ((3, 16, 16), "grid"),
        ((48, 48), "cave"),
        ((4, 48, 48), "cave"),
        ((84, 84), "nature"),
        ((4, 84, 84), "nature"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_network_fits_the_space(shape: tuple[int, ...], kind: str, dtype: type):
    """Bytes are seen as 0..1; policy and value have a network each for vectors only; rows are on their own."""
    space = Box(0, 255, shape, dtype)
    assert default_encoder(space) == kind
    torch.manual_seed(0)
    net = ActorCritic(space, 3, "auto", (16,))
    assert (net.critic is not None) == (kind == "vector")
    seen = np.random.default_rng(0).integers(0, 256, size=(5, *shape)).astype(dtype)
    with torch.no_grad():
        logits, value = net(torch.from_numpy(seen))
        assert (logits.shape, value.shape) == ((5, 3), (5,))
        torch.testing.assert_close(net.logits(torch.from_numpy(seen)), logits)
        torch.testing.assert_close(net(torch.from_numpy(seen[2:3]))[0], logits[2:3], rtol=1e-4, atol=1e-5)
        if dtype is np.uint8:
            scaled = torch.from_numpy(seen.astype(np.float32) / 255)
            torch.testing.assert_close(net(scaled)[1], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((8, 8), "nature", "too small for the encoder 'nature': try 'vector'"),
        ((4,), "grid", "takes planes"),
        ((8, 8), "resnet", "unknown encoder 'resnet'"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(shape: tuple[int, ...], kind: str, message: str):
    with pytest.raises(ValueError, match=message):
        encoder(Box(0, 255, shape, np.uint8), kind)
