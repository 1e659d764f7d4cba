"""What a preset says: the config, the number of players, the length of a whole training, what is seen and rewarded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards


@dataclass(frozen=True)
class Preset:
    """A tuned training; `rewards` shape what the agent learns from (scores stay the game's)."""

    config: Any
    steps: int  # environment steps, all players counted
    envs: int = 32  # players at once
    rewards: Rewards | None = None
    pixels: Pixels | None = None  # what the agent sees, where that is not the game's default
