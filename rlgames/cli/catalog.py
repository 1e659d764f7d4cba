"""`rlgames list` and `rlgames presets`: what there is to play, to train and to watch. `list` loads no torch."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from rlgames.agents import AGENTS, agent_spec
from rlgames.cli.terminal import load_command, print_columns, print_entries, wrap
from rlgames.envs.games import GAMES
from rlgames.envs.registry import default_pixels, load_game, module_of
from rlgames.envs.task import Task
from rlgames.presets.lookup import PRESETS, find_preset
from rlgames.zoo.manifest import read_manifest

FEW = 12  # actions that are named one by one


def list_command() -> None:
    print_entries(
        'Games: "Cave" for rlgames, "rlgames/Cave-v0" for Gymnasium; options as in "CatchBall:size=16".',
        [(name, *game_entry(name)) for name in GAMES],
    )
    print_entries(
        "Agents: rlgames train AGENT GAME trains one.", [(name, spec.summary) for name, spec in AGENTS.items()]
    )
    games = dict.fromkeys(game for _, game in PRESETS)
    print_entries(
        "Presets: tuned settings, by game; rlgames presets AGENT GAME shows them.",
        [(game, ", ".join(agent for agent in AGENTS if (agent, game) in PRESETS)) for game in games],
    )
    print_entries(
        "Trained agents: rlgames zoo shows their scores, rlgames watch NAME records one.",
        [(name, f"{card.agent} on {card.game}") for name, card in read_manifest().items()],
    )


def game_entry(name: str) -> Iterator[str]:
    """Yield the paragraphs of a game."""
    spec, game = GAMES[name], load_game(name)
    yield spec.summary
    observation = default_pixels(name, {}).observation_space(game.observation)
    actions = game.actions if len(game.actions) <= FEW else [f"{len(game.actions)} actions"]
    yield f"observed as {' x '.join(map(str, observation.shape))} {observation.dtype}; {', '.join(actions)}"
    options = inspect.signature(module_of(name).game).parameters.values()
    if options:
        yield "options " + ", ".join(f"{option.name}={json_text(option.default)}" for option in options)


def json_text(value: Any) -> str:
    """Return a default as it is written in an option."""
    return value if isinstance(value, str) else json.dumps(value)


def presets_command(agent: str | None, game: str | None, as_json: bool) -> None:
    agents = AGENTS if agent is None else [agent.lower()]
    for name in agents:
        agent_spec(name)
    if agent is not None and game is not None:
        return print_preset(agent.lower(), Task.parse(game), as_json)
    presets = {key: preset for key, preset in PRESETS.items() if key[0] in agents}
    if as_json:
        rows = [{"agent": a, "game": g, "envs": p.envs, "steps": p.steps} for (a, g), p in presets.items()]
        return print(json.dumps(rows))
    rows = [(agent, game, str(p.envs), f"{p.steps:,}") for (agent, game), p in presets.items()]
    print_columns(("agent", "game", "envs", "steps"), rows)
    print("\n" + wrap("rlgames presets AGENT GAME shows all settings; other games have the agent's defaults."))
    return None


def print_preset(agent: str, task: Task, as_json: bool) -> None:
    """Print all settings of an agent on a game, those that differ from the algorithm's defaults marked."""
    preset = find_preset(agent, task)
    if as_json:
        to_json = import_module("rlgames.agents.preset_files").preset_to_json  # heavy
        return print(json.dumps(to_json(preset, agent, str(task)), indent=2))
    config, default = load_command("run").resolve_config(agent, preset)
    declarations = {"preprocessing": preset.pixels, "rewards": preset.rewards, "episodes": preset.episodes}
    print(f"{agent} on {task}: {preset.steps:,} steps, {preset.envs} envs")
    for what, declaration in declarations.items():
        if declaration is not None:
            print(wrap(f"{what}: {changed_fields(declaration)}", "    "))
    print()
    rows = [
        ("*" if value != default[name] else "", name, str(value), str(default[name])) for name, value in config.items()
    ]
    print_columns(("", "setting", "value", "default"), rows)
    print("\n" + wrap(f"* differs from the default of {agent}; rlgames train {agent} {task} --help explains each."))
    return None


def changed_fields(declaration: Any) -> str:
    """Return the fields of a dataclass that differ from their defaults, as "size=(84, 84), stack=4"."""
    values = {
        field.name: (getattr(declaration, field.name), field.default) for field in dataclasses.fields(declaration)
    }
    return ", ".join(f"{name}={value}" for name, (value, default) in values.items() if value != default)
