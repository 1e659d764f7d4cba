"""Task: a game and its preprocessing as plain data, so that a checkpoint can name it and any process can make it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.envs.registry import (
    GAMES,
    check_stored_options,
    game_options,
    hashable,
    load_game,
    make,
    make_vec,
    observation_options,
    parse,
    take_module,
    without_ray,
)
from rlgames.errors import InvalidValueError, UsageError, brief
from rlgames.schema import check_fields, from_plain
from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards
from rlgames.wrappers.training_episodes import TrainingEpisodes

LARGEST = 10_000  # rows, columns or frames of a picture that a file may ask for


@dataclass(frozen=True)
class Task:
    """A registered game by its short name, or the id of any other Gymnasium environment, and its preprocessing."""

    game: str
    options: dict[str, Any] = field(default_factory=dict)  # the game's own, and those of `rlgames.make`
    pixels: Pixels | None = None  # None: the game's default
    rewards: Rewards | None = None
    episodes: TrainingEpisodes | None = None  # to learn from; None: as the game has them

    @classmethod
    def parse(cls, text: str) -> Task:
        """Parse "Cave", "CatchBall:size=16", "rlgames/Cave-v0", or another id that Gymnasium knows ("Acrobot-v1").

        "ale_py:ALE/Breakout-v5" imports ale_py before, which registers the id. Raises ValueError for a name that
        neither rlgames nor Gymnasium knows.
        """
        text = take_module(text)
        if text in gym.registry and not text.startswith("rlgames/"):
            return cls(text)
        return cls(*parse(text))

    @property
    def native(self) -> bool:
        """True for a game of this library and for one registered with it."""
        return self.game in GAMES

    @property
    def compiled(self) -> bool:
        """True for a game that Numba compiles, whose episodes are played quickly."""
        options = without_ray(self.options)
        own = {key: value for key, value in options.items() if self.native and key in game_options(self.game)}
        return self.native and getattr(load_game(self.game, **hashable(own)), "compiled", False)

    @property
    def local(self) -> Task:
        """This task with its environments in this process, and not on a cluster, which changes nothing else."""
        return replace(self, options=without_ray(self.options))

    def as_trained_on(self, trained: Task | None) -> Task:
        """Return this task with the preprocessing of `trained`, if that is the same game or one that simulates it.

        Options that decide the observation (frame_skip, stack, wrappers, Dino's obs) are those of `trained` unless
        they are named here; "wrappers=null" leaves the wrappers out.
        """
        if trained is None or not self.native or trained.game not in (self.game, GAMES[self.game].simulates):
            return self
        kept = {key: value for key, value in trained.options.items() if key in preprocessing_options(self.game)}
        return replace(trained, game=self.game, options=kept | self.options)

    def make(self, **kwargs: Any) -> gym.Env:
        """Make one environment. Raises UsageError if Gymnasium cannot make it."""
        if self.native:
            return make(self.game, pixels=self.pixels, rewards=self.rewards, **self.options, **kwargs)
        try:
            return gym.make(self.game, **self.options, **kwargs)
        except gym.error.Error as error:
            raise UsageError(f"{self.game}: {error}") from error

    def make_vec(self, num_envs: int, *, training: bool = False) -> VectorEnv:
        """Make environments that reset in the step an episode ends; for `training` with the episodes to learn from.

        Raises UsageError if Gymnasium cannot make them.
        """
        if self.native:
            episodes = self.episodes if training else None
            declarations: dict[str, Any] = {"pixels": self.pixels, "rewards": self.rewards, "episodes": episodes}
            return make_vec(self.game, num_envs, **declarations, **self.options)
        same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
        try:
            return gym.make_vec(self.game, num_envs, "sync", vector_kwargs=same_step, **self.options)
        except gym.error.Error as error:
            raise UsageError(f"{self.game}: {error}") from error

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))  # tuples become lists

    @classmethod
    def from_json(cls, data: Any, *, preprocessing_only: bool = False) -> Task:
        """Return the task that a file describes. Raises UsageError for anything that a file may not say.

        A file can be anyone's, so it chooses no program, no path and no module. Its game is registered in this process,
        with rlgames or with Gymnasium, under exactly that name; "module:id", which imports the module, is not. Options
        are numbers, true, false and null; strings are those that the game lists (see `envs.registry`), and names of
        registered wrappers; those of a cluster (engine="ray") are left out. With `preprocessing_only` the other options
        are not looked at, for a task of which only that is used: see `as_trained_on`.
        """
        declared = {"pixels": dict | None, "rewards": dict | None, "episodes": dict | None}
        check_fields("task", data, {"game": str, "options": dict} | declared, optional=("episodes",))
        game, options, pixels, rewards = data["game"], data["options"], data["pixels"], data["rewards"]
        episodes = data.get("episodes")
        if game in GAMES:
            if preprocessing_only:
                options = {key: value for key, value in options.items() if key in preprocessing_options(game)}
            options = without_ray(options)
            check_stored_options(game, options)
        elif game in gym.registry and ":" not in game and not game.startswith("rlgames/"):
            check_numbers(options)
        else:
            raise InvalidValueError(f"the game {brief(game)} is not registered here: import the module that does so")
        pixels = None if pixels is None else from_plain(Pixels, pixels)
        if pixels and any(value > LARGEST for value in (pixels.skip, pixels.stack, *(pixels.size or ()))):
            raise InvalidValueError(f"expected pictures of at most {LARGEST:,} rows, columns and frames, got {pixels}")
        rewards = None if rewards is None else from_plain(Rewards, rewards)
        return cls(game, options, pixels, rewards, None if episodes is None else from_plain(TrainingEpisodes, episodes))

    def __str__(self) -> str:
        options = ",".join(
            f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in self.options.items()
        )
        return f"{self.game}:{options}" if options else self.game


def preprocessing_options(game: str) -> set[str]:
    """Return those of a game's options that decide the observation."""
    return {"frame_skip", "stack", "wrappers"} | observation_options(game)


def check_numbers(options: dict[str, Any]) -> None:
    """Raise UsageError unless all options are numbers, booleans or None."""
    for key, value in options.items():
        if not isinstance(value, bool | int | float | None):
            raise InvalidValueError(f"a file may not give the option {brief(key)} of {brief(value)}, only numbers")
