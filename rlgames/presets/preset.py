"""Preset: a tuned training as plain data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards
from rlgames.wrappers.training_episodes import TrainingEpisodes


@dataclass(frozen=True)
class Preset:
    """A tuned training; `config` holds fields of the agent's config; the others keep their defaults."""

    config: dict[str, Any]
    steps: int  # environment steps, summed over the environments
    envs: int = 32  # environments stepped at once
    rewards: Rewards | None = None  # that the agent learns from; scores stay the game's
    pixels: Pixels | None = None  # None: the game's default preprocessing
    episodes: TrainingEpisodes | None = None  # that the agent learns from; None: as the game has them

    def __repr__(self) -> str:
        """Return the preset as it is written, a setting a line."""
        settings = "".join(f"        {name}={value!r},\n" for name, value in self.config.items())
        lines = [f"dict(\n{settings}    )", f"steps={self.steps:_}", f"envs={self.envs}"]
        for name in ("rewards", "pixels", "episodes"):
            declaration = getattr(self, name)
            if declaration is not None:
                lines.append(f"{name}={changed_fields(declaration)}")
        return "".join(["Preset(\n", *(f"    {line},\n" for line in lines), ")"])


def changed_fields(declaration: Any) -> str:
    """Return the repr of a dataclass with those fields alone that differ from their defaults."""
    values = {field.name: (getattr(declaration, field.name), field.default) for field in fields(declaration)}
    changed = (f"{name}={value!r}" for name, (value, default) in values.items() if value != default)
    return f"{type(declaration).__name__}({', '.join(changed)})"
