"""One suite over all agents: every kind of environment, reproducibility, and no effect on global state."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers.processes import TIMEOUT
from helpers.toys import AUTORESET_MODES, RandomLengthEnv, quick_config, state_sha256, sync_vector

import rlgames
from rlgames.agents.base import Agent, Update
from rlgames.agents.registry import AGENTS, find
from rlgames.checkpoint.file import weights_sha256
from rlgames.envs.registry import GAMES, parse
from rlgames.envs.task import Task

agents = pytest.mark.parametrize("name", AGENTS)
BY_NAME = [  # each agent with one game, each game and each kind of name with one agent
    *((name, "CatchBall") for name in AGENTS),
    ("reinforce", "Cave"),
    ("ppo", "Dino"),
    ("a3c", "rlgames/CartPole-v0"),
    ("dqn", "Pong:max_episode_steps=20"),
    ("ppo", "Mario:world=1,stage=1,max_episode_steps=20"),
    ("ddqn", "ChromeDino:obs=state"),
    ("a3c", "CatchBall:size=16"),
    ("reinforce", "CartPole-v1"),
    ("random", "CartPole"),
    ("ddqn", "Acrobot-v1"),
]
HANDED_IN: dict[str, Callable[[], Any]] = {
    "Env of Gymnasium": lambda: gym.make("CartPole-v1"),
    "Env of rlgames": lambda: gym.make("rlgames/CatchBall-v0"),
    "VectorEnv of Gymnasium": lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"),
    "actions from 5": lambda: sync_vector(RandomLengthEnv, 2),
    **{
        f"SyncVectorEnv {mode.name}": lambda mode=mode: sync_vector(lambda: gym.make("CartPole-v1"), 2, mode)
        for mode in AUTORESET_MODES
    },
    **{
        f"GameVectorEnv {mode.name}": lambda mode=mode: rlgames.make_vec("CatchBall", 2, autoreset_mode=mode)
        for mode in AUTORESET_MODES
    },
}


def check_one_update(agent: Agent) -> None:
    initial = weights_sha256(agent.net.state_dict())
    update = next(update for update in agent.train(1_000_000) if update.scalars or agent.name == "random")
    runner = agent.start_training()
    assert update.step == agent.step > 0
    assert update.step % runner.num_envs == 0
    assert all(isinstance(value, torch.Tensor) and value.isfinite() for value in update.scalars.values())
    assert all(isinstance(score, float) for score in update.scores)
    assert (weights_sha256(agent.net.state_dict()) != initial) == any(True for _ in agent.net.parameters())
    actions, _ = agent.predict(runner.obs)
    assert all(agent.action_space.contains(action) for action in actions)


@pytest.mark.parametrize(("name", "game"), BY_NAME)
def test_train_in_a_game_by_name(name: str, game: str):
    with find(name)(game, quick_config(name), num_envs=2) as agent:
        assert agent.envs is not None
        assert agent.envs.num_envs == 2
        assert str(agent.task) == game.removeprefix("rlgames/").removesuffix("-v0")
        check_one_update(agent)


def test_every_game_is_trained_in():
    assert {parse(game)[0] for _, game in BY_NAME if Task.parse(game).native} == set(GAMES)


@agents
@pytest.mark.parametrize("kind", HANDED_IN)
def test_train_in_environments_handed_in(name: str, kind: str):
    env = HANDED_IN[kind]()
    agent = find(name)(env, quick_config(name))
    assert agent.task is None
    check_one_update(agent)
    env.close()


class ScalarEnv(gym.Env):
    """Observe one number of shape ()."""

    observation_space, action_space = Box(-1, 1, (), np.float32), Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return np.float32(self.np_random.random()), {}

    def step(self, action: int):
        return np.float32(self.np_random.random()), 1.0, bool(self.np_random.random() < 0.2), False, {}


@agents
def test_train_on_observations_of_shape_zero(name: str):
    agent = find(name)(sync_vector(ScalarEnv, 2), quick_config(name))
    check_one_update(agent)
    assert agent.predict(np.float32(0.5))[0].shape == ()


class PictureEnv(gym.Env):
    """Observe pictures (9, 8, 3), as MiniGrid, MinAtar and CarRacing give them; their bytes or bits are random."""

    action_space = Discrete(2)

    def __init__(self, dtype: Any) -> None:
        self.observation_space = Box(0, 255 if dtype is np.uint8 else 1, (9, 8, 3), dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: int):
        return self.observation_space.sample(), 1.0, bool(self.np_random.random() < 0.2), False, {}


@agents
@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_train_on_pictures_with_channels_last(name: str, dtype: Any, tmp_path: Path):
    agent = find(name)(sync_vector(lambda: PictureEnv(dtype), 2), quick_config(name, pictures=True))
    check_one_update(agent)
    agent.save(tmp_path / "agent")
    obs = np.stack([agent.observation_space.sample() for _ in range(5)])
    assert rlgames.load(tmp_path / "agent").predict(obs)[0].tolist() == agent.predict(obs)[0].tolist()


OTHER_DTYPES = (np.int8, np.int16, np.int32, np.uint32, np.int64, np.uint64)  # the replay is compiled for each


@pytest.mark.parametrize(
    "dtype", [np.uint16, np.float64, *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in OTHER_DTYPES)]
)
@agents
def test_train_on_observations_of_any_dtype(name: str, dtype: Any):
    class Env(PictureEnv):
        def __init__(self) -> None:
            self.observation_space = Box(0, 9, (3,), dtype)

    check_one_update(find(name)(sync_vector(Env, 2), quick_config(name)))


@agents
def test_train_continues_after_any_update(name: str, tmp_path: Path):
    """The generator may be dropped after any update, and `learn` counts from the steps already taken."""
    whole, interrupted = (find(name)("CatchBall", quick_config(name), num_envs=2) for _ in range(2))
    expected = list(whole.train(200))
    updates: list[Update] = []
    while interrupted.step < 200:
        updates.append(next(interrupted.train(200)))
    assert [(update.step, update.episodes) for update in updates] == [(x.step, x.episodes) for x in expected]
    assert state_sha256(interrupted, tmp_path) == state_sha256(whole, tmp_path)
    assert list(whole.train(200)) == []
    step = whole.step
    assert whole.learn(1) is whole
    assert whole.step > step


@agents
@pytest.mark.parametrize("total", [201, 205, 240])
def test_no_step_is_taken_after_the_last_update(name: str, total: int):
    """Evaluations and checkpoints are made at updates: no episode may end after the last one."""
    agent = find(name)(sync_vector(RandomLengthEnv, 3), quick_config(name))
    *_, last = agent.train(total)
    assert last.step == agent.step >= total
    assert agent.start_training().take_episodes() == []


@agents
def test_updates_hold_every_episode_once(name: str):
    agent = find(name)(sync_vector(RandomLengthEnv, 3), quick_config(name))
    runner, finished = agent.start_training(), []
    step = runner.step

    def recorded(action: np.ndarray) -> Any:
        result = step(action)
        finished.extend(episode for _, episode in runner.finished)
        return result

    runner.step = recorded  # type: ignore[method-assign]  # records
    episodes = [episode for update in agent.train(300) for episode in update.episodes]
    assert episodes == finished
    assert len(episodes) > 20


@agents
def test_the_same_seed_gives_the_same_agent(name: str, tmp_path: Path):
    initial: list[list] = []

    def trained(seed: int) -> Agent:
        agent = find(name)("CartPole", quick_config(name), num_envs=2, seed=seed)
        initial.append([agent.start_training().obs.tolist(), agent.rng.bit_generator.state])
        return agent.learn(160)

    one, same, other = trained(3), trained(3), trained(4)
    assert state_sha256(one, tmp_path) == state_sha256(same, tmp_path)
    assert weights_sha256(one.net.state_dict()) == weights_sha256(same.net.state_dict())
    obs = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    sampled = [agent.predict(obs, deterministic=False)[0].tolist() for agent in (one, same, other)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert all(a == b != c for a, b, c in zip(*initial, strict=True))
    if any(True for _ in one.net.parameters()):
        assert weights_sha256(one.net.state_dict()) != weights_sha256(other.net.state_dict())


def test_a_fresh_process_gives_the_same_agents(tmp_path: Path):
    """Another seed of Python's hashes, other imports and other random numbers before change nothing."""

    def trained(name: str) -> str:
        return state_sha256(find(name)("CartPole", quick_config(name), num_envs=2, seed=3).learn(160), tmp_path)

    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "import torch; torch.set_num_threads(1)\n"
        "from helpers.toys import quick_config, state_sha256\n"
        "from rlgames.agents.registry import AGENTS, find\n"
        "for name in AGENTS:\n"
        "    agent = find(name)('CartPole', quick_config(name), num_envs=2, seed=3).learn(160)\n"
        "    print(name, state_sha256(agent, Path(sys.argv[2])))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(Path(__file__).parents[1]), str(tmp_path)]
    expected = {name: trained(name) for name in AGENTS}  # first: what is compiled here is not in the process
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    assert dict(line.split() for line in result.stdout.splitlines()) == expected
    assert result.stderr == ""


