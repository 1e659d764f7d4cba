"""Contents of an agent's checkpoint, its header and its spaces, and checks of them: a file may come from anyone.

Each check raises CheckpointError, in one line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError
from rlgames.envs.games import GAMES
from rlgames.envs.task import Task
from rlgames.errors import InvalidValueError, UsageError, brief
from rlgames.networks.models import uniform_bounds
from rlgames.schema import check_fields, difference, fill_in_defaults
from rlgames.wrappers import Pixels, Rewards

HEADER_FIELDS = {
    "agent": str,
    "config": dict,
    "seed": int,
    "step": int,
    "task": dict | None,
    "num_envs": int | None,
    "spaces": dict,
    checkpoint.PARTS: list[str],  # of a run's: see runs/replay_files.py
    "run": dict,  # of a run's: its other settings
}
OPTIONAL = (checkpoint.PARTS, "run")
SPACES_FIELDS = {"shape": list[int], "dtype": str, "actions": int, "first": int, "bounds": list[float]}
DTYPES = ("bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
LARGEST_OBSERVATION = 2**24  # numbers
BASE_TENSORS, TENSORS_PER_SAVED, COST_OF_A_CALL = 2**26, 50, 1000  # numbers; see `LimitedTensors`


def check_header(path: str | Path, header: Any) -> None:
    """Raise CheckpointError unless a header is as `Agent.header` returns it, with or without what a run adds."""
    with said_by(path):
        check_fields("its header", header, HEADER_FIELDS, OPTIONAL)
        spaces = header["spaces"]
        check_fields("its spaces", spaces, SPACES_FIELDS, ("bounds",))
        for name, value, least in (
            *(("seed", header["seed"], 0), ("step", header["step"], 0), ("num_envs", header["num_envs"], 1)),
            *(("actions", spaces["actions"], 1), ("shape", min(spaces["shape"], default=1), 1)),
        ):
            if value is not None and value < least:
                raise InvalidValueError(f"its header: expected {name} >= {least}, got {brief(value)}")
        if math.prod(spaces["shape"]) > LARGEST_OBSERVATION or len(spaces["shape"]) > 32:
            raise InvalidValueError(
                f"its header: expected at most {LARGEST_OBSERVATION:,} numbers in an observation, got the shape"
                f" {brief(spaces['shape'])}"
            )
        if spaces["dtype"] not in DTYPES or max(abs(spaces["first"]), spaces["actions"]) > 2**31:
            raise InvalidValueError(f"its header: no such spaces: {brief(spaces)}")
        if "bounds" in spaces and not (len(spaces["bounds"]) == 2 and all(map(math.isfinite, spaces["bounds"]))):
            raise InvalidValueError(f"its header: expected two finite bounds, got {brief(spaces['bounds'])}")


def header_difference(header: dict[str, Any], own: dict[str, Any], config_class: type) -> str:
    """Return the first field in which the header of another checkpoint differs, empty when it is of the same agent.

    What an older version did not save had its default. Steps may differ, and what a run adds.
    """
    return difference(comparable_header(header, config_class), comparable_header(own, config_class))


def comparable_header(header: dict[str, Any], config_class: type) -> dict[str, Any]:
    fields = {name: header.get(name) for name in ("agent", "seed", "num_envs", "spaces")}
    config, task = header.get("config"), header.get("task")
    if isinstance(config, dict):
        config = fill_in_defaults(config_class, config)
    if isinstance(task, dict):
        kinds = {"pixels": Pixels, "rewards": Rewards}
        stored = {name: task[name] for name in kinds if isinstance(task.get(name), dict)}
        task = task | {name: fill_in_defaults(kinds[name], value) for name, value in stored.items()}
    return {**fields, "config": config, "task": task}


def check_state(path: str | Path, header: dict[str, Any], state: Any) -> None:
    """Raise CheckpointError unless a state fits its header, as far as it is read before anything is made."""
    step = state.get("step") if isinstance(state, dict) else None
    if type(step) is not int or step != header["step"]:
        raise CheckpointError(f"{path}: its state is of step {brief(step)}, its header of step {header['step']}")
    runner, num_envs = state.get("runner"), header["num_envs"]
    if runner is not None:
        shape = getattr(runner.get("obs") if isinstance(runner, dict) else None, "shape", None)
        if shape is None or list(shape[1:]) != header["spaces"]["shape"] or shape[:1] != (num_envs,):
            shapes = f"({num_envs}, {', '.join(map(str, header['spaces']['shape']))})"
            raise CheckpointError(f"{path}: its state has observations {brief(shape)}, its header {shapes}")


def trained_task(path: str | Path, header: dict[str, Any], env: Any) -> Task | None:
    """Return the task of a header; of one that is not registered here only what plays a role in `env`.

    Raises CheckpointError for a task that a file may not name.
    """
    stored = header["task"]
    if stored is None or not isinstance(env, str | None):
        return None
    if env is not None and not (isinstance(stored.get("game"), str) and stored["game"] in GAMES):
        return None  # its preprocessing does not fit another game: see Task.as_trained_on
    try:
        return Task.from_json(stored, preprocessing_only=env is not None)
    except UsageError as error:
        raise CheckpointError(
            f'{path}: {error}; or say what to play, as in load(path, "Cave") or --game Cave'
        ) from error


class LimitedTensors(TorchFunctionMode):
    """Context that limits the tensors that are made: some MB, and in proportion to those of `state`.

    The settings of a forged file can ask for networks of any size; those of its own file are in its state.
    """

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.left = BASE_TENSORS + TENSORS_PER_SAVED * count_numbers(state)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.left -= result.numel() + COST_OF_A_CALL
            if self.left < 0:
                raise InvalidValueError("its settings ask for larger networks than it holds")
        return result


def count_numbers(state: Any) -> int:
    """Return how many numbers the tensors of a state hold."""
    if isinstance(state, dict | list | tuple):
        return sum(map(count_numbers, state.values() if isinstance(state, dict) else state))
    return state.numel() if isinstance(state, Tensor) else 0


@contextmanager
def said_by(path: str | Path) -> Iterator[None]:
    """Raise as CheckpointError the errors about what a file says."""
    try:
        yield
    except CheckpointError:
        raise
    except UsageError as error:
        raise CheckpointError(f"{path}: {checkpoint.one_line(str(error))}") from error


@contextmanager
def fitting(path: str | Path, remedy: str = "") -> Iterator[None]:
    """Raise as CheckpointError what torch and environments raise when a state does not fit them."""
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: does not fit: {checkpoint.one_line(str(error))}{remedy}") from error


# ---- spaces ----


def check_spaces(path: str | Path, header: dict[str, Any], space: Box, actions: Discrete) -> None:
    given = spaces_to_json(space, actions)
    for key, value in header["spaces"].items():
        if key != "bounds" and given[key] != value:
            raise CheckpointError(f"{path}: was saved with {key} {value}, the environment has {given[key]}")


def spaces_to_json(space: Box, actions: Discrete) -> dict[str, Any]:
    """Return the spaces as JSON, as far as a network depends on them: on bounds where they tell pictures from matrices.

    See `default_encoder`.
    """
    spaces = {
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "actions": int(actions.n),
        "first": int(actions.start),
    }
    bounds = uniform_bounds(space) if len(space.shape) == 2 and space.dtype.kind == "f" else None
    return spaces if bounds is None else spaces | {"bounds": list(bounds)}


def spaces_from_json(described: dict[str, Any]) -> tuple[Box, Discrete]:
    """Return the spaces; bounds on which nothing depends are those of the dtype."""
    dtype = np.dtype(described["dtype"])
    if "bounds" in described:
        low, high = described["bounds"]
    elif dtype.kind == "b":
        low, high = 0, 1
    else:
        low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    box = Box(low, high, tuple(described["shape"]), dtype.type)
    return box, Discrete(described["actions"], start=described["first"])
