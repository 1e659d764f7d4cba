"""Recurrent networks against torch's LSTM and single steps, and recurrent agents in a task that needs memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from helpers.toys import AUTORESET_MODES, RandomLengthEnv, quick_config, state_sha256, sync_vector
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import rlgames
from rlgames.agents.registry import find
from rlgames.evaluation import evaluate
from rlgames.experience.rollout import Rollout
from rlgames.networks.models import default_init, sample_actions
from rlgames.networks.recurrent import LSTM, RecurrentActorCritic, RecurrentQNetwork

SPACE = Box(-1, 1, (2,), np.float32)
Q_LEARNING: dict[str, Any] = {
    "buffer_size": 4_000,
    "batch_size": 32,
    "sequence_length": 8,
    "burn_in": 0,
    "target_update_interval": 20,
    "learning_rate": 5e-3,
    "gamma": 0.9,
    "exploration_fraction": 0.5,
    "lstm_hidden_size": 16,
}
PPO: dict[str, Any] = {"n_steps": 16, "n_epochs": 4, "learning_rate": 1e-2, "ent_coef": 0.01, "lstm_hidden_size": 16}
RECURRENT_AGENTS = {"ppo": PPO, "dqn": Q_LEARNING, "ddqn": Q_LEARNING}


class RecallEnv(gym.Env):
    """Observe a bit once, then nothing for two steps, then a request for it; reward 1 for the right bit, else 0."""

    observation_space = SPACE
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.bit, self.time = int(self.np_random.integers(2)), 0
        return np.array([2 * self.bit - 1, 0], np.float32), {}

    def step(self, action: int):
        self.time += 1
        requested, over = self.time == 3, self.time == 4
        return np.array([0, requested], np.float32), float(over and action == self.bit), over, False, {}


# ---- networks ----


def sequences(*sizes: int) -> tuple[Tensor, Tensor]:
    """Return inputs (n, time, features) and where episodes start (n, time): at first, never, and in between."""
    start = torch.rand(*sizes[:2]) < 0.3
    start[0], start[1, 0] = False, True
    return torch.randn(*sizes), start


def assert_same_outputs_and_gradients(found: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(found, expected)
    cotangents = torch.randn_like(expected)
    gradients = (torch.autograd.grad((x * cotangents).sum(), inputs) for x in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours.abs().sum() > 0


def test_lstm_equals_torchs_cell_step_by_step():
    """States, and gradients through time, for one sequence and one step at a time; starts of episodes reset."""
    torch.manual_seed(0)
    lstm, cell = LSTM(5, 7, default_init), nn.LSTMCell(5, 7)
    features, start = sequences(3, 6, 5)
    state = torch.randn(3, 14, requires_grad=True)
    features.requires_grad_(True)

    def torchs_order(x: Tensor) -> Tensor:
        i, f, o, g = x.chunk(4)
        return torch.cat((i, f, g, o))

    layers = {"ih": lstm.input_proj, "hh": lstm.hidden_proj}
    parameters = {
        f"{kind}_{name}": torchs_order(getattr(layer, kind))
        for name, layer in layers.items()
        for kind in ("weight", "bias")
    }
    expected = []
    for i in range(3):
        h, c = state[i : i + 1].chunk(2, 1)
        for t in range(6):
            if start[i, t]:
                h = c = torch.zeros(1, 7)
            h, c = torch.func.functional_call(cell, parameters, (features[i : i + 1, t], (h, c)))
            expected.append(torch.cat((h, c), 1))
    states = lstm(features, state, start)
    assert_same_outputs_and_gradients(states, torch.cat(expected).view(3, 6, 14), [features, state, *lstm.parameters()])


class CountElements(TorchDispatchMode):
    """Counts the elements of all tensors that operations return."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else (result,):
            self.total += each.numel() if isinstance(each, Tensor) else 0
        return result


