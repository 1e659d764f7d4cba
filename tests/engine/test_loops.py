"""The on-disk cache of compiled loops: reused while the rules are unchanged, never used after an edit of the rules.

Numba itself watches only the file of the loops, not the files of the rules.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.games import COMPILED

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
from rlgames.engine import Game, make_env
from rlgames.engine.loops import rules_checksum
from rlgames.envs.registry import GAMES, load_game


def checksum(game):
    return rules_checksum(game.reset, game.step, game.observe, game.score)


def play(game):
    env = make_env(game)
    env.reset(seed=0)
    rewards, steps, terminated = 0.0, 0, False
    while not terminated and steps < 20:
        obs, reward, terminated, truncated, info = env.step(0)
        rewards, steps = rewards + reward, steps + 1
    loops = game.loops.reset, game.loops.step_single
    return {
        "rewards": rewards, "place": int(obs[0]), "length": steps,
        "hits": sum(sum(loop.stats.cache_hits.values()) for loop in loops),
        "compiled": sum(sum(loop.stats.cache_misses.values()) for loop in loops),
    }


folder, names, edits = Path(sys.argv[1]), *map(json.loads, sys.argv[2:])
modules = [import_module(Path(name).stem) for name in names]
checksums, results = [checksum(modules[-1].game)], [play(modules[-1].game)]
for name, text in edits:
    (folder / name).write_text(text)
    modules = [reload(module) for module in modules]
    checksums.append(checksum(modules[-1].game))
if edits:
    results.append(play(modules[-1].game))
games = {name: game for name in GAMES if isinstance(game := load_game(name), Game)}
shipped = {name: checksum(game) for name, game in games.items()}
print(json.dumps({"results": results, "checksums": checksums, "shipped": shipped}))
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
        """Play an episode in a new process, and another one there once all `edits` are made.

        Returns the results, the checksums of the rules after each edit, and those of the games of rlgames.
        """
        path = os.pathsep.join([str(self.folder), str(Path(rlgames.__file__).parents[1])])
        env = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", SCRIPT, str(self.folder), json.dumps(list(FILES)), json.dumps(edits)]
        return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)

    def compiled(self) -> int:
        """Return the number of files of machine code in the cache."""
        return len(list(self.cache.rglob("*.nbc")))


def test_cache_is_used_for_unchanged_rules_and_not_for_edited_ones(tmp_path: Path) -> None:
    """Three processes: the first compiles, the second finds that and compiles edited rules, the third finds those."""
    workspace = Workspace(tmp_path)
    first = workspace.play([])
    walk = {"rewards": 30.0, "place": 10, "length": 10}
    assert first["results"] == [{**walk, "hits": 0, "compiled": 2}]
    assert workspace.compiled() == 2

    second = workspace.play(
        [
            workspace.edited("rules.py", "action + 1", "action + 2"),
            workspace.edited("bonus.py", "return 3", "return 4"),  # a function that the rules call
            workspace.edited("walls.py", "> 9", "> 5"),  # one that they call as an attribute of its module
            workspace.edited("constants.py", "(1)", "(2)"),  # a constant of another module
        ]
    )
    edited = {"rewards": 24.0, "place": 6, "length": 3}
    assert second["results"] == [{**walk, "hits": 2, "compiled": 0}, {**edited, "hits": 0, "compiled": 2}]
    assert len(set(second["checksums"])) == 5  # each edit alone changes the cache's key
    assert second["checksums"][0] == first["checksums"][0]

    third = workspace.play([])
    assert third["results"] == [{**edited, "hits": 2, "compiled": 0}]
    assert third["checksums"] == second["checksums"][-1:]
    assert first["shipped"] == second["shipped"] == third["shipped"]  # so the games of rlgames are found too
    assert set(COMPILED) <= set(first["shipped"])
