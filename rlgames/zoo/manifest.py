"""The manifest: what each trained agent is, how it was trained, and how well it plays."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from rlgames.errors import InvalidValueError, brief

NAMES_SHOWN, LIKE = 3, 0.5  # of those like an unknown name: how many, and how much


@dataclass(frozen=True)
class Card:
    """One trained agent, as `rlgames export` describes it in card.json, and the manifest by its name."""

    agent: str  # name of the algorithm
    config: dict[str, Any]  # its settings
    seed: int
    step: int  # environment steps until the checkpoint
    task: dict[str, Any]  # that it was trained on, with preprocessing and rewards
    num_envs: int
    spaces: dict[str, Any]  # of observations and actions
    command: str | None  # that trains it, with the preset of this version; None: no such command does
    checkpoint: str | None  # of the run: "best" or "final"; None: another
    training: dict[str, Any] | None  # the other settings of the run
    training_seconds: float | None  # until the checkpoint
    run_seconds: float | None  # of the whole run
    machines: list[dict[str, str]]  # that trained it
    bytes: int  # of the file of the weights
    sha256: str  # of that file
    evaluation: dict[str, Any]  # the object that `rlgames evaluate --json` prints, without path and lengths
    extended_from: list[int] = field(default_factory=list)  # steps that the run had before it was resumed with more

    @property
    def game(self) -> str:
        """The game that it was evaluated on."""
        return self.evaluation["game"]

    @property
    def reproducible(self) -> bool:
        """True if the same machine computes the same weights again: several workers of A3C never do."""
        return self.training is not None and self.config.get("workers", 1) == 1


@cache
def read_manifest() -> dict[str, Card]:
    """Return the trained agents by name."""
    text = (files("rlgames.zoo") / "manifest.json").read_text(encoding="utf-8")
    return {name: Card(**card) for name, card in json.loads(text).items()}


def find_card(name: str) -> Card:
    """Return a trained agent of this name. Raises ValueError, with the names most like it, for an unknown one."""
    manifest = read_manifest()
    if name not in manifest:
        raise InvalidValueError(f"unknown trained agent {brief(name)}: {suggest(name)}rlgames zoo lists them")
    return manifest[name]


def suggest(name: str) -> str:
    """Return "did you mean pong-ppo or pong-dqn? " for the names most like this one; "" if none is."""
    near = difflib.get_close_matches(name.lower(), read_manifest(), NAMES_SHOWN, LIKE)
    return f"did you mean {' or '.join(near)}? " if near else ""
