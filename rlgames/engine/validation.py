"""What both kinds of environment are made of: the records of n players, and the checks of what is handed to them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded


def is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_count(name: str, value: Any, or_none: bool = False) -> None:
    if not (is_integer(value) and value >= 1) and not (or_none and value is None):
        raise ValueError(f"expected {name} >= 1{' or None' * or_none}, got {value!r}")


def check_render_mode(given: Any, known: Sequence[str]) -> None:
    if given not in (None, *known):
        possible = ", ".join(map(repr, (None, *known[:-1]))) + "".join(f" or {mode!r}" for mode in known[-1:])
        raise ValueError(f"expected render_mode {possible}, got {given!r}")


def check_pace(frame_skip: Any, max_pool: bool, max_episode_steps: Any) -> None:
    """The arguments that every environment here takes."""
    check_count("frame_skip", frame_skip)
    check_count("max_episode_steps", max_episode_steps, or_none=True)
    if max_pool and frame_skip < 2:
        raise ValueError(f"max_pool takes the maximum over two frames: it needs frame_skip >= 2, got {frame_skip}")


def at(codes: Sequence[Any], action: Any) -> Any:
    """What `codes` has for an action, None for one that there is not: a negative, too large or no integer."""
    try:
        return codes[index(action)] if index(action) >= 0 else None
    except (TypeError, IndexError):
        return None


def check_seed(seed: Any) -> int | None:
    if seed is None or (is_integer(seed) and seed >= 0):
        return None if seed is None else int(seed)
    raise ValueError(f"expected a seed that is a non-negative integer or None, got {seed!r}")


def check_seeds(seed: Any, n: int) -> list[int | None]:
    """One for each of n players: those of a list, or counted up from a number."""
    if not isinstance(seed, (list, tuple)) and not (isinstance(seed, np.ndarray) and seed.ndim):
        first = check_seed(seed)
        return [None if first is None else first + i for i in range(n)]
    if len(seed) != n:
        raise ValueError(f"expected one seed or {n}, one for each environment, got {len(seed)}")
    return [check_seed(x) for x in seed]


def check_reset(
    seed: Any, options: dict[str, Any] | None, n: int, started: bool
) -> tuple[list[int | None], np.ndarray]:
    """What `reset` of n environments was told: a seed for each, and which of them, bool (n,).

    Raises ResetNeeded when only some are to be reset although nothing has begun.
    """
    seeds, mask = check_seeds(seed, n), check_mask(options, n)
    if mask is not None and not started:
        raise ResetNeeded("reset all environments once before resetting some by reset_mask")
    return seeds, np.ones(n, np.bool_) if mask is None else mask


def check_actions(actions: Any, n: int, possible: int | None = None) -> np.ndarray:
    """One integer for each of n environments, from 0 on; how many are `possible` the caller may want to say itself."""
    given = np.asarray(actions)
    if given.shape != (n,) or given.dtype.kind not in "iu":
        raise ValueError(f"expected {n} integer actions, got {given.dtype} of shape {given.shape}")
    if possible and (bad := given[(given < 0) | (given >= possible)]).size:
        raise ValueError(f"no such action: got {bad[0]}, expected 0 to {possible - 1}")
    return given


def check_mask(options: dict[str, Any] | None, n: int) -> np.ndarray | None:
    if not options or options.get("reset_mask") is None:
        return None
    mask = np.asarray(options["reset_mask"])
    if mask.dtype != np.bool_ or mask.shape != (n,) or not mask.any():
        expected = f"options['reset_mask'] of bool, shape ({n},), at least one True"
        raise ValueError(f"expected {expected}; got {mask.dtype} of shape {mask.shape}, {np.count_nonzero(mask)} True")
    return mask
