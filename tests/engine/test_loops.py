"""The on-disk cache of compiled loops: reused while the rules are unchanged, never used after an edit of the rules.

Numba itself watches only the file of the loops, not the files of the rules.
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
from bonus import points
from constants import FACTOR
from rlgames.engine import CLOCK, Game


@register_jitable
def reset(s):
    s.place = 0


@register_jitable
def step(s, action):
    s.place += action + 1
    return FACTOR * float(points(s)), walls.hit(s)


@register_jitable
def observe(s, obs):
    obs[0] = s.place


game = Game("Walk", np.dtype([*CLOCK, ("place", "i4")]), Box(0, 255, (1,), np.uint8), ("one", "two"), 50, reset, step,
            observe, lambda s: np.zeros((2, 2, 3), np.uint8), 10)
"""
DECORATED = "from numba.extending import register_jitable\n@register_jitable\n"
FILES = {  # in an order in which they can be reloaded
    "constants.py": "import numpy as np\nFACTOR = np.int64(1)\n",
    "bonus.py": DECORATED + "def points(s):\n    return 3\n",
    "walls.py": DECORATED + "def hit(s):\n    return s.place > 9\n",
    "rules.py": RULES,
}
SCRIPT = """
import json, sys
from importlib import import_module, reload
from pathlib import Path
from rlgames.engine import make_env
from rlgames.envs.registry import load_game


def play(game):
    env = make_env(game)
    env.reset(seed=0)
    rewards, steps, terminated = 0.0, 0, False
    while not terminated and steps < 20:
        obs, reward, terminated, truncated, info = env.step(0)
        rewards, steps = rewards + reward, steps + 1
    loops = game.loops.reset, game.loops.step_single
    return {
        "rewards": rewards, "place": int(obs[0].flat[0]), "length": steps,
        "hits": sum(sum(loop.stats.cache_hits.values()) for loop in loops),
        "compiled": sum(sum(loop.stats.cache_misses.values()) for loop in loops),
    }


folder, edits = Path(sys.argv[1]), json.loads(sys.argv[2])
names = json.loads(sys.argv[3])
modules = [import_module(Path(name).stem) for name in names]
results = [play(modules[-1].game)]
for name, text in edits:
    (folder / name).write_text(text)
    modules = [reload(module) for module in modules]
    results.append(play(modules[-1].game))
shipped = play(load_game("CatchBall"))
print(json.dumps({"results": results, "shipped": [shipped["hits"], shipped["compiled"]]}))
"""


class Workspace:
    """A folder with the rules of a small game in four files, and a cache of its own."""

    def __init__(self, folder: Path):
        self.folder, self.cache, self.files = folder, folder / "cache", dict(FILES)
        for name, text in FILES.items():
            (folder / name).write_text(text)

    def edited(self, name: str, old: str, new: str) -> tuple[str, str]:
        """Return the name and the text of a file in which `old` is replaced by `new`."""
        assert self.files[name].count(old) == 1
        self.files[name] = self.files[name].replace(old, new)
        return name, self.files[name]

    def play(self, edits: list[tuple[str, str]]) -> dict[str, Any]:
        """Play an episode, and one after each edit of a file, in a new process."""
        path = os.pathsep.join([str(self.folder), str(Path(rlgames.__file__).parents[1])])
        env = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1"}
        arguments = [str(self.folder), json.dumps(edits), json.dumps(list(FILES))]
        command = [sys.executable, "-c", SCRIPT, *arguments]
        return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)

    def compiled(self) -> int:
        """Return the number of files of machine code in the cache."""
        return len(list(self.cache.rglob("*.nbc")))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


def test_cache_is_used_for_unchanged_rules_and_not_for_edited_ones(workspace: Workspace) -> None:
    """Three processes: the first compiles, the second finds that and compiles each edit, the third finds the last."""
    first = workspace.play([])
    walk = {"rewards": 30.0, "place": 10, "length": 10}
    assert first == {"results": [{**walk, "hits": 0, "compiled": 2}], "shipped": [0, 2]}
    assert workspace.compiled() == 4

    second = workspace.play(
        [
            workspace.edited("rules.py", "action + 1", "action + 2"),
            workspace.edited("bonus.py", "return 3", "return 4"),  # a function that the rules call
            workspace.edited("walls.py", "> 9", "> 5"),  # one that they call as an attribute of its module
            workspace.edited("constants.py", "(1)", "(2)"),  # a constant of another module
        ]
    )
    assert second["shipped"] == [2, 0]  # a game of rlgames
    assert second["results"] == [
        {**walk, "hits": 2, "compiled": 0},
        {"rewards": 15.0, "place": 10, "length": 5, "hits": 0, "compiled": 2},
        {"rewards": 20.0, "place": 10, "length": 5, "hits": 0, "compiled": 2},
        {"rewards": 12.0, "place": 6, "length": 3, "hits": 0, "compiled": 2},
        {"rewards": 24.0, "place": 6, "length": 3, "hits": 0, "compiled": 2},
    ]

    third = workspace.play([])
    assert third["results"] == [{"rewards": 24.0, "place": 6, "length": 3, "hits": 2, "compiled": 0}]
