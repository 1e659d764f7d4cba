"""Player: plays environments and keeps the place. The only code that knows how environments restart."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlgames.wrappers.rewards import FLAG, flagged, reported


class Step(NamedTuple):
    """One step of n players; every field is an array of n rows.

    `after` is always what the action led to; the next step's `obs` differs from it only where an episode ended and its
    environment restarted. `terminated` cuts the value (nothing comes after), `done` cuts the trace (terminated or out
    of time). `real` is False where an environment spent the step on restarting (AutoresetMode.NEXT_STEP), so that the
    row is no transition; such rows have reward 0 and are terminated and done, and the stores of this package leave them
    out.
    """

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray  # float32
    after: np.ndarray
    terminated: np.ndarray
    done: np.ndarray
    real: np.ndarray


class Player:
    """Plays `envs` from `reset(seed=seed)` on, one step at a time, whatever their autoreset mode.

    `obs` (n, *shape) is what the players see now. Part of what a checkpoint holds: see `state_dict`.
    """

    def __init__(self, envs: VectorEnv, seed: int):
        mode = envs.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise ValueError(f"expected envs.metadata['autoreset_mode'] to be an AutoresetMode, got {mode!r} in {envs}")
        self.envs, self.mode, self.seed, self.n = envs, mode, seed, envs.num_envs
        self.called = envs.metadata.get("score", "score")  # what the scores are called in the information
        self.first_action = int(spaces_of(envs)[1].start)
        self._sum = np.zeros(self.n)  # of the rewards of the running episodes, for games that report no score
        self._scores: list[float] = []
        self.finished: list[tuple[int, float]] = []  # (player, score) of the episodes that the last step ended
        self.won: np.ndarray | None = None  # (n,) bool, which of those ended at the goal; None: the game tells of none
        self.restart(seed)
        self.exact = True  # False once a run was resumed without a snapshot of its environments

    def step(self, action: np.ndarray) -> Step:
        """Play `action` (n,), numbered from 0."""
        obs, reward, terminated, truncated, info = self.envs.step(action + self.first_action)
        self.begun = None
        if np.may_share_memory(obs, self.obs):
            raise ValueError(f"{self.envs} writes each observation over the one before: make it with copy=True")
        done = terminated | truncated
        real, self._waiting = ~self._waiting, done if self.mode is AutoresetMode.NEXT_STEP else self._waiting
        after, self.finished, self._info = obs, [], info
        reward = reward * real
        self._sum += reward
        if done.any():
            last = info.get("final_info", {}) if self.mode is AutoresetMode.SAME_STEP else info
            score = self._final_scores(last, done)
            self.won = flagged(last, done) if isinstance(last, dict) and FLAG in last else None
            self.finished = [(int(i), float(score[i])) for i in np.flatnonzero(done)]
            self._scores += [score for _, score in self.finished]
            self._sum[done] = 0.0
            if self.mode is AutoresetMode.SAME_STEP:
                after = obs.copy()
                after[done] = np.stack(list(info["final_obs"][done]))
            elif self.mode is AutoresetMode.DISABLED:
                obs = obs.copy()
                obs[done] = self.envs.reset(options={"reset_mask": done})[0][done]
        seen, self.obs, self.start = self.obs, obs, done | ~real
        return Step(seen, action, reward.astype(np.float32), after, terminated | ~real, self.start, real)

    def _final_scores(self, last: Any, done: np.ndarray) -> np.ndarray:
        """(n,) valid where done: the game's own scores if it reports them, else the sums of rewards."""
        if isinstance(last, dict):
            return reported(last, self._sum, self.called)
        given = [isinstance(one, dict) and self.called in one for one in last]  # one dict an environment
        if not all(given[i] for i in np.flatnonzero(done)):
            return self._sum
        return np.array([float(one[self.called]) if has else 0.0 for one, has in zip(last, given, strict=True)])

    def restart(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere, with a `seed` those of the seed; those in flight count for nothing."""
        self.obs: np.ndarray = self.envs.reset(seed=seed)[0]
        self.begun = seed  # what all is a function of, until the next step
        self.start = np.ones(self.n, np.bool_)  # obs is the first of an episode
        self._waiting = np.zeros(self.n, np.bool_)  # rows that the next step will restart (NEXT_STEP)
        self._sum[:] = 0.0
        self._info: dict[str, Any] = {}  # of the last step

    def scores(self) -> list[float]:
        """The scores of the episodes that ended since last asked."""
        scores, self._scores = self._scores, []
        return scores

    def running(self, i: int) -> float:
        """The score so far of player i's running episode."""
        return float(reported(self._info, self._sum, self.called)[i])

    def snapshot(self) -> dict[str, Any] | None:
        """The state of the environments; None if they cannot say it, whatever something wrapped inside could."""
        if not hasattr(type(self.envs), "snapshot"):
            return None
        try:
            return self.envs.snapshot()  # pyright: ignore[reportAttributeAccessIssue]  VectorEnv does not declare it
        except NotImplementedError:  # a wrapper around environments that cannot
            return None

    def state_dict(self) -> dict[str, Any]:
        """The place in the game: the snapshot of the environments, or the seed from which they have just begun.

        Without both, another player can only go on from fresh episodes.
        """
        return {
            "obs": self.obs.copy(),
            "start": self.start.copy(),
            "sum": self._sum.copy(),
            "waiting": self._waiting.copy(),
            "scores": list(self._scores),
            "exact": self.exact,
            "envs": self.snapshot(),
            "begun": self.begun,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; where that cannot be, from fresh episodes (`exact` tells)."""
        if state["envs"] is None or self.snapshot() is None:
            self.exact = state.get("begun") is not None and state["exact"]
            if self.exact:
                self.restart(state["begun"])
                self._scores = list(state["scores"])
            return
        if state["obs"].shape != self.obs.shape:
            raise ValueError(
                f"saved with {len(state['obs'])} environments of {state['obs'].shape[1:]}, "
                f"got {self.n} of {self.obs.shape[1:]}: give as many as the run was started with"
            )
        try:
            self.envs.restore(state["envs"])  # pyright: ignore[reportAttributeAccessIssue]  it has snapshot(), see above
        except KeyError as error:
            raise ValueError(
                f"saved with environments of other rewards or pixels: their state has no {error}"
            ) from error
        self.obs, self.start = state["obs"].copy(), state["start"].copy()
        self._sum, self._waiting = state["sum"].copy(), state["waiting"].copy()
        self._scores, self.exact, self.begun = list(state["scores"]), state["exact"], state.get("begun")


def spaces_of(envs: VectorEnv) -> tuple[Box, Discrete]:
    """What one player sees and does. Raises TypeError for spaces that no agent here can learn."""
    observation, action = envs.single_observation_space, envs.single_action_space
    if not isinstance(observation, Box) or not isinstance(action, Discrete):
        raise TypeError(f"agents here learn Box observations and Discrete actions, got {observation} and {action}")
    return observation, action


def vectorised(env: gym.Env | VectorEnv) -> VectorEnv:
    """A VectorEnv as it is; a single Env as a batch of one."""
    if isinstance(env, VectorEnv):
        return env
    if isinstance(env, gym.Env):
        return SyncVectorEnv([lambda: env], autoreset_mode=AutoresetMode.SAME_STEP)
    raise TypeError(f"expected the id of a game, a gymnasium.Env or a VectorEnv, got {env!r}")
