"""The command line, `rlgames COMMAND ...`.

A command's module is imported when it runs, so that `--help` is quick. Invalid input is answered by one line on stderr
and exit status 2 (`UsageError`); any other exception keeps its traceback, a user's game's or agent's too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from gymnasium.error import DependencyNotInstalled

from rlgames.cli.terminal import parse
from rlgames.errors import UsageError


class CommandSpec(NamedTuple):
    """One row of the table of commands."""

    module: str
    attribute: str  # a dataclass of options with `run`, or a function of the arguments
    summary: str


COMMANDS: dict[str, CommandSpec] = {
    "train": CommandSpec(
        "rlgames.cli.train", "train", "Train an agent on a game; leaves a curve, metrics and checkpoints."
    ),
    "evaluate": CommandSpec("rlgames.cli.commands", "Evaluate", "Play whole episodes with a trained agent."),
    "watch": CommandSpec("rlgames.cli.commands", "Watch", "Record a trained agent while it plays."),
    "export": CommandSpec(
        "rlgames.cli.commands", "Export", "Share a trained agent: a folder with its weights and a card of its scores."
    ),
    "play": CommandSpec("rlgames.cli.play", "Play", "Play a game yourself, in a window (extra play)."),
    "list": CommandSpec("rlgames.cli.commands", "List", "List games, agents and presets."),
    "doctor": CommandSpec(
        "rlgames.cli.doctor", "Doctor", "Check the installation: versions, missing extras, and how to install them."
    ),
    "demo": CommandSpec(
        "rlgames.cli.demo", "Demo", "Train PPO on CatchBall live: score, curve and recording in a minute."
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; `argv` is what follows the program's name."""
    try:
        status = run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status or 0
    except (UsageError, DependencyNotInstalled) as error:
        print(f"rlgames: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rlgames: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def run(argv: list[str]) -> int | None:
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        return print(usage())
    if name == "--version":
        return print(f"rlgames {version()}")
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}: the commands are {', '.join(COMMANDS)}")
    spec = COMMANDS[name]
    command = getattr(import_module(spec.module), spec.attribute)
    return command(rest) if name == "train" else parse(command, name, rest, description=spec.summary).run()


def usage() -> str:
    commands = "\n".join(f"  {name:<10}{spec.summary}" for name, spec in COMMANDS.items())
    return (
        "usage: rlgames [-h] [--version] COMMAND ...\n\n"
        "Games to learn from and agents that learn them.\n\n"
        f"{commands}\n\n"
        "rlgames COMMAND --help shows its options."
    )


def version() -> str:
    return import_module("rlgames").__version__
