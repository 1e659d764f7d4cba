"""`evaluate` compared with a plain loop over single environments; its quotas, limits and errors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO as SB3PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import rlgames
from rlgames.agents.base import SEED_STRIDE, Agent
from rlgames.agents.ppo import PPO, PPOConfig
from rlgames.agents.random import Random
from rlgames.checkpoint.file import CheckpointError
from rlgames.envs.registry import GAMES
from rlgames.envs.task import Task
from rlgames.errors import InvalidTypeError, InvalidValueError
from rlgames.evaluation import MAX_ENVS, UNSEEN_SEED, Evaluation, evaluate
from rlgames.runs.training import evaluation_seed

SMALL = PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1, net_arch=(16,))
modes = pytest.mark.parametrize("mode", AutoresetMode, ids=lambda mode: mode.name)


class Walk(gym.Env):
    """Episodes of random length, of which every second is truncated; a step is worth its action.

    The score is 100 for each episode since the seed was set.
    """

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(3, start=2)

    def __init__(self, max_length: int = 12, has_score: bool = True) -> None:
        self.max_length, self.has_score = max_length, has_score

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.score = 0.0 if seed is not None else self.score + 100.0
        self.t, self.length = 0, int(self.np_random.integers(1, self.max_length))
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def step(self, action: int):
        self.t += 1
        done = self.t == self.length
        info = {"score": self.score} if self.has_score else {}
        return self.observe(), float(action), done and self.length % 2 == 0, done and self.length % 2 == 1, info


class ShortOrLong(gym.Env):
    """Environments of even seed fail at once, those of odd seed succeed after 50 steps."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(3, start=2)
    odd = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.odd, self.t = (self.odd if seed is None else bool(seed % 2)), 0
        return np.zeros(2, np.float32), {}

    def step(self, action: int):
        self.t += 1
        done = self.t == (50 if self.odd else 1)
        return np.zeros(2, np.float32), float(done and self.odd), done, False, {}


def vector(make: Any, num_envs: int, mode: AutoresetMode = AutoresetMode.SAME_STEP) -> SyncVectorEnv:
    return SyncVectorEnv([make] * num_envs, autoreset_mode=mode)


def walk_without_score() -> Walk:
    return Walk(has_score=False)


def decided_agent(env: Any, **kwargs: Any) -> PPO:
    """Return an agent whose actions depend on the observation."""
    agent = PPO(env, SMALL, **kwargs)
    with torch.no_grad():
        agent.net.policy.weight.mul_(1000)
        agent.net.policy.bias.zero_()
    return agent


def play_by_hand(
    agent: Agent, env: gym.Env, seed: int, episodes: int, max_steps: int | None = None
) -> list[tuple[float, int]]:
    """Return (score, length) of the episodes of one environment from a seed on."""
    results, next_seed = [], seed
    for _ in range(episodes):
        obs, _ = env.reset(seed=next_seed)
        next_seed, total, length, done, info = None, 0.0, 0, False, {}
        while not done and (max_steps is None or length < max_steps):
            obs, reward, terminated, truncated, info = env.step(int(agent.predict(obs)[0]))
            total, length, done = total + float(reward), length + 1, terminated or truncated
        results.append((float(info.get("score", total)), length))
    return results


def scores_and_lengths(result: Evaluation) -> list[tuple[float, int]]:
    return list(zip(result.scores, result.lengths, strict=True))


# ---- episodes and their scores ----


@modes
@pytest.mark.parametrize("has_score", [True, False])
def test_each_env_plays_the_same_number_of_episodes(mode: AutoresetMode, has_score: bool) -> None:
    """Give or take one; their scores are the game's, or the sums of rewards where it reports none."""
    agent = decided_agent(vector(Walk, 1))
    for episodes, quota in ((7, (3, 2, 2)), (3, (1, 1, 1)), (2, (1, 1, 0))):
        result = evaluate(agent, vector(lambda: Walk(has_score=has_score), 3, mode), episodes=episodes, seed=5)
        expected = [play_by_hand(agent, Walk(has_score=has_score), 5 + i, count) for i, count in enumerate(quota)]
        assert scores_and_lengths(result) == [each for own in expected for each in own]
        assert (result.capped, result.wins) == (0, None)
        if not has_score:
            assert result.rewards == result.scores


