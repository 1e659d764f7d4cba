"""Task: a game and its preprocessing as plain data, so that a checkpoint can name it and any process can make it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.envs.registry import GAMES, make, make_vec, observation_options, parse
from rlgames.errors import UsageError
from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards


@dataclass(frozen=True)
class Task:
    """A registered game by its short name, or the id of any other Gymnasium environment, and its preprocessing."""

    game: str
    options: dict[str, Any] = field(default_factory=dict)  # the game's own, and those of `rlgames.make`
    pixels: Pixels | None = None  # None: the game's default
    rewards: Rewards | None = None

    @classmethod
    def parse(cls, text: str) -> Task:
        """Parse "Cave", "CatchBall:size=16", "rlgames/Cave-v0", or another id that Gymnasium knows ("Acrobot-v1").

        Raises ValueError for a name that neither rlgames nor Gymnasium knows.
        """
        if text in gym.registry and not text.startswith("rlgames/"):
            return cls(text)
        return cls(*parse(text))

    @property
    def native(self) -> bool:
        """True for a game of this library and for one registered with it."""
        return self.game in GAMES

    def as_trained_on(self, trained: Task | None) -> Task:
        """Return this task with the preprocessing of `trained`, if that is the same game or one that simulates it.

        Options that decide the observation (frame_skip, stack, wrappers, Dino's obs) are those of `trained` unless
        they are named here; "wrappers=null" leaves the wrappers out.
        """
        if trained is None or not self.native or trained.game not in (self.game, GAMES[self.game].simulates):
            return self
        kept_names = {"frame_skip", "stack", "wrappers"} | observation_options(self.game)
        kept = {key: value for key, value in trained.options.items() if key in kept_names}
        return Task(self.game, kept | self.options, trained.pixels, trained.rewards)

    def make(self, **kwargs: Any) -> gym.Env:
        """Make one environment. Raises UsageError if Gymnasium cannot make it."""
        if self.native:
            return make(self.game, pixels=self.pixels, rewards=self.rewards, **self.options, **kwargs)
        try:
            return gym.make(self.game, **self.options, **kwargs)
        except gym.error.Error as error:
            raise UsageError(f"{self.game}: {error}") from error

    def make_vec(self, num_envs: int) -> VectorEnv:
        """Make environments that reset in the step an episode ends. Raises UsageError if Gymnasium cannot make them."""
        if self.native:
            return make_vec(self.game, num_envs, pixels=self.pixels, rewards=self.rewards, **self.options)
        same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
        try:
            return gym.make_vec(self.game, num_envs, "sync", vector_kwargs=same_step, **self.options)
        except gym.error.Error as error:
            raise UsageError(f"{self.game}: {error}") from error

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
