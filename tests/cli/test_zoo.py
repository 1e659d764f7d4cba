"""`rlgames zoo` and `reproduce`, and agents of the zoo by name in the other commands; the command on a card."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from rlgames.agents.registry import load
from rlgames.checkpoint.file import config_to_json
from rlgames.cli import main as cli
from rlgames.cli.export import training_command
from rlgames.runs.training import Training
from rlgames.wrappers import Rewards
from rlgames.zoo import manifest
from rlgames.zoo.manifest import read_manifest
from rlgames.zoo.table import table_rows

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
TRAINING = "--steps 1024 --envs 8 --config.n-steps 16 --config.net-arch 16 --evaluate-episodes 4 --threads 1 --seed 3"


def output(line: str, capsys: Capture, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.main(line.split()) == status
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without a zoo/; without TensorBoard, which takes seconds to import."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLGAMES_ZOO", raising=False)
    monkeypatch.setattr("rlgames.runs.trackers.summary_writer", lambda folder, step: None)


# ---- zoo


@pytest.mark.parametrize("columns", [80, 120])
def test_zoo_lists_the_agents(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = output("zoo", capsys).splitlines()
    assert max(map(len, lines)) <= columns
    for name, _, game, steps, _, mean, interval, *_ in table_rows(read_manifest()):
        [line] = [line for line in lines if line.startswith(f"{name} ")]
        assert re.search(rf" {game.split(',')[0]}\b.* {mean} +{interval} ", line)
        assert columns == 80 or f" {steps} " in line


def test_zoo_prints_json_and_one_agent(capsys: Capture) -> None:
    cards = {name: asdict(card) for name, card in read_manifest().items()}
    assert json.loads(output("zoo --json", capsys)) == cards
    assert json.loads(output("zoo catch-ppo --json", capsys)) == cards["catch-ppo"]
    text = output("zoo catch-ppo", capsys)
    assert cards["catch-ppo"]["command"] in text
    assert f"sha256 {cards['catch-ppo']['sha256'][:16]}...\n" in text
    assert max(map(len, text.splitlines())) <= 80
    for name in cards:
        assert output(f"zoo {name}", capsys)


@pytest.mark.parametrize("command", ["zoo", "reproduce"])
def test_unknown_name_is_one_line(command: str, capsys: Capture) -> None:
    assert cli.main([command, "catch_ppo"]) == 2
    assert "unknown trained agent 'catch_ppo': did you mean catch-" in capsys.readouterr().err


# ---- agents by name


def test_evaluate_plays_the_episodes_of_the_manifest_again(capsys: Capture) -> None:
    printed = json.loads(output("evaluate catch-ppo --json", capsys))
    expected = read_manifest()["catch-ppo"].evaluation
    assert {key: printed[key] for key in expected} == expected
    assert len(json.loads(output("evaluate zoo/catch-ppo --json --episodes 3", capsys))["scores"]) == 3


def test_evaluate_takes_weights_from_elsewhere(tmp_path: Path, capsys: Capture) -> None:
    """And a file of that name comes first, unless --zoo is given."""
    shutil.copytree(ROOT / "zoo" / "catch-ppo", tmp_path / "copy" / "catch-ppo")
    printed = output("evaluate catch-ppo --zoo copy --episodes 1", capsys)
    assert printed.startswith("copy/catch-ppo/agent.ckpt: ppo after ")
    shutil.copy(ROOT / "zoo" / "catch-ppo" / "agent.ckpt", "catch-ppo")
    assert output("evaluate catch-ppo --episodes 1", capsys).startswith("catch-ppo: ppo after ")
    assert output("evaluate catch-ppo --episodes 1 --zoo copy", capsys).startswith("copy/catch-ppo/agent.ckpt: ")
    (tmp_path / "copy" / "catch-ppo" / "agent.ckpt").write_bytes(b"other")
    assert cli.main(["evaluate", "zoo/catch-ppo", "--zoo", "copy"]) == 2
    assert "is not the file of the manifest" in capsys.readouterr().err
    assert cli.main(["evaluate", "catch-pppo"]) == 2
    assert "catch-pppo: no such file, and no trained agent has this name: did you mean catch-ppo" in (
        capsys.readouterr().err
    )


def test_watch_records_an_agent_by_name(capsys: Capture) -> None:
    """Into the current directory: not beside the weights."""
    assert " catch-ppo.gif " in output("watch catch-ppo --seconds 1 --seed 0", capsys)
    assert Path("catch-ppo.gif").exists()


# ---- reproduce


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small training, exported."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("rlgames.runs.trackers.summary_writer", lambda folder, step: None)
        assert cli.main(f"train ppo CatchBall --out {folder}/run --quiet {TRAINING}".split()) == 0
    assert cli.main(f"export {folder}/run {folder}/small --episodes 8".split()) == 0
    return folder / "small"


@pytest.fixture
def small(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return the card of the small training, the only agent, "small", of a manifest that tests may change."""
    card = json.loads((trained / "card.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({"small": card}))
    monkeypatch.setattr(manifest, "files", lambda _: tmp_path)
    read_manifest.cache_clear()
    yield card
    read_manifest.cache_clear()


def change(card: dict[str, Any]) -> None:
    Path("manifest.json").write_text(json.dumps({"small": card}))
    read_manifest.cache_clear()


def test_reproduce_trains_the_same_weights(small: dict[str, Any], capsys: Capture) -> None:
    """And continues a run that was stopped; else it says what differs, and compares the scores."""
    text = output("reproduce small --quiet", capsys)
    assert f"{small['command']}\nin runs/reproduce-small\n" in text
    assert f"weights          the same, sha256 {small['evaluation']['weights_sha256']}" in text

    [*_, newest] = sorted(Path("runs/reproduce-small/checkpoints").glob("step-*.ckpt"))
    newest.unlink()
    Path("runs/reproduce-small/checkpoints/final.ckpt").unlink()
    text = output("reproduce small --quiet", capsys)
    assert re.search(r"in runs/reproduce-small, resuming at step [\d,]+\n", text)
    assert "weights          the same, sha256" in text

    played = small["evaluation"] | {"weights_sha256": "0" * 64}
    change(small | {"evaluation": played, "machines": [small["machines"][0] | {"torch": "1.0"}]})
    text = output("reproduce small --quiet", capsys)
    assert "weights          others: sha256" in text
    assert re.search(r"reason +another machine: torch \S+, not 1.0\n", text)
    assert "verdict          within the recorded interval" in text

    change(small | {"evaluation": played | {"interval": [2e3, 3e3]}})
    text = output("reproduce small --quiet", capsys, status=1)
    assert "none in the machine: this version trains otherwise" in text
    assert "verdict          outside of the recorded interval, 2,000 to 3,000" in text


def test_reproduce_refuses_what_it_cannot_train(small: dict[str, Any], capsys: Capture) -> None:
    change(small | {"training": None})
    assert cli.main(["reproduce", "small"]) == 2
    assert "small cannot be trained again: how it was trained is not recorded" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_reproduce_trains_with_recorded_rewards(small: dict[str, Any], capsys: Capture) -> None:
    """Where the preset of this version has others, so that no command trains the agent."""
    rewards = {"scale": 2.0, "survival": 0.0, "won": 0.0, "lost": 0.0}
    change(small | {"command": None, "task": small["task"] | {"rewards": rewards}})
    cli.main(["reproduce", "small", "--quiet"])
    assert "training with the recorded settings,\nin runs/reproduce-small\n" in capsys.readouterr().out
    task = load("runs/reproduce-small/checkpoints/final.ckpt", weights_only=True).task
    assert task is not None
    assert task.rewards == Rewards(scale=2.0)


def test_reproduce_extends_a_run_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """In two parts: schedules of the first went over its own number of steps."""
    for steps in ("--steps 512", "--steps 1024 --resume"):
        assert cli.main(f"train ppo CatchBall --out run --quiet {TRAINING} {steps}".split()) == 0
    assert cli.main(["export", "run/checkpoints/final.ckpt", "small", "--episodes", "8"]) == 0
    card = json.loads(Path("small/card.json").read_text())
    assert (card["command"], card["extended_from"]) == (None, [512])
    Path("manifest.json").write_text(json.dumps({"small": card}))
    monkeypatch.setattr(manifest, "files", lambda _: tmp_path)
    read_manifest.cache_clear()
    text = output("reproduce small --quiet", capsys)
    read_manifest.cache_clear()
    assert "\nin runs/reproduce-small\n" in text
    assert "\nin runs/reproduce-small, resuming at step 512\n" in text
    assert f"weights          the same, sha256 {card['evaluation']['weights_sha256']}" in text


# ---- the command on a card

CHANGES: dict[str, dict[str, Any]] = {
    "ppo": {"net_arch": (8, 8), "normalize_advantage": False, "recurrent": True, "target_kl": 0.01},
    "dqn": {"dueling": True, "net_arch": None, "loss": "squared", "prioritized": True},
    "reinforce": {"baseline": True, "reset_on_reward": False, "max_grad_norm": None},
    "a3c": {"workers": 1, "learning_rate": 1e-5},
}


@pytest.mark.parametrize("agent", CHANGES)
@pytest.mark.parametrize("game", ["CatchBall:size=16", "Pong:noop_max=30", "CartPole-v1"])
def test_command_of_a_card_repeats_the_run(agent: str, game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed by `rlgames train` it has the settings of the run, whatever differs from the preset."""
    parsed: list[Any] = []
    monkeypatch.setattr(import_module("rlgames.cli.run"), "run_training", lambda options, argv: parsed.append(options))
    preset = Training(agent, game).resolve()
    config = dataclasses.replace(preset.config, **CHANGES[agent])
    numbers: dict[str, Any] = {"seed": 7, "envs": 3, "evaluate_every": 50, "save_every": 60, "evaluate_max_steps": 9}
    for training in (
        Training(agent, game, threads=2),
        Training(agent, game, config=config, steps=12_345, threads=1, start="a b", device="cpu", **numbers),
    ):
        settings = config_to_json(training.resolve())
        line = training_command(settings)
        assert line is not None
        assert cli.main(shlex.split(line)[1:]) == 0
        assert config_to_json(parsed.pop().resolve()) == settings
        assert (len(shlex.split(line)) > 8) == (training.start is not None)
    assert training_command(settings | {"extended_from": [100]}) is None
