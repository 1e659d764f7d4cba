"""`evaluate` against a plain loop over single environments, and its quotas, caps and refusals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rlgames
from rlgames.agents.base import Agent
from rlgames.agents.ppo import PPO, PPOConfig
from rlgames.agents.random import Random
from rlgames.checkpoint.file import CheckpointError
from rlgames.envs.registry import GAMES
from rlgames.envs.task import Task
from rlgames.evaluation import MOST_PLAYERS, Evaluation, evaluate

SMALL = PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1, hidden=(16,))
modes = pytest.mark.parametrize("mode", AutoresetMode, ids=lambda mode: mode.name)


class Streets(gym.Env):
    """A walk of random length; a step is worth its action, the score is 100 for each episode that went before."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(3, start=2)

    def __init__(self, longest: int = 12, tells: bool = True) -> None:
        self.longest, self.tells = longest, tells

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.score = 0.0 if seed is not None else self.score + 100.0
        self.time, self.length = 0, int(self.np_random.integers(1, self.longest))
        return self.see(), {}

    def see(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def step(self, action: int):
        self.time += 1
        over = self.time == self.length
        info = {"score": self.score} if self.tells else {}
        return self.see(), float(action), over and self.length % 2 == 0, over and self.length % 2 == 1, info


class Even(gym.Env):
    """Players of even seed fail at once, those of odd seed do well for 50 steps."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(3, start=2)
    odd = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.odd, self.time = (self.odd if seed is None else bool(seed % 2)), 0
        return np.zeros(2, np.float32), {}

    def step(self, action: int):
        self.time += 1
        over = self.time == (50 if self.odd else 1)
        return np.zeros(2, np.float32), float(over and self.odd), over, False, {}


def batch(make: Any, n: int, mode: AutoresetMode = AutoresetMode.SAME_STEP) -> SyncVectorEnv:
    return SyncVectorEnv([make] * n, autoreset_mode=mode)


def decided(env: Any, **kwargs: Any) -> PPO:
    """An agent whose actions depend on what it sees."""
    agent = PPO(env, SMALL, **kwargs)
    with torch.no_grad():
        agent.net.policy.weight.mul_(1000)
        agent.net.policy.bias.zero_()
    return agent


def by_hand(
    agent: Agent, env: gym.Env, seed: int, episodes: int, max_steps: int | None = None
) -> list[tuple[float, int]]:
    """(score, length) of one player's episodes."""
    found, again = [], seed
    for _ in range(episodes):
        obs, _ = env.reset(seed=again)
        again, total, length, over, info = None, 0.0, 0, False, {}
        while not over and (max_steps is None or length < max_steps):
            obs, reward, terminated, truncated, info = env.step(int(agent.predict(obs)[0]))
            total, length, over = total + float(reward), length + 1, terminated or truncated
        found.append((float(info.get("score", total)), length))
    return found


@modes
@pytest.mark.parametrize("tells", [True, False])
def test_each_player_plays_its_share(mode: AutoresetMode, tells: bool):
    agent = decided(batch(Streets, 1))
    for episodes, share in ((7, (3, 2, 2)), (3, (1, 1, 1)), (2, (1, 1, 0))):
        result = evaluate(agent, batch(lambda: Streets(tells=tells), 3, mode), episodes=episodes, seed=5)
        expected = [by_hand(agent, Streets(tells=tells), 5 + i, count) for i, count in enumerate(share)]
        assert list(zip(result.scores, result.lengths, strict=True)) == [each for own in expected for each in own]
        assert (result.capped, result.wins) == (0, None)


@modes
def test_it_counts_who_came_to_the_goal(mode: AutoresetMode):
    """Of episodes that ran out of time those too that the game says so of; of those that a cap cut short none."""

    class Goal(Streets):
        def step(self, action: int):
            *rest, info = super().step(action)
            return *rest, {**info, "flag_get": self.time % 3 == 0}

    agent = decided(batch(Streets, 1))
    result = evaluate(agent, batch(Goal, 3, mode), episodes=30, seed=5)
    assert result.wins == sum(length % 3 == 0 for length in result.lengths) > 3
    capped = evaluate(agent, batch(Goal, 3, mode), episodes=30, seed=5, max_steps=6)
    assert capped.wins is not None
    assert capped.lengths.count(3) <= capped.wins < sum(length % 3 == 0 for length in capped.lengths)


@modes
def test_a_cap_ends_episodes_but_takes_none_away(mode: AutoresetMode):
    """However many are cut short, each player plays its share; the first of each is that of the plain loop."""
    agent = decided(batch(Streets, 1))
    result = evaluate(agent, batch(lambda: Streets(tells=False), 3, mode), episodes=30, seed=5, max_steps=4)
    assert len(result.scores) == len(result.lengths) == 30
    assert max(result.lengths) == 4
    assert 10 <= result.capped < result.lengths.count(4)  # some ended in that very step
    for i in range(3):
        first = by_hand(agent, Streets(tells=False), 5 + i, 1, max_steps=4)
        assert [(result.scores[10 * i], result.lengths[10 * i])] == first


def test_a_cap_on_episodes_that_would_never_end():
    class Endless(Streets):
        def step(self, action: int):
            obs, *_ = super().step(action)
            return obs, 2.0, False, False, {}

    agent = decided(batch(Streets, 1))
    result = evaluate(agent, Endless(), episodes=5, max_steps=6)
    assert result == Evaluation([12.0] * 5, [6] * 5, capped=5)


def test_a_cap_beyond_all_episodes_changes_nothing():
    agent = decided(batch(Streets, 1))
    free = evaluate(agent, batch(Streets, 3), episodes=9)
    assert evaluate(agent, batch(Streets, 3), episodes=9, max_steps=11) == free


@modes
@pytest.mark.parametrize("max_steps", [None, 40, 60])
def test_short_episodes_count_no_more_than_long_ones(mode: AutoresetMode, max_steps: int | None):
    """Half of the players fail after 1 step, half succeed after 50: the mean is a half, not 1 in 51."""
    result = evaluate(decided(batch(Even, 1)), batch(Even, 4, mode), episodes=40, max_steps=max_steps)
    assert result.mean == (0.0 if max_steps == 40 else 0.5)
    assert result.capped == (20 if max_steps == 40 else 0)
    assert sorted(result.lengths) == [1] * 20 + [min(50, max_steps or 50)] * 20


@pytest.mark.parametrize("game", GAMES)
def test_games_by_name_are_scored_as_the_game_counts(game: str):
    """Cave's preset shapes the rewards; the scores are the game's all the same. Pong's has a picture of its own."""
    agent = decided(game, num_envs=2)
    assert agent.task is not None
    one, episodes = rlgames.make(game, pixels=agent.task.pixels), 3 if game in ("Mario", "ChromeDino") else 12
    expected = [by_hand(agent, one, 11 + i, 1, max_steps=60) for i in range(episodes)]
    one.close()
    for env in (None, game, f"rlgames/{game}-v0"):
        result = evaluate(agent, env, episodes=episodes, seed=11, max_steps=60)
        assert [[each] for each in zip(result.scores, result.lengths, strict=True)] == expected


def test_many_episodes_share_the_players():
    agent = decided("CatchBall", num_envs=2)
    result = evaluate(agent, episodes=MOST_PLAYERS + 3, seed=1)
    share = [2] * 3 + [1] * (MOST_PLAYERS - 3)
    expected = [by_hand(agent, rlgames.make("CatchBall"), 1 + i, count) for i, count in enumerate(share)]
    assert list(zip(result.scores, result.lengths, strict=True)) == [each for own in expected for each in own]


def test_sampled_or_not():
    """An agent that finds all three actions equally good always takes the first, or any."""
    agent = PPO(batch(lambda: Streets(tells=False), 2), SMALL)
    with torch.no_grad():
        agent.net.policy.weight.zero_()
    result = evaluate(agent, batch(lambda: Streets(tells=False), 2), episodes=200)
    assert result.scores == [2.0 * length for length in result.lengths]
    result = evaluate(agent, batch(lambda: Streets(tells=False), 2), episodes=200, deterministic=False)
    steps = sum(result.lengths)
    assert sum(result.scores) / steps == pytest.approx(3.0, abs=4 * np.sqrt(2 / 3 / steps))


def test_the_seed_decides():
    agent = decided("CatchBall", num_envs=2)
    results = [evaluate(agent, episodes=8, seed=seed) for seed in (3, 3, 99)]
    assert results[0] == results[1] != results[2]
    sampled = [evaluate(PPO("CatchBall", SMALL, num_envs=2), episodes=8, deterministic=False) for _ in range(2)]
    assert sampled[0] == sampled[1]


def test_evaluating_leaves_the_agent_as_it_is():
    agent, other = PPO("CatchBall", SMALL, num_envs=2).learn(32), PPO("CatchBall", SMALL, num_envs=2).learn(32)
    evaluate(agent, episodes=3)
    evaluate(agent, episodes=3, deterministic=False)
    found, expected = (next(each.train(64)) for each in (agent, other))
    assert (found.scores, found.scalars) == (expected.scores, expected.scalars)


def test_a_path_is_as_good_as_an_agent(tmp_path: Path):
    agent = decided("CatchBall", num_envs=2)
    agent.save(tmp_path / "agent")
    expected = evaluate(agent, episodes=4)
    assert evaluate(tmp_path / "agent", episodes=4) == expected
    assert evaluate(str(tmp_path / "agent"), "CatchBall", episodes=4) == expected


def test_a_game_by_name_is_seen_as_the_agent_has_learnt_to(tmp_path: Path):
    """With other options of its own, but for those that decide what is seen."""
    agent = PPO("Dino:obs=state", SMALL, num_envs=2)
    agent.save(tmp_path / "agent")
    slow = rlgames.load(tmp_path / "agent", "Dino:acceleration=false")
    assert slow.task is not None
    assert str(slow.task) == "Dino:obs=state,acceleration=false"
    assert slow.task.rewards == agent.task.rewards
    assert evaluate(agent, "Dino:acceleration=false", episodes=2) == evaluate(slow, episodes=2)
    with pytest.raises(ValueError, match="expected an observation of shape"):
        evaluate(agent, "Dino:obs=pixels", episodes=2)
    assert Task.parse(str(slow.task)) == Task("Dino", slow.task.options)  # as it was said
    far = PPO("Cave:frame_skip=4,stack=4", SMALL, num_envs=2)
    assert str(Task.parse("Cave").as_learnt(far.task)) == "Cave:frame_skip=4,stack=4"
    assert evaluate(far, "Cave", episodes=2) == evaluate(far, episodes=2)
    pixels = rlgames.Pixels(skip=2, stack=3)
    own = Task("Cave", {}, pixels, rlgames.Rewards(scale=2))
    assert Task.parse("Cave").as_learnt(own) == own
    assert Task.parse("CatchBall").as_learnt(own) == Task("CatchBall")
    twin = Task.parse("ChromeDino").as_learnt(agent.task)  # what was learnt in the simulator is played in the browser
    assert twin == Task("ChromeDino", {"obs": "state"}, agent.task.pixels, agent.task.rewards)
    assert Task.parse("CartPole-v1").as_learnt(own) == Task("CartPole-v1")


def test_what_was_opened_is_closed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    agent = PPO("CatchBall", SMALL, num_envs=2)
    agent.save(tmp_path / "agent")
    opened: list[Any] = []
    make_vec = Task.make_vec

    def watched(task: Task, n: int) -> Any:
        opened.append(make_vec(task, n))
        return opened[-1]

    monkeypatch.setattr(Task, "make_vec", watched)
    evaluate(agent, episodes=2)
    evaluate(agent, "CatchBall", episodes=2)
    evaluate(tmp_path / "agent", episodes=2)
    with pytest.raises(ValueError, match="expected an observation of shape"):
        evaluate(agent, "CartPole", episodes=2)
    assert [envs.closed for envs in opened] == [True] * 4
    given = rlgames.make_vec("CatchBall", 2)
    evaluate(agent, given, episodes=2)
    assert agent.envs is not None
    assert not given.closed
    assert not agent.envs.closed


def test_wrong_arguments_are_refused(tmp_path: Path):
    agent = Random("CatchBall", num_envs=2)
    with pytest.raises(ValueError, match="expected episodes >= 1, got 0"):
        evaluate(agent, episodes=0)
    with pytest.raises(ValueError, match="expected max_steps >= 1, got 0"):
        evaluate(agent, max_steps=0)
    with pytest.raises(ValueError, match="no game is called 'Chess'"):
        evaluate(agent, "Chess")
    with pytest.raises(CheckpointError, match="there is no such file"):
        evaluate(tmp_path / "agent")
    with pytest.raises(ValueError, match="say what to play, as the argument env"):
        evaluate(Random(batch(Streets, 1)))


def test_what_it_says():
    result = Evaluation([1000.0, 3000.0], [5, 6])
    assert (result.mean, result.std) == (2000.0, 1000.0)
    assert str(result) == "mean 2,000.0 +- 1,000.0 over 2 episodes (lowest 1,000.0, highest 3,000.0)"
    assert str(replace(result, wins=1)) == f"{result}, 1 at the goal"


def test_the_name_is_a_function_before_and_after_its_module_is_imported():
    program = (
        "import rlgames\n"
        "agent = rlgames.Random('CatchBall', num_envs=2)\n"
        "first = rlgames.evaluate(agent, episodes=2).lengths\n"
        "import rlgames.runs.training\n"
        "assert len(rlgames.evaluate(agent, episodes=2).lengths) == len(first) == 2\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
