"""Arguments of all environments of games, and checks of these, of actions, seeds and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, overload

import numpy as np
from gymnasium import Space
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from rlgames.errors import InvalidTypeError, InvalidValueError, brief
from rlgames.values import check_value


@dataclass(frozen=True)
class EnvSettings:
    """Arguments of one environment of any game. Raises ValueError for values that are not allowed."""

    frame_skip: int = 1  # frames for each action, rewards summed
    max_pool: bool = False  # observe the maximum of the last two frames of the skip
    max_episode_steps: int | None = None  # agent steps after which an episode is truncated; the game's own limit stays
    render_mode: str | None = None

    def __post_init__(self) -> None:
        check_count("frame_skip", self.frame_skip)
        check_value("max_pool", self.max_pool, bool)
        check_count("max_episode_steps", self.max_episode_steps, or_none=True)
        object.__setattr__(self, "frame_skip", int(self.frame_skip))  # NumPy's integers overflow when multiplied
        if self.max_episode_steps is not None:
            object.__setattr__(self, "max_episode_steps", int(self.max_episode_steps))
        if self.max_pool and self.frame_skip < 2:
            raise InvalidValueError(
                f"max_pool takes the maximum of two frames: it needs frame_skip >= 2, got {self.frame_skip}"
            )

    @overload
    def max_frames(self, own: int) -> int: ...
    @overload
    def max_frames(self, own: None) -> int | None: ...
    def max_frames(self, own: int | None) -> int | None:
        """Return the frames after which an episode is truncated, of a game whose own limit is `own` (None: none)."""
        given = None if self.max_episode_steps is None else self.max_episode_steps * self.frame_skip
        return min((limit for limit in (own, given) if limit is not None), default=None)


@dataclass(frozen=True)
class VectorEnvSettings(EnvSettings):
    """The same for a vector environment."""

    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP
    threads: int | None = None  # None: as many as are worth it

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("threads", self.threads, or_none=True)
        as_autoreset_mode(self.autoreset_mode)


def as_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return the mode itself, also for its value. Raises ValueError for anything else."""
    names = [known.value for known in AutoresetMode]
    if not isinstance(mode, AutoresetMode) and not (isinstance(mode, str) and mode in names):
        raise InvalidValueError(
            f"expected autoreset_mode to be {', '.join(map(repr, names))} or an AutoresetMode, got {brief(mode)}"
        )
    return AutoresetMode(mode)


def is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_count(name: str, value: Any, or_none: bool = False) -> None:
    if not (is_integer(value) and value >= 1) and not (or_none and value is None):
        raise InvalidValueError(f"expected {name} >= 1{' or None' * or_none}, got {brief(value)}")


def check_spaces(observation: Space, action: Space) -> tuple[Box, Discrete]:
    """Return the spaces of one environment. Raises TypeError for spaces that the engines cannot step."""
    if not isinstance(observation, Box) or not isinstance(action, Discrete) or action.start != 0:
        raise InvalidTypeError(f"expected Box observations and Discrete actions from 0, got {observation} and {action}")
    return observation, action


def check_render_mode(render_mode: Any, known: Sequence[str]) -> None:
    if not isinstance(render_mode, str | None) or render_mode not in (None, *known):
        allowed = ", ".join(map(repr, (None, *known[:-1]))) + "".join(f" or {mode!r}" for mode in known[-1:])
        raise InvalidValueError(f"expected render_mode {allowed}, got {brief(render_mode)}")


def invalid_action(action: Any, game: str, names: Sequence[str]) -> InvalidValueError:
    """Return the error for an action that the game does not have; of more than 12 actions not all are named."""
    named = [f"{i} ({name})" for i, name in enumerate(names)]
    allowed = f"{', '.join(named[:-1])} or {named[-1]}" if len(named) <= 12 else f"{named[0]} to {named[-1]}"
    shown = brief(action.item() if isinstance(action, np.generic) else action)
    return InvalidValueError(f"invalid action {shown} for {game}: expected {allowed}")


def lookup_action(codes: Sequence[Any], action: Any) -> Any:
    """Return the code of an action, or None if it is negative, too large or no integer."""
    try:
        return codes[index(action)] if index(action) >= 0 else None
    except (TypeError, IndexError):
        return None


def check_seed(seed: Any) -> int | None:
    if seed is None or (is_integer(seed) and seed >= 0):
        return None if seed is None else int(seed)
    raise InvalidValueError(f"expected a seed that is a non-negative integer or None, got {brief(seed)}")


def check_seeds(seed: Any, num_envs: int) -> list[int | None]:
    """Return a seed for each environment: those of a list, or `seed`, `seed + 1`, ..."""
    if not isinstance(seed, (list, tuple)) and not (isinstance(seed, np.ndarray) and seed.ndim):
        first = check_seed(seed)
        return [None if first is None else first + i for i in range(num_envs)]
    if len(seed) != num_envs:
        raise InvalidValueError(
            f"expected one seed or {num_envs}, one for each environment, got {len(seed)}: {brief(seed)}"
        )
    return [check_seed(x) for x in seed]


def check_reset(
    seed: Any, options: dict[str, Any] | None, num_envs: int, started: bool
) -> tuple[list[int | None], np.ndarray]:
    """Return the seeds and the mask, bool (num_envs,), of a `reset`.

    Raises ResetNeeded when only some environments are to be reset although none was reset before.
    """
    seeds, mask = check_seeds(seed, num_envs), check_mask(options, num_envs)
    if mask is not None and not started:
        raise ResetNeeded("reset all environments once before resetting some by reset_mask")
    return seeds, np.ones(num_envs, np.bool_) if mask is None else mask.copy()


def check_actions(actions: Any, num_envs: int, num_actions: int | None = None) -> np.ndarray:
    """Return one integer for each environment; without `num_actions` their range is the caller's to check."""
    array = as_array(actions)
    if array.shape != (num_envs,) or array.dtype.kind not in "iu":
        raise InvalidValueError(
            f"expected {num_envs} integer actions, got {array.dtype} of shape {array.shape}: {brief(actions)}"
        )
    if num_actions and (bad := array[(array < 0) | (array >= num_actions)]).size:
        raise InvalidValueError(f"invalid action {bad[0]}: expected 0 to {num_actions - 1}")
    return array


def as_array(values: Any) -> np.ndarray:
    """Return `values` as an array, of objects if NumPy finds no other."""
    try:
        return np.asarray(values)
    except ValueError:  # of NumPy, for lists of unequal lengths
        return np.asarray(None)


def check_options(options: Any) -> dict[str, Any]:
    """Return the options of a `reset`. Raises TypeError for anything but a dictionary or None."""
    if options is not None and not isinstance(options, dict):
        raise InvalidTypeError(f"expected the options of reset to be a dictionary or None, got {brief(options)}")
    return options or {}


def check_mask(options: dict[str, Any] | None, num_envs: int) -> np.ndarray | None:
    options = check_options(options)
    if options.get("reset_mask") is None:
        return None
    mask = as_array(options["reset_mask"])
    if mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        expected = f"options['reset_mask'] of bool, shape ({num_envs},), at least one True"
        raise InvalidValueError(
            f"expected {expected}, got {mask.dtype} of shape {mask.shape}: {brief(options['reset_mask'])}"
        )
    return mask
