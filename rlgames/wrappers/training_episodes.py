"""Episodes to learn from: how long they are, and where they begin. Evaluations play whole episodes, from the start.

A game that is won late is seldom practiced where it is lost: an agent that always begins at the start has to get there
first. `restarts` lets part of the episodes begin shortly before an earlier one ended. That changes how often a state is
visited, and neither rewards nor transitions (Tavakoli et al. 2018, "Exploring restart distributions").

Where episodes get long, most of what is learned is about the time in which the agent no longer makes mistakes, and it
forgets the beginning. `max_episode_steps` truncates them; values are bootstrapped there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from rlgames.errors import InvalidValueError
from rlgames.values import Count, UnitInterval, check_fields
from rlgames.wrappers.rewards import goal_reached

RESTARTED = "restarted"  # key of the final information: whether the episode began in the middle of an earlier one
SEED = 5  # of the generator that draws restarts, beside the seed of the environments


@dataclass(frozen=True)
class TrainingEpisodes:
    """Episodes that an agent learns from; `TrainingEpisodes()` changes none of them.

    Raises:
        TypeError: if a field is no number.
        ValueError: if a field is out of its range.
    """

    max_episode_steps: Count | None = None  # An episode is truncated after so many agent steps.
    restarts: UnitInterval = 0.0  # This part of the episodes begins shortly before an earlier one ended.
    interval: Count = 8  # Every so many agent steps a moment of a running episode is kept, to begin another in.
    moments: Count = 12  # So many of them are kept, the newest ones.
    capacity: Count = 512  # So many episodes that have ended give the moments to begin in, the last ones.

    def __post_init__(self) -> None:
        check_fields(self)

    def wrap_vec(self, envs: VectorEnv) -> VectorEnv:
        """Return `envs`, of a compiled game and in SAME_STEP, with these restarts; the limit is an option of games."""
        return VectorRestarts(envs, self) if self.restarts else envs


class VectorRestarts(VectorWrapper):
    """A vector environment in which part of the episodes begin in a moment of an earlier one.

    The moment is drawn from those that were kept of an episode, but for the newest, which is mostly too late to do
    better. Episodes that ended at their goal give none. `info["final_info"]["restarted"]`, bool (num_envs,), tells
    apart the episodes that did not begin at the start; their scores are the game's, what came before included.

    Raises:
        ValueError: if the game is not compiled, or `envs` reset in another mode than SAME_STEP.
    """

    def __init__(self, envs: VectorEnv, episodes: TrainingEpisodes) -> None:
        super().__init__(envs)
        if not hasattr(envs, "continue_from"):
            raise InvalidValueError(f"restarts={episodes.restarts:g} needs a game that Numba compiles, got {envs}")
        if envs.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
            raise InvalidValueError(
                f"restarts={episodes.restarts:g} needs autoreset_mode='SameStep', "
                f"got {envs.metadata.get('autoreset_mode')}"
            )
        self.frame_stack = getattr(envs, "frame_stack", 1)  # frames of an observation: a replay keeps each once
        self.episodes, n = episodes, envs.num_envs
        record = self.records([0]).dtype
        self.recent = np.zeros((n, episodes.moments), record)  # moments of the running episodes, a ring each
        self.kept = np.zeros(n, np.int64)  # moments of the running episodes, those that the ring has lost included
        self.age = np.zeros(n, np.int64)  # agent steps of the running episodes
        self.restarted = np.zeros(n, np.bool_)  # which of them began in the middle of an earlier one
        self.archive = np.zeros(episodes.capacity, record)  # moments to begin in, a ring
        self.archived = 0  # moments, those that the ring has lost included
        self.rng = np.random.default_rng(SEED)

    def records(self, indices: Any) -> np.ndarray:
        return self.env.copy_records(indices)  # pyright: ignore[reportAttributeAccessIssue]  of a compiled game

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        mask = (options or {}).get("reset_mask")
        reset = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        obs, info = self.env.reset(seed=seed, options=options)
        self.kept[reset] = self.age[reset] = 0
        self.restarted[reset] = False
        if seed is not None:
            first = seed if isinstance(seed, int | np.integer) else next((x for x in seed if x is not None), 0)
            self.rng, self.archived = np.random.default_rng([SEED, int(first)]), 0
        return obs, info

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self.keep_recent()
        return self.begin_episodes(self.env.step(actions))

    def send(self, actions: Any) -> None:
        """Start a step; see `rlgames.engine.sending`."""
        self.keep_recent()
        self.env.send(actions)  # pyright: ignore[reportAttributeAccessIssue]  of a compiled game

    def recv(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return the results of the step that `send` started."""
        return self.begin_episodes(self.env.recv())  # pyright: ignore[reportAttributeAccessIssue]  of a compiled game

    def keep_recent(self) -> None:
        """Keep the moments that are due, before a step."""
        c = self.episodes
        due = np.flatnonzero(self.age % c.interval == 0)
        if due.size:
            self.recent[due, self.kept[due] % c.moments] = self.records(due)
            self.kept[due] += 1

    def begin_episodes(
        self, results: tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return the results of a step, with part of the episodes that begin in it begun elsewhere."""
        c = self.episodes
        obs, reward, terminated, truncated, info = results
        self.age += 1
        done = terminated | truncated
        if done.any():
            final = info["final_info"]
            failed = done & ~goal_reached(final, done)
            final |= {RESTARTED: self.restarted & done, f"_{RESTARTED}": done.copy()}
            for i in np.flatnonzero(failed).tolist():
                self.keep_moment(i)
            self.kept[done] = self.age[done] = 0
            self.restarted[done] = (self.rng.random(self.num_envs) < c.restarts)[done] & (self.archived > 0)
            self.restart(np.flatnonzero(self.restarted & done), obs, info)
        return obs, reward, terminated, truncated, info

    def keep_moment(self, i: int) -> None:
        """Add one of the moments of an episode that has ended to the archive."""
        available = min(self.kept[i], self.episodes.moments)
        if available > 1:
            moment = self.kept[i] - 1 - self.rng.integers(1, available)
            self.archive[self.archived % len(self.archive)] = self.recent[i, moment % self.episodes.moments]
            self.archived += 1

    def restart(self, indices: np.ndarray, obs: np.ndarray, info: dict[str, Any]) -> None:
        """Let these environments, which were just reset, continue from archived moments; change `obs` and `info`."""
        if not indices.size:
            return
        chosen = self.rng.integers(min(self.archived, len(self.archive)), size=len(indices))
        first, values = self.env.continue_from(indices, self.archive[chosen])  # pyright: ignore[reportAttributeAccessIssue]  of a compiled game
        obs[indices] = first
        for key, value in values.items():
            info[key][indices] = value

    def snapshot(self) -> dict[str, Any]:
        """Return all that the next steps depend on, a nested dict of arrays; `restore` continues from it bit for bit.

        Raises:
            NotImplementedError: if the wrapped environments have no snapshot().
        """
        return {
            "env": self.env.snapshot(),  # pyright: ignore[reportAttributeAccessIssue]  of a compiled game
            "recent": self.recent.copy(),
            "kept": self.kept.copy(),
            "age": self.age.copy(),
            "restarted": self.restarted.copy(),
            "archive": self.archive[: self.archived].copy(),
            "archived": self.archived,
            "restart_rng": self.rng.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `snapshot()`.

        Raises:
            ValueError: if the state is of another number of environments, or of other settings of the moments.
        """
        shapes = state["recent"].shape, min(state["archived"], len(self.archive))
        if shapes != (self.recent.shape, len(state["archive"])):
            raise InvalidValueError(
                f"expected a state of {self.num_envs} environments with {self.episodes.moments} moments each, "
                f"got {shapes[0]}: restore with the num_envs and the TrainingEpisodes of the snapshot"
            )
        self.env.restore(state["env"])  # pyright: ignore[reportAttributeAccessIssue]  of a compiled game
        self.recent[:], self.archive[: len(state["archive"])] = state["recent"], state["archive"]
        self.kept, self.age, self.restarted = state["kept"].copy(), state["age"].copy(), state["restarted"].copy()
        self.archived, self.rng.bit_generator.state = state["archived"], state["restart_rng"]
