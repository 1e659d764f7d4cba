"""Games and agents from elsewhere, once registered, are known by their names like those of rlgames."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest

import rlgames
from rlgames.agents.random import Random
from rlgames.agents.registry import AGENTS, find
from rlgames.cli import main as cli
from rlgames.envs.registry import GAMES
from rlgames.evaluation import evaluate

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def afterwards_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLES)
    with patch.dict(GAMES), patch.dict(AGENTS), patch.dict(gym.registry):
        yield
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_a_game_of_ones_own_goes_wherever_ours_go(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    __import__("own_game")
    one, many = gym.make("rlgames/Slalom-v0"), rlgames.make_vec("Slalom", 3)
    assert one.reset(seed=5)[0].tolist() == many.reset(seed=5)[0][0].tolist()
    agent = rlgames.PPO("Slalom", num_envs=2).learn(512)
    agent.save(tmp_path / "slalom.ckpt")
    assert evaluate(agent, episodes=3).scores == evaluate(tmp_path / "slalom.ckpt", episodes=3).scores
    run = tmp_path / "run"
    assert cli.main(["train", "dqn", "Slalom", "--steps", "64", "--evaluate-episodes", "1", "--out", str(run)]) == 0
    assert cli.main(["watch", str(run), "--seconds", "1"]) == 0
    assert cli.main(["list"]) == 0
    assert "pass every gate" in capsys.readouterr().out


def test_the_rules_of_slalom() -> None:
    __import__("own_game")
    envs = rlgames.make_vec("Slalom", 64)
    obs, _ = envs.reset(seed=0)
    for t in range(1, 7 * 30 + 1):
        obs, reward, terminated, truncated, info = envs.step(1 + np.sign(obs[:, 1] - obs[:, 0]).astype(int))
        assert not terminated.any()  # who steers for the gate never misses it
        assert (reward == (t % 7 == 0)).all()
        assert truncated.all() == (t == 7 * 30)
        assert t < 7 * 30 or (info["final_info"]["score"] == 30).all()


def test_an_agent_of_ones_own_goes_wherever_ours_go(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    kind = __import__("own_agent").CrossEntropy
    agent = kind("CartPole", num_envs=8)
    for _, update in zip(range(2), agent.train(20_000), strict=False):
        assert update.scores
    agent.save(tmp_path / "agent.ckpt")
    again = rlgames.load(tmp_path / "agent.ckpt")
    for one in (agent, again):  # the loaded one learns on exactly
        next(one.train(20_000))
    assert isinstance(again, kind)
    assert again.step == agent.step
    assert again.net["mean"].equal(agent.net["mean"])
    line = ["train", "cross-entropy", "CartPole", "--steps", "500", "--config.elite", "0.5", "--out"]
    assert cli.main([*line, str(tmp_path / "run")]) == 0
    assert cli.main(["list"]) == 0
    assert "Cross-entropy method" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CatchBall", "the name 'CatchBall' is taken by rlgames.envs.catch_ball: choose another"),
        ("Snow:size=3", "expected a game's name of letters, digits and underscores, got 'Snow:size=3'"),
        ("", "expected a game's name"),
    ],
)
def test_names_no_game_can_have(name: str, message: str) -> None:
    before = dict(GAMES)
    with pytest.raises(ValueError, match=message):
        rlgames.register_game(name, "snow", "a game")
    assert before == GAMES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ppo", "the name 'ppo' is taken by rlgames.agents.ppo: choose another"),
        ("My Agent", "expected an agent's name of small letters, digits and hyphens, got 'My Agent'"),
    ],
)
def test_names_no_agent_can_have(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rlgames.register_agent(type("Other", (Random,), {"name": name}))
    assert not AGENTS


def test_a_module_that_is_loaded_anew_registers_anew() -> None:
    for _ in range(2):
        kind = rlgames.register_agent(type("Other", (Random,), {"name": "other", "__module__": "here"}))
        assert find("other") is kind
        rlgames.register_game("Snow", "snow", "a game")
    with pytest.raises(ValueError, match="the name 'other' is taken by here"):
        rlgames.register_agent(type("Other", (Random,), {"name": "other", "__module__": "elsewhere"}))
    with pytest.raises(ValueError, match="the name 'Snow' is taken by snow"):
        rlgames.register_game("Snow", "rain", "a game")
    with pytest.raises(ValueError, match=f"the agents are {', '.join(AGENTS)}, other"):
        find("another")
