"""The records of all environments of one compiled game: seeding, snapshots, errors."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from gymnasium.error import ResetNeeded

from rlgames.engine.loops import INVALID_ACTION
from rlgames.engine.rng import seed_stream
from rlgames.engine.validation import EnvSettings, invalid_action
from rlgames.errors import InvalidValueError


class RecordGame(Protocol):
    """A game whose environments are kept in records: compiled, or run in a browser."""

    @property
    def name(self) -> str: ...
    @property
    def record(self) -> np.dtype: ...
    @property
    def actions(self) -> tuple[str, ...]: ...
    @property
    def max_frames(self) -> int | None: ...


class EnvRecords:
    """State of `num_envs` environments of one game, shared by the single and the vector environment."""

    def __init__(self, game: RecordGame, num_envs: int, settings: EnvSettings):
        # As Python's own types, for which alone the loops are compiled.
        self.game, self.frame_skip, self.max_pool = game, int(settings.frame_skip), bool(settings.max_pool)
        limit = settings.max_frames(game.max_frames)
        self.max_frames = None if limit is None else int(limit)
        self.records = np.zeros(num_envs, game.record)
        self.started = False

    def seed(self, seeds: list[int | None], rng: np.random.Generator) -> None:
        """Restart the streams that have a seed; those that never had one are initialized from `rng`."""
        for i, seed in enumerate(seeds):
            if seed is not None:
                self.records["rng"][i] = seed_stream(seed)
            elif not self.started:
                self.records["rng"][i] = rng.integers(2**64, dtype=np.uint64)

    def error(self, code: int, action: Any) -> Exception:
        """Return the exception for a negative code that a compiled loop returned instead of a count."""
        if code == INVALID_ACTION:
            return invalid_action(action, self.game.name, self.game.actions)
        return ResetNeeded(f"an episode of {self.game.name} is over and was not reset: call reset() first")

    def snapshot(self, rng: np.random.Generator) -> dict[str, Any]:
        return {
            "game": self.game.name,
            "records": self.records.copy(),
            "started": self.started,
            "np_random": rng.bit_generator.state,
        }

    def restore(self, state: dict[str, Any], rng: np.random.Generator) -> None:
        name, records = state["game"], state["records"]
        if (name, records.shape) != (self.game.name, self.records.shape):
            raise InvalidValueError(
                f"this snapshot is of {len(records)} environments of {name}, "
                f"expected {len(self.records)} of {self.game.name}"
            )
        if records.dtype != self.records.dtype:
            raise InvalidValueError(
                f"this snapshot of {name} has records {records.dtype}, expected {self.records.dtype}"
            )
        self.records[:] = records
        self.started = state["started"]
        rng.bit_generator.state = state["np_random"]
