"""Presets as files: what is written is read again, trains, and resumes without the file; all else is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rlgames
from rlgames.agents.preset_files import load_preset, preset_to_json, save_preset
from rlgames.cli.main import main
from rlgames.errors import InvalidTypeError, InvalidValueError, UsageError
from rlgames.presets.lookup import PRESETS
from rlgames.presets.preset import Preset
from rlgames.wrappers import Pixels, Rewards

MINE = Preset(dict(n_steps=16, learning_rate=1e-3, net_arch=(16,)), steps=512, envs=4, rewards=Rewards(scale=0.5))


@pytest.mark.parametrize(("agent", "game"), [*PRESETS])
def test_a_preset_of_the_library_is_read_as_it_was_written(agent: str, game: str, tmp_path: Path) -> None:
    preset = PRESETS[agent, game]
    save_preset(tmp_path / "mine.json", preset, agent, game)
    read = load_preset(tmp_path / "mine.json")
    assert preset_to_json(read, agent, game) == preset_to_json(preset, agent, game)
    assert replace(read, config=preset.config) == preset


def test_a_run_of_a_file_resumes_without_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "mine.json", tmp_path / "run"
    save_preset(file, MINE, "ppo", "CartPole")
    command = ["train", "ppo", "CartPole", "--out", str(out), "--evaluate-episodes", "1", "--quiet"]
    assert main([*command, "--preset", str(file), "--config.n-epochs", "2"]) == 0
    file.unlink()
    settings = json.loads((out / "config.json").read_text())
    assert (settings["steps"], settings["envs"], settings["config"]["n_epochs"]) == (512, 4, 2)
    assert settings["preset"]["rewards"]["scale"] == 0.5
    assert main([*command, "--resume", "--steps", "640", "--config.n-epochs", "2"]) == 0
    assert main([*command, "--resume"]) == 2
    assert "config.n_epochs was 2, is 4" in capsys.readouterr().err
    agent = rlgames.load(out / "checkpoints" / "final.ckpt")
    assert agent.step == 640
    assert agent.config.net_arch == (16,)
    assert agent.task is not None
    assert agent.task.rewards == Rewards(scale=0.5)


def test_an_agent_takes_a_preset() -> None:
    preset = Preset(dict(n_steps=16), steps=64, envs=3, pixels=Pixels(stack=2))
    with rlgames.PPO("CatchBall", preset=preset, n_epochs=1) as agent:
        assert (agent.num_envs, agent.config.n_steps, agent.config.n_epochs) == (3, 16, 1)
        assert agent.observation_space.shape == (2, 8, 8)
    with pytest.raises(InvalidTypeError, match=r"got 'mine.json': .* rlgames.load_preset"):
        rlgames.PPO("CatchBall", preset="mine.json")  # pyright: ignore[reportArgumentType]  on purpose
    with pytest.raises(InvalidValueError, match="goes with the name of a game"):
        rlgames.PPO(rlgames.make_vec("CartPole", 2), preset=preset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(steps=0), "expected steps to be an integer >= 1, got 0"),
        (dict(steps="many"), "expected steps to be an integer >= 1, got 'many'"),
        (dict(envs=1.5), "expected envs to be an integer >= 1, got 1.5"),
        (dict(step=5), "unknown field 'step', expected agent, game, steps"),
        (dict(agent="ppp"), "unknown agent 'ppp'"),
        (dict(agent="dqn", config={}), "is a preset of dqn, expected one of ppo"),
        (dict(config=[1]), "expected config to be dict, got [1]"),
        (dict(config={"gama": 0.9}), "unknown field 'gama' of PPOConfig: did you mean 'gamma'?"),
        (dict(config={"gamma": 1.5}), "expected gamma to be a number in 0..1, got 1.5"),
        (dict(pixels={"stack": 0}), "expected stack to be an integer >= 1, got 0"),
        (dict(pixels={"size": "big"}), "size"),
        (dict(rewards={"scales": 1}), "unknown field 'scales'"),
    ],
)
def test_errors_name_file_field_and_what_is_allowed(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"agent": "ppo", "steps": 1e4} | change))
    with pytest.raises(UsageError) as raised:
        load_preset(file, "ppo")
    assert str(raised.value).startswith(f"{file}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"agent": "ppo"}', '{"agent": 1, "steps": 1}', "\xff\0"]
)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="mine.json"):
        load_preset(file)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="no such file"):
        load_preset(tmp_path / "none.json")
    with pytest.raises(InvalidValueError, match="no regular file"):
        load_preset(tmp_path)
    with pytest.raises(InvalidTypeError, match="expected the path"):
        load_preset(5)  # pyright: ignore[reportArgumentType]  on purpose
