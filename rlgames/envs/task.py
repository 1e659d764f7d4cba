"""Task: what is played, as plain data, so that a checkpoint can name its game and anybody can make it again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.envs.registry import GAMES, deciding, make, make_vec, parse
from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards


@dataclass(frozen=True)
class Task:
    """A game of the suite (short name), or the id of any other Gymnasium environment, and how an agent meets it."""

    game: str
    options: dict[str, Any] = field(default_factory=dict)  # the game's own
    pixels: Pixels | None = None  # None: the game's default
    rewards: Rewards | None = None

    @classmethod
    def parse(cls, text: str) -> Task:
        """From "Cave", "CatchBall:size=16", "rlgames/Cave-v0", or a foreign id that Gymnasium knows ("Acrobot-v1").

        Raises ValueError for a name that neither rlgames nor Gymnasium knows.
        """
        if text in gym.registry and not text.startswith("rlgames/"):
            return cls(text)
        return cls(*parse(text))

    @property
    def native(self) -> bool:
        return self.game in GAMES

    def as_learnt(self, own: Task | None) -> Task:
        """What this is to an agent made for `own`: seen and rewarded as there, if the game is the same or its twin.

        Options that decide what is seen (frame_skip, stack, Dino's obs) are `own`'s unless named.
        """
        if own is None or not self.native or own.game not in (self.game, GAMES[self.game].twin):
            return self
        look = {"frame_skip", "stack"} | deciding(self.game)
        kept = {key: value for key, value in own.options.items() if key in look}
        return Task(self.game, kept | self.options, own.pixels, own.rewards)

    def make(self, **kwargs: Any) -> gym.Env:
        if self.native:
            return make(self.game, pixels=self.pixels, rewards=self.rewards, **self.options, **kwargs)
        return gym.make(self.game, **self.options, **kwargs)

    def make_vec(self, num_envs: int) -> VectorEnv:
        if self.native:
            return make_vec(self.game, num_envs, pixels=self.pixels, rewards=self.rewards, **self.options)
        same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
        return gym.make_vec(self.game, num_envs, "sync", vector_kwargs=same_step, **self.options)

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))  # tuples become lists

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Task:
        pixels, rewards = data["pixels"], data["rewards"]
        if pixels:  # JSON has lists only
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in pixels.items()}
            pixels = Pixels(**fields)
        return cls(data["game"], data["options"], pixels, rewards and Rewards(**rewards))

    def __str__(self) -> str:
        options = ",".join(
            f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in self.options.items()
        )
        return f"{self.game}:{options}" if options else self.game
