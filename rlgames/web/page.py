"""Build a folder that any web server can serve: games, agents that play them, and the page that shows both.

index.html, page.css, page.js    the front end
page.json                        games with their agents: names, sizes, settings, networks
games/*.bin                      WebAssembly: rules and layers, see `rlgames.web.wasm` and `rlgames.web.network`
agents/*.bin                     weights, see `planes_of`

The last two are compressed by gzip here, as not every server would.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlgames.agents.base import Agent
from rlgames.agents.registry import load
from rlgames.engine.game import Game
from rlgames.engine.shapes import CAPACITY
from rlgames.envs.registry import game_options, load_game, take_pixels
from rlgames.envs.task import Task
from rlgames.errors import NotWritableError, UsageError
from rlgames.evaluation import evaluate
from rlgames.runs.directory import EXPORTED, find_checkpoint
from rlgames.web.network import FUNCTIONS, describe_network
from rlgames.web.wasm import compile_game, picture_of
from rlgames.wrappers.pixels import Pixels

FRONT_END = ("index.html", "page.css", "page.js")
LARGE = 500_000  # bytes of weights, from which on they are rounded if that changes no score
EPISODES, EPISODE_STEPS = 20, 3000  # of the check; longer ones are truncated
PREPROCESSING = ("skip", "max_pool", "stack", "crop", "erase")  # the fields of Pixels that the page computes


def build_page(folder: Path, agents: Sequence[Path]) -> list[str]:
    """Write the page with these agents, each a checkpoint or the folder of one; return a line about each.

    Raises UsageError for an agent whose game or network a page cannot compute, NotWritableError if the folder cannot
    be written.
    """
    games: dict[str, dict[str, Any]] = {}
    rules: dict[str, Game] = {}
    weights, lines = {}, []
    for path in agents:
        agent = load(find_checkpoint(path), weights_only=True)
        task, pixels = own_task(agent, path)
        name, game = str(task), load_game(task.game, **task.options)
        shorten(agent)
        rules[name] = game
        described = games.setdefault(name, describe_game(name, game))
        entry, content = describe_agent(agent, path, pixels, len(described["agents"]))
        described["agents"].append(entry)
        weights[entry["weights"]] = content
        lines.append(f"{name}: {entry['title']}, {len(content) / 1e3:,.0f} kB of weights")
    modules = {  # last: it takes seconds
        name: gzip.compress(compile_game(game, FUNCTIONS), mtime=0) for name, game in rules.items()
    }
    try:
        for part in ("games", "agents"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for file in FRONT_END:
            with as_file(files("rlgames.web") / "static" / file) as source:
                shutil.copyfile(source, folder / file)
        for name, module in modules.items():
            (folder / games[name]["module"]).write_bytes(module)
        for file, content in weights.items():
            (folder / file).write_bytes(content)
        (folder / "page.json").write_text(json.dumps({"games": list(games.values())}) + "\n")
    except OSError as error:
        raise NotWritableError(f"{folder} cannot be written: {error}") from error
    return lines


def zoo_agents(zoo: Path = Path("zoo")) -> list[Path]:
    """Return the folder of the smallest agent of each game in a zoo that a page can show.

    A game that is observed in another way is the same one here, so that the page stays small. Raises UsageError if
    there is none.
    """
    smallest: dict[str, Path] = {}
    for file in sorted(zoo.glob(f"*/{EXPORTED}"), key=lambda file: (file.stat().st_size, file)):
        agent = load(file, weights_only=True)
        with suppress(UsageError):
            task, _ = own_task(agent, file.parent)
            rules = Task(task.game, {name: value for name, value in task.options.items() if name != "obs"})
            smallest.setdefault(str(rules), file.parent)
    if not smallest:
        raise UsageError(f"there is no agent for a page in the folder {zoo}: name checkpoints or runs with --agents")
    return sorted(smallest.values())


def own_task(agent: Agent, path: Path) -> tuple[Task, Pixels]:
    """Return an agent's game with the game's own options alone, and the preprocessing."""
    task = agent.task
    if task is None or not task.native:
        raise UsageError(f"{path}: its agent plays {task}, a page needs a game of rlgames that Numba compiles")
    if task.options.get("wrappers"):
        raise UsageError(
            f"{path}: its agent plays with wrappers={task.options['wrappers']}, which a page cannot compute"
        )
    options = dict(task.options)
    pixels = take_pixels(task.game, task.pixels, options)
    own = {key: value for key, value in options.items() if key in game_options(task.game)}
    game = load_game(task.game, **own)
    if not isinstance(game, Game):
        raise UsageError(f"{path}: its agent plays {task}, a page needs a game that Numba compiles")
    picture_of(game)
    return Task(task.game, own), pixels


def describe_game(name: str, game: Game) -> dict[str, Any]:
    picture, record = picture_of(game), game.record.fields
    assert record is not None  # it has CLOCK
    return {
        "name": name,
        "title": name,
        "module": f"games/{file_name(name)}.bin",
        "record": {"size": game.record.itemsize} | {key: record[key][1] for key in ("rng", "score", "over")},
        "observation": {"shape": list(game.observation.shape), "dtype": str(game.observation.dtype)},
        "picture": {"width": picture.width, "height": picture.height, "cell": picture.cell, "capacity": CAPACITY},
        "actions": list(game.actions),
        "keys": [[[key], action] for key, action in game.keys.items()],
        "fps": game.fps,
        "agents": [],
    }


def describe_agent(agent: Agent, path: Path, pixels: Pixels, number: int) -> tuple[dict[str, Any], bytes]:
    default = Pixels()
    for field in fields(pixels):
        if field.name not in PREPROCESSING and getattr(pixels, field.name) != getattr(default, field.name):
            raise UsageError(
                f"{path}: its agent needs {field.name}={getattr(pixels, field.name)}, which a page cannot compute"
            )
    network, weights = describe_network(agent.net, agent.observation_space.shape)
    name = f"{agent.name}-{number}" if number else agent.name
    return {
        "name": name,
        "title": f"{agent.name.upper()}, {agent.step:,} steps",
        "weights": f"agents/{file_name(f'{agent.task}-{name}')}.bin",
        "preprocessing": {key: getattr(pixels, key) for key in PREPROCESSING},
        "network": network,
    }, gzip.compress(planes_of(weights), mtime=0)


def shorten(agent: Agent) -> None:
    """Round the weights of a large network to 16 significant bits, if its scores of seeds 0 to 19 stay exactly equal.

    Compressed, they take two thirds of the bytes.
    """
    parameters = [parameter.data for parameter in agent.net.parameters()]
    if sum(parameter.nbytes for parameter in parameters) < LARGE:
        return
    exact, scores = [parameter.clone() for parameter in parameters], greedy_scores(agent)
    for parameter in parameters:
        bits = parameter.cpu().numpy().view(np.uint32)
        rounded = (bits + 0x7F + (bits >> 8 & 1)) & 0xFFFFFF00  # to nearest, ties to even
        parameter.copy_(torch.from_numpy(rounded.view(np.float32)))
    if greedy_scores(agent) != scores:
        for parameter, before in zip(parameters, exact, strict=True):
            parameter.copy_(before)


def greedy_scores(agent: Agent) -> list[float]:
    return evaluate(agent, episodes=EPISODES, seed=0, max_episode_steps=EPISODE_STEPS).scores


def planes_of(weights: bytes) -> bytes:
    """Return float32 numbers with the first bytes of all, then the second ones, ...: so they compress better."""
    return np.frombuffer(weights, np.uint8).reshape(-1, 4).T.tobytes()


def file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