@modes
def test_wins_are_episodes_that_ended_at_the_goal(mode: AutoresetMode) -> None:
    """Also of those that the game truncated, but not of those that max_episode_steps truncated."""

    class WalkToFlag(Walk):
        def step(self, action: int):
            *rest, info = super().step(action)
            return *rest, {**info, "flag_get": self.t % 3 == 0}

    agent = decided_agent(vector(Walk, 1))
    result = evaluate(agent, vector(WalkToFlag, 3, mode), episodes=30, seed=5)
    assert result.wins == sum(length % 3 == 0 for length in result.lengths) > 3
    capped = evaluate(agent, vector(WalkToFlag, 3, mode), episodes=30, seed=5, max_episode_steps=6)
    assert capped.wins is not None
    assert capped.lengths.count(3) <= capped.wins < sum(length % 3 == 0 for length in capped.lengths)


@modes
def test_max_episode_steps_truncates_without_losing_episodes(mode: AutoresetMode) -> None:
    """Each environment plays its quota, however many are truncated; its first episode is that of the plain loop."""
    agent = decided_agent(vector(Walk, 1))
    result = evaluate(agent, vector(walk_without_score, 3, mode), episodes=30, seed=5, max_episode_steps=4)
    assert len(result.scores) == len(result.lengths) == 30
    assert max(result.lengths) == 4
    assert 10 <= result.capped < result.lengths.count(4)  # some ended in that very step
    for i in range(3):
        first = play_by_hand(agent, walk_without_score(), 5 + i, 1, max_steps=4)
        assert scores_and_lengths(result)[10 * i : 10 * i + 1] == first


def test_max_episode_steps_ends_endless_episodes() -> None:
    class Endless(Walk):
        def step(self, action: int):
            obs, *_ = super().step(action)
            return obs, 2.0, False, False, {}

    agent = decided_agent(vector(Walk, 1))
    result = evaluate(agent, Endless(), episodes=5, max_episode_steps=6)
    assert result == Evaluation([12.0] * 5, [12.0] * 5, [6] * 5, capped=5)


def test_max_episode_steps_beyond_all_episodes_changes_nothing() -> None:
    agent = decided_agent(vector(Walk, 1))
    free = evaluate(agent, vector(Walk, 3), episodes=9)
    assert evaluate(agent, vector(Walk, 3), episodes=9, max_episode_steps=11) == free


@modes
@pytest.mark.parametrize("max_steps", [None, 40, 60])
def test_short_episodes_count_no_more_than_long_ones(mode: AutoresetMode, max_steps: int | None) -> None:
    """Half of the environments fail after 1 step, half succeed after 50: the mean is 1/2, not 1/51."""
    agent = decided_agent(vector(ShortOrLong, 1))
    result = evaluate(agent, vector(ShortOrLong, 4, mode), episodes=40, max_episode_steps=max_steps)
    assert result.mean == (0.0 if max_steps == 40 else 0.5)
    assert result.capped == (20 if max_steps == 40 else 0)
    assert sorted(result.lengths) == [1] * 20 + [min(50, max_steps or 50)] * 20


SLOW_GAMES = {"Mario": 2, "ChromeDino": 2, "Pong": 3}  # and how many episodes are enough


@pytest.mark.parametrize(
    "game", [pytest.param(game, marks=[pytest.mark.slow] * (game in ("ChromeDino", "Dino", "Mario"))) for game in GAMES]
)
def test_games_are_scored_as_the_game_counts(game: str) -> None:
    """Cave's preset shapes the rewards, Pong's has its own preprocessing; the scores are the game's all the same."""
    try:
        agent = decided_agent(game, num_envs=1)
    except gym.error.DependencyNotInstalled as error:
        pytest.skip(str(error))
    assert agent.task is not None
    episodes, limit = SLOW_GAMES.get(game, 12), 15 if game in SLOW_GAMES else 60
    with agent, rlgames.make(game, pixels=agent.task.pixels) as env:
        expected = [play_by_hand(agent, env, 11 + i, 1, limit) for i in range(episodes)]
        for name in (None, game, f"rlgames/{game}-v0")[: 2 if game in SLOW_GAMES else 3]:
            result = evaluate(agent, name, episodes=episodes, seed=11, max_episode_steps=limit)
            assert [[each] for each in scores_and_lengths(result)] == expected


