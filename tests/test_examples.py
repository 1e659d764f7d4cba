"""The examples: each runs with few steps, and writes what its docstring says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import rlgames
from rlgames.agents import AGENTS
from rlgames.agents.config import make_config
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.engine.rendering import Window
from rlgames.envs.registry import GAMES, WRAPPERS
from rlgames.envs.task import Task
from rlgames.presets.lookup import find_preset

TESTS = Path(__file__).parent
EXAMPLES = TESTS.parent / "examples"


@pytest.fixture(autouse=True)
def fresh_examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import each example anew, drop what it registers; without a display, at no fixed frame rate."""
    monkeypatch.syspath_prepend(EXAMPLES)
    init = Window.__init__
    monkeypatch.setattr(Window, "__init__", lambda self, title, fps: init(self, title, fps=0))
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    with patch.dict(GAMES), patch.dict(WRAPPERS), patch.dict(AGENTS), patch.dict(gym.registry):
        yield
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


def run(example: str, *args: Any, **kwargs: Any) -> Any:
    """Call the `main` of an example."""
    return import_module(example).main(*args, **kwargs)


def count_frames(folder: Path) -> dict[str, int]:
    """Return the number of frames of each PNG and GIF in `folder`."""
    counts = {}
    for path in (*folder.glob("*.png"), *folder.glob("*.gif")):
        with Image.open(path) as image:
            counts[path.name] = getattr(image, "n_frames", 1)
            assert min(image.size) >= 200
    return counts


def test_every_example_has_a_test() -> None:
    tests = "".join((TESTS / name).read_text(encoding="utf-8") for name in ("test_examples.py", "test_own.py"))
    assert [path.stem for path in EXAMPLES.glob("*.py") if f'("{path.stem}"' not in tests] == []


# ---- short examples ----


def test_quickstart_evaluates_saves_and_records(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert -1 <= run("quickstart", tmp_path, 4096) <= 99
    assert "the best possible score is 99" in capsys.readouterr().out
    assert (tmp_path / "catch.ckpt").exists()
    assert (tmp_path / "catch.gif").stat().st_size > 1000


@pytest.mark.parametrize("example", ["own_game", "own_agent"])
def test_own_game_and_agent_are_short(example: str) -> None:
    code = (EXAMPLES / f"{example}.py").read_text(encoding="utf-8").split('"""', 2)[2]
    assert sum(bool(line) for line in code.splitlines()) < 50


@pytest.mark.slow
def test_own_game_is_learned(capsys: pytest.CaptureFixture) -> None:
    assert run("own_game", 30_000) > 3  # gates; a random policy passes less than one
    assert "of 30 gates" in capsys.readouterr().out


def test_own_agent_learns_cart_pole(capsys: pytest.CaptureFixture) -> None:
    assert run("own_agent", 150_000) > 195
    assert "100 episodes" in capsys.readouterr().out


def test_own_training_script_resumes_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("own_training_script"), "EVAL_FREQ", 2048)
    unbroken = run("own_training_script", tmp_path / "unbroken", quick=True)
    run("own_training_script", tmp_path / "resumed", quick=True, stop_after=1)
    resumed = run("own_training_script", tmp_path / "resumed", quick=True)
    assert "resuming at step 2,048" in capsys.readouterr().out
    assert unbroken.step == resumed.step == 4096
    logs = [(tmp_path / name / "log.csv").read_text(encoding="utf-8") for name in ("unbroken", "resumed")]
    assert logs[0] == logs[1]
    assert len(logs[0].splitlines()) == 2
    assert all((a == b).all() for a, b in zip(unbroken.net.parameters(), resumed.net.parameters(), strict=True))


# ---- REINFORCE in NumPy ----


def test_pong_reinforce_numpy_resumes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert -21 <= run("pong_reinforce_numpy", tmp_path, quick=True) <= 21
    assert count_frames(tmp_path) == {"scores.png": 1}
    assert run("pong_reinforce_numpy", tmp_path, quick=True) <= 21  # no episodes left
    assert "resuming after 2 episodes" in capsys.readouterr().out


