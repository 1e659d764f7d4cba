"""`rlgames list` and `rlgames presets`."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

from rlgames.agents import AGENTS
from rlgames.agents.ppo import PPOConfig
from rlgames.cli import catalog
from rlgames.cli import main as cli
from rlgames.envs.registry import GAMES
from rlgames.presets.lookup import PRESETS

Capture = pytest.CaptureFixture[str]


def output(line: str, capsys: Capture) -> str:
    assert cli.main(line.split()) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
def test_list_shows_games_agents_presets_and_the_zoo(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = output("list", capsys)
    assert max(map(len, text.splitlines())) <= columns
    joined = " ".join(text.split())
    assert "CatchBall slide the bar under the falling balls (size=8 or 16) observed as 8 x 8 uint8; stay," in joined
    assert "options size=8" in joined
    assert "options antialias=false" in joined
    for name in (*GAMES, *AGENTS):
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE)
    for agent, game in PRESETS:
        assert re.search(rf"^  {game} .*\b{agent}\b", text, re.MULTILINE)
    for path in (Path(catalog.__file__).parents[2] / "zoo").glob("*/card.json"):
        card = json.loads(path.read_text())
        entry = f"{path.parent.name} {card['agent']} on {card['task']['game']}"
        assert entry in joined
        assert f"{card['step']:,} steps: mean {card['evaluation']['mean']:,.1f} of" in joined


def test_list_finds_the_zoo_of_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """And reports a folder that is not an exported agent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "a" / "b" / "catalog.py"))
    assert "Trained agents are in the folder zoo/ of rlgames's repository.\n" in output("list", capsys)
    card = {"agent": "ppo", "step": 5_000, "task": {"game": "CatchBall", "options": {"size": 16}}}
    card["evaluation"] = {"mean": 97.25, "episodes": 20, "wins": 3, "deterministic": False}
    for name, written in (("mine", json.dumps(card)), ("half", "{"), ("other", "[1]")):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        (tmp_path / "zoo" / name / "card.json").write_text(written)
    *_, title, half, mine, rest, other, _, _ = output("list", capsys).split("\n")
    assert title == "Trained agents in zoo/: rlgames watch FOLDER records one."
    assert half == "  half   its card.json was not written by rlgames export"
    assert f"{mine} {rest.strip()}" == (
        "  mine   ppo on CatchBall:size=16, 5,000 steps: mean 97.2 of 20 episodes, at the goal in 3, actions sampled"
    )
    assert other == "  other  its card.json was not written by rlgames export"


HOSTILE_CARDS: dict[str, bytes] = {
    "depth": b"[" * 10**5,
    "encoding": b"\xff\xfe",
    "size": b"[" + b" " * 2**20 + b"]",
    "types": b'{"task": {"game": 1, "options": 2}, "evaluation": []}',
    "text": json.dumps(
        {"agent": "\x1b[2J" + "long" * 1000, "step": 1, "task": {"game": "\n\n", "options": {}}}
        | {"evaluation": {"mean": 1.0, "episodes": 1, "deterministic": True}}
    ).encode(),
}


@pytest.mark.parametrize("kind", [*HOSTILE_CARDS, "pipe"])
def test_list_prints_no_more_of_a_card_than_a_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Anyone may have written it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo" / "theirs").mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(tmp_path / "zoo" / "theirs" / "card.json")
    else:
        (tmp_path / "zoo" / "theirs" / "card.json").write_bytes(HOSTILE_CARDS[kind])
    text = output("list", capsys).partition("Trained agents in zoo/")[2]
    assert len(text) < 1_000
    assert text.replace("\n", "").isprintable()
    assert ("was not written by rlgames export" in text) == (kind != "text")


def test_presets_lists_the_tuned_pairs(capsys: Capture) -> None:
    for line, agents in (("presets", [*AGENTS]), ("presets PPO", ["ppo"])):
        rows = [row.split() for row in output(line, capsys).splitlines()]
        expected = [[*key, str(p.envs), f"{p.steps:,}"] for key, p in PRESETS.items() if key[0] in agents]
        assert rows[: 1 + len(expected)] == [["agent", "game", "envs", "steps"], *expected]
    listed = json.loads(output("presets ppo --json", capsys))
    assert {"agent": "ppo", "game": "CatchBall", "envs": 64, "steps": 300_000} in listed


def test_presets_shows_all_settings_of_a_pair(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Those that differ from the agent's defaults are marked."""
    monkeypatch.setenv("COLUMNS", "80")
    preset = PRESETS["ppo", "Pong"]
    text = output("presets ppo rlgames/Pong-v0", capsys)
    assert text.startswith(f"ppo on Pong: {preset.steps:,} steps, {preset.envs} envs\npreprocessing: crop=(35, 195,")
    assert max(map(len, text.splitlines())) <= 80
    for name, default in vars(PPOConfig()).items():
        value = preset.config.get(name, default)
        mark = "*" if value != default else " "
        assert re.search(rf"^  {re.escape(mark)}  {name} +{re.escape(str(value))} +", text, re.MULTILINE), name
    facts = json.loads(output("presets ppo Pong --json", capsys))
    assert (facts["steps"], facts["envs"], facts["rewards"]) == (preset.steps, preset.envs, None)
    assert facts["config"]["learning_rate"] == preset.config["learning_rate"]
    assert facts["config"]["gamma"] == PPOConfig().gamma
    assert preset.pixels is not None
    assert facts["pixels"] == json.loads(json.dumps(dataclasses.asdict(preset.pixels)))


def test_presets_of_another_game_are_the_agents_defaults(capsys: Capture) -> None:
    text = output("presets dqn CartPole-v1", capsys)
    assert text.startswith("dqn on CartPole-v1: 1,000,000 steps, 8 envs\n")
    assert not re.search(r"^  \*", text, re.MULTILINE)
