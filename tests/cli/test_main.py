"""The command line: output, files, errors and exit status of every command."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv
from PIL import Image

import rlgames
from rlgames.agents import AGENTS
from rlgames.agents.ppo import PPO
from rlgames.agents.random import Random
from rlgames.checkpoint.file import weights_sha256
from rlgames.cli import commands, demo
from rlgames.cli import main as cli
from rlgames.cli import play as play_module
from rlgames.cli.run import PROGRAM
from rlgames.envs.registry import GAMES, load_game
from rlgames.envs.task import Task
from rlgames.networks import threads
from rlgames.presets.lookup import PRESETS
from rlgames.runs.directory import find_checkpoint
from rlgames.runs.machine import describe_machine

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "train",
    "evaluate",
    "watch",
    "plot",
    "compare",
    "tune",
    "explore",
    "page",
    "export",
    "play",
    "list",
    "presets",
    "zoo",
    "reproduce",
    "doctor",
    "demo",
    "completion",
)
SMALL = ("--envs", "16", "--config.n_steps", "16", "--evaluate-episodes", "2", "--evaluate-max-steps", "30")
Capture = pytest.CaptureFixture[str]


def help_of(argv: list[str], capsys: Capture) -> str:
    """Return the output of `--help` in one line, without its frames."""
    with pytest.raises(SystemExit) as exit_info:
        cli.main([*argv, "--help"])
    assert not exit_info.value.code
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a small training, which tests may read."""
    out = tmp_path_factory.mktemp("runs") / "small"
    line = ["train", "PPO", "rlgames/CatchBall-v0", "--steps", "1024", "--out", str(out), "--quiet", *SMALL]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("rlgames.runs.trackers.summary_writer", lambda folder, step: None)
        assert cli.main(line) == 0
    return out


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds to import."""
    monkeypatch.setattr("rlgames.runs.trackers.summary_writer", lambda folder, step: None)


# ---- help


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_usage_lists_the_commands(argv: list[str], capsys: Capture) -> None:
    assert cli.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if re.match("  [a-z]", line)] == [*COMMANDS] == [*cli.COMMANDS]
    assert any(line.startswith("  --import MODULE  ") for line in lines)
    assert max(map(len, lines)) <= 80


def test_version_is_printed(capsys: Capture) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"rlgames {rlgames.__version__}\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "evaluate",
            [
                "PATH",
                "--episodes INT It plays this many; None: 100 of a compiled game, 20 of any other. (default: None)",
                "--json",
                "--max-steps INT",
                "--sample",
                "--game STR",
            ],
        ),
        (
            "watch",
            [
                "PATH",
                "--film PATH This *.gif, *.webp or",
                "--seconds FLOAT The recording has this length at most.",
                "--size INT",
            ],
        ),
        (
            "export",
            [
                "PATH [OUT]",
                "--format {agent,onnx}",
                "--episodes INT The card has the scores of this many episodes. (default: 100)",
            ],
        ),
        ("play", ["GAME This game is played: Cave", "--zoom FLOAT", "--seed INT"]),
        ("list", []),
        ("presets", ["[AGENT]", "[GAME]", "--json"]),
        ("demo", ["--out PATH", "(default: runs/demo)", "--steps INT"]),
    ],
)
def test_help_has_the_summary_and_the_options(name: str, expected: list[str], capsys: Capture) -> None:
    text = help_of([name], capsys)
    assert text.startswith(f"usage: rlgames {name} [-h]")
    assert [part for part in (cli.COMMANDS[name].summary, *expected) if part not in text] == []


def test_every_option_is_explained_by_a_sentence() -> None:
    run = import_module("rlgames.cli.run")
    for spec in cli.COMMANDS.values():
        command = getattr(import_module(spec.module), spec.attribute)
        options = command if isinstance(command, type) else type(run.train_options("ppo", Task.parse("Cave")))
        comments = re.findall(r"^ +(\w+): .*?  # (.*)$", inspect.getsource(options), re.MULTILINE)
        assert {name for name, _ in comments} >= {field.name for field in dataclasses.fields(options)} - {
            "agent",
            "game",
        }
        assert [text for _, text in comments if not re.fullmatch(r"[A-Zt].*\.", text)] == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_has_an_example_that_is_valid(name: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Its options are parsed; the command does nothing then."""
    spec = cli.COMMANDS[name]
    with suppress(SystemExit):
        cli.main([name, "--help"])
    assert f"\n\nExample: rlgames {spec.example}\n" in capsys.readouterr().out
    command = getattr(import_module(spec.module), spec.attribute)
    if isinstance(command, type):
        monkeypatch.setattr(command, "run", lambda self: 0)
    monkeypatch.setattr("rlgames.cli.run.run_training", lambda *_: 0)
    monkeypatch.setattr("rlgames.cli.doctor.examine", list)
    words = shlex.split(spec.example.partition(" > ")[0])
    assert words[0] == name
    assert cli.main(words) == 0