@agents
def test_global_random_states_and_threads_are_untouched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The states of Python's, NumPy's and torch's generators and the number of threads do not change or matter."""
    cuda_seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", cuda_seeds.append)

    def global_state() -> list[Any]:
        numpy = np.random.get_state()  # noqa: NPY002  # the global generator is what must not change
        return [random.getstate(), str(numpy), torch.get_rng_state().tolist(), torch.get_num_threads()]

    results = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        initial = global_state()
        agent = find(name)("CatchBall", quick_config(name), num_envs=2).learn(64)
        agent.predict(agent.start_training().obs, deterministic=False)
        assert global_state() == initial
        results.append(state_sha256(agent, tmp_path))
    assert results[0] == results[1]
    assert cuda_seeds == []


@agents
def test_predict_does_not_disturb_training(name: str):
    agent, predicting = (find(name)("CatchBall", quick_config(name), num_envs=2) for _ in range(2))
    obs = np.zeros((3, 8, 8), np.uint8)
    for _ in agent.train(200):
        pass
    for _ in predicting.train(200):
        for deterministic in (True, False):
            predicting.predict(obs, deterministic=deterministic)
            predicting.predict(obs[0], deterministic=deterministic)
    assert weights_sha256(agent.net.state_dict()) == weights_sha256(predicting.net.state_dict())
    assert agent.rng.bit_generator.state == predicting.rng.bit_generator.state
    np.testing.assert_array_equal(agent.start_training().obs, predicting.start_training().obs)


