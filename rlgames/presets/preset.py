"""Preset: a tuned training as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards


@dataclass(frozen=True)
class Preset:
    """A tuned training; `config` holds fields of the agent's config; the others keep their defaults."""

    config: dict[str, Any]
    steps: int  # environment steps, summed over the environments
    envs: int = 32  # environments stepped at once
    rewards: Rewards | None = None  # that the agent learns from; scores stay the game's
    pixels: Pixels | None = None  # None: the game's default preprocessing
