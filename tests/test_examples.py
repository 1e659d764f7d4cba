"""The examples run as they stand, shortened, and leave what they say."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import rlgames
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.registry import AGENTS
from rlgames.envs.registry import GAMES
from rlgames.envs.task import Task
from rlgames.presets.lookup import preset

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def afterwards_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each example is imported anew, and what it registers is nobody else's."""
    monkeypatch.syspath_prepend(EXAMPLES)
    with patch.dict(GAMES), patch.dict(AGENTS), patch.dict(gym.registry):
        yield
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


def run(example: str, *args: Any, **kwargs: Any) -> Any:
    return __import__(example).main(*args, **kwargs)


def pictures(folder: Path) -> dict[str, int]:
    """The frames of each picture."""
    counts = {}
    for path in folder.glob("*.[pg][ni][gf]"):
        with Image.open(path) as image:
            counts[path.name] = getattr(image, "n_frames", 1)
            assert min(image.size) >= 200
    return counts


def test_every_example_is_tested() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert [path.stem for path in EXAMPLES.glob("*.py") if f'run("{path.stem}"' not in here] == []


def test_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert -1 <= run("quickstart", tmp_path, steps=4096) <= 99
    assert "a perfect player catches 99" in capsys.readouterr().out
    assert (tmp_path / "catch.ckpt").exists()
    assert (tmp_path / "catch.gif").stat().st_size > 1000


@pytest.mark.parametrize("example", ["own_game", "own_agent"])
def test_ones_own_is_short(example: str) -> None:
    lines = (EXAMPLES / f"{example}.py").read_text(encoding="utf-8").split('"""', 2)[2].splitlines()
    assert sum(bool(line) for line in lines) < 50


def test_own_game(capsys: pytest.CaptureFixture) -> None:
    assert run("own_game", steps=30_000) > 3  # gates; chance passes less than one
    assert "of 30 gates" in capsys.readouterr().out


def test_own_agent(capsys: pytest.CaptureFixture) -> None:
    assert run("own_agent", steps=150_000) > 195
    assert "over 20 episodes" in capsys.readouterr().out


