"""The trained agents that come with the project are what their cards say."""

import json
from pathlib import Path

import pytest
from gymnasium.error import DependencyNotInstalled

import rlgames
from rlgames.checkpoint.file import plain, weights_sha256
from rlgames.envs.task import Task

ZOO = Path(__file__).parents[1] / "zoo"
FOLDERS = sorted(card.parent for card in ZOO.glob("*/card.json"))


def test_there_are_some():
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_agent_is_what_its_card_says(folder: Path):
    card = json.loads((folder / "card.json").read_text())
    told = card["evaluation"]
    try:
        Task.from_json(card["task"]).make().close()
    except DependencyNotInstalled as missing:
        pytest.skip(str(missing))
    agent = rlgames.load(folder / "agent.ckpt", device="cpu")
    card["config"] = plain(type(agent).Config()) | card["config"]  # settings that are younger than the card
    card["task"] = Task.from_json(card["task"]).to_json()
    assert agent.header() == {key: card[key] for key in agent.header()}
    assert weights_sha256(agent.net.state_dict()) == told["weights_sha256"]
    assert (folder / "agent.ckpt").stat().st_size < 20e6
    assert told["mean"] == pytest.approx(sum(told["scores"]) / told["episodes"])
    most = told.get("max_steps") and 2_000  # for games without an end
    game = rlgames.evaluate(agent, episodes=1, seed=told["seed"], deterministic=told["deterministic"], max_steps=most)
    assert game.capped or game.scores[0] > told["min"] - 3  # the first on the card; another CPU may round apart


def test_its_own_game_by_name_is_seen_as_the_agent_learned_to_see_it(tmp_path: Path):
    """Although the game's default look is another."""
    pytest.importorskip("ale_py")
    agent = rlgames.load(ZOO / "pong-ppo" / "agent.ckpt", device="cpu")
    film = rlgames.record(agent, tmp_path / "film.gif", "Pong", seconds=0.5)
    assert film.path.exists()
    assert agent.envs is None  # nothing to close