def test_lstm_trains_in_linear_time():
    """Twice the steps, at most twice the elements that the backward pass writes."""

    def elements(steps: int) -> int:
        lstm = LSTM(5, 7, default_init)
        states = lstm(torch.randn(3, steps, 5), torch.zeros(3, 14), torch.zeros(3, steps, dtype=torch.bool))
        with CountElements() as count:
            states.sum().backward()
        return count.total

    assert elements(128) <= 2.1 * elements(64)


def test_lstm_state_does_not_cross_the_start_of_an_episode():
    torch.manual_seed(0)
    lstm, features, state = LSTM(5, 7, default_init), torch.randn(2, 6, 5), torch.randn(2, 14)
    start = torch.zeros(2, 6, dtype=torch.bool)
    start[1, 4] = True
    states = lstm(features, state, start)
    from_initial = lstm(features[1:, 4:], lstm.as_state(None, 1), torch.zeros(1, 2, dtype=torch.bool))
    torch.testing.assert_close(states[1:, 4:], from_initial)
    without_start = lstm(features, state, torch.zeros_like(start))
    torch.testing.assert_close(states[0], without_start[0])
    torch.testing.assert_close(states[1, :4], without_start[1, :4])


@pytest.mark.parametrize("kind", ["actor_critic", "q", "dueling"])
def test_sequences_equal_single_steps(kind: str):
    """Outputs and gradients of all parameters; the LSTM state is handed on from step to step."""
    torch.manual_seed(0)
    if kind == "actor_critic":
        net: Any = RecurrentActorCritic(SPACE, 3, "vector", (6,), 7)
        nn.init.normal_(net.policy.weight)  # its initial weights are close to 0
    else:
        net = RecurrentQNetwork(SPACE, 3, "vector", (6,), kind == "dueling", 7)

    def outputs(obs: Tensor, state: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        if kind == "actor_critic":
            logits, values, states = net(obs, state, start)
            return torch.cat((logits, values[..., None], states), -1), states
        q, states = net.with_states(obs, state, start)
        assert torch.equal(net(obs, state, start), q)
        return torch.cat((q, states), -1), states

    obs, start = sequences(3, 5, 2)
    state = torch.randn(3, 14)
    expected = []
    for i in range(3):
        current = state[i : i + 1]
        for t in range(5):
            at = slice(i, i + 1), slice(t, t + 1)
            output, states = outputs(obs[at], current, start[at])
            current = states[:, 0]
            expected.append(output)
    found = outputs(obs, state, start)[0]
    assert_same_outputs_and_gradients(found, torch.cat(expected).view_as(found), list(net.parameters()))


# ---- agents ----


@pytest.mark.parametrize("mode", AUTORESET_MODES, ids=lambda mode: mode.name)
def test_ppo_minibatches_equal_single_steps(mode: AutoresetMode):
    """Values, values of next observations, and log probabilities, with the LSTM state handed on from step to step."""
    config = quick_config("ppo", recurrent=True, lstm_hidden_size=8)
    agent: Any = find("ppo")(sync_vector(RandomLengthEnv, 3, mode), config, seed=1)
    runner, rollout = agent.start_training(), Rollout(9, 3, agent.observation_space, 3)
    with torch.no_grad():
        agent.net.value.weight.mul_(5.0)  # larger values
    state = agent.net.lstm.as_state(None, 3)

    def net(obs: np.ndarray, state: Tensor, start: np.ndarray) -> list[Tensor]:
        with torch.no_grad():
            outputs = agent.net(torch.from_numpy(obs)[:, None], state, torch.from_numpy(start)[:, None])
        return [x[:, 0] for x in outputs]

    for _ in range(3):
        initial_state, rollout.episode_start[0] = agent.lstm_state, runner.episode_start
        values, next_values, log_prob = [], [], []
        for t in range(9):
            logits, value, state = net(runner.obs, state, runner.episode_start)
            outputs = agent.policy_outputs(runner.obs, agent.lstm_state, runner.episode_start)
            step, agent.lstm_state = runner.step(sample_actions(outputs.logits, agent.rng)), outputs.lstm_state
            rollout.add(t, step, outputs)
            values.append(value)
            next_values.append(net(step.next_obs, state, np.zeros(3, np.bool_))[1])
            log_prob.append(torch.log_softmax(logits, 1)[torch.arange(3), torch.from_numpy(step.action)])
        batch = agent.compute_advantages(rollout, initial_state)
        rollout_values, rollout_next_values = map(torch.from_numpy, agent.rollout_values(rollout))
        with torch.no_grad():
            logits, sequence_values, _ = agent.net(batch.obs, *batch.lstm)
        sequence_log_prob = torch.log_softmax(logits, -1).gather(-1, batch.actions[..., None])[..., 0]
        valid, running = torch.from_numpy(rollout.valid), torch.from_numpy(~rollout.terminated)
        torch.testing.assert_close(rollout_values[valid], torch.stack(values)[valid])
        torch.testing.assert_close(rollout_next_values[running], torch.stack(next_values)[running])
        torch.testing.assert_close(batch.log_prob.T[valid], torch.stack(log_prob)[valid])
        torch.testing.assert_close(sequence_values.T[valid], torch.stack(values)[valid])
        torch.testing.assert_close(sequence_log_prob.T[valid], torch.stack(log_prob)[valid])
        torch.testing.assert_close(batch.weights.T, valid.float())


@pytest.mark.parametrize("mode", AUTORESET_MODES, ids=lambda mode: mode.name)
def test_ppo_ratio_is_1_before_the_first_gradient_step(mode: AutoresetMode):
    """Training starts its sequences from the LSTM state with which the rollout started."""
    config = quick_config("ppo", recurrent=True, lstm_hidden_size=8, n_epochs=1, num_minibatches=1)
    agent: Any = find("ppo")(sync_vector(RandomLengthEnv, 3, mode), config, seed=1)
    with torch.no_grad():
        agent.net.policy.weight.mul_(100.0)  # probabilities that depend on the state
    for update in agent.train(5 * 3 * config.n_steps):
        assert float(update.scalars["train/approx_kl"]) == pytest.approx(0.0, abs=1e-6)
        assert float(update.scalars["train/clip_fraction"]) == 0.0


def learn_recall(name: str, mode: AutoresetMode, total_timesteps: int, episodes: int) -> float:
    """Return the mean score after training; 0.5 is that of guessing."""
    config = quick_config(name, recurrent=True, **RECURRENT_AGENTS[name])
    agent = find(name)(sync_vector(RecallEnv, 16, mode), config, seed=0).learn(total_timesteps)
    return evaluate(agent, sync_vector(RecallEnv, 8), episodes=episodes).mean


def test_ppo_learns_to_recall():
    assert learn_recall("ppo", AutoresetMode.SAME_STEP, 3_072, episodes=40) == 1.0


@pytest.mark.learning
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP], ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", RECURRENT_AGENTS)
def test_recurrent_agents_learn_to_recall(name: str, mode: AutoresetMode):
    assert learn_recall(name, mode, 16_000, episodes=80) == 1.0


@pytest.mark.parametrize("name", RECURRENT_AGENTS)
def test_training_resumes_bit_for_bit(name: str, tmp_path: Path):
    """A checkpoint holds the LSTM state of the running episodes."""
    config = quick_config(name, recurrent=True, lstm_hidden_size=8, encoder="vector")
    agent: Any = find(name)("CatchBall", config, num_envs=3, seed=4)
    for k, _ in enumerate(agent.train(192)):
        if k == 3:
            agent.save(tmp_path / "checkpoint")
            assert agent.step < 192
    resumed: Any = rlgames.load(tmp_path / "checkpoint")
    assert resumed.lstm_state is not None
    assert resumed.step < agent.step
    for _ in resumed.train(192):
        pass
    assert state_sha256(resumed, tmp_path) == state_sha256(agent, tmp_path)
    agent.close()
    resumed.close()
