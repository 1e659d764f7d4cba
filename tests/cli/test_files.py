"""Files that others wrote: the command line answers in one line, and runs nothing that they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import rlgames
from rlgames.checkpoint import file as checkpoint
from rlgames.cli import main as cli

FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "agent": ({"agent": ["ppo"]}, "its header: expected agent to be str, got ['ppo']"),
    "seed": ({"seed": "0"}, "its header: expected seed to be int, got '0'"),
    "extra": ({"more": 1}, "its header: unknown field 'more', expected agent, config,"),
    "config": ({"config": {"n_steps": "many"}}, "expected n_steps to be int, got 'many'"),
    "program": (
        {"task": {"game": "ChromeDino", "options": {"browser": "./x"}, "pixels": None, "rewards": None}},
        "a file may not give the option browser of ChromeDino, got './x'; or say what to play",
    ),
    "module": (
        {"task": {"game": "evil:Game-v0", "options": {}, "pixels": None, "rewards": None}},
        "the game 'evil:Game-v0' is not registered here: import the module that does so; or say what to play",
    ),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("command", ["evaluate {path}", "watch {path}", "export {path} {path}.export"])
def test_forged_checkpoint_is_answered_in_one_line(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, message = FORGED[name]
    with rlgames.Random("CatchBall", num_envs=1) as agent:
        checkpoint.save(tmp_path / "forged.ckpt", agent.header() | changes, agent.state_dict())
    assert cli.main(command.format(path=tmp_path / "forged.ckpt").split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"rlgames: {tmp_path / 'forged.ckpt'}: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert os.listdir(tmp_path) == ["forged.ckpt"]


@pytest.mark.parametrize("path", ["/dev/zero", "{folder}/pipe"])
def test_device_is_answered_in_one_line(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert cli.main(["evaluate", path.format(folder=tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# ---- runs ----

LINE = ["train", "ppo", "CatchBall", "--envs", "2", "--config.n-steps", "8", "--config.num-minibatches", "1", "--quiet"]
LINE += ["--evaluate-episodes", "1", "--evaluate-max-steps", "10", "--evaluate-every", "1000", "--save-every", "32"]


def test_resumed_run_keeps_its_steps_or_gets_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --steps those that it was started with, not those of the preset."""
    monkeypatch.setattr("rlgames.runs.trackers.summary_writer", lambda folder, step: None)
    monkeypatch.setattr("rlgames.runs.training.draw_curve", lambda *_: None)
    line = [*LINE, "--out", str(tmp_path / "run")]
    assert cli.main([*line, "--steps", "64"]) == 0
    assert cli.main([*line, "--steps", "64"]) == 2
    assert (
        "run holds a run already: continue it with --resume, delete it with --overwrite, or choose another --out"
        in capsys.readouterr().err
    )
    assert cli.main([*line, "--resume"]) == 0
    assert "64 steps, 2 envs, seed 0" in capsys.readouterr().out
    for given, steps in ((["--steps", "128"], 128), (["--steps=1_60"], 160)):
        assert cli.main([*line, "--resume", *given]) == 0
        assert f"the run ends after {steps} steps instead of" in capsys.readouterr().out
        final = rlgames.load(tmp_path / "run" / "checkpoints" / "final.ckpt", weights_only=True)
        assert final.step == steps