def test_reinforce_agent_computes_the_gradients_of_pong_reinforce_numpy() -> None:
    """Compare both on the same two truncated episodes; the agent has two logits where the example has one."""
    example = import_module("pong_reinforce_numpy")
    preset = find_preset("reinforce", Task("Pong"))
    config = make_config(REINFORCEConfig, preset.config | {"n_episodes": 2})
    envs = rlgames.make_vec("Pong", 2, actions="minimal", pixels=example.BALL_AND_BATS, max_episode_steps=150)
    agent = rlgames.REINFORCE(envs, config, seed=3)
    batch = agent.collect_episodes(agent.start_training())
    assert len(batch.obs) == 300
    assert set(batch.episode) == set(range(2, 4))
    assert np.abs(batch.returns).max() == 1
    net: Any = agent.net
    w = net.actor[1].weight.detach().numpy().astype(np.float64)
    logits = net.policy.weight
    logits.data *= 50  # the initial weights of a policy are close to zero
    v = (logits[example.UP] - logits[example.DOWN]).detach().numpy().astype(np.float64)
    expected_w, expected_v = np.zeros_like(w), np.zeros_like(v)
    for episode in np.unique(batch.episode):
        mask = batch.episode == episode
        x, returns = batch.obs[mask].reshape(mask.sum(), -1), batch.returns[mask].astype(np.float64)
        advantages = (returns - returns.mean()) / (returns.std() + 1e-8)
        dw, dv = example.policy_gradient(w, v, x, batch.actions[mask], advantages)
        expected_w, expected_v = expected_w - dw / len(batch.obs), expected_v - dv / len(batch.obs)
    agent.train_on_batch(batch, 0.0)
    w_gradient, v_gradient = net.actor[1].weight.grad, logits.grad
    assert np.abs(expected_w).max() > 1e-4
    np.testing.assert_allclose(w_gradient.numpy(), expected_w, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(v_gradient[example.UP].numpy(), expected_v, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(v_gradient[example.DOWN].numpy(), -expected_v, rtol=1e-3, atol=1e-7)


# ---- tutorials ----


def test_catch_dqn_tutorial_compares_variants_and_optimizers(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("catch_dqn_tutorial"), "EVALUATIONS", 4)
    assert -1 <= run("catch_dqn_tutorial", tmp_path, quick=True) <= 99
    out = capsys.readouterr().out
    for name in ("experience replay", "+ target network", "+ Huber loss", "+ Double DQN", "RMSPropGraves", "Adam"):
        assert name in out
    counts = count_frames(tmp_path)
    assert counts.pop("catch.gif") > 5
    assert counts == {"steps.png": 1, "optimizers.png": 1}
    assert isinstance(rlgames.load(tmp_path / "catch.ckpt"), rlgames.DDQN)


def test_cave_drqn_tutorial_compares_dqn_and_drqn(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("cave_drqn_tutorial"), "EVALUATIONS", 4)
    assert run("cave_drqn_tutorial", tmp_path, quick=True) > 10
    out = capsys.readouterr().out
    for name in ("random: ", "DQN, four frames", "DRQN, one frame and an LSTM"):
        assert name in out
    counts = count_frames(tmp_path)
    assert counts.pop("scores.png") == 1
    assert set(counts) == {"dqn.gif", "drqn.gif"}
    assert min(counts.values()) > 3


def test_cartpole_a3c_tutorial_trains_and_shows_the_best_weights(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("cartpole_a3c_tutorial", tmp_path, quick=True) > 8
    out = capsys.readouterr().out
    assert "random: mean 2" in out  # about 20
    assert "moving average" in out
    counts = count_frames(tmp_path)
    assert counts.pop("best.gif") > 3
    assert counts == {"scores.png": 1}
    assert run("cartpole_a3c_tutorial", tmp_path, quick=True, watch=True) > 8
    assert "score" in capsys.readouterr().out


def test_cartpole_a3c_tutorial_moving_average() -> None:
    moving_average = import_module("cartpole_a3c_tutorial").moving_average
    assert moving_average([10.0, 20.0, 0.0]).tolist() == pytest.approx([10.0, 10.1, 9.999])
    assert moving_average([]).tolist() == []


@pytest.mark.slow
def test_dino_dqn_tutorial_trains_resumes_and_is_watched(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("dino_dqn_tutorial", tmp_path, quick=True) > 5
    counts = count_frames(tmp_path)
    assert counts.pop("dino.gif") > 5
    assert counts == {"scores.png": 1}
    run("dino_dqn_tutorial", tmp_path, quick=True)  # no steps left
    assert "resuming at step 200, best score" in capsys.readouterr().out
    assert run("dino_dqn_tutorial", tmp_path, quick=True, watch=True) > 30


@pytest.mark.slow
def test_mario_ppo_tutorial_resumes_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resume from the files that the first rollout leaves: the resumed run ends as the unbroken one."""
    if not find_spec("gym_super_mario_bros"):
        pytest.skip("needs the ROM")
    tutorial = import_module("mario_ppo_tutorial")
    save, unbroken, resumed = tutorial.save, tmp_path / "unbroken", tmp_path / "resumed"

    def save_and_copy(agent: rlgames.PPO, folder: Path, rollout: int) -> None:
        save(agent, folder, rollout)
        if rollout == 1:
            shutil.copytree(unbroken, resumed)

    monkeypatch.setattr(tutorial, "save", save_and_copy)
    assert run("mario_ppo_tutorial", unbroken, quick=True) > 30
    run("mario_ppo_tutorial", resumed, quick=True, show_training=True)
    assert "resuming after rollout 1" in capsys.readouterr().out
    assert count_frames(unbroken) == count_frames(resumed)
    assert (unbroken / "rollouts.csv").read_text() == (resumed / "rollouts.csv").read_text()

    newest = [tutorial.checkpoints(folder)[-1] for folder in (unbroken, resumed)]
    agents = [rlgames.load(path, weights_only=True) for path in newest]
    assert agents[0].step == agents[1].step == 2 * 24
    for a, b in zip(agents[0].net.parameters(), agents[1].net.parameters(), strict=True):
        assert (a == b).all()
    assert run("mario_ppo_tutorial", unbroken, quick=True, watch=True) > 30


def test_mario_ppo_tutorial_keeps_the_newest_checkpoints(tmp_path: Path) -> None:
    tutorial = import_module("mario_ppo_tutorial")
    agent = Mock(save=Path.touch)
    for rollout in (8, 9, 10, 20):
        tutorial.save(agent, tmp_path, rollout)
    assert [path.stem for path in tutorial.checkpoints(tmp_path)] == ["rollout-00009", "rollout-00010", "rollout-00020"]
    assert agent.restart_episodes.call_count == 4


# ---- the notebook ----


NOTEBOOK = EXAMPLES / "tour.ipynb"


def test_notebook_is_stripped() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    shutil.copy(NOTEBOOK, tmp_path)
    command = [sys.executable, "-c", "from nbclient.cli import main; main()", "--timeout=250", NOTEBOOK.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert count_frames(tmp_path).keys() == {"tour.gif", "slalom.gif"}