@agents
def test_wrong_arguments_are_rejected(name: str):
    cls = find(name)
    with pytest.raises(TypeError, match=f"expected a {cls.Config.__name__} for {name}, got 3"):
        cls("CatchBall", 3)
    with pytest.raises(ValueError, match="Chess"):
        cls("Chess")
    with pytest.raises(TypeError, match="expected the name of a game, a gymnasium.Env or a VectorEnv, got 5"):
        cls(5)  # type: ignore[arg-type]  # not an environment
    with pytest.raises(ValueError, match="num_envs=3 goes with the name of a game"):
        cls(sync_vector(RandomLengthEnv, 2), quick_config(name), num_envs=3)
    with pytest.raises(ValueError, match="expected num_envs to be an integer >= 1 or None, got 0"):
        cls("CatchBall", quick_config(name), num_envs=0)
    with pytest.raises(ValueError, match="expected seed to be an integer in 0..4294967295, got -1"):
        cls("CatchBall", quick_config(name), num_envs=2, seed=-1)


@agents
def test_settings_that_json_cannot_hold_are_rejected(name: str):
    config = quick_config(name)
    numbers = [field.name for field in dataclasses.fields(config) if isinstance(getattr(config, field.name), float)]
    for field in numbers:
        object.__setattr__(config, field, float("inf"))
        with pytest.raises(ValueError, match=f"expected {field} to be a (finite )?number.*, got inf"):
            find(name)("CatchBall", config, num_envs=1)
        object.__setattr__(config, field, getattr(quick_config(name), field))