def test_train_help_without_a_pair_lists_agents_and_games(capsys: Capture) -> None:
    assert cli.main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for name in (*GAMES, *AGENTS):
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE)


@pytest.mark.parametrize("game", ["CatchBall", "CatchBall:size=16", "rlgames/Cave-v0"])
def test_train_help_shows_the_preset_of_the_pair(game: str, capsys: Capture) -> None:
    preset = PRESETS["ppo", game.removeprefix("rlgames/").removesuffix("-v0")]
    text = help_of(["train", "ppo", game], capsys)
    assert text.startswith(f"usage: rlgames train ppo {game} [-h] [OPTIONS] Train an agent")
    assert f"It takes this many steps, summed over the environments. (default: {preset.steps})" in text
    assert f"environments are stepped at once. (default: {preset.envs})" in text
    rate = preset.config["learning_rate"]
    adam = "Training starts with this learning rate of Adam, with epsilon 1e-5."
    assert f"--config.learning-rate FLOAT {adam} (default: {rate})" in text
    n_steps = "Each environment takes this many steps between two updates."
    assert f"--config.n-steps INT {n_steps} (default: {preset.config['n_steps']})" in text
    assert "--agent" not in text


# ---- errors

INVALID = [
    ("bogus", "unknown command 'bogus': the commands are train, evaluate,"),
    ("Evalute", "unknown command 'Evalute': did you mean 'evaluate'? the commands are train, evaluate,"),
    ("--import nowhere.games list", "no module 'nowhere.games' to import: --import takes the name of a module in"),
    ("list --import", "no module '' to import"),
    ("list --import=games/mine.py", "no module 'games/mine.py' to import"),
    ("train", "expected an agent and a game first: rlgames train ppo CatchBall"),
    ("train ppo", "expected an agent and a game first"),
    ("train --seed 1 ppo CatchBall", "expected an agent and a game first"),
    ("train pppo CatchBall", "unknown agent 'pppo': did you mean 'ppo'? the agents are dqn, ddqn,"),
    ("train ppo CachBall", "unknown game 'CachBall': did you mean 'CatchBall'?"),
    ("train ppo CatchBall:size=9", "expected a CatchBall board of size 8 or 16, got 9"),
    ("train ppo CatchBall:size", "expected options as in 'CatchBall:size=16', got 'size'"),
    ("train ppo CatchBall:speed=3", "unknown option 'speed' for CatchBall: expected one of size,"),
    ("train ppo CatchBall:wrappers=noise", "unknown wrapper 'noise'"),
    ("train ppo Blackjack-v1", "expected Box observations, got Tuple"),
    ("train ppo CatchBall --steps 0", "expected steps >= 1, got 0"),
    ("train ppo CatchBall --steps many", "expected a whole number such as 100000, 100_000 or 1e5, got 'many'"),
    ("train ppo CatchBall --steps", "Missing value for argument '--steps'"),
    ("train ppo CatchBall --envs 0", "expected envs >= 1 or None, got 0"),
    ("train ppo CatchBall --seed -1", "expected --seed >= 0, got -1"),
    ("train ppo CatchBall --threads 0", "expected --threads >= 1, got 0"),
    ("train ppo CatchBall --log-every 0", "expected log_every >= 1 or None, got 0"),
    ("train ppo CatchBall --device nonsense", "no device 'nonsense' here"),
    ("train ppo CatchBall --config.n_epochs 0", "expected n_epochs to be an integer >= 1, got 0"),
    ("train ppo CatchBall --config.encoder eye", "invalid choice 'eye' for argument '--config.encoder'"),
    ("train ppo CatchBall --learning-rate 1", "Unrecognized options: --learning-rate, 1; did you mean --config."),
    ("train ppo CatchBall --resume", "holds no run to resume"),
    ("train ppo CatchBall --resume --overwrite", "--resume continues a run, --overwrite deletes it: choose one"),
    ("train ppo CatchBall --start nowhere", "nowhere: no such file"),
    ("train ppo CatchBall --out {run}", "holds a run already"),
    ("train ppo CatchBall --out {run} --resume", "was started with other settings"),
    ("train ppo CatchBall --out {run}/config.json/run", "cannot be written"),
    ("evaluate", "missing: PATH"),
    ("evaluate nowhere", "nowhere: no such file"),
    ("evaluate .", ". holds no checkpoint: give a checkpoint file, or the directory of a run"),
    ("evaluate {run}/config.json", "is not a checkpoint: expected a file written by rlgames"),
    ("evaluate {run}/damaged.ckpt", "is damaged or cut short"),
    ("evaluate {run} --episodes 0", "expected --episodes >= 1, got 0"),
    ("evaluate {run} --max-steps 0", "expected --max-steps >= 1, got 0"),
    ("evaluate {run} --seed -1", "expected --seed >= 0, got -1"),
    ("evaluate {run} --game Cave", "was saved with shape [8, 8], the environment has [48, 48]"),
    ("evaluate {run} --game Nope", "unknown game 'Nope'"),
    ("evaluate {run} --device nonsense", "no device 'nonsense' here"),
    ("evaluate {run} again", "Unrecognized options: again"),
    ("watch nowhere", "nowhere: no such file"),
    ("watch {run} --film film.avi", "expected a recording named *.gif, *.webp or *.mp4, got 'film.avi'"),
    ("watch {run} --seconds 0", "expected --seconds > 0, got 0.0"),
    ("watch {run} --size 0", "expected --size >= 1, got 0"),
    ("plot", "expected the directory of a run, or several, got none"),
    ("plot nowhere", "nowhere holds no run: expected the directory that rlgames train --out was given, a folder of"),
    ("plot {run} --x hours", "invalid choice 'hours' for argument '--x'"),
    ("plot {run} --y train/los", "no metric 'train/los' is logged: did you mean 'train/loss'? the metrics are score,"),
    ("plot {run} --out curves.jpg", "expected a picture named *.png or *.svg, got 'curves.jpg'"),
    ("compare {run}", "missing: B"),
    ("compare {run} nowhere", "nowhere holds no run"),
    ("compare {run} {run} --metric los", "no metric 'los' is logged: the metrics are score, eval,"),
    ("export {run}", "expected a folder to write: rlgames export RUN FOLDER, or --format onnx for a file"),
    ("export {run} agent --format onnx", "expected a file named *.onnx, got 'agent'"),
    ("export {run} a.onnx --format tflite", "invalid choice 'tflite' for argument '--format'"),
    ("export {run} {run}/config.json --episodes 1 --max-steps 1", "cannot be written"),
    ("play", "missing: GAME"),
    ("play Nope", "unknown game 'Nope'"),
    ("play CatchBall --zoom 0", "expected --zoom > 0, got 0.0"),
    ("play CatchBall:speed=3", "unknown option 'speed' for CatchBall"),
    ("play CartPole-v1", "CartPole-v1 cannot be played: it has no get_keys_to_action()"),
    ("list everything", "Unrecognized options: everything"),
    ("presets pppo", "unknown agent 'pppo': did you mean 'ppo'?"),
    ("presets ppo CachBall", "unknown game 'CachBall': did you mean 'CatchBall'?"),
    ("doctor --json", "Unrecognized options: --json (see rlgames doctor --help)"),
    ("demo --steps 0", "expected --steps >= 1, got 0"),
]


