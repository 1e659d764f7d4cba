"""A task from a file is one that a file may name: it chooses no program, no path and no module."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import pytest

import rlgames
from rlgames.agents.registry import load
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError
from rlgames.envs.registry import GAMES, load_game, module_of
from rlgames.envs.task import Task
from rlgames.errors import UsageError
from rlgames.wrappers import Pixels


def stored(game: str, pixels: Any = None, rewards: Any = None, /, **options: Any) -> dict[str, Any]:
    return {"game": game, "options": options, "pixels": pixels, "rewards": rewards}


# ---- what a file may say ----


@pytest.mark.parametrize(
    "data",
    [
        stored("CatchBall", size=16),
        stored("Cave", antialias=True, frame_skip=4, stack=2, max_episode_steps=None, threads=2),
        stored("Pong", actions="minimal", noop_max=0, repeat_action_probability=0.25),
        stored("Mario", world=1, stage=2, engine="nes-py", patience=40, actions="right_only"),
        stored("Mario", stages="1-1+8-4"),
        stored("Mario", stages=["1-1", "1-2"]),
        stored("Mario", stages="all"),
        stored("Dino", obs="state", reward="score", acceleration=False),
        stored("ChromeDino", obs="pixels", real_time=True),
        stored("CatchBall", wrappers=None),
        stored("CatchBall", wrappers="one+another-one"),
        stored("Cave", {"crop": [0, 40, 4, 44], "size": [20, 20], "erase": [1, 2]}, {"scale": 2, "lost": -1.0}),
        stored("Cave", {}, {}),  # as an older version wrote it: other fields take their defaults
        stored("Acrobot-v1"),
        stored("CartPole-v1", sutton_barto_reward=True, max_episode_steps=10),
    ],
    ids=str,
)
def test_task_of_a_file(data: dict[str, Any]) -> None:
    task = Task.from_json(json.loads(json.dumps(data)))
    assert (task.game, task.options) == (data["game"], data["options"])
    assert {key: value for key, value in task.to_json().items() if value is not None}.keys() == {
        key for key, value in data.items() if value is not None
    }


NOT_ALLOWED: list[tuple[Any, str]] = [
    # programs, paths and modules
    (
        stored("ChromeDino", browser="zoo/browser"),
        "a file may not give the option browser of ChromeDino, got 'zoo/browser'",
    ),
    (stored("ChromeDino", browser=["/bin/sh"]), "a file may not give the option browser"),
    (stored("evil:rlgames/CatchBall-v0"), "the game 'evil:rlgames/CatchBall-v0' is not registered here"),
    (stored("evil:CatchBall"), "is not registered here"),
    (stored("rlgames:CatchBall"), "is not registered here"),
    (stored("rlgames/ChromeDino-v0", browser="zoo/browser"), "is not registered here"),
    (stored("CatchBall:size=16"), "is not registered here"),
    (stored("catchball"), "is not registered here"),
    (stored("Acrobot"), "is not registered here"),
    (stored("FrozenLake-v1", map_name="4x4"), "a file may not give the option 'map_name' of '4x4', only numbers"),
    (stored("CartPole-v1", render_mode="human"), "only numbers"),
    (stored("CartPole-v1", additional_wrappers=[]), "only numbers"),
    (stored("CatchBall", render_mode="human"), "unknown option 'render_mode' for CatchBall"),
    (stored("CatchBall", wrappers="../a"), "a file may not give the option wrappers of CatchBall, got '../a'"),
    (stored("Dino", obs="state\n"), r"a file may not give the option obs of Dino, got 'state\\n'"),
    (stored("Mario", stages="1-1;ls"), "a file may not give the option stages"),
    (stored("Mario", stages=["1-1", "ls"]), "a file may not give the option stages"),
    (stored("CatchBall", size={"a": 1}), "a file may not give the option size"),
    # values that the game does not have
    (stored("CatchBall", size=9), "expected a CatchBall board of size 8 or 16, got 9"),
    (stored("CatchBall", speed=1), "unknown option 'speed' for CatchBall: expected one of size"),
    (stored("CatchBall", frame_skip=0), "expected frame_skip >= 1"),
    (stored("CatchBall", max_episode_steps=1.5), "expected max_episode_steps >= 1"),
    # other types, missing and unknown fields
    (None, "task: expected an object with fields, got None"),
    ([], "task: expected an object"),
    ({"game": "Cave"}, "task: the field 'options' is missing"),
    (stored("Cave") | {"entry_point": "evil:Game"}, "task: unknown field 'entry_point'"),
    (stored("Cave") | {"game": 3}, "expected game to be str, got 3"),
    (stored("Cave") | {"options": "size"}, "expected options to be dict, got 'size'"),
    (stored("Cave", []), r"expected pixels to be dict \| None, got \[\]"),
    (stored("Cave", {"blur": 3}), "Pixels: unknown field 'blur'"),
    (stored("Cave", {"skip": "4"}), "Pixels: expected skip to be int, got '4'"),
    (stored("Cave", {"skip": True}), "Pixels: expected skip to be int, got True"),
    (stored("Cave", {"crop": [1, 2]}), "Pixels: expected crop to be tuple"),
    (stored("Cave", {"skip": 0}), "expected skip to be an integer >= 1"),
    (stored("Cave", {"stack": 10**9}), "expected pictures of at most 10,000 rows, columns and frames"),
    (stored("Cave", {"size": [10**6, 10]}), "expected pictures of at most 10,000 rows, columns and frames"),
    (stored("Cave", None, {"scale": "2"}), "Rewards: expected scale to be float, got '2'"),
    (stored("Cave", None, {"scale": 10**400}), "Rewards: expected scale to be float"),
]


@pytest.mark.parametrize(("data", "message"), NOT_ALLOWED, ids=[message for _, message in NOT_ALLOWED])
def test_file_may_not_say(data: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        Task.from_json(data)
    assert str(raised.value).isprintable()


# ---- games of other modules ----


def test_string_of_another_game_must_be_listed() -> None:
    """By its module; numbers need no list."""
    module: Any = ModuleType("other_game")
    module.game = lambda mode="easy", level=1: object()
    with patch.dict(sys.modules, other_game=module), patch.dict(GAMES), patch.dict(gym.registry):
        rlgames.register_game("Other", "other_game", "another game")
        assert Task.from_json(stored("Other", level=3)).options == {"level": 3}
        with pytest.raises(UsageError, match="a file may not give the option mode of Other, got 'easy'"):
            Task.from_json(stored("Other", mode="easy"))
        module.STORED_STRINGS = {"mode": "easy|hard"}
        assert Task.from_json(stored("Other", mode="easy")).options == {"mode": "easy"}
        with pytest.raises(UsageError, match="a file may not give the option mode of Other, got 'easy or not'"):
            Task.from_json(stored("Other", mode="easy or not"))
    load_game.cache_clear()


@pytest.mark.parametrize("game", GAMES)
def test_options_of_games_are_listed(game: str) -> None:
    """All strings that a game takes by default are, but for paths."""
    options = inspect.signature(module_of(game).game).parameters.values()
    defaults = {option.name: option.default for option in options if option.name != "browser"}
    assert Task.from_json(stored(game, **defaults)).options == defaults


# ---- loading a checkpoint ----


@pytest.fixture
def forge(tmp_path: Path) -> Any:
    """Return a function that saves an agent whose checkpoint names another task."""

    def save(data: dict[str, Any]) -> Path:
        with rlgames.Random("CatchBall", num_envs=2).learn(8) as agent:
            checkpoint.save(tmp_path / "forged.ckpt", agent.header() | {"task": data}, agent.state_dict())
        return tmp_path / "forged.ckpt"

    return save


def test_checkpoint_runs_no_program_and_imports_no_module(
    forge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever function reads it."""
    mark = tmp_path / "executed"
    (tmp_path / "evilmodule.py").write_text(f"open({str(mark)!r}, 'w')")
    (tmp_path / "browser").write_text(f"#!/bin/sh\ntouch {mark}")
    (tmp_path / "browser").chmod(0o755)
    monkeypatch.syspath_prepend(str(tmp_path))
    agent = rlgames.Random("CatchBall", num_envs=2)
    for data in (
        stored("evilmodule:rlgames/CatchBall-v0"),
        stored("ChromeDino", obs="state", browser=str(tmp_path / "browser")),
    ):
        path = forge(data)
        for attempt in (
            lambda path=path: load(path),
            lambda path=path: load(path, weights_only=True),
            lambda path=path: rlgames.evaluate(path),
            lambda path=path: rlgames.record(path, tmp_path / "film.gif"),
        ):
            with pytest.raises(CheckpointError, match="forged.ckpt: .*; or say what to play, as in load") as raised:
                attempt()
            assert "\n" not in str(raised.value)
        agent.start_from(path)  # takes networks alone
        assert rlgames.evaluate(load(path, "CatchBall"), episodes=1, max_episode_steps=3).lengths == [3]
    assert not mark.exists()
    assert "evilmodule" not in sys.modules


