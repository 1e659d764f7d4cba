"""DQN and DDQN: targets computed by hand and by a plain loop over the steps, losses, schedules, replay of frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import GuessBitEnv, RandomLengthEnv, quick_config, state_sha256, sync_vector
from torch import nn

import rlgames
from rlgames.agents.dqn import DDQN, DQN, DQNConfig
from rlgames.agents.registry import load
from rlgames.experience.replay import FINAL_OBS, Batch

agent_classes = pytest.mark.parametrize("agent_class", [DQN, DDQN])


# ---- targets ----


class TableNetwork(nn.Module):
    """Q-values in a table: the observation's first number is the state."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor(table))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.table[obs[:, 0].long()]


ONLINE = [[1.0, 2.0], [5.0, 4.0], [0.0, 3.0], [7.0, 8.0]]
TARGET = [[10.0, 20.0], [30.0, 40.0], [60.0, 50.0], [80.0, 70.0]]


def tabular_agent(agent_class: type) -> Any:
    agent = agent_class(sync_vector(GuessBitEnv, 2), quick_config("dqn"), device="cpu")
    agent.net, agent.target = TableNetwork(ONLINE), TableNetwork(TARGET)
    return agent


def four_transitions() -> Batch:
    """From state 0, 1, 2, 3 to 1, 2, 3, 0; the third terminates, the last is discounted over two steps."""
    obs, next_obs = (np.array([[s, 0.0] for s in states], np.float32) for states in ((0, 1, 2, 3), (1, 2, 3, 0)))
    rewards, discounts = np.array([1.0, -1.0, 0.5, 2.0], np.float32), np.array([0.5, 0.5, 0.0, 0.25], np.float32)
    return Batch(obs, np.array([0, 1, 1, 0]), rewards, next_obs, discounts, np.zeros((4, 2), np.int64))


@pytest.mark.parametrize(
    ("agent_class", "targets"),
    [
        # the target network's largest value of states 1, 2, 3, 0: 40, 60, 80, 20
        (DQN, [1 + 0.5 * 40, -1 + 0.5 * 60, 0.5, 2 + 0.25 * 20]),
        # its values of the actions that the online network prefers there, 0, 1, 1, 1: 30, 50, 70, 20
        (DDQN, [1 + 0.5 * 30, -1 + 0.5 * 50, 0.5, 2 + 0.25 * 20]),
    ],
)
def test_targets_by_hand(agent_class: type, targets: list[float]):
    q, errors = tabular_agent(agent_class).td_errors(four_transitions())
    assert q.tolist() == [1.0, 4.0, 3.0, 7.0]
    assert (q - errors).tolist() == targets


@agent_classes
def test_targets_have_no_gradient(agent_class: type):
    """Only Q(s, a) of the online network has one: d(sum of errors) / dQ is 1 at each (s, a)."""
    agent = tabular_agent(agent_class)
    agent.td_errors(four_transitions())[1].sum().backward()
    assert agent.target.table.grad is None
    assert agent.net.table.grad.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("n_steps", [1, 3])
def test_n_step_targets_equal_a_plain_loop(n_steps: int):
    """Episodes terminate, are truncated, or both: n rewards, cut at the end, bootstrapped unless terminated."""
    gamma, num_envs = 0.9, 3
    config = quick_config("dqn", n_steps=n_steps, gamma=gamma, buffer_size=2_000)
    agent: Any = DQN(sync_vector(RandomLengthEnv, num_envs), config, device="cpu")
    runner, steps = agent.start_training(), []
    for _ in range(200):
        step = runner.step(agent.rng.integers(3, size=num_envs))
        agent.replay.add(step)
        steps.append(step)
    batch = agent.replay.sample(agent.rng, 500)
    q, errors = agent.td_errors(batch)
    targets = (q - errors).detach().numpy()

    def max_q(obs: np.ndarray) -> float:
        with torch.no_grad():
            return float(agent.target(torch.from_numpy(obs[None])).max())

    times = {(i, step.obs[i].tobytes()): t for t, step in enumerate(steps) for i in range(num_envs)}
    ends = set()
    for k in range(len(batch.slots)):
        i = int(batch.slots[k, 0])
        t = times[i, batch.obs[k].tobytes()]
        expected = 0.0
        for m in range(n_steps):
            step = steps[t + m]
            expected += gamma**m * step.reward[i]
            if step.done[i] or m == n_steps - 1:
                if not step.terminated[i]:
                    expected += gamma ** (m + 1) * max_q(step.next_obs[i])
                ends.add((bool(step.done[i]), bool(step.terminated[i])))
                break
        assert targets[k] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert ends == {(False, False), (True, False), (True, True)}


@pytest.mark.parametrize("prioritized", [False, True])
def test_no_transition_leads_into_the_new_episodes_of_a_loaded_agent(prioritized: bool, tmp_path: Path):
    """Environments without snapshots: the running episodes of the saved agent end before their last step."""
    config = quick_config("dqn", prioritized=prioritized)
    agent: Any = DQN(sync_vector(RandomLengthEnv, 2), config, device="cpu").learn(64)
    running = ~agent.replay.episode_start
    assert running.any()
    agent.save(tmp_path / "agent")
    loaded: Any = load(tmp_path / "agent", sync_vector(RandomLengthEnv, 2))
    replay = loaded.replay
    assert replay.episode_start.all()
    last = (np.arange(2), replay.head - 1)
    assert (replay.status[last][running] == FINAL_OBS).all()
    others = np.ones_like(replay.status, np.bool_)
    for back in (1, 2):
        others[np.arange(2), replay.head - back] = False
    assert np.array_equal(replay.status[others], agent.replay.status[others])
    assert loaded.learn(8).step > agent.step


# ---- gradient steps ----


