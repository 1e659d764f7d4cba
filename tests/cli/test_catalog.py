"""`rlgames list` and `rlgames presets`."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from rlgames.agents import AGENTS
from rlgames.agents.ppo import PPOConfig
from rlgames.cli import main as cli
from rlgames.envs.registry import GAMES
from rlgames.presets.lookup import PRESETS
from rlgames.zoo.manifest import read_manifest

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
    for name, card in read_manifest().items():
        assert f" {name} {card.agent} on {card.game}" in joined


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
