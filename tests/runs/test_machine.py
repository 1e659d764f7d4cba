"""The description of the machine that trains, and the machines that a run notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rlgames.agents.ppo import PPOConfig
from rlgames.runs import training as training_module
from rlgames.runs.machine import describe_machine, processor_name
from rlgames.runs.training import Training, train

CPU = torch.device("cpu")
SHORT = Training("ppo", "CatchBall", PPOConfig(n_steps=8, n_epochs=1, net_arch=(8,)), steps=64, envs=4, track="none")


def test_processor_is_that_of_cpuinfo(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: AMD  EPYC 9654\nflags\t: fpu\nprocessor\t: 1\nmodel name\t: other\n"
    )
    assert processor_name(cpuinfo) == "AMD EPYC 9654"
    for missing in (tmp_path / "none", tmp_path / "empty"):
        (tmp_path / "empty").touch()
        assert processor_name(missing)


def test_machine_has_what_decides_about_the_numbers() -> None:
    machine = describe_machine(CPU)
    assert list(machine) == ["processor", "instruction_set", "device", "torch"]
    assert (machine["device"], machine["torch"]) == ("cpu", torch.__version__)


def test_run_notes_each_machine_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it goes on elsewhere, longer than it was to be, and on the first one again."""
    here, there = describe_machine(CPU), describe_machine(CPU) | {"processor": "another"}
    for steps, machine, expected in ((64, here, [here]), (96, there, [here, there]), (128, here, [here, there])):
        monkeypatch.setattr(training_module, "describe_machine", lambda _, machine=machine: machine)
        training = Training(**{**vars(SHORT), "steps": steps})
        train(training, tmp_path / "run", resume=steps > 64, quiet=True)
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert (config["machines"], config["steps"]) == (expected, steps)
