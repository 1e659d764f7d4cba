"""Scripts by which shells complete the command line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rlgames.cli import main as cli
from rlgames.cli.completion import completion_script

WORDS = [  # what is typed, and what is offered
    (["ev"], ["evaluate"]),
    (["completion", ""], ["bash", "zsh", "fish"]),
    (["train", "d"], ["dqn", "ddqn"]),
    (["train", "ppo", "Ca"], ["CartPole", "CatchBall", "Cave"]),
    (["train", "ppo", "Cave", "--config.clip"], ["--config.clip-range", "--config.clip-range-vf"]),
    (["train", "dqn", "Cave", "--config.clip"], []),
    (["train", "ppo", "Cave", "--config.encoder", "mari"], ["mario"]),
    (["evaluate", "run", "--ma"], ["--max-steps"]),
    (["evaluate", "run", "--game", "Po"], ["Pong"]),
    (["evaluate", "film"], ["film.gif"]),
    (["watch", "run", "--film", "film"], ["film.gif"]),
    (["presets", "ppo", "Mar"], ["Mario"]),
    (["tune", "pp"], ["ppo"]),
    (["tune", "ppo", "Cave", "--sampler", "g"], ["gp"]),
]
PROGRAM = """
source "$1"; shift
COMP_WORDS=(rlgames "$@"); COMP_CWORD=$#
_shtab_rlgames
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_valid(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    assert cli.main(["completion", shell]) == 0
    checked = subprocess.run([shell, "-n"], input=capsys.readouterr().out, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_bash_completes_commands_names_options_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(completion_script("bash"))
    (tmp_path / "film.gif").touch()
    for words, offered in WORDS:
        command = ["bash", "--norc", "-c", PROGRAM, "bash", "./script", *words]
        printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert (words, sorted(filter(None, printed.split("\n")))) == (words, sorted(offered))


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_fish_completes_too(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(completion_script("fish"))
    (tmp_path / "film.gif").touch()
    for words, offered in WORDS:
        command = ["fish", "--no-config", "-c", "source script; complete -C $argv[1]", " ".join(["rlgames", *words])]
        printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        found = [line.partition("\t")[0] for line in printed.splitlines()]
        assert (words, sorted(found)) == (words, sorted(offered))