def test_many_episodes_share_the_envs() -> None:
    agent = decided_agent("CatchBall", num_envs=2)
    result = evaluate(agent, episodes=MAX_ENVS + 3, seed=1)
    quota = [2] * 3 + [1] * (MAX_ENVS - 3)
    expected = [play_by_hand(agent, rlgames.make("CatchBall"), 1 + i, count) for i, count in enumerate(quota)]
    assert scores_and_lengths(result) == [each for own in expected for each in own]


def test_deterministic_takes_the_best_action_else_they_are_sampled() -> None:
    """An agent to which all three actions are equally good takes the first, or any."""
    agent = PPO(vector(walk_without_score, 2), SMALL)
    with torch.no_grad():
        agent.net.policy.weight.zero_()
    result = evaluate(agent, vector(walk_without_score, 2), episodes=200)
    assert result.scores == [2.0 * length for length in result.lengths]
    result = evaluate(agent, vector(walk_without_score, 2), episodes=200, deterministic=False)
    steps = sum(result.lengths)
    assert sum(result.scores) / steps == pytest.approx(3.0, abs=4 * np.sqrt(2 / 3 / steps))


def test_seed_repeats_the_evaluation() -> None:
    agent = decided_agent("CatchBall", num_envs=2)
    results = [evaluate(agent, episodes=8, seed=seed) for seed in (3, 3, 99)]
    assert results[0] == results[1] != results[2]
    sampled = [evaluate(PPO("CatchBall", SMALL, num_envs=2), episodes=8, deterministic=False) for _ in range(2)]
    assert sampled[0] == sampled[1]


def test_str_and_properties_of_an_evaluation() -> None:
    result = Evaluation([1000.0, 3000.0], [1.0, 2.0], [5, 6])
    assert (result.mean, result.std) == (2000.0, 1000.0)
    text = "mean 2,000.0 (95% 1,000.0 to 3,000.0), median 2,000.0, worst tenth 1,000.0; 2 episodes"
    assert str(result) == text
    assert repr(result) == f"<Evaluation: {result}>"
    assert str(replace(result, wins=1, capped=2)) == f"{result}, 1 at the goal, 2 at the step limit"
    assert (result.goal_share, replace(result, wins=1).goal_share, replace(result, capped=2).limit_share) == (
        None,
        0.5,
        1.0,
    )


@pytest.mark.parametrize(("ones", "n"), [(30, 100), (5, 20), (0, 7), (1, 1)])
def test_interval_is_that_of_the_binomial_distribution(ones: int, n: int) -> None:
    """Bootstrap means of zeros and ones are binomial, whose quantiles are summed here."""
    p = ones / n
    cumulated = np.cumsum([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])
    expected = [int(np.argmax(cumulated >= q)) / n for q in (0.025, 0.975)]
    result = Evaluation([1.0] * ones + [0.0] * (n - ones), [0.0] * n, [1] * n)
    assert result.interval == pytest.approx(expected)
    assert result.interval == Evaluation(result.scores, result.rewards, result.lengths).interval


def test_worst_tenth_is_of_the_lowest_scores() -> None:
    for n, expected in ((1, 0.0), (10, 0.0), (11, 0.5), (100, 4.5)):
        scores = np.random.default_rng(0).permutation(n).astype(float).tolist()
        assert Evaluation(scores, scores, [1] * n).worst_tenth == expected


def test_best_possible_score_is_the_goal() -> None:
    """A bar below the lowest ball catches all of them; one that stays does not."""

    class Follower:
        def predict(
            self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
        ) -> tuple[Any, Any]:
            actions = []
            for picture in observation:
                ball = np.argwhere(picture[:-1])[-1][1]  # the lowest that is not caught yet
                middle = int(np.argmax(picture[-1] > 0)) + 1
                actions.append(0 if ball == middle else 1 if ball < middle else 2)
            return np.array(actions), None

    result = evaluate(Follower(), rlgames.make_vec("CatchBall", 8), episodes=8)
    assert (result.scores, result.wins) == ([99.0] * 8, 8)
    assert evaluate(Random("CatchBall", num_envs=2), episodes=8).wins == 0