def test_own_training_script_goes_on_where_it_was_stopped(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    whole = run("own_training_script", tmp_path / "whole", quick=True)
    run("own_training_script", tmp_path / "parts", quick=True, stop_after=1)
    parts = run("own_training_script", tmp_path / "parts", quick=True)
    assert "going on from step 8,192" in capsys.readouterr().out
    assert whole.step == parts.step == 16_384
    logs = [(tmp_path / name / "log.csv").read_text(encoding="utf-8") for name in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert len(logs[0].splitlines()) == 2
    assert all((a == b).all() for a, b in zip(whole.net.parameters(), parts.net.parameters(), strict=True))


def test_catch_dqn_tutorial(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert -1 <= run("catch_dqn_tutorial", tmp_path, quick=True) <= 99
    out = capsys.readouterr().out
    for name in ("experience replay", "+ target network", "+ Huber loss", "+ Double DQN", "RMSPropGraves", "Adam"):
        assert name in out
    counts = pictures(tmp_path)
    assert counts.pop("catch.gif") > 5
    assert counts == {"steps.png": 1, "optimisers.png": 1}
    assert isinstance(rlgames.load(tmp_path / "catch.ckpt"), rlgames.DDQN)


def test_cave_drqn_tutorial(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    memory = "recurrent" in {field.name for field in dataclasses.fields(DQNConfig)}
    assert run("cave_drqn_tutorial", tmp_path, quick=True, memory=memory) > 10
    assert "random: " in capsys.readouterr().out
    counts = pictures(tmp_path)
    assert counts.pop("scores.png") == 1
    assert set(counts) == {"dqn.gif", "drqn.gif"}.difference(() if memory else {"drqn.gif"})
    assert min(counts.values()) > 3


def test_cartpole_a3c_tutorial(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("cartpole_a3c_tutorial", tmp_path, quick=True) > 8
    out = capsys.readouterr().out
    assert "random: mean 2" in out  # and something: about 20
    assert "moving average" in out
    counts = pictures(tmp_path)
    assert counts.pop("best.gif") > 3
    assert counts == {"scores.png": 1}
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    assert run("cartpole_a3c_tutorial", tmp_path, quick=True, play=True) > 8
    assert "score" in capsys.readouterr().out


def test_pong_reinforce_numpy(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert -21 <= run("pong_reinforce_numpy", tmp_path, quick=True) <= 21
    assert pictures(tmp_path) == {"scores.png": 1}
    assert run("pong_reinforce_numpy", tmp_path, quick=True) <= 21  # nothing left to do
    assert "going on after 2 games" in capsys.readouterr().out


def test_the_reinforce_agent_has_the_gradients_written_out_by_hand() -> None:
    """Both on the same two games of Pong, each cut short; the agent's two logits differ by the hand's one number."""
    hand = __import__("pong_reinforce_numpy")
    config = dataclasses.replace(preset("reinforce", Task("Pong")).config, episodes=2)
    envs = rlgames.make_vec("Pong", 2, actions="minimal", pixels=hand.BALL_AND_BATS, max_episode_steps=600)
    agent = rlgames.REINFORCE(envs, config, seed=3)
    obs, action, returns, episode = agent.play(agent.playing())
    assert len(obs) == 300
    assert set(episode) == set(range(2, 4))
    assert np.abs(returns).max() == 1
    net: Any = agent.net
    w = net.actor[1].weight.detach().numpy().astype(np.float64)
    heads = net.policy.weight
    heads.data *= 50  # the first weights of a policy are next to nothing
    v = (heads[hand.UP] - heads[hand.DOWN]).detach().numpy().astype(np.float64)
    expected_w, expected_v = np.zeros_like(w), np.zeros_like(v)
    for one in np.unique(episode):
        rows = episode == one
        x, advantage = obs[rows].reshape(rows.sum(), -1), returns[rows].astype(np.float64)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        game_w, game_v = hand.gradients(w, v, x, action[rows], advantage)
        expected_w, expected_v = expected_w - game_w / len(obs), expected_v - game_v / len(obs)
    agent.improve(obs, action, returns, episode, 0.0)
    got_w, got_v = net.actor[1].weight.grad, heads.grad
    assert np.abs(expected_w).max() > 1e-4
    np.testing.assert_allclose(got_w.numpy(), expected_w, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(got_v[hand.UP].numpy(), expected_v, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(got_v[hand.DOWN].numpy(), -expected_v, rtol=1e-3, atol=1e-7)


def test_mario_ppo_tutorial(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after its first round it goes on to the same end as unbroken, and keeps the last three saves."""
    if not find_spec("gym_super_mario_bros"):
        pytest.skip("needs the extra mario")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    tutorial = __import__("mario_ppo_tutorial")
    keep, whole, parts = tutorial.save, tmp_path / "whole", tmp_path / "parts"
    assert run("mario_ppo_tutorial", whole, quick=True) > 30

    def interrupted(*args: Any) -> None:
        keep(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(tutorial, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("mario_ppo_tutorial", parts, quick=True)
    monkeypatch.setattr(tutorial, "save", keep)
    run("mario_ppo_tutorial", parts, quick=True, show=True)
    assert "going on after round 1" in capsys.readouterr().out
    assert pictures(whole) == pictures(parts)
    assert (whole / "rounds.csv").read_text() == (parts / "rounds.csv").read_text()
    last = [max(folder.glob("round-*.ckpt")) for folder in (whole, parts)]
    agents = [rlgames.load(path, rlgames.make_vec("Mario:world=1,stage=2", pixels=tutorial.SEEN)) for path in last]
    assert agents[0].state_dict()["step"] == agents[1].state_dict()["step"] == 3 * 48
    for one, other in zip(agents[0].net.parameters(), agents[1].net.parameters(), strict=True):
        assert (one == other).all()
    (parts / "round-00000.ckpt").touch()
    keep(agents[1], parts, 4)
    assert [path.stem for path in tutorial.saves(parts)] == ["round-00002", "round-00003", "round-00004"]
    assert run("mario_ppo_tutorial", whole, quick=True, play=True) > 30


def test_dino_dqn_tutorial(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("dino_dqn_tutorial", tmp_path, quick=True) > 30
    counts = pictures(tmp_path)
    assert counts.pop("dino.gif") > 5
    assert counts == {"scores.png": 1}
    run("dino_dqn_tutorial", tmp_path, quick=True)  # nothing left to do
    assert "going on from step 400, record" in capsys.readouterr().out
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert run("dino_dqn_tutorial", tmp_path, quick=True, play=True) > 30


def test_moving_average() -> None:
    averages = __import__("cartpole_a3c_tutorial").averages
    assert averages([10.0, 20.0, 0.0]).tolist() == pytest.approx([10.0, 10.1, 9.999])
    assert averages([]).tolist() == []
