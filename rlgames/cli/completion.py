"""`rlgames completion SHELL`: a script that lets a shell complete commands, options, names and files.

The options are those of the commands' dataclasses, put into an argparse parser from which shtab writes the script;
tyro's own scripts complete neither games nor, in bash, files.
"""

from __future__ import annotations

import inspect
import re
from argparse import ArgumentParser
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import shtab
import tyro

from rlgames.agents import AGENTS
from rlgames.agents.registry import find
from rlgames.cli.main import COMMANDS
from rlgames.cli.run import train_options
from rlgames.envs.games import GAMES
from rlgames.envs.task import Task

CHOICES = {"agent": tuple(AGENTS), "game": tuple(GAMES)}  # values of the options of these names
SHORT = 100  # characters of a help text


def completion_script(shell: Literal["bash", "zsh", "fish"]) -> str:
    """Return the script for a shell."""
    parser = ArgumentParser("rlgames")
    subparsers = parser.add_subparsers()
    for name, spec in COMMANDS.items():
        command = getattr(import_module(spec.module), spec.attribute)
        if name == "train":
            add_train(subparsers, spec.summary)
        else:
            subparser = subparsers.add_parser(name, help=spec.summary, description=spec.summary)
            if isinstance(command, type):
                add_fields(subparser, command)
    return shtab.complete(parser, shell)


def add_train(subparsers: Any, summary: str) -> None:
    """Add `train`, whose options depend on the agent."""
    agents = subparsers.add_parser("train", help=summary, description=summary).add_subparsers()
    for name, spec in AGENTS.items():
        parser = agents.add_parser(name, help=spec.summary, description=spec.summary)
        parser.add_argument("game", choices=CHOICES["game"], help="This game is played.")
        add_fields(parser, type(train_options(name, Task("CartPole"))), without=("agent", "game", "config"))
        add_fields(parser, find(name).Config, prefix="config.")


def add_fields(parser: ArgumentParser, options: Any, prefix: str = "", without: tuple[str, ...] = ()) -> None:
    """Add an option for each field of a dataclass, with its comment as help."""
    hints = get_type_hints(options, include_extras=True)
    comments = dict(re.findall(r"^ +(\w+): .*?  # (.*)$", inspect.getsource(options), re.MULTILINE))
    for field in fields(options):
        if field.name not in without:
            add_option(parser, prefix + field.name, hints[field.name], comments.get(field.name, ""))


def add_option(parser: ArgumentParser, name: str, hint: Any, comment: str) -> None:
    positional, kinds, values = read_hint(hint)
    help_text = comment if len(comment) <= SHORT else f"{comment[: SHORT - 3]}..."
    settings: dict[str, Any] = {"help": help_text.replace("%", "%%")}
    if values or ((positional or name == "game") and name in CHOICES):
        settings["choices"] = values or CHOICES[name]
    if positional:
        action = parser.add_argument(name, **settings, nargs="?")
    elif bool in kinds:
        action = parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=settings["help"])
    else:
        action = parser.add_argument(f"--{name.replace('_', '-')}", **settings)
    if Path in kinds:
        action.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]  shtab's way to say so


def read_hint(hint: Any) -> tuple[bool, set[Any], tuple[Any, ...]]:
    """Return whether a type is marked as positional, the types it is a union of, and the values of a Literal."""
    positional, kinds, values, rest = False, set(), (), [hint]
    while rest:
        each = rest.pop()
        positional |= each is tyro.conf.Positional
        if hasattr(each, "__metadata__"):
            rest += [each.__origin__, *each.__metadata__]
        elif get_origin(each) is Literal:
            values += get_args(each)
        elif get_origin(each) in (Union, UnionType, tuple):
            rest += get_args(each)
        else:
            kinds.add(each)
    return positional, kinds, values
