"""The command line: what each command says and leaves behind, and how it refuses."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

import rlgames
from rlgames.checkpoint.file import weights_sha256
from rlgames.cli import commands, demo, doctor
from rlgames.cli import main as cli
from rlgames.cli import play as human
from rlgames.networks import precision as arithmetic
from rlgames.presets.lookup import PRESETS
from rlgames.runs.directory import find_checkpoint

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "evaluate", "watch", "export", "play", "list", "doctor", "demo")
SMALL = ("--envs", "16", "--config.n_steps", "16", "--evaluate-episodes", "2", "--evaluate-max-steps", "30")


def start(*argv: str, **options) -> subprocess.Popen:
    """A process of its own, in which a warning is an error."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-W", "error", "-m", "rlgames", *argv]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env=surroundings, stdin=subprocess.DEVNULL, **pipes, **options)


def helped(argv: list[str], capsys) -> str:
    """What `--help` prints, in one line without its frames."""
    with pytest.raises(SystemExit) as left:
        cli.main([*argv, "--help"])
    assert not left.value.code
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The directory of a small training, which every test may read."""
    out = tmp_path_factory.mktemp("runs") / "small"
    assert (
        cli.main(["train", "PPO", "rlgames/CatchBall-v0", "--steps", "2048", "--out", str(out), "--quiet", *SMALL]) == 0
    )
    return out


# ---- help


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_the_usage_names_each_command(argv, capsys):
    assert cli.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [*COMMANDS] == [*cli.COMMANDS]
    assert max(map(len, lines)) <= 88


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"rlgames {rlgames.__version__}\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "evaluate",
            ["PATH", "--episodes INT to play (default: 20)", "--json", "--max-steps INT", "--sample", "--game STR"],
        ),
        (
            "watch",
            ["PATH", "--out PATH *.gif, or *.mp4", "--seconds FLOAT of film at most (default: 30.0)", "--size INT"],
        ),
        ("export", ["PATH OUT", "--episodes INT to play for the card (default: 20)", "--overwrite"]),
        ("play", ["GAME such as Cave", "--zoom FLOAT", "--seed INT"]),
        ("list", ["Tell which games"]),
        ("doctor", ["Look at this machine"]),
        ("demo", ["--out PATH", "(default: runs/demo)"]),
    ],
)
def test_help_is_made_of_the_options(name, expected, capsys):
    text = helped([name], capsys)
    assert text.startswith(f"usage: rlgames {name} [-h]")
    assert not [piece for piece in expected if piece not in text]


def test_train_help_without_a_pair_names_agents_and_games(capsys):
    assert cli.main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for name in (*cli.GAMES, *commands.agents.AGENTS):
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE)


@pytest.mark.parametrize("game", ["CatchBall", "CatchBall:size=16", "rlgames/Cave-v0"])
def test_train_help_shows_the_defaults_of_the_pair(game, capsys):
    preset = PRESETS["ppo", game.removeprefix("rlgames/").removesuffix("-v0")]
    text = helped(["train", "ppo", game], capsys)
    assert text.startswith(f"usage: rlgames train ppo {game} [-h] [OPTIONS] Train an agent")
    assert f"environment steps, all players counted (default: {preset.steps})" in text
    assert f"players at once (default: {preset.envs})" in text
    assert f"--config.learning-rate FLOAT Adam, epsilon 1e-5 (default: {preset.config.learning_rate})" in text
    assert "--agent" not in text


def test_help_is_quick_because_it_loads_nothing_heavy():
    heavy = {"torch", "numba", "matplotlib", "rich", "PIL", "pygame"}
    script = f"import rlgames.cli.main, sys; print(*sorted({heavy} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# ---- refusals

REFUSED = [
    ("bogus", "no command is called 'bogus': the commands are train, evaluate,"),
    ("train", "expected an agent and a game first: rlgames train ppo CatchBall"),
    ("train ppo", "expected an agent and a game first"),
    ("train --seed 1 ppo CatchBall", "expected an agent and a game first"),
    ("train pppo CatchBall", "no agent is called 'pppo': the agents are dqn, ddqn,"),
    ("train ppo CachBall", "no game is called 'CachBall': did you mean 'CatchBall'?"),
    ("train ppo CatchBall:size=9", "size 8 or 16, got 9"),
    ("train ppo CatchBall:size", "expected options as in 'CatchBall:size=16', got 'size'"),
    ("train ppo CatchBall:speed=3", "CatchBall has no option 'speed'"),
    ("train ppo Blackjack-v1", "agents here learn Box observations and Discrete actions"),
    ("train ppo CatchBall --steps 0", "expected steps >= 1, got 0"),
    ("train ppo CatchBall --steps many", "Error parsing --steps: "),
    ("train ppo CatchBall --steps", "Missing value for argument '--steps'"),
    ("train ppo CatchBall --envs 0", "expected envs >= 1, got 0"),
    ("train ppo CatchBall --seed -1", "expected --seed >= 0, got -1"),
    ("train ppo CatchBall --threads 0", "expected --threads >= 1, got 0"),
    ("train ppo CatchBall --log-every 0", "expected log_every >= 1, got 0"),
    ("train ppo CatchBall --device nonsense", "no device 'nonsense' here"),
    ("train ppo CatchBall --config.n_epochs 0", "expected epochs >= 1, got 0"),
    ("train ppo CatchBall --config.encoder eye", "unknown encoder 'eye'"),
    ("train ppo CatchBall --learning-rate 1", "Unrecognized options: --learning-rate, 1; did you mean --config."),
    ("train ppo CatchBall --resume", "holds no run to resume"),
    ("train ppo CatchBall --resume --overwrite", "--resume goes on with a run, --overwrite throws it away: choose one"),
    ("train ppo CatchBall --out {run}", "holds a run already"),
    ("train ppo CatchBall --out {run} --resume", "was started with other settings"),
    ("evaluate", "missing: PATH"),
    ("evaluate nowhere", "nowhere: there is no such file"),
    ("evaluate .", ". holds no checkpoint: give a checkpoint file, or the directory of a run"),
    ("evaluate {run}/config.json", "does not begin as a checkpoint does"),
    ("evaluate {run}/damaged.ckpt", "is damaged or cut short"),
    ("evaluate {run} --episodes 0", "expected --episodes >= 1, got 0"),
    ("evaluate {run} --max-steps 0", "expected --max-steps >= 1, got 0"),
    ("evaluate {run} --seed -1", "expected --seed >= 0, got -1"),
    ("evaluate {run} --game Cave", "was saved with shape [8, 8], the environment has [48, 48]"),
    ("evaluate {run} --game Nope", "no game is called 'Nope'"),
    ("evaluate {run} --device nonsense", "no device 'nonsense' here"),
    ("evaluate {run} again", "Unrecognized options: again"),
    ("watch nowhere", "nowhere: there is no such file"),
    ("watch {run} --out film.avi", "expected a film called *.gif or *.mp4, got 'film.avi'"),
    ("watch {run} --seconds 0", "expected --seconds > 0, got 0.0"),
    ("watch {run} --size 0", "expected --size >= 1, got 0"),
    ("play", "missing: GAME"),
    ("play Nope", "no game is called 'Nope'"),
    ("play CatchBall --zoom 0", "expected --zoom > 0, got 0.0"),
    ("play CartPole-v1", "CartPole-v1 does not say with which keys a person plays it"),
    ("list everything", "Unrecognized options: everything"),
    ("demo --steps 0", "expected --steps >= 1, got 0"),
]


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=[line for line, _ in REFUSED])
def test_bad_input_gets_one_line(line, message, run, tmp_path, monkeypatch, capsys):
    damaged = run / "damaged.ckpt"
    damaged.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes()[:-5000])
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.format(run=run).split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.startswith("rlgames: ")
    assert said.err.count("\n") == 1
    assert not [*tmp_path.iterdir()]  # nothing was begun


def test_a_refusal_has_no_traceback_in_a_process_of_its_own():
    process = start("train", "ppo", "CachBall")
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert re.fullmatch("rlgames: no game is called .*\n", err)


def test_what_nobody_expected_keeps_its_traceback(monkeypatch):
    def broken(self):
        raise ValueError("a bug")

    monkeypatch.setattr(commands.List, "run", broken)
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["list"])


def test_an_interrupt_ends_any_command_without_a_traceback(monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.List, "run", interrupted)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "rlgames: interrupted\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    process = start("--help")
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
    process.stderr.close()


# ---- train


def test_train_tells_what_it_did_and_where(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "random", "CatchBall:size=16", "--steps", "512", "--seed", "4", *SMALL[:4]]) == 0
    out = tmp_path / "runs" / "random-CatchBall-size=16-seed4"
    said = capsys.readouterr().out
    for line in ("random on CatchBall:size=16: 512 steps, 16 players, seed 4", "best evaluation", "training took"):
        assert line in said
    for left in ("curve.png", "metrics.jsonl", "checkpoints/best.ckpt", "checkpoints/final.ckpt"):
        assert (out / left).exists()


@pytest.fixture
def one_thread():
    """For runs that are compared bit for bit with those of another process."""
    before = torch.get_num_threads()
    yield ["--threads", "1"]
    torch.set_num_threads(before)


def test_a_run_stopped_by_sigterm_and_resumed_equals_the_unbroken_one(one_thread, tmp_path, monkeypatch, capsys):
    line = ["train", "ppo", "CatchBall", "--steps", "12800", "--log-every", "256", "--evaluate-every", "4000"]
    line += [*SMALL, *one_thread]
    stopped = start(*line, "--overwrite", "--out", "stopped", cwd=tmp_path)
    metrics = tmp_path / "stopped" / "metrics.jsonl"
    while stopped.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") > 5):
        time.sleep(0.005)
    stopped.send_signal(signal.SIGTERM)
    said, complaints = stopped.communicate()
    assert (stopped.returncode, complaints) == (143, "")
    found = re.search(r"^stopped by SIGTERM at step ([\d,]+); go on with: python -m rlgames (.*)$", said, re.MULTILINE)
    assert found
    assert 0 < int(found[1].replace(",", "")) < 12800

    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(found[2])) == 0
    assert f"going on from step {found[1]}\n" in capsys.readouterr().out
    assert cli.main([*line, "--out", "unbroken"]) == 0
    assert metrics.read_bytes() == Path("unbroken/metrics.jsonl").read_bytes()
    for name in ("final.ckpt", "best.ckpt"):
        one, other = (evaluated(Path(run, "checkpoints", name), capsys) for run in ("unbroken", "stopped"))
        assert one["weights_sha256"] == other["weights_sha256"]
        assert one["scores"] == other["scores"]


def test_ctrl_c_ends_training_after_the_update(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rlgames.runs.training.Progress.update", lambda *_: signal.raise_signal(signal.SIGINT))
    line = ["train", "ppo", "CatchBall", "--steps", "2048", "--out", str(tmp_path / "a run"), *SMALL]
    assert cli.main(line) == 130
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"stopped by SIGINT at step 256; go on with: {cli.PROGRAM} {shlex.join([*line, '--resume'])}"


def test_threads_are_torch_s_own_unless_told(tmp_path):
    before = torch.get_num_threads()
    asked = 2 if before == 1 else 1
    line = ["train", "random", "CatchBall", "--steps", "256", "--quiet", *SMALL[:4], "--out", str(tmp_path / "run")]
    try:
        assert cli.main(line) == 0
        assert torch.get_num_threads() == before
        assert cli.main([*line, "--overwrite", "--threads", str(asked)]) == 0
        assert torch.get_num_threads() == asked
    finally:
        torch.set_num_threads(before)


# ---- evaluate and watch


def evaluated(path: Path, capsys, *options: str) -> dict:
    capsys.readouterr()
    assert cli.main(["evaluate", str(path), "--json", *options]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    return json.loads(said.out)


def test_evaluate_in_json(run, capsys):
    told = evaluated(run, capsys, "--episodes", "3", "--seed", "9")
    agent = rlgames.load(run / "checkpoints" / "best.ckpt")
    result = rlgames.evaluate(agent, episodes=3, seed=9)
    assert told == {
        "path": str(run / "checkpoints" / "best.ckpt"),
        "agent": "ppo",
        "game": "CatchBall",
        "step": agent.step,
        "episodes": 3,
        "seed": 9,
        "deterministic": True,
        "max_steps": None,
        "capped": 0,
        "wins": None,
        "mean": result.mean,
        "std": result.std,
        "min": min(result.scores),
        "max": max(result.scores),
        "scores": result.scores,
        "lengths": result.lengths,
        "weights_sha256": weights_sha256(agent.net.state_dict()),
    }


def test_evaluate_takes_a_game_sampled_actions_and_a_limit(run, capsys):
    path = run / "checkpoints" / "final.ckpt"
    told = evaluated(path, capsys, "--game", "rlgames/CatchBall-v0", "--sample", "--max-steps", "5", "--episodes", "2")
    assert (told["path"], told["deterministic"], told["lengths"]) == (str(path), False, [5, 5])


def test_evaluate_in_words(run, capsys):
    assert cli.main(["evaluate", str(run), "--episodes", "2", "--max-steps", "3"]) == 0
    title, score, length = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*/small/checkpoints/best.ckpt: ppo after [\d,]+ steps on CatchBall", title)
    assert score == "score   mean 0.0 +- 0.0 over 2 episodes (lowest 0.0, highest 0.0)"
    assert length == "length  mean 3.0 agent steps, 2 cut short by --max-steps"


def test_a_run_without_a_best_or_final_checkpoint_gives_its_newest(run, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("step-000000000256.ckpt", "step-000000001024.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    assert find_checkpoint(tmp_path).name == "step-000000001024.ckpt"
    assert find_checkpoint(run).name == "best.ckpt"


def test_watch_writes_a_film(run, tmp_path, capsys):
    [length] = evaluated(run, capsys, "--episodes", "1", "--seed", "3")["lengths"]
    out = tmp_path / "films" / "catch.gif"
    assert cli.main(["watch", str(run), "--out", str(out), "--seed", "3", "--size", "120"]) == 0
    title, score, film = capsys.readouterr().out.splitlines()
    assert title.endswith("steps on CatchBall")
    assert re.fullmatch(r"score   -?\d+\.0", score)
    assert re.fullmatch(rf"film    {re.escape(str(out))} \(\d+\.\d s, \d+ kB\)", film)
    with Image.open(out) as pictures:
        assert (getattr(pictures, "n_frames", 1), pictures.size) == (length + 1, (120, 120))


def test_watch_says_when_the_film_is_full_and_lies_beside_what_it_shows(run, capsys):
    assert cli.main(["watch", str(run), "--seconds", "0.6"]) == 0
    assert "score   0.0, when the film was full after 0.6 s: --seconds makes it longer" in capsys.readouterr().out
    assert (run / "film.gif").exists()
    assert cli.main(["watch", str(run / "checkpoints" / "final.ckpt"), "--seconds", "0.2", "--sample"]) == 0
    assert (run / "checkpoints" / "final.gif").exists()


def test_watch_names_the_extra_that_mp4_needs(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert cli.main(["watch", str(run), "--out", str(tmp_path / "film.mp4")]) == 2
    assert 'pip install "rlgames[video]"' in capsys.readouterr().err


# ---- export


def test_export_of_a_file_in_the_folder_where_one_stands(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(run / "checkpoints")
    assert cli.main(["export", "best.ckpt", str(tmp_path / "out"), "--episodes", "1"]) == 0
    assert "training_seconds" in json.loads((tmp_path / "out" / "card.json").read_text())


def test_export_leaves_a_folder_to_hand_on(run, tmp_path, capsys):
    out = tmp_path / "zoo" / "catch"
    assert cli.main(["export", str(run), str(out), "--episodes", "3", "--seed", "9"]) == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["agent.ckpt", "card.json"]
    agent, card = rlgames.load(run / "checkpoints" / "best.ckpt"), json.loads((out / "card.json").read_text())
    told = evaluated(out, capsys, "--episodes", "3", "--seed", "9")
    assert told["weights_sha256"] == weights_sha256(agent.net.state_dict())
    assert card["evaluation"] == {key: value for key, value in told.items() if key not in ("path", "lengths")}
    assert {key: card[key] for key in agent.header()} == agent.header()
    times = [json.loads(line) for line in (run / "times.jsonl").read_text().splitlines()]
    assert card["training_seconds"] in [row["seconds"] for row in times if row["step"] == agent.step]
    assert str(out / "agent.ckpt") in said
    assert cli.main(["export", str(run), str(out)]) == 2
    assert f"{out} holds an agent already: choose another folder, or give --overwrite" in capsys.readouterr().err
    final = str(run / "checkpoints" / "final.ckpt")
    assert cli.main(["export", final, str(out), "--episodes", "1", "--max-steps", "3", "--overwrite"]) == 0
    card = json.loads((out / "card.json").read_text())
    assert card["training_seconds"] == times[-1]["seconds"]
    assert (card["evaluation"]["max_steps"], card["evaluation"]["capped"]) == (3, 1)


# ---- play


def test_play_opens_a_window_and_tells_the_score(monkeypatch, capsys):
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
    assert keys[-2:] == ["no key  push left", "escape  the end"]
    assert re.fullmatch(r"score \d+\.0", scores[0])
    assert len({scores[0], scores[1]}) == 1  # the same seed and no key: the same episode
    assert re.fullmatch(r"score \d+\.0, not played to its end", scores[-1])


def test_play_needs_pygame_and_a_display(monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not human.has_display()
    assert cli.main(["play", "CatchBall"]) == 2
    assert "there is no display to open a window on" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert cli.main(["play", "CatchBall"]) == 2
    assert capsys.readouterr().err == 'rlgames: a window needs the extra play: pip install "rlgames[play]"\n'


# ---- list and doctor


def test_list_is_plain_when_nobody_looks(capsys):
    assert cli.main(["list"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  rlgames/CatchBall-v0  .*  8 x 8 uint8 +stay, left, right +size=8$", text, re.MULTILINE)
    assert re.search(r"^  rlgames/Cave-v0 .*  48 x 48 uint8 +fall, rise +antialias=False$", text, re.MULTILINE)
    assert re.search(r"^  ppo +proximal policy optimisation", text, re.MULTILINE)
    for (agent, game), preset in PRESETS.items():
        assert re.search(rf"^  {agent} +{re.escape(game)} +{preset.envs} +{preset.steps:,}$", text, re.MULTILINE)
    assert not re.search("[\x1b─│]", text)


def test_list_draws_tables_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["list"]) == 0
    text = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    assert "rlgames/CatchBall-v0" in text
    assert "─────" in text
    assert max(map(len, text.splitlines())) <= 80


def test_doctor_tells_what_is_there(capsys):
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for name in ("python", *doctor.CORE, "cores", "device", "bfloat16", "compiled games", "display"):
        assert re.search(rf"^  {name}  +\S", text, re.MULTILINE), name
    for extra, modules in doctor.EXTRAS.items():
        for name in modules:
            assert re.search(
                rf"^  {name} \(extra {extra}\)  +(missing +pip install \"rlgames\[{extra}\]\"|\S+$)", text, re.MULTILINE
            )


def test_doctor_looks_at_all_that_the_project_depends_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {
        part: [re.split("[>=<]", line)[0] for line in lines] for part, lines in project["optional-dependencies"].items()
    }
    assert [*doctor.CORE] == [re.split("[>=<]", line)[0] for line in project["dependencies"]]
    ours = {"all", "dev", "bench"}
    assert {extra: [*modules] for extra, modules in doctor.EXTRAS.items()} == {
        extra: listed for extra, listed in names.items() if extra not in ours
    }


def test_doctor_fails_without_a_core_dependency(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CORE", {"nonsense": "no_such_module"})
    monkeypatch.setattr(doctor, "EXTRAS", {"fun": {"jokes": "no_such_jokes"}})
    assert cli.main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert re.search(r"nonsense +missing +pip install", text)
    assert re.search(r'jokes \(extra fun\) +missing +pip install "rlgames\[fun\]"', text)


def test_doctor_says_what_bfloat16_is_worth(tmp_path, monkeypatch):
    monkeypatch.setattr(arithmetic, "CPUINFO", tmp_path / "slow")
    assert "not known to be faster" in doctor.bfloat16()
    monkeypatch.setattr(arithmetic, "CPUINFO", tmp_path / "fast")
    (tmp_path / "fast").write_text("flags : fpu amx_bf16\n")
    assert "faster than float32 on this CPU" in doctor.bfloat16()


# ---- demo


def test_the_demo_says_what_it_does_and_leaves_what_it_says(tmp_path, monkeypatch, capsys):
    line = ["demo", "--steps", "4096", "--out", str(tmp_path / "demo")]
    assert cli.main(line) == 1
    said = capsys.readouterr().out.splitlines()
    assert "learns to catch falling balls" in said[0]
    assert "99 is the best score" in said[1]
    assert "It has not learned the game: expected a mean of at least 97" in said[-1]
    told = {row[:16].rstrip(): row[17:] for row in said[-9:-2]}
    assert [*told] == ["score", "best possible", "training took", "curve", "film", "metrics", "checkpoint"]
    for name in ("curve", "film", "metrics", "checkpoint"):
        assert Path(told[name]).exists()
    with Image.open(told["curve"]) as curve:
        assert np.asarray(curve).std() > 0
    monkeypatch.setattr(demo, "EXPECTED", -1)
    assert cli.main(line) == 0  # over the earlier one
