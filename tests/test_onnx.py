"""ONNX files compared with the agents that they are of, by ONNX Runtime."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from helpers.toys import quick_config

import rlgames
from rlgames import onnx as onnx_module
from rlgames.agents.base import Agent
from rlgames.agents.registry import find
from rlgames.checkpoint import weights_sha256
from rlgames.cli import main as cli
from rlgames.errors import UsageError
from rlgames.onnx import export_onnx

SLOW = pytest.mark.slow
CASES = [
    pytest.param("reinforce", "CartPole", {}, id="dense"),
    pytest.param("dqn", "CatchBall", {}, id="convolutional"),
    pytest.param("dqn", "CartPole", {"dueling": True}, id="dueling", marks=SLOW),
    pytest.param("ppo", "Cave:stack=2", {}, id="stack", marks=SLOW),
    pytest.param("ppo", "CatchBall", {"recurrent": True, "lstm_hidden_size": 3}, id="recurrent policy", marks=SLOW),
    pytest.param("dqn", "CartPole", {"recurrent": True, "lstm_hidden_size": 3}, id="recurrent values", marks=SLOW),
]


def make_agent(name: str, game: str, settings: dict[str, Any]) -> Agent:
    return find(name)(game, quick_config(name, **settings), num_envs=2)


@pytest.mark.parametrize(("name", "game", "settings"), CASES)
def test_file_chooses_the_actions_of_the_agent(name: str, game: str, settings: dict[str, Any], tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    agent = make_agent(name, game, settings)
    exported = export_onnx(agent, tmp_path / "new" / "agent.onnx")
    assert (exported.path, exported.observations) == (tmp_path / "new" / "agent.onnx", 1_000)
    assert exported.difference < 1e-4
    session = runtime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])

    metadata = session.get_modelmeta().custom_metadata_map
    space = agent.observation_space
    assert (metadata["agent"], metadata["game"], metadata["step"]) == (name, game, "0")
    assert metadata["weights_sha256"] == weights_sha256(agent.net.state_dict())
    assert json.loads(metadata["observation_shape"]) == list(space.shape)
    assert metadata["observation_dtype"] == str(space.dtype)
    assert ("255" in metadata["scaling"]) == (space.dtype == np.uint8)
    assert metadata["stacked_frames"] == ("2" if "stack" in game else "1")
    assert json.loads(metadata["actions"])[0] == {"CartPole": "push left", "CatchBall": "stay"}.get(game, "fall")
    assert metadata["action"].startswith(f"index of the largest of {session.get_outputs()[0].name}")

    rng, state = np.random.default_rng(0), None
    own_state = np.zeros((5, 2 * settings.get("lstm_hidden_size", 0)), np.float32)
    for t in range(4):
        obs = rng.integers(0, 256, (5, *space.shape)) if space.dtype == np.uint8 else rng.normal(size=(5, *space.shape))
        obs, start = obs.astype(space.dtype), np.array([t == 0, t == 2, False, False, False]) | (t == 0)
        action, state = agent.predict(obs, state, start, deterministic=True)
        given = {"obs": obs, "state": own_state, "episode_start": start} if state is not None else {"obs": obs}
        outputs = session.run(None, given)
        np.testing.assert_array_equal(outputs[0].argmax(1), action)
        own_state = outputs[-1]
    agent.close()


def test_command_writes_the_file_beside_the_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "agent.ckpt"
    with make_agent("ppo", "CartPole", {}) as agent:
        agent.save(path)
    assert cli.main(["export", str(path), "--format", "onnx"]) == 0
    _, network, checked = capsys.readouterr().out.splitlines()
    assert network.startswith(f"network {tmp_path / 'agent.onnx'} (")
    assert checked.startswith("checked by ONNX Runtime on 1,000 observations of the game: differs from torch by ")
    for line, message in (
        ("--format onnx", f"{tmp_path / 'agent.onnx'} exists already: choose another file, or give --overwrite"),
        (f"{tmp_path / 'folder'} --format onnx", f"expected a file named *.onnx, got '{tmp_path / 'folder'}'"),
        ("", "expected a folder to write: rlgames export RUN FOLDER, or --format onnx for a file"),
    ):
        assert cli.main(["export", str(path), *line.split()]) == 2
        assert capsys.readouterr().err == f"rlgames: {message}\n"


def test_what_cannot_be_exported_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "file").touch()
    with rlgames.Random("CartPole", num_envs=1) as random, pytest.raises(UsageError, match="has no network that can"):
        export_onnx(random, tmp_path / "a.onnx")
    with rlgames.PPO(gym.make("CartPole-v1")) as nameless, pytest.raises(ValueError, match="not of a game's name"):
        export_onnx(nameless, tmp_path / "a.onnx")
    with make_agent("ppo", "CartPole", {}) as agent:
        monkeypatch.setattr(onnx_module, "compare", lambda *_: (0.5, 1.0))
        with pytest.raises(UsageError, match="differs from torch's by 0.5, expected at most 0.001 of its largest out"):
            export_onnx(agent, tmp_path / "a.onnx")
        monkeypatch.setattr(onnx_module, "compare", lambda *_: (0.0, 1.0))
        with pytest.raises(PermissionError, match="a.onnx cannot be written"):
            export_onnx(agent, tmp_path / "file" / "a.onnx")
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(DependencyNotInstalled, match=r'pip install "rlgames\[onnx\]"'):
            export_onnx(agent, tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
