"""TODO."""

from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded

from rlgames.engine.game import Game
from rlgames.engine.loops import BAD_ACTION
from rlgames.engine.rng import stream
from rlgames.engine.validation import check_pace


class Players:
    """The records of n players of one game: seeding, snapshots and refusals, shared by both kinds of environment."""

    def __init__(self, game: Game, n: int, frame_skip: int, max_pool: bool, max_episode_steps: int | None):
        check_pace(frame_skip, max_pool, max_episode_steps)
        self.game, self.skip, self.max_pool = game, frame_skip, max_pool
        self.limit = game.max_steps if max_episode_steps is None else max_episode_steps
        self.records = np.zeros(n, game.record)
        self.started = False

    def seed(self, seeds: list[int | None], generator: np.random.Generator) -> None:
        """Restart the streams that have a seed; give those that never had one a start from `generator`."""
        for i, seed in enumerate(seeds):
            if seed is not None:
                self.records["rng"][i] = stream(seed)
            elif not self.started:
                self.records["rng"][i] = generator.integers(2**64, dtype=np.uint64)

    def refusal(self, code: int, action: Any) -> Exception:
        if code == BAD_ACTION:
            named = ", ".join(f"{i} {name}" for i, name in enumerate(self.game.actions))
            return ValueError(f"no such action in {self.game.name}: got {action}, possible are {named}")
        return ResetNeeded(f"an episode of {self.game.name} is over and was not reset: call reset() first")

    def snapshot(self, generator: np.random.Generator) -> dict[str, Any]:
        here = {"game": self.game.name, "records": self.records.copy(), "started": self.started}
        return {**here, "np_random": generator.bit_generator.state}

    def restore(self, state: dict[str, Any], generator: np.random.Generator) -> None:
        name, records = state["game"], state["records"]
        if (name, records.shape) != (self.game.name, self.records.shape):
            here = f"{len(self.records)} of {self.game.name}"
            raise ValueError(f"this snapshot is of other environments: {len(records)} of {name}, these are {here}")
        if records.dtype != self.records.dtype:
            raise ValueError(f"this snapshot of {name} has records {records.dtype}, expected {self.records.dtype}")
        self.records[:] = records
        self.started = state["started"]
        generator.bit_generator.state = state["np_random"]
