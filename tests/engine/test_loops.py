"""The compiled loops on the disk: found again while the rules stay as they are, never used after the rules were edited.

Numba itself watches only the file that holds the loops, not those that hold the rules.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rlgames

RULES = """
import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

import walls
from constants import GAIN
from dice import throw
from rlgames.envs.game import CLOCK, Game


@register_jitable
def spawn(s):
    s.place = 0


@register_jitable
def step(s, action):
    s.place += action + 1
    return GAIN * float(throw(s)), walls.hit(s)


@register_jitable
def draw(s, obs):
    obs[0] = s.place


game = Game("Walk", np.dtype([*CLOCK, ("place", "i4")]), Box(0, 255, (1,), np.uint8), ("one", "two"), 50, spawn, step,
            draw, lambda s: np.zeros((2, 2, 3), np.uint8), 10)
"""
MARK = "from numba.extending import register_jitable\n@register_jitable\n"
FILES = {
    "my_rules.py": RULES,
    "constants.py": "import numpy as np\nGAIN = np.int64(1)\n",
    "dice.py": MARK + "def throw(s):\n    return 3\n",
    "walls.py": MARK + "def hit(s):\n    return s.place > 9\n",
}
PLAY = """
import json, numpy as np
from my_rules import game
from rlgames.envs.batch import GameVectorEnv
from rlgames.envs.solo import GameEnv
env = GameEnv(game)
env.reset(seed=0)
rewards, ends = 0.0, 0
for step in range(20):
    obs, reward, terminated, truncated, info = env.step(0)
    rewards += reward
    if terminated:
        break
loops = dict(zip(("begin", "advance", "play"), game.loops))
used = {name: loops[name] for name in ("begin", "play")}
print(json.dumps({
    "rewards": rewards, "place": int(obs[0]), "length": step + 1,
    "hits": sum(sum(loop.stats.cache_hits.values()) for loop in used.values()),
    "compiled": sum(sum(loop.stats.cache_misses.values()) for loop in used.values()),
}))
"""


class Workshop:
    """A folder with the rules of a small game in four files, and a cache of its own."""

    def __init__(self, folder: Path):
        self.folder, self.cache = folder, folder / "cache"
        for name, text in FILES.items():
            (folder / name).write_text(text)

    def play(self) -> dict[str, Any]:
        """One episode in a process of its own."""
        path = os.pathsep.join([str(self.folder), str(Path(rlgames.__file__).parents[1])])
        env = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.run([sys.executable, "-c", PLAY], env=env, capture_output=True, text=True, check=True)
        return json.loads(run.stdout)

    def edit(self, name: str, before: str, after: str) -> None:
        text = (self.folder / name).read_text()
        assert text.count(before) == 1
        (self.folder / name).write_text(text.replace(before, after))

    def compiled(self) -> int:
        """Machine code files on the disk."""
        return len(list(self.cache.rglob("*.nbc")))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


def test_unchanged_rules_are_found_and_edited_ones_take_effect(workshop: Workshop) -> None:
    first = workshop.play()
    assert first == {"rewards": 30.0, "place": 10, "length": 10, "hits": 0, "compiled": 2}
    assert workshop.compiled() == 2

    assert workshop.play() == {**first, "hits": 2, "compiled": 0}
    assert workshop.compiled() == 2

    workshop.edit("my_rules.py", "action + 1", "action + 2")  # the rules themselves
    assert workshop.play() == {"rewards": 15.0, "place": 10, "length": 5, "hits": 0, "compiled": 2}
    workshop.edit("dice.py", "return 3", "return 4")  # a function that they call
    assert workshop.play() == {"rewards": 20.0, "place": 10, "length": 5, "hits": 0, "compiled": 2}
    workshop.edit("walls.py", "> 9", "> 5")  # one that they call as an attribute of its module
    assert workshop.play() == {"rewards": 12.0, "place": 6, "length": 3, "hits": 0, "compiled": 2}
    workshop.edit("constants.py", "(1)", "(2)")  # a constant from elsewhere
    assert workshop.play() == {"rewards": 24.0, "place": 6, "length": 3, "hits": 0, "compiled": 2}

    assert workshop.play() == {"rewards": 24.0, "place": 6, "length": 3, "hits": 2, "compiled": 0}


def test_the_shipped_games_start_from_the_cache(tmp_path: Path) -> None:
    """One game in two processes: the second compiles nothing."""
    script = (
        "from rlgames.envs import rules, solo_env\n"
        "env = solo_env('CatchBall'); env.reset(seed=0); env.step(0)\n"
        "begin, advance, play = load_game('CatchBall').loops\n"
        "print([sum(loop.stats.cache_misses.values()) for loop in (begin, play)])\n"
    )
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(rlgames.__file__).parents[1])}
    runs = [
        subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs == ["[1, 1]\n", "[0, 0]\n"]