def test_default_number_of_episodes_and_seeds() -> None:
    """100 of a game that Numba compiles, 20 of any other, from seeds that no training uses."""
    agent = decided_agent("CatchBall", num_envs=2)
    assert evaluate(agent) == evaluate(agent, episodes=100, seed=UNSEEN_SEED)
    assert len(evaluate(agent, vector(lambda: rlgames.make("CatchBall"), 2)).scores) == 20
    assert evaluation_seed(88_999) + MAX_ENVS <= UNSEEN_SEED < 2**31 - MAX_ENVS  # ale-py's seeds end there
    assert SEED_STRIDE * 89_000 <= UNSEEN_SEED


# ---- agents and environments ----


def test_evaluation_does_not_change_the_training() -> None:
    agent, other = PPO("CatchBall", SMALL, num_envs=2).learn(32), PPO("CatchBall", SMALL, num_envs=2).learn(32)
    evaluate(agent, episodes=3)
    evaluate(agent, episodes=3, deterministic=False)
    found, expected = (next(each.train(64)) for each in (agent, other))
    assert (found.episodes, found.scalars) == (expected.episodes, expected.scalars)


def test_path_of_a_checkpoint_is_evaluated_as_its_agent(tmp_path: Path) -> None:
    agent = decided_agent("CatchBall", num_envs=2)
    agent.save(tmp_path / "agent")
    expected = evaluate(agent, episodes=4)
    assert evaluate(tmp_path / "agent", episodes=4) == expected
    assert evaluate(str(tmp_path / "agent"), "CatchBall", episodes=4) == expected


def test_game_by_name_is_observed_as_the_agent_was_trained(tmp_path: Path) -> None:
    """With its own other options: those that decide what is observed are the agent's."""
    agent = PPO("Dino:obs=state", SMALL, num_envs=2)
    agent.save(tmp_path / "agent")
    short = rlgames.load(tmp_path / "agent", "Dino:max_episode_steps=50")
    assert agent.task is not None
    assert short.task == replace(agent.task, options={"obs": "state", "max_episode_steps": 50})
    result = evaluate(agent, "Dino:max_episode_steps=50", episodes=2)
    assert result == evaluate(short, episodes=2)
    assert (result.lengths, result.capped) == ([50, 50], 0)
    message = r"<PPO on Dino:obs=state.* takes observations of shape \(24,\), Dino:obs=pixels has \(4, 84, 84\)"
    with pytest.raises(InvalidValueError, match=message):
        evaluate(agent, "Dino:obs=pixels", episodes=2)
    stacked = PPO("Cave:frame_skip=4,stack=4", SMALL, num_envs=2)
    assert evaluate(stacked, "Cave", episodes=2) == evaluate(stacked, episodes=2)


def test_as_trained_on_keeps_the_observation() -> None:
    pixels, rewards = rlgames.Pixels(skip=2, stack=3), rlgames.Rewards(scale=2)
    trained = Task("Cave", {}, pixels, rewards)
    assert Task.parse("Cave").as_trained_on(Task.parse("Cave:frame_skip=4,stack=4")) == Task.parse(
        "Cave:frame_skip=4,stack=4"
    )
    assert Task.parse("Cave").as_trained_on(trained) == trained
    assert Task.parse("CatchBall").as_trained_on(trained) == Task("CatchBall")
    assert Task.parse("CartPole-v1").as_trained_on(trained) == Task("CartPole-v1")
    other = Task.parse("Dino:acceleration=false").as_trained_on(Task.parse("Dino:obs=state"))
    assert str(other) == "Dino:obs=state,acceleration=false"
    assert Task.parse(str(other)) == other
    # an agent trained in the simulator plays in the browser
    simulated = Task("Dino", {"obs": "state"}, pixels, rewards)
    assert Task.parse("ChromeDino").as_trained_on(simulated) == Task("ChromeDino", {"obs": "state"}, pixels, rewards)


