"""The command line, `rlgames COMMAND ...`.

A command's module is imported when it runs, so that `--help` and `list` are quick, and `doctor` runs where packages are
missing. Invalid input and a package that is missing are answered by one line on stderr and exit status 2
(`UsageError`), a full disk, output or memory by one line and exit status 1; any other exception keeps its traceback, a
user's game's or agent's too.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from rlgames.cli.output import OutputClosedError, checked_output, complain
from rlgames.cli.terminal import print_entries
from rlgames.errors import FailedError, UsageError, did_you_mean, missing_package
from rlgames.imports import import_registering, is_missing


class CommandSpec(NamedTuple):
    """One row of the table of commands."""

    module: str
    attribute: str  # a dataclass of options with `run`, or a function of the arguments and of the imported modules
    summary: str
    example: str  # without "rlgames"


COMMANDS: dict[str, CommandSpec] = {
    "train": CommandSpec(
        "rlgames.cli.train",
        "train",
        "Train an agent on a game; leaves a curve, metrics and checkpoints.",
        "train ppo Cave --seed 1 --out runs/cave",
    ),
    "evaluate": CommandSpec(
        "rlgames.cli.commands",
        "Evaluate",
        "Play whole episodes with a trained agent.",
        "evaluate runs/cave --episodes 50 --json",
    ),
    "watch": CommandSpec(
        "rlgames.cli.commands", "Watch", "Record a trained agent while it plays.", "watch runs/cave --film cave.gif"
    ),
    "plot": CommandSpec(
        "rlgames.cli.commands",
        "Plot",
        "Draw the learning curves of runs, their seeds as one curve.",
        "plot 'runs/cave-*' --out cave.png",
    ),
    "compare": CommandSpec(
        "rlgames.cli.commands",
        "Compare",
        "Compare the final scores of runs, with intervals.",
        "compare 'runs/ppo-*' 'runs/dqn-*'",
    ),
    "tune": CommandSpec(
        "rlgames.cli.commands",
        "Tune",
        "Search for the best settings of an agent on a game (extra tune).",
        "tune ppo CartPole --trials 50 --steps 50_000 --jobs 2",
    ),
    "explore": CommandSpec(
        "rlgames.cli.commands",
        "Explore",
        "Find a way to the goal of a stage of Mario by Go-Explore.",
        "explore Mario:world=1,stage=1 --out way.json",
    ),
    "page": CommandSpec(
        "rlgames.cli.commands",
        "Page",
        "Build a page that plays games in any browser (extra page).",
        "page build/page --agents zoo/pong-ppo",
    ),
    "export": CommandSpec(
        "rlgames.cli.commands",
        "Export",
        "Share a trained agent: its weights and a card of its scores.",
        "export runs/cave zoo/cave-ppo",
    ),
    "play": CommandSpec(
        "rlgames.cli.commands", "Play", "Play a game yourself, in a window (extra play).", "play CatchBall:size=16"
    ),
    "list": CommandSpec("rlgames.cli.commands", "List", "List games, agents, presets and trained agents.", "list"),
    "presets": CommandSpec(
        "rlgames.cli.commands", "Presets", "Show the tuned settings of an agent on a game.", "presets ppo Cave"
    ),
    "zoo": CommandSpec("rlgames.cli.commands", "Zoo", "List the trained agents of rlgames, and their scores.", "zoo"),
    "reproduce": CommandSpec(
        "rlgames.cli.commands",
        "Reproduce",
        "Train an agent of the zoo again, and compare the weights.",
        "reproduce catch-ppo",
    ),
    "doctor": CommandSpec(
        "rlgames.cli.doctor", "doctor", "Check the installation: what is missing, and how to get it.", "doctor"
    ),
    "demo": CommandSpec(
        "rlgames.cli.commands",
        "Demo",
        "Train PPO on CatchBall live: score, curve and recording in a minute.",
        "demo --out runs/demo",
    ),
    "completion": CommandSpec(
        "rlgames.cli.commands",
        "Completion",
        "Print a script that completes commands in bash, zsh or fish.",
        "completion bash > ~/.local/share/bash-completion/completions/rlgames",
    ),
}
IMPORT = "--import"
SIGPIPE = 13  # which module signal lacks on Windows


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; `argv` is what follows the program's name."""
    with checked_output():
        try:
            status = run(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
            return status or 0
        except KeyboardInterrupt:
            complain("interrupted")
            return 128 + signal.SIGINT
        except OutputClosedError:
            return 128 + SIGPIPE
        except Exception as error:
            mended = one_line(error)
            if mended is None:
                raise
            complain(" ".join(str(mended).split()))
            return getattr(mended, "exit_status", 2)


def one_line(error: Exception) -> Exception | None:
    """Return the error to print in one line; None for one that keeps its traceback."""
    gymnasium_errors = sys.modules.get("gymnasium.error")  # gymnasium itself may be what is missing
    if isinstance(error, UsageError):
        return error
    if gymnasium_errors is not None and isinstance(error, gymnasium_errors.DependencyNotInstalled):
        return error
    if isinstance(error, MemoryError):
        return FailedError(f"the memory is used up ({str(error) or 'no more could be had'}): try fewer environments")
    return missing_package(error) if isinstance(error, ModuleNotFoundError) else None


def run(argv: list[str]) -> int | None:
    argv, modules = take_imports(argv)
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        return print_usage()
    if name == "--version":
        return print(f"rlgames {import_module('rlgames').__version__}")
    if name not in COMMANDS:
        raise UsageError(
            f"unknown command {name!r}: {did_you_mean(name, COMMANDS)}the commands are {', '.join(COMMANDS)}"
        )
    import_modules(modules)
    if os.getcwd() not in sys.path:  # last, so that nothing in it replaces another module
        sys.path.append(os.getcwd())  # for games as "module:id"
    spec = COMMANDS[name]
    command = getattr(import_module(spec.module), spec.attribute)
    if not isinstance(command, type):
        return command(rest, modules)
    options = import_module("rlgames.cli.options")  # which needs tyro
    return options.parse(command, name, rest, description=describe(name)).run()


def describe(name: str) -> str:
    """Return a command's summary and example, for its help."""
    return f"{COMMANDS[name].summary}\n\nExample: rlgames {COMMANDS[name].example}"


def print_usage() -> None:
    print("usage: rlgames [-h] [--version] COMMAND ...\n")
    print("Games to learn from and agents that learn them.\n")
    print_entries("commands:", [(name, spec.summary) for name, spec in COMMANDS.items()])
    everywhere = "import a module that registers games, agents or wrappers, before the command runs"
    print_entries("rlgames COMMAND --help shows its options; each takes:", [(f"{IMPORT} MODULE", everywhere)])


# ---- modules that register games, agents and wrappers ----


def take_imports(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments without `--import MODULE`, which may be anywhere and many times, and the modules."""
    rest, modules, arguments = [], [], iter(argv)
    for argument in arguments:
        if argument == IMPORT:
            modules.append(next(arguments, ""))
        elif argument.startswith(f"{IMPORT}="):
            modules.append(argument.partition("=")[2])
        else:
            rest.append(argument)
    return rest, modules


def import_modules(modules: Sequence[str]) -> None:
    """Import modules, of the current directory too. Raises UsageError for one that does not exist.

    Processes that this one starts, such as A3C's workers, import them with rlgames.
    """
    if modules and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in modules:
        refusal = UsageError(
            f"no module {name!r} to import: {IMPORT} takes the name of a module in {os.getcwd()} or of an installed one"
        )
        if not re.fullmatch(r"\w+(\.\w+)*", name):
            raise refusal
        try:
            import_registering(name)
        except ModuleNotFoundError as error:
            if is_missing(name, error):
                raise refusal from error
            raise  # the module is there, and fails to import another
