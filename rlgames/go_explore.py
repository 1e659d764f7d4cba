"""Go-Explore, first phase (Ecoffet et al. 2021, "First return, then explore"): find a way to the goal by snapshots.

    repeat: select cells of the archive; return to each by its snapshot; take random actions from there;
            keep every new cell, and every known one that was reached in fewer steps

Nothing is learned, and no game but one with snapshots can be searched so: the way is a bound for agents, the best that
is known. A cell of Super Mario Bros. is where Mario is: the area, and his position to 48 x 64 pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode

from rlgames.envs.mario import make_vector_env
from rlgames.envs.registry import load_game
from rlgames.envs.task import Task
from rlgames.errors import InvalidValueError, UsageError, brief
from rlgames.schema import check_fields
from rlgames.values import Count, check_seed, check_value

SUFFIX = ".json"
FRAME_SKIP = 4  # frames of an agent's step, as agents have it
NUM_ENVS, BURST = 64, 12  # cells that are explored at once, and the steps taken from each
NEWEST, NEWEST_SHARE = 12, 0.7  # a cell is one of the newest with this probability, else any
HOLD = 0.5  # probability that an action is held for one more step
WEIGHTS = {"nothing": 4, "right": 6, "right A": 16, "right B": 24, "right A B": 32, "A": 5, "left": 6, "left A": 3}
CELL = (48, 64)  # pixels, to the right and down
LEFT_OF_START = 0x8000  # pixels from which a position is one left of the start
AREA, AREA_POINTER, X_PAGE, X, Y = 0x0760, 0x0750, 0x006D, 0x0086, 0x00CE  # addresses in the console's memory
FIELDS = {"game": str, "seed": int, "actions": list[int], "score": float, "goal": bool}
NAME = re.compile(r"(rlgames/)?Mario(-v0)?(:.*)?", re.DOTALL)
OPTIONS = ("world", "stage", "version", "actions", "lost_levels")  # of a stage, which a file may name


@dataclass(frozen=True)
class Way:
    """Actions from the start of an episode, each held for `FRAME_SKIP` frames; a JSON file holds one."""

    game: str  # such as "Mario:world=1,stage=1"
    seed: int  # of the episode
    actions: list[int]  # one an agent step
    score: float  # as the game counts, after the last action
    goal: bool  # whether the last action reached the goal

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Way:
        """Read a file that `save` wrote. Raises UsageError, in one line, for any other.

        It names a stage of Mario and nothing else, as it may come from somebody else.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read as a way of rlgames explore: {error}") from error
        check_fields(str(path), data, FIELDS)
        try:
            options = stage_task(data["game"]).options
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
        if unknown := options.keys() - set(OPTIONS):
            raise UsageError(f"{path}: expected a stage with the options {', '.join(OPTIONS)}, got {min(unknown)} too")
        return cls(**data)


class Replay:
    """A model that takes the actions of a way, for `rlgames.record` and `rlgames.evaluate` with one environment."""

    def __init__(self, way: Way):
        self.way = way

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """Return the next action, and the number of actions so far as the state; after the last one, action 0."""
        t = 0 if state is None or np.all(episode_start) else int(state)
        return self.way.actions[t] if t < len(self.way.actions) else 0, t + 1


class Cell(NamedTuple):
    """A moment of an episode: its snapshot, and how it was reached."""

    record: np.ndarray  # one, of the compiled game
    steps: int  # from the start
    parent: Cell | None
    actions: tuple[int, ...]  # since the parent

    def all_actions(self) -> list[int]:
        """Return the actions from the start."""
        chain: list[Cell] = []
        cell: Cell | None = self
        while cell is not None:
            chain.append(cell)
            cell = cell.parent
        return [action for each in reversed(chain) for action in each.actions]


def go_explore(game: str, *, seed: int = 0, steps: int = 2_000_000) -> Iterator[Way]:
    """Search a way to the goal of a stage of Super Mario Bros.; yield each one that is better than all before it.

    First come ways that end farther right, then those to the goal, each shorter than the last. The search ends after
    `steps` agent steps, and depends on nothing but its arguments.

    Raises ValueError for other games, for the whole game and for several stages, and for steps < 1.
    """
    steps, seed = check_value("steps", steps, Count), check_seed(seed)
    options = stage_task(game).options
    named = {key: value for key, value in options.items() if key != "rom"}  # a way is one for any copy of it
    yield from search(str(Task("Mario", named)), load_game("Mario", **options, obs="ram"), seed, steps)


