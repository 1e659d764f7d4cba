"""The trained agents that come with the project are as the manifest describes them, and as zoo/README.md shows them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from gymnasium.error import DependencyNotInstalled

import rlgames
from rlgames.checkpoint.file import config_to_json, weights_sha256
from rlgames.cli.export import training_command
from rlgames.envs.task import Task
from rlgames.evaluation import UNSEEN_SEED, Evaluation
from rlgames.runs.training import ResolvedTraining
from rlgames.schema import fill_in_defaults
from rlgames.zoo.manifest import read_manifest
from rlgames.zoo.table import duration, markdown_table, number
from rlgames.zoo.weights import find_weights

ZOO = Path(__file__).parents[2] / "zoo"
CARDS = read_manifest()
PLAYED = ("dino-ppo", "catch-ppo", "mario-1-1-ppo")  # in the quick set
agents = pytest.mark.parametrize("name", CARDS)


def test_zoo_has_the_agents_of_the_manifest() -> None:
    assert set(PLAYED) <= set(CARDS) <= {path.parent.name for path in ZOO.glob("*/agent.ckpt")}


def test_tables_of_the_readme_are_those_of_the_manifest() -> None:
    """`python benchmarks/zoo.py` writes them again."""
    assert (ZOO / "README.md").read_text().endswith("\n\n" + markdown_table(CARDS))


def test_numbers_of_the_table() -> None:
    assert [number(x) for x in (-20.96, 98.96, 999.9, 1_000.4, 29_656.9)] == [
        "-21.0",
        "99.0",
        "999.9",
        "1,000",
        "29,657",
    ]
    assert [duration(x) for x in (None, 31.8, 99.4, 1_367, 6_516)] == ["", "32 s", "99 s", "23 min", "1.8 h"]


@agents
def test_agent_has_the_settings_and_weights_of_the_manifest(name: str) -> None:
    card, path = CARDS[name], find_weights(name, str(ZOO))
    agent = rlgames.load(path, device="cpu")
    config = config_to_json(type(agent).Config()) | card.config  # fields that are newer than the agent
    task = Task.from_json(card.task).to_json()
    header = {"agent": card.agent, "config": config, "seed": card.seed, "step": card.step, "task": task}
    assert agent.header() == header | {"num_envs": card.num_envs, "spaces": agent.header()["spaces"]}
    assert weights_sha256(agent.net.state_dict()) == card.evaluation["weights_sha256"]
    assert path.stat().st_size < 5e6
    assert agent.envs is None  # an agent that only plays takes no resources


@agents
def test_evaluation_is_that_of_its_scores(name: str) -> None:
    """Of 100 episodes that no training has seen; those of games without chance begin differently."""
    played = CARDS[name].evaluation
    result = Evaluation(played["scores"], [], [], played["capped"], played["wins"])
    assert (len(played["scores"]), played["seed"]) == (played["episodes"], UNSEEN_SEED) == (100, UNSEEN_SEED)
    assert (result.mean, list(result.interval)) == (played["mean"], played["interval"])
    assert (result.median, result.worst_tenth) == (played["median"], played["worst_tenth"])
    assert (result.goal_share, result.limit_share) == (played["goal_share"], played["limit_share"])
    assert played["game"].startswith(("Mario:", "Pong:")) == ("noop_max=30" in played["game"])


@agents
def test_command_has_the_settings_of_the_training(name: str) -> None:
    """With today's presets: otherwise the agent has to be trained again, or the command to be written again."""
    card = CARDS[name]
    if card.command is None:
        return
    assert card.training is not None
    task = Task.from_json(card.task)
    settings = card.training | {"agent": card.agent, "game": str(task), "seed": card.seed, "config": card.config}
    assert training_command(fill_in_defaults(ResolvedTraining, settings)) == card.command
    assert shlex.split(card.command)[:4] == ["rlgames", "train", card.agent, str(task)]


@pytest.mark.parametrize(
    ("name", "max_episode_steps"),
    [
        *(pytest.param(name, 300, id=name) for name in PLAYED),
        *(pytest.param(name, 2_000, id=f"{name} long", marks=pytest.mark.slow) for name in CARDS),
    ],
)
def test_agent_scores_as_in_the_manifest(name: str, max_episode_steps: int) -> None:
    """In the first episode; on another CPU results may be rounded to other actions."""
    played = CARDS[name].evaluation
    agent = rlgames.load(find_weights(name, str(ZOO)), played["game"], device="cpu", weights_only=True)
    try:
        result = rlgames.evaluate(
            agent,
            episodes=1,
            seed=played["seed"],
            deterministic=played["deterministic"],
            max_episode_steps=max_episode_steps,
        )
    except DependencyNotInstalled as error:
        pytest.skip(str(error))
    if result.capped:
        assert max_episode_steps in result.lengths
    else:
        assert result.scores[0] > played["min"] - 3


def test_game_by_name_is_observed_as_the_agent_was_trained(tmp_path: Path) -> None:
    """Although the game's default preprocessing is another."""
    pytest.importorskip("ale_py")
    agent = rlgames.load(ZOO / "pong-ppo" / "agent.ckpt", device="cpu")
    recording = rlgames.record(agent, tmp_path / "film.gif", "Pong", seconds=0.5)
    assert recording.path.exists()
    assert agent.envs is None