def test_evaluate_closes_only_the_envs_that_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = PPO("CatchBall", SMALL, num_envs=2)
    agent.save(tmp_path / "agent")
    opened: list[Any] = []
    make_vec = Task.make_vec

    def make_vec_and_record(task: Task, num_envs: int) -> Any:
        opened.append(make_vec(task, num_envs))
        return opened[-1]

    monkeypatch.setattr(Task, "make_vec", make_vec_and_record)
    evaluate(agent, episodes=2)
    evaluate(agent, "CatchBall", episodes=2)
    evaluate(tmp_path / "agent", episodes=2)
    with pytest.raises(ValueError, match="takes observations of shape"):
        evaluate(agent, "CartPole", episodes=2)
    assert [envs.closed for envs in opened] == [True] * 4
    given = rlgames.make_vec("CatchBall", 2)
    evaluate(agent, given, episodes=2)
    assert agent.envs is not None
    assert not given.closed
    assert not agent.envs.closed


def test_invalid_arguments_raise(tmp_path: Path) -> None:
    agent = Random("CatchBall", num_envs=2)
    with pytest.raises(ValueError, match="expected episodes to be an integer >= 1 or None, got 0"):
        evaluate(agent, episodes=0)
    with pytest.raises(ValueError, match="expected max_episode_steps to be an integer >= 1 or None, got 0"):
        evaluate(agent, max_episode_steps=0)
    with pytest.raises(ValueError, match="unknown game 'Chess'"):
        evaluate(agent, "Chess")
    with pytest.raises(CheckpointError, match="no such file"):
        evaluate(tmp_path / "agent")
    with pytest.raises(ValueError, match="say what to play, as the argument env"):
        evaluate(Random(vector(Walk, 1)))


# ---- models of Stable-Baselines3 ----


@pytest.fixture(scope="module")
def sb3_model() -> SB3PPO:
    return SB3PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=8, batch_size=8, seed=0, device="cpu")


@pytest.mark.parametrize("name", ["CartPole-v1", "rlgames/CartPole-v0"])
def test_a_model_of_stable_baselines_is_evaluated(name: str, sb3_model: SB3PPO) -> None:
    """As by its evaluate_policy, in as many environments."""
    result = evaluate(sb3_model, name, episodes=4, seed=7)
    envs = VecMonitor(DummyVecEnv([lambda: gym.make(name)] * 4))
    envs.seed(7)
    scores, lengths = evaluate_policy(sb3_model, envs, n_eval_episodes=4, return_episode_rewards=True)
    assert isinstance(scores, list)
    assert isinstance(lengths, list)
    assert sorted(zip(result.scores, result.lengths, strict=True)) == sorted(zip(scores, lengths, strict=True))


def test_a_model_needs_something_to_play(sb3_model: SB3PPO) -> None:
    with pytest.raises(InvalidValueError, match="was not made from a game's name: say what to play, as the argument"):
        evaluate(sb3_model)
    with pytest.raises(InvalidTypeError, match="in place of Stable-Baselines3's use gymnasium.vector.SyncVectorEnv"):
        evaluate(sb3_model, sb3_model.get_env())  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("model", [3, None, Random, gym.make("CartPole-v1"), lambda obs: 0])
def test_what_cannot_predict_is_named(model: Any) -> None:
    with pytest.raises(InvalidTypeError, match="expected an agent, a model with its predict, or the path .*, got "):
        evaluate(model, "CartPole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episodes": "20"}, "expected episodes to be an integer >= 1 or None, got '20': write it without quotes"),
        ({"episodes": 2.5}, "expected episodes to be an integer >= 1 or None, got 2.5"),
        ({"seed": None}, "expected seed to be an integer in 0..9223372036854775807, got None"),
        ({"seed": 2**64}, "expected seed to be an integer in 0..9223372036854775807, got 18446744073709551616"),
        ({"max_episode_steps": True}, "expected max_episode_steps to be an integer >= 1 or None, got True"),
    ],
)
def test_arguments_of_evaluate_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidTypeError, InvalidValueError), match=message):
        evaluate(Random("CatchBall", num_envs=2), **arguments)
