"""Calls that other libraries make of an environment: their own lines, because they are not installed for the tests."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

import rlgames
from rlgames.envs.registry import GAMES
from rlgames.envs.task import Task
from rlgames.wrappers import Pixels, Rewards

NAMES = [name for name in GAMES if name != "ChromeDino"]


def make_or_skip(make: Any, name: str, **settings: Any) -> Any:
    try:
        return make(name, **settings)
    except gym.error.DependencyNotInstalled as error:
        pytest.skip(str(error))


# ---- TorchRL 0.14.1 ----


@pytest.mark.parametrize("name", NAMES)
def test_gym_env_of_torchrl_takes_back_a_keyword(name: str) -> None:
    """`GymEnv._build_env` passes `frameskip`, and looks for Python's words where that is refused."""
    kwargs: dict[str, Any] = {"frameskip": 4}
    with pytest.raises(TypeError) as refused:
        make_or_skip(gym.make, f"rlgames/{name}-v0", **kwargs)
    assert "unexpected keyword argument 'frameskip'" in str(refused.value)
    kwargs.pop("frameskip")  # its own wrapper skips
    gym.make(f"rlgames/{name}-v0", **kwargs).close()


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("name", NAMES)
def test_gym_wrapper_of_torchrl_reads_the_autoreset_mode(name: str, mode: AutoresetMode) -> None:
    """`_validate_env` and `_replace_reset` read it as an attribute, through wrappers too."""
    envs: Any = make_or_skip(rlgames.make_vec, name, num_envs=2, autoreset_mode=mode, rewards=Rewards(lost=-1.0))
    assert envs.autoreset_mode is envs.unwrapped.autoreset_mode is mode
    envs.close()


def test_gym_wrapper_of_torchrl_resets_by_a_mask_and_reads_final_observations() -> None:
    """`terminal_obs_reader.__call__` stacks arrays of objects, and takes others as they are."""
    envs = rlgames.make_vec("CatchBall", 3, pixels=Pixels(stack=2))
    envs.reset(seed=0)
    for _ in range(40):
        _, _, terminated, truncated, info = envs.step(np.zeros(3, np.int64))
        if (terminated | truncated).any():
            assert info["final_obs"].dtype != np.dtype("O")
            assert info["final_obs"].shape == (3, 2, 8, 8)
            return
    pytest.fail("no episode has ended")


# ---- skrl 2.1.1 ----


def wrapper_name_of_skrl(env: Any) -> str | None:
    """Return "gymnasium" as `skrl.envs.wrappers.torch.wrap_env` does, by the names of the direct bases."""
    base_classes = [str(base).replace("<class '", "").replace("'>", "") for base in env.__class__.__bases__]
    base_classes += [str(base).replace("<class '", "").replace("'>", "") for base in env.unwrapped.__class__.__bases__]
    return next(("gymnasium" for base in base_classes if re.match("gymnasium..*", base)), None)


@pytest.mark.parametrize("wrapped", [False, True], ids=["raw", "wrapped"])
@pytest.mark.parametrize("vectorized", [False, True], ids=["single", "vector"])
@pytest.mark.parametrize("name", [*GAMES, "Mario:engine=nes-py"])
def test_wrap_env_of_skrl_knows_every_environment(name: str, vectorized: bool, wrapped: bool) -> None:
    options = {"rewards": Rewards()} if wrapped else {}
    env: Any = make_or_skip(rlgames.make_vec if vectorized else rlgames.make, name, **options)
    try:
        assert wrapper_name_of_skrl(env if wrapped else env.unwrapped) == "gymnasium"
        assert isinstance(env, VectorEnv) == vectorized
    finally:
        env.close()


# ---- ids of Gymnasium's form "module:id" ----


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a module that registers an environment with Gymnasium, and a game with rlgames."""
    (tmp_path / "own_module.py").write_text(
        "import gymnasium as gym\n"
        "import rlgames\n"
        "gym.register('Own-v0', entry_point='gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=9)\n"
        "rlgames.register_game('OwnGame', 'rlgames.envs.catch_ball', 'a game from outside')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(rlgames.IMPORTED_MODULES, "")
    yield "own_module"
    sys.modules.pop("own_module", None)
    GAMES.pop("OwnGame", None)
    for name in ("Own-v0", "rlgames/OwnGame-v0"):
        gym.registry.pop(name, None)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("own_module:Own-v0", Task("Own-v0")),
        ("own_module:OwnGame", Task("OwnGame")),
        ("own_module:rlgames/OwnGame-v0", Task("OwnGame")),
        ("own_module:OwnGame:size=16", Task("OwnGame", {"size": 16})),
        ("rlgames:rlgames/CatchBall-v0", Task("CatchBall")),
        ("rlgames:CatchBall:size=16", Task("CatchBall", {"size": 16})),
    ],
)
def test_module_of_an_id_is_imported(text: str, task: Task, own_module: str) -> None:
    """The task has the id alone, which is all that a file may hold; child processes import the module too."""
    assert Task.parse(text) == task
    assert Task.parse(str(task)) == task
    assert task.make().reset(seed=0)[0].ndim in (1, 2)
    assert os.environ[rlgames.IMPORTED_MODULES] == (own_module if own_module in text else "")
    if not task.game.startswith("Own-"):
        options: dict[str, Any] = {} if "size" in text else {"size": 16}
        assert rlgames.make(text, **options).observation_space.shape == (16, 16)


def test_an_agent_learns_in_an_environment_of_a_module(own_module: str) -> None:
    agent = rlgames.Random(f"{own_module}:Own-v0", num_envs=2)
    assert agent.learn(20).step >= 20
    assert agent.task == Task("Own-v0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "no_such_module:Own-v0",
            "unknown game 'no_such_module:Own-v0': there is no module 'no_such_module' to import",
        ),
        ("own_module.part:Own-v0", "there is no module 'own_module.part' to import"),
        ("own_module:Other-v0", "unknown game 'Other-v0'"),
        ("CatchBall:16", "expected options as in 'CatchBall:size=16', got '16'"),
        ("CatchBal:size=16", "unknown game 'CatchBal': did you mean 'CatchBall'"),
    ],
)
def test_ids_without_a_module_or_an_environment_are_refused(text: str, message: str, own_module: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task.parse(text)