def stage_task(game: str) -> Task:
    """Return the task of this name, a stage of Mario on our own engine. Raises ValueError for any other game."""
    if not NAME.fullmatch(game):  # before it is parsed, which imports the module that another id may name
        raise InvalidValueError(
            f"Go-Explore knows the cells of Mario alone, got {brief(game)}: try Mario:world=1,stage=1"
        )
    task = Task.parse(game)
    options = {key: value for key, value in task.options.items() if key not in ("obs", "patience", "noop_max")}
    if "stages" in options or "world" not in options or options.pop("engine", "nes") != "nes":
        raise InvalidValueError(f"expected one stage on the engine nes, as in Mario:world=1,stage=1, got {brief(game)}")
    return Task("Mario", options)


def search(name: str, mario: Any, seed: int, steps: int) -> Iterator[Way]:
    rng = np.random.default_rng(seed)
    envs: Any = make_vector_env(mario, NUM_ENVS, frame_skip=FRAME_SKIP, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=0)
    snapshot = envs.snapshot()
    p = np.array([WEIGHTS.get(action, 0) for action in mario.actions], float)
    p /= p.sum()
    start = Cell(snapshot["records"][0].copy(), 0, None, ())
    archive: dict[tuple[int, ...], Cell] = {cells_of(snapshot["records"])[0]: start}
    order = list(archive)  # of discovery
    farthest, shortest = 0.0, 0  # of all ways; 0: none reached the goal
    for _ in range(0, steps, NUM_ENVS * BURST):
        newest = len(order) - 1 - rng.integers(min(NEWEST, len(order)), size=NUM_ENVS)
        chosen = np.where(rng.random(NUM_ENVS) < NEWEST_SHARE, newest, rng.integers(len(order), size=NUM_ENVS))
        parents = [archive[order[i]] for i in chosen]
        envs.restore(snapshot | {"records": np.array([parent.record for parent in parents], start.record.dtype)})
        actions, alive = random_actions(rng, p), np.ones(NUM_ENVS, np.bool_)
        for t in range(BURST):
            _, _, terminated, truncated, info = envs.step(actions[t])
            done = terminated | truncated
            if done.any():
                goal = info["final_info"]["flag_get"].astype(np.bool_) & alive & done
                for i in np.flatnonzero(goal):
                    length = parents[i].steps + t + 1
                    if not shortest or length < shortest:
                        shortest = length
                        way = parents[i].all_actions() + actions[: t + 1, i].tolist()
                        yield Way(name, 0, way, float(info["final_info"]["x_pos"][i]), True)
                alive &= ~done
            records = envs.snapshot()["records"]
            for i, key in enumerate(cells_of(records)):
                length = parents[i].steps + t + 1
                if not alive[i] or (shortest and length >= shortest):
                    continue
                known = archive.get(key)
                if known is None or length < known.steps:
                    if known is None:
                        order.append(key)
                    archive[key] = Cell(records[i].copy(), length, parents[i], tuple(actions[: t + 1, i].tolist()))
            reached = np.where(alive & (info["x_pos"] < LEFT_OF_START), info["x_pos"], 0.0)
            if not shortest and reached.max() >= farthest + CELL[0]:
                i, farthest = int(reached.argmax()), float(reached.max())
                yield Way(name, 0, parents[i].all_actions() + actions[: t + 1, i].tolist(), farthest, False)


def random_actions(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """Return random actions (BURST, NUM_ENVS), each held for a random number of steps."""
    actions = rng.choice(len(p), (BURST, NUM_ENVS), p=p)
    held = rng.random((BURST, NUM_ENVS)) < HOLD
    for t in range(1, BURST):
        actions[t] = np.where(held[t], actions[t - 1], actions[t])
    return actions


def cells_of(records: np.ndarray) -> list[tuple[int, ...]]:
    """Return the cell of each record: the area, and Mario's position in it."""
    ram = records["console"]["ram"].astype(np.int64)
    x = 256 * ram[:, X_PAGE] + ram[:, X]
    columns = ram[:, AREA], ram[:, AREA_POINTER], x // CELL[0], ram[:, Y] // CELL[1]
    return list(zip(*(column.tolist() for column in columns), strict=True))