def test_a_game_that_is_named_replaces_the_file_s(forge: Any) -> None:
    """Of the file's task its preprocessing counts, and is checked; its other options do not."""
    pixels = {"stack": 1}
    assert load(forge(stored("CatchBall", pixels, size=99)), "CatchBall").task == Task("CatchBall", {}, Pixels())
    assert load(forge(stored("CatchBall", frame_skip=1)), "CatchBall").task == Task("CatchBall", {"frame_skip": 1})
    assert load(forge(stored("NotHere", {"junk": 1}, a="b")), "CatchBall").task == Task("CatchBall")
    for data in (stored("CatchBall", {"stack": "1"}), stored("CatchBall", wrappers="a b")):
        with pytest.raises(CheckpointError, match="expected stack to be int|may not give the option wrappers"):
            load(forge(data), "CatchBall")
    envs = rlgames.make_vec("CatchBall", 2)
    assert load(forge(stored("NotHere", browser="a")), envs).task is None


@pytest.mark.parametrize(
    ("game", "compiled"),
    [("Cave", True), ("Mario", True), ("Mario:engine=nes-py", False), ("Pong", False), ("Acrobot-v1", False)],
)
def test_compiled_games_are_known(game: str, compiled: bool) -> None:
    """Of which an evaluation plays 100 episodes by default."""
    assert Task.parse(game).compiled is compiled
