"""`rlgames train AGENT GAME`: the other options depend on these two, which are therefore read first.

The help that lists agents and games needs neither tyro nor Numba; an unknown name of either is told before torch loads.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from importlib import import_module

from rlgames.agents import AGENTS, agent_spec
from rlgames.cli.main import describe
from rlgames.cli.terminal import load_command, print_entries
from rlgames.envs.games import GAMES
from rlgames.errors import UsageError


def train(argv: list[str], modules: list[str]) -> int | None:
    """Run the command; `argv` is what follows its name, `modules` were imported for it."""
    if argv[:1] in (["-h"], ["--help"]):
        return print_usage()
    if len(argv) < 2 or argv[0].startswith("-") or argv[1].startswith("-"):
        raise UsageError("expected an agent and a game first: rlgames train ppo CatchBall (see rlgames train --help)")
    agent = argv[0].lower()
    agent_spec(agent)
    task = import_module("rlgames.envs.task").Task.parse(argv[1])
    run = load_command("run")
    default = run.train_options(agent, task)
    name = shlex.join(["train", *argv[:2]])
    parse = import_module("rlgames.cli.options").parse
    options = parse(type(default), name, argv[2:], default=default, description=describe("train"))
    if preset := run.other_preset(options):
        default = run.train_options(agent, task, preset)
        options = replace(parse(type(default), name, argv[2:], default=default), preset=preset)
    return run.run_training(options, [*argv, *(part for module in modules for part in ("--import", module))])


def print_usage() -> None:
    print(f"usage: rlgames train AGENT GAME [OPTIONS]\n\n{describe('train')}\n")
    print("The options of a pair, with its tuned values: rlgames train ppo CatchBall --help\n")
    print_entries("agents:", [(name, spec.summary) for name, spec in AGENTS.items()])
    print_entries("games:", [(name, spec.summary) for name, spec in GAMES.items()])
    print("or any id that Gymnasium knows, with Box observations and Discrete actions.")
    print('A game\'s own options follow its name, as in "CatchBall:size=16".')
