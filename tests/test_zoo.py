"""The trained agents that come with the project are as their cards describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import DependencyNotInstalled

import rlgames
from rlgames.checkpoint.file import config_to_json, weights_sha256
from rlgames.envs.task import Task

ZOO = Path(__file__).parents[1] / "zoo"
FOLDERS = sorted(card.parent for card in ZOO.glob("*/card.json"))
PLAYED = ("dino-ppo", "pong-dqn", "mario-1-1-ppo")  # in the quick set
folders = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def card_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "card.json").read_text())


def test_zoo_is_not_empty() -> None:
    assert {"pong-ppo", *PLAYED} <= {folder.name for folder in FOLDERS}


@folders
def test_agent_has_the_settings_and_weights_of_its_card(folder: Path) -> None:
    card, agent = card_of(folder), rlgames.load(folder / "agent.ckpt", device="cpu")
    card["config"] = config_to_json(type(agent).Config()) | card["config"]  # fields that are newer than the card
    card["task"] = Task.from_json(card["task"]).to_json()
    assert agent.header() == {key: card[key] for key in agent.header()}
    assert weights_sha256(agent.net.state_dict()) == card["evaluation"]["weights_sha256"]
    assert (folder / "agent.ckpt").stat().st_size < 20e6
    scores = card["evaluation"]["scores"]
    assert card["evaluation"]["mean"] == pytest.approx(sum(scores) / len(scores))
    assert len(scores) == card["evaluation"]["episodes"]
    assert agent.envs is None  # an agent that only plays takes no resources


@pytest.mark.parametrize(
    ("folder", "max_episode_steps"),
    [
        *(pytest.param(folder, 300, id=folder.name) for folder in FOLDERS if folder.name in PLAYED),
        *(pytest.param(folder, 2_000, id=f"{folder.name} long", marks=pytest.mark.slow) for folder in FOLDERS),
    ],
)
def test_agent_scores_as_on_its_card(folder: Path, max_episode_steps: int) -> None:
    """In the first episode of the card; on another CPU results may be rounded to other actions."""
    evaluation = card_of(folder)["evaluation"]
    agent = rlgames.load(folder / "agent.ckpt", device="cpu", weights_only=True)
    try:
        result = rlgames.evaluate(
            agent,
            episodes=1,
            seed=evaluation["seed"],
            deterministic=evaluation["deterministic"],
            max_episode_steps=max_episode_steps,
        )
    except DependencyNotInstalled as error:
        pytest.skip(str(error))
    if result.capped:
        assert max_episode_steps in result.lengths
    else:
        assert result.scores[0] > evaluation["min"] - 3


def test_game_by_name_is_observed_as_the_agent_was_trained(tmp_path: Path) -> None:
    """Although the game's default preprocessing is another."""
    pytest.importorskip("ale_py")
    agent = rlgames.load(ZOO / "pong-ppo" / "agent.ckpt", device="cpu")
    recording = rlgames.record(agent, tmp_path / "film.gif", "Pong", seconds=0.5)
    assert recording.path.exists()
    assert agent.envs is None