@pytest.mark.parametrize(("loss", "expected"), [("huber", (0.125 + 2.5) / 2), ("squared", (0.125 + 4.5) / 2)])
def test_losses_differ_above_an_error_of_one(loss: str, expected: float, monkeypatch: pytest.MonkeyPatch):
    agent = DQN("CatchBall", quick_config("dqn", loss=loss), num_envs=2, device="cpu")
    errors = torch.tensor([0.5, -3.0])
    monkeypatch.setattr(agent, "td_errors", lambda batch: (q := agent.net(torch.zeros(2, 8, 8))[:, 0], q * 0 + errors))
    update = next(update for update in agent.train(64) if update.scalars)
    assert update.scalars["train/loss"].item() == pytest.approx(expected)


@agent_classes
def test_the_target_network_is_copied_every_target_update_interval(agent_class: type):
    agent = agent_class(sync_vector(GuessBitEnv, 2), quick_config("dqn", target_update_interval=3, gradient_steps=2))
    copies, previous = [], agent.target.state_dict()["body.1.weight"].clone()
    for _ in agent.train(32 + 6 * 8):
        target = agent.target.state_dict()["body.1.weight"]
        if not torch.equal(target, previous):
            copies.append(agent.num_updates)
            assert agent.num_updates % 3 != 0 or torch.equal(target, agent.net.state_dict()["body.1.weight"])
        previous = target.clone()
    assert agent.num_updates == 14
    assert copies == [4, 6, 10, 12]  # the first observed updates at or past 3, 6, 9, 12


def test_exploration_and_learning_rate_are_linear():
    config = quick_config(
        "dqn",
        exploration_initial_eps=0.8,
        exploration_final_eps=0.2,
        exploration_fraction=0.5,
        learning_rate=8e-3,
        final_learning_rate=4e-3,
        train_freq=2,
        learning_starts=2,
    )
    agent: Any = DQN(sync_vector(GuessBitEnv, 2), config)
    updates = [update for update in agent.train(100) if update.scalars]  # none before `learning_starts`
    rows = [{key: float(value) for key, value in update.scalars.items()} for update in updates]
    starts = [agent.num_envs * k / 100 for k in range(50 - len(rows), 50)]  # progress before each step
    expected = [max(0.2, 0.8 - 0.6 * progress / 0.5) for progress in starts]
    assert [row["rollout/exploration_rate"] for row in rows] == pytest.approx(expected)
    assert [row["train/learning_rate"] for row in rows] == pytest.approx([8e-3 - 4e-3 * x for x in starts])
    assert len(rows) >= 45


@agent_classes
@pytest.mark.parametrize("recurrent", [False, True])
def test_the_warm_up_yields_and_can_be_stopped(agent_class: type, recurrent: bool, tmp_path: Path):
    """An update every `train_freq` steps, without scalars; an agent that is stopped and loaded there ends the same."""
    config = quick_config("dqn", learning_starts=100, train_freq=8, recurrent=recurrent)
    agent: Any = agent_class("CatchBall", config, num_envs=2)
    updates = list(agent.train(200))
    assert [update.step for update in updates] == list(range(8, 201, 8))
    assert [bool(update.scalars) for update in updates] == [update.step >= 100 for update in updates]
    assert agent.num_updates == 13
    stopped: Any = agent_class("CatchBall", config, num_envs=2)
    next(stopped.train(200))
    stopped.save(tmp_path / "agent")
    loaded = load(tmp_path / "agent")
    loaded.learn(200 - loaded.step)
    assert state_sha256(loaded, tmp_path) == state_sha256(agent, tmp_path)


# ---- replay ----


@pytest.mark.parametrize("game", ["Pong", "Cave:stack=4"])
@pytest.mark.parametrize("scale", [False, True])
def test_stacked_frames_are_stored_once(game: str, scale: bool):
    """Stacks of the emulator and of the wrapper: what is sampled was observed, also across ends of episodes."""
    if game == "Pong":
        pytest.importorskip("ale_py")
    pixels = rlgames.Pixels(size=(48, 48) if game == "Pong" else None, grey=game == "Pong", stack=4, scale=scale)
    envs = rlgames.make_vec(game, 2, pixels=pixels, max_episode_steps=70)
    agent: Any = DQN(envs, DQNConfig(buffer_size=400, learning_starts=10_000), device="cpu")
    runner, observed = agent.start_training(), set()
    for _ in range(150):
        observed |= {obs.tobytes() for obs in runner.obs}
        agent.replay.add(runner.step(agent.rng.integers(agent.action_space.n, size=2)))
    assert agent.replay.stack == 4
    assert agent.replay.frames[0, 0].size == 48 * 48
    sampled = agent.replay.sample(np.random.default_rng(0), 300).obs
    assert {obs.tobytes() for obs in sampled} <= observed
    envs.close()


def test_check_memory_describes_a_large_replay_before_it_is_made():
    small, large = (DQN("Cave", DQNConfig(buffer_size=size), num_envs=2, device="cpu") for size in (1_000, 100_000))
    assert small.check_memory() is None
    assert large.check_memory() == "replay: 100,000 transitions, 0.2 GB"
    small.start_training()
    assert small.check_memory() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "l1"}, "expected loss to be 'huber' or 'squared', got 'l1'"),
        ({"train_freq": 0}, "expected train_freq to be an integer >= 1, got 0"),
        ({"exploration_fraction": 1.5}, "expected exploration_fraction to be a number in 0..1, got 1.5"),
        ({"burn_in": 16}, "expected burn_in below sequence_length=16, got 16"),
        ({"recurrent": True, "prioritized": True}, "recurrent=True samples sequences, prioritized=True single"),
    ],
)
def test_wrong_settings_are_rejected(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        DQNConfig(**changes)