@pytest.mark.parametrize(("line", "message"), INVALID, ids=[line for line, _ in INVALID])
def test_usage_error_prints_one_line(
    line: str, message: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Exit status 2, nothing on stdout, and no file written."""
    (run / "damaged.ckpt").write_bytes((run / "checkpoints" / "best.ckpt").read_bytes()[:-5000])
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.format(run=run).split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [error] = [line for line in captured.err.splitlines() if not line.startswith("Compiling ")]
    assert message in error
    assert error.startswith("rlgames: ")
    assert list(tmp_path.iterdir()) == []


class FaultyEnv(gym.Env):
    """Raises an error in the method `faulty`."""

    observation_space, action_space = Box(0, 1, (2,), np.float32), Discrete(2)
    faulty, error = "step", ValueError

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self.observe("reset"), {}

    def step(self, action: int) -> Any:
        return self.observe("step"), 1.0, False, False, {}

    def observe(self, method: str) -> np.ndarray:
        if method == self.faulty:
            raise self.error(f"a bug in {method}")
        return np.zeros(2, np.float32)


class FaultyAgent(Random):
    """Baseline with bugs."""

    name = "faulty"

    def train(self, total_timesteps: int) -> Iterator[Any]:
        raise TypeError("a bug in train")
        yield

    def act(self, *_: Any) -> Any:
        raise ValueError("a bug in act")


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyEnv]]:
    """Register the game Faulty and the agent faulty."""
    module = ModuleType("faulty_game")
    game = SimpleNamespace(actions=("stay", "go"), observation=FaultyEnv.observation_space)
    module.game = lambda: game  # pyright: ignore[reportAttributeAccessIssue]  modules take any attribute
    module.make_vector_env = lambda game, num_envs, *, autoreset_mode: (  # pyright: ignore[reportAttributeAccessIssue]
        SyncVectorEnv([FaultyEnv] * num_envs, autoreset_mode=autoreset_mode)
    )
    monkeypatch.setitem(sys.modules, "faulty_game", module)
    with patch.dict(GAMES), patch.dict(AGENTS), patch.dict(gym.registry):
        rlgames.register_game("Faulty", "faulty_game", "a game with a bug")
        rlgames.register_agent(FaultyAgent)
        yield FaultyEnv
    load_game.cache_clear()


@pytest.mark.parametrize("method", ["reset", "step"])
@pytest.mark.parametrize("error", [ValueError, TypeError, OSError, BrokenPipeError, ImportError, KeyError])
def test_error_in_a_registered_game_keeps_its_traceback(
    method: str, error: type[Exception], faulty: type[FaultyEnv], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faulty, "faulty", method)
    monkeypatch.setattr(faulty, "error", error)
    with pytest.raises(error, match=f"^'?a bug in {method}'?$"):
        cli.main(
            ["train", "random", "Faulty", "--steps", "64", "--envs", "2", "--quiet", "--out", str(tmp_path / "run")]
        )


@pytest.mark.usefixtures("faulty")
def test_error_in_a_registered_agent_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="^a bug in train$"):
        cli.main(["train", "faulty", "CatchBall", "--steps", "64", "--envs", "2", "--out", str(tmp_path / "run")])
    with FaultyAgent("CatchBall", num_envs=1) as agent:
        agent.save(tmp_path / "agent.ckpt")
    for command in ("evaluate", "watch"):
        with pytest.raises(ValueError, match="^a bug in act$"):
            cli.main([command, str(tmp_path / "agent.ckpt")])


def test_interrupted_command_prints_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.List, "run", interrupted)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "rlgames: interrupted\n"


def test_closed_output_is_no_error() -> None:
    """As with `rlgames list | head -1`."""
    process = start(["-m", "rlgames", "--help"])
    try:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=120) == 141
        process.stderr.close()
    finally:
        process.kill()
        process.wait()


def start(argv: list[str], cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a Python process in which a warning is an error."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", *argv],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# ---- modules that register games

OWN_GAME = """
import rlgames
from rlgames.envs.cart_pole import game

rlgames.register_game("Mine", __name__, "a game from outside")
"""


@pytest.fixture
def own_game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a module in the current directory that registers the game Mine."""
    (tmp_path / "own_games").mkdir()
    (tmp_path / "own_games" / "mine.py").write_text(OWN_GAME)
    (tmp_path / "own_games" / "faulty.py").write_text("import no_such_package_of_theirs\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(rlgames.IMPORTED_MODULES, "")
    with patch.dict(GAMES), patch.dict(gym.registry):
        yield "own_games.mine"
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_games"]:
        del sys.modules[name]
    load_game.cache_clear()


def test_import_reaches_games_from_outside_in_every_command(own_game: str, run: Path, capsys: Capture) -> None:
    line = ["train", "random", "Mine", "--steps", "32", "--envs", "2", "--quiet", "--out", "run"]
    line += ["--evaluate-episodes", "1"]
    assert cli.main(line) == 2
    assert "unknown game 'Mine'" in capsys.readouterr().err
    assert cli.main([*line, "--import", own_game]) == 0
    assert cli.main([f"--import={own_game}", "evaluate", "run", "--episodes", "1"]) == 0
    assert cli.main(["list", "--import", own_game]) == 0
    assert re.search("^  Mine +a game from outside$", capsys.readouterr().out, re.MULTILINE)


def test_module_of_an_id_is_imported_from_the_current_directory(own_game: str, capsys: Capture) -> None:
    line = ["train", "random", f"{own_game}:Mine", "--steps", "32", "--envs", "2", "--quiet", "--out", "run"]
    assert cli.main([*line, "--evaluate-episodes", "1"]) == 0
    assert cli.main(["evaluate", "run", "--game", f"{own_game}:Mine", "--episodes", "1"]) == 0
    assert cli.main(["train", "random", "own_games.none:Mine"]) == 2
    assert "there is no module 'own_games.none' to import" in capsys.readouterr().err


def test_import_is_part_of_the_line_that_resumes(
    own_game: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("rlgames.runs.training.Progress.update", lambda *_: signal.raise_signal(signal.SIGTERM))
    line = ["--import", own_game, "train", "random", "Mine", "--steps", "9_000", "--envs", "2", "--out", "run"]
    assert cli.main(line) == 143
    again = shlex.join([*line[3:], "--import", own_game, "--resume"])
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"continue with: {PROGRAM} train {again}")


def test_import_happens_in_processes_of_the_command(own_game: str, tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["list", "--import", own_game]) == 0
    process = start(["-c", "import rlgames; print(rlgames.envs.registry.GAMES['Mine'].module)"], cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert (out, err) == (f"{own_game}\n", "")


@pytest.mark.slow
def test_workers_play_an_imported_game(own_game: str, tmp_path: Path) -> None:
    line = ["-m", "rlgames", "train", "a3c", "Mine", "--import", own_game, "--steps", "400", "--envs", "2", "--quiet"]
    process = start([*line, "--config.workers", "2", "--evaluate-episodes", "1"], cwd=tmp_path)
    out, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, ""), out


def test_import_that_fails_inside_the_module_keeps_its_traceback(own_game: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_theirs"):
        cli.main(["list", "--import", "own_games.faulty"])


# ---- train


def test_train_prints_a_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "random", "CatchBall:size=16", "--steps", "512", "--seed", "4", *SMALL[:2]]) == 0
    out = tmp_path / "runs" / "random-CatchBall-size=16-seed4"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"random on CatchBall:size=16: 512 steps, 16 envs, seed 4, in {out.relative_to(tmp_path)}"
    names = [line[:16].rstrip() for line in lines[-5:]]
    assert names == ["best evaluation", "training time", "curve", "metrics", "checkpoints"]
    for name in ("curve.png", "metrics.jsonl", "episodes.jsonl", "checkpoints/best.ckpt", "checkpoints/final.ckpt"):
        assert (out / name).exists()


@pytest.fixture
def one_thread() -> Iterator[list[str]]:
    """Return the option for runs that are compared bit for bit with those of another process."""
    before = torch.get_num_threads()
    yield ["--threads", "1"]
    torch.set_num_threads(before)


FRESH_PROCESS = """
import os, signal, sys
sys.argv[0] = "__main__.py"  # as with python -m rlgames
from rlgames.cli import main as main_module
from rlgames.cli.main import main
assert main(["--help"]) == 0
def check_imports(*heavy):
    assert not set(heavy) & sys.modules.keys(), sys.modules.keys()
check_imports("torch", "matplotlib", "cv2", "pygame")  # a command imports what it needs
for name in main_module.COMMANDS:
    try:
        assert not main([name, "--help"])
    except SystemExit as leave:
        assert not leave.code
assert main(["list"]) == main(["presets"]) == 0
assert main(["train", "ppo", "CachBall"]) == main(["evaluate", "run", "--episodes", "0"]) == 2
check_imports("torch", "matplotlib", "pygame")
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"  # read when torch is loaded
import rlgames
assert callable(rlgames.evaluate)
from rlgames.runs import trackers, training
assert callable(rlgames.evaluate)  # no import puts a module of that name in its place
trackers.summary_writer, training.draw_curve = lambda folder, step: None, lambda *_: None
update = training.Progress.update
def update_and_signal(progress, step, score):
    update(progress, step, score)
    if step == 1024:
        os.kill(os.getpid(), signal.SIGTERM)
training.Progress.update = update_and_signal
sys.exit(main())
"""


def test_process_stopped_by_sigterm_resumes_exactly(
    one_thread: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The process first prints every help, lists and errors, without importing torch."""
    line = ["train", "ppo", "CatchBall", "--steps", "3072", "--log-every", "256", "--evaluate-every", "1500"]
    line += [*SMALL, *one_thread]
    process = start(["-c", FRESH_PROCESS, *line, "--overwrite", "--out", "stopped"], cwd=tmp_path)
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 143, err
    assert re.fullmatch("rlgames: unknown game 'CachBall'.*\nrlgames: expected --episodes >= 1, got 0\n", err)
    assert out.startswith("usage: rlgames [-h]")
    again = re.search(r"^stopped by SIGTERM at step 1,024; continue with: python -m rlgames (.*)$", out, re.MULTILINE)
    assert again, out

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlgames.runs.training.draw_curve", lambda *_: None)
    assert cli.main(shlex.split(again[1])) == 0
    assert "resuming at step 1,024\n" in capsys.readouterr().out
    assert cli.main([*line, "--out", "uninterrupted"]) == 0
    assert Path("stopped/metrics.jsonl").read_bytes() == Path("uninterrupted/metrics.jsonl").read_bytes()
    for name in ("final.ckpt", "best.ckpt"):
        agents = [
            rlgames.load(Path(run, "checkpoints", name), weights_only=True) for run in ("stopped", "uninterrupted")
        ]
        one, other = (weights_sha256(agent.net.state_dict()) for agent in agents)
        assert one == other


def test_ctrl_c_stops_training_after_the_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setattr("rlgames.runs.training.Progress.update", lambda *_: signal.raise_signal(signal.SIGINT))
    line = ["train", "ppo", "CatchBall", "--steps", "2048", "--out", str(tmp_path / "a run"), *SMALL]
    assert cli.main(line) == 130
    captured = capfd.readouterr()
    assert captured.err.endswith("stopping after this update; again to stop now\n")
    last = captured.out.splitlines()[-1]
    assert (
        last == f"stopped by SIGINT at step 256; continue with: {PROGRAM} train {shlex.join([*line[1:], '--resume'])}"
    )


@pytest.mark.parametrize(("save_every", "start"), [("256", "step 256"), ("100000", "the beginning")])
def test_second_ctrl_c_interrupts_and_prints_the_line_that_resumes(
    save_every: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    signals = iter([0, 2])  # at each update

    def update(*_: Any) -> None:
        for _i in range(next(signals)):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("rlgames.runs.training.Progress.update", update)
    line = ["train", "ppo", "CatchBall", "--steps", "2048", "--out", str(tmp_path / "run"), *SMALL]
    line += ["--save-every", save_every]
    assert cli.main(line) == 130
    again = shlex.join([*line[1:], "--resume"])
    assert capfd.readouterr().err.splitlines()[-3:] == [
        "stopping after this update; again to stop now",
        f"not saved; continue from {start} with: {PROGRAM} train {again}",
        "rlgames: interrupted",
    ]


@pytest.mark.parametrize(("given", "expected"), [(None, 1), (3, 3)])
def test_commands_give_torch_the_threads_that_suit_the_network(
    given: int | None, expected: int, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for a small one, as many as --threads says, and then as many as before."""
    before, used = torch.get_num_threads(), []
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "own_numbers", lambda: {2})

    def note(method: Any) -> Any:
        def noting(*args: Any, **kwargs: Any) -> Any:
            used.append(torch.get_num_threads())
            return method(*args, **kwargs)

        return noting

    monkeypatch.setattr(PPO, "act", note(PPO.act))
    monkeypatch.setattr(PPO, "train_minibatch", note(PPO.train_minibatch))
    out = str(tmp_path / "out")
    line = ["train", "ppo", "CatchBall", "--steps", "256", "--quiet", "--out", out, *SMALL]
    options = [] if given is None else ["--threads", str(given)]
    torch.set_num_threads(2)
    try:
        assert cli.main([*line, *options]) == 0
        assert cli.main(["evaluate", out, "--episodes", "2", "--max-steps", "3", *options]) == 0
        assert cli.main(["watch", out, "--seconds", "0.4", *options]) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(used) == {expected}


# ---- evaluate and watch


def evaluate_json(path: Path, capsys: Capture, *options: str) -> dict[str, Any]:
    """Return the object that `rlgames evaluate --json` prints."""
    capsys.readouterr()
    assert cli.main(["evaluate", str(path), "--json", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    return json.loads(captured.out)


def test_evaluate_prints_json(run: Path, capsys: Capture) -> None:
    printed = evaluate_json(run, capsys, "--episodes", "3", "--seed", "9")
    agent = rlgames.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    result = rlgames.evaluate(agent, episodes=3, seed=9)
    assert printed == {
        "path": str(run / "checkpoints" / "best.ckpt"),
        "agent": "ppo",
        "game": "CatchBall",
        "step": agent.step,
        "episodes": 3,
        "seed": 9,
        "deterministic": True,
        "max_steps": None,
        "capped": 0,
        "wins": 0,
        "goal_share": 0.0,
        "limit_share": 0.0,
        "mean": result.mean,
        "interval": list(result.interval),
        "median": result.median,
        "worst_tenth": result.worst_tenth,
        "std": result.std,
        "mean_length": np.mean(result.lengths),
        "min": min(result.scores),
        "max": max(result.scores),
        "scores": result.scores,
        "lengths": result.lengths,
        "weights_sha256": weights_sha256(agent.net.state_dict()),
    }


def test_evaluate_takes_a_game_sampled_actions_and_a_limit(run: Path, capsys: Capture) -> None:
    path = run / "checkpoints" / "final.ckpt"
    options = ("--game", "rlgames/CatchBall-v0", "--sample", "--max-steps", "5", "--episodes", "2")
    printed = evaluate_json(path, capsys, *options)
    assert (printed["path"], printed["deterministic"], printed["lengths"]) == (str(path), False, [5, 5])


def test_evaluate_prints_lines(run: Path, capsys: Capture) -> None:
    assert cli.main(["evaluate", str(run), "--episodes", "2", "--max-steps", "3"]) == 0
    title, score, rest, goal, limit, length = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*/small/checkpoints/best.ckpt: ppo after [\d,]+ steps on CatchBall", title)
    assert score == "score   mean 0.0, 95% interval 0.0 to 0.0, of 2 episodes"
    assert rest == "        median 0.0, worst tenth 0.0, lowest 0.0, highest 0.0"
    assert goal == "goal    reached in 0 of 2 episodes (0%)"
    assert limit == "limit   2 of 2 episodes (100%) truncated by --max-steps"
    assert length == "length  mean 3.0 agent steps"


def test_agent_without_a_game_needs_the_option(tmp_path: Path, capsys: Capture) -> None:
    Random(gym.make("CartPole-v1")).save(tmp_path / "agent.ckpt")
    assert cli.main(["evaluate", str(tmp_path / "agent.ckpt")]) == 2
    assert "its agent was not made from a game's name: say what to play with --game" in capsys.readouterr().err
    printed = evaluate_json(tmp_path / "agent.ckpt", capsys, "--game", "CartPole-v1", "--episodes", "1")
    assert printed["game"] == "CartPole-v1"


def test_checkpoint_of_an_unfinished_run_is_its_newest(run: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("step-000000000256.ckpt", "step-000000001024.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    assert find_checkpoint(tmp_path).name == "step-000000001024.ckpt"
    assert find_checkpoint(run).name == "best.ckpt"


def test_watch_writes_a_recording(run: Path, tmp_path: Path, capsys: Capture) -> None:
    [length] = evaluate_json(run, capsys, "--episodes", "1", "--seed", "3")["lengths"]
    out = tmp_path / "recordings" / "catch.gif"
    assert cli.main(["watch", str(run), "--film", str(out), "--seed", "3", "--size", "120"]) == 0
    title, score, recording = capsys.readouterr().out.splitlines()
    assert title.endswith("steps on CatchBall")
    assert re.fullmatch(r"score      -?\d+\.0", score)
    assert re.fullmatch(rf"recording  {re.escape(str(out))} \(\d+\.\d s, \d+ kB\)", recording)
    with Image.open(out) as frames:
        assert (getattr(frames, "n_frames", 1), frames.size) == (length + 1, (120, 120 + 24))
    assert cli.main(["watch", str(run), "--film", str(out), "--seed", "3", "--size", "120", "--no-captions"]) == 0
    with Image.open(out) as frames:
        assert frames.size == (120, 120)


def test_watch_cuts_the_recording_off(run: Path, capsys: Capture) -> None:
    """Without --film it is written beside the checkpoint, or into the run's directory.

    Without --seed it is the median episode.
    """
    assert cli.main(["watch", str(run), "--seconds", "0.6"]) == 0
    _, score, episode, _ = capsys.readouterr().out.splitlines()
    assert score == "score      0.0, cut off after 0.6 s: --seconds makes it longer"
    assert episode == "episode    seed 2, the median of 0.0, 0.0, 0.0, 0.0, 0.0 with seeds 0 to 4"
    assert (run / "film.gif").exists()
    assert cli.main(["watch", str(run / "checkpoints" / "final.ckpt"), "--seconds", "0.2", "--sample"]) == 0
    assert (run / "checkpoints" / "final.gif").exists()


def test_watch_names_the_extra_that_mp4_needs(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert cli.main(["watch", str(run), "--film", str(tmp_path / "film.mp4")]) == 2
    assert 'pip install "rlgames[video]"' in capsys.readouterr().err


# ---- export


def test_export_writes_agent_and_card(run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "zoo" / "catch"
    assert cli.main(["export", str(run), str(out), "--episodes", "3", "--seed", "9"]) == 0
    assert str(out / "agent.ckpt") in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["agent.ckpt", "card.json"]
    card = json.loads((out / "card.json").read_text())
    agent = rlgames.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    printed = evaluate_json(out, capsys, "--episodes", "3", "--seed", "9")
    assert printed["weights_sha256"] == weights_sha256(agent.net.state_dict())
    assert card["evaluation"] == {key: value for key, value in printed.items() if key not in ("path", "lengths")}
    assert {key: card[key] for key in agent.header()} == agent.header()
    assert card["command"].startswith("rlgames train ppo CatchBall --steps 1024 ")
    assert (card["checkpoint"], card["machines"]) == ("best", [describe_machine(torch.device("cpu"))])
    assert card["sha256"] == hashlib.sha256((out / "agent.ckpt").read_bytes()).hexdigest()
    assert card["bytes"] == (out / "agent.ckpt").stat().st_size
    times = [json.loads(line) for line in (run / "times.jsonl").read_text().splitlines()]
    assert card["training_seconds"] in [row["seconds"] for row in times if row["step"] == agent.step]

    assert cli.main(["export", str(run), str(out)]) == 2
    assert f"{out} holds an agent already: choose another folder, or give --overwrite" in capsys.readouterr().err
    final = str(run / "checkpoints" / "final.ckpt")
    assert cli.main(["export", final, str(out), "--episodes", "1", "--max-steps", "3", "--overwrite"]) == 0
    card = json.loads((out / "card.json").read_text())
    assert card["training_seconds"] == times[-1]["seconds"]
    assert (card["evaluation"]["max_steps"], card["evaluation"]["capped"]) == (3, 1)


def test_export_finds_the_training_time_from_a_relative_path(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run / "checkpoints")
    line = ["export", "best.ckpt", str(tmp_path / "out"), "--episodes", "1", "--max-steps", "3"]
    assert cli.main(line) == 0
    assert "training_seconds" in json.loads((tmp_path / "out" / "card.json").read_text())


# ---- play


def test_play_opens_a_window_and_prints_scores(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    events = [[]] * 45 + [[pygame.event.Event(pygame.QUIT)]]
    monkeypatch.setattr(pygame.event, "get", lambda: events.pop(0))
    assert cli.main(["play", "CartPole", "--seed", "1"]) == 0
    keys, scores = [], []
    for line in capsys.readouterr().out.splitlines():
        (scores if line.startswith("score") else keys).append(line)
    env = gym.make("rlgames/CartPole-v0")
    assert len(keys) == len(env.get_wrapper_attr("get_keys_to_action")()) + 2
    assert keys[-2:] == ["no key  push left", "escape  quit"]
    assert re.fullmatch(r"score \d+\.0", scores[0])
    assert len({scores[0], scores[1]}) == 1  # the same seed and no key: the same episode
    assert re.fullmatch(r"score \d+\.0, not finished", scores[-1])


def test_play_reports_a_window_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    pygame = pytest.importorskip("pygame")

    def fail(*_: Any, **__: Any) -> None:
        raise pygame.error("no video device")

    monkeypatch.setattr(play_module, "import_window", lambda: (pygame, fail))
    assert cli.main(["play", "CartPole"]) == 2
    assert capsys.readouterr().err == "rlgames: the window cannot be opened: no video device\n"


def test_play_needs_pygame_and_a_display(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not play_module.has_display()
    if find_spec("pygame"):
        assert cli.main(["play", "CatchBall"]) == 2
        assert "there is no display to open a window on" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert cli.main(["play", "CatchBall"]) == 2
    assert capsys.readouterr().err == 'rlgames: a window needs the extra play: pip install "rlgames[play]"\n'


# ---- demo


def test_demo_trains_tests_and_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    line = ["demo", "--steps", "4096", "--out", str(tmp_path / "demo")]
    assert cli.main(line) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "learns to catch falling balls" in lines[0]
    assert "99 is the best score" in lines[1]
    assert "It has not learned the game: expected a mean of at least 97" in lines[-1]
    fields = {row[:16].rstrip(): row[17:] for row in lines[-9:-2]}
    assert [*fields] == ["score", "best possible", "training time", "curve", "recording", "metrics", "checkpoint"]
    for name in ("curve", "recording", "metrics", "checkpoint"):
        assert Path(fields[name]).exists()
    with Image.open(fields["curve"]) as curve:
        assert np.asarray(curve).std() > 0
    monkeypatch.setattr(demo, "EXPECTED", -1)
    assert cli.main(line) == 0  # overwrites the earlier one


def test_interrupted_demo_can_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("rlgames.runs.training.Progress.update", lambda *_: signal.raise_signal(signal.SIGINT))
    assert cli.main(["demo", "--steps", "8192", "--out", str(tmp_path / "demo")]) == 130
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "stopped by SIGINT at step 4,096; rlgames demo starts again"
