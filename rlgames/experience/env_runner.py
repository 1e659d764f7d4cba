"""`EnvRunner` steps a VectorEnv and tracks its episodes; the only code that depends on the autoreset mode."""

from __future__ import annotations

import math
from inspect import getattr_static
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import (
    AutoresetMode,
    SyncVectorEnv,
    VectorActionWrapper,
    VectorEnv,
    VectorRewardWrapper,
    VectorWrapper,
)

from rlgames.errors import InvalidTypeError, InvalidValueError, brief
from rlgames.wrappers.rewards import FLAG, goal_reached, reported_scores
from rlgames.wrappers.training_episodes import RESTARTED

FLOAT32_MAX = float(np.finfo(np.float32).max)  # networks compute in float32
# Factors, by the bytes of a float, with which the sum of numbers is finite if they are as float32, and else is not;
# only sums of large numbers of float64 overflow too.
SUM_SCALES = {4: 2.0**-40, 8: float(np.finfo(np.float64).max) / FLOAT32_MAX}


class Step(NamedTuple):
    """One step of n environments; every field is an array of n rows.

    `next_obs` is always the successor of `obs`, also where an episode ended and its environment was reset; the next
    step's `obs` differs from it there. `terminated`: no bootstrap. `done` (terminated or truncated): the lambda-return
    stops here. `valid` is False where an environment used the step to reset (AutoresetMode.NEXT_STEP), or was replaced
    elsewhere (`RayVectorEnv`): such a row is no transition, has reward 0, is terminated and done, and is left out by
    rollouts and replay buffers.
    """

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray  # float32
    next_obs: np.ndarray
    terminated: np.ndarray
    done: np.ndarray
    valid: np.ndarray


class Episode(NamedTuple):
    """An episode, ended or running."""

    score: float  # as the game counts, else the sum of rewards
    reward: float  # sum of the rewards: of Gymnasium's RecordEpisodeStatistics, else as the agent gets them
    length: int  # agent steps


class EnvRunner:
    """Steps `envs` from `reset(seed=seed)` on, in any autoreset mode.

    `obs` (num_envs, *shape) is the current observation, `episode_start` (num_envs,) bool where it is the first of an
    episode. A checkpoint holds its `state_dict`. Raises ValueError for rewards and observations that are not finite
    as float32, in the step that returns them.
    """

    def __init__(self, envs: VectorEnv, seed: int):
        mode = envs.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise InvalidValueError(
                f"expected envs.metadata['autoreset_mode'] to be an AutoresetMode, got {mode!r} in {envs}"
            )
        self.envs, self.mode, self.num_envs = envs, mode, envs.num_envs
        self.score_key = envs.metadata.get("score", "score")  # key of the scores in the information
        self.best_score: float | None = envs.metadata.get("best_score")  # that a game can have, if that is known
        space, actions = single_spaces(envs)
        self.first_action = int(actions.start)
        self.finished: list[tuple[int, Episode]] = []  # (environment, episode) of whole ones that the last step ended
        self.success: np.ndarray | None = None  # (num_envs,) bool, which of those reached the goal; None: none is known
        self.exact = True  # False once a run was resumed without a snapshot of its environments
        self._episodes: list[Episode] = []
        self._returns = np.zeros(self.num_envs)  # sum of rewards of the running episodes
        self._lengths = np.zeros(self.num_envs, np.int64)
        self._obs_weights: np.ndarray | None = None  # whose sum is finite if all observations are; None: integers
        if space.dtype.kind == "f":
            size = self.num_envs * math.prod(space.shape)
            self._obs_weights = np.full(size, SUM_SCALES[space.dtype.itemsize], space.dtype)
        self.restart_episodes(seed)

    def step(self, action: np.ndarray) -> Step:
        """Step with `action` (num_envs,), numbered from 0."""
        obs, reward, terminated, truncated, info = self.envs.step(action + self.first_action)
        self.reset_seed = None
        if np.may_share_memory(obs, self.obs):
            raise InvalidValueError(
                f"{self.envs} writes each observation over the previous one: make it with copy=True"
            )
        done = terminated | truncated
        valid = ~self._resetting
        if "_replaced" in info:
            valid &= ~info["_replaced"]
        self._resetting = done if self.mode is AutoresetMode.NEXT_STEP else self._resetting
        next_obs, self.finished, self._info = obs, [], info
        reward = reward * valid
        self._returns += reward
        self._lengths += valid
        if "_replaced" in info:  # to an earlier step of the episode, or to a new one: what was lost is not counted
            replaced, episode = info["_replaced"], info["replaced"]
            self._returns[replaced] = episode["return"][replaced]
            self._lengths[replaced] = episode["length"][replaced]
        if not math.hypot(*reward.tolist()) <= FLOAT32_MAX:  # a quarter of the time of NumPy's functions
            self._check_finite(reward, "the reward")
        self._check_observations(obs)
        if done.any():
            if self.mode is AutoresetMode.SAME_STEP:
                next_obs = obs.copy()
                next_obs[done] = np.stack(list(info["final_obs"][done]))
                self._check_observations(next_obs)
            final_info = info.get("final_info", {}) if self.mode is AutoresetMode.SAME_STEP else info
            # In SAME_STEP the statistics of a wrapper of the vector environment are not in `final_info`.
            returns = episode_returns(final_info, episode_returns(info, self._returns))
            self._finish_episodes(done, final_info, returns)
            if self.mode is AutoresetMode.DISABLED:
                obs = obs.copy()
                obs[done] = self.envs.reset(options={"reset_mask": done})[0][done]
                self._check_observations(obs)
        previous, self.obs, self.episode_start = self.obs, obs, done | ~valid
        return Step(
            previous, action, reward.astype(np.float32), next_obs, terminated | ~valid, self.episode_start, valid
        )

    def _check_observations(self, obs: np.ndarray) -> None:
        """Raise ValueError for an observation that is not finite; a scalar product is the quickest way to find out."""
        weights = self._obs_weights
        if weights is None:
            return
        if weights.dtype == np.float32:
            total = weights.dot(obs.reshape(-1))
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                total = weights.dot(obs.reshape(-1))
        if not math.isfinite(total):
            self._check_finite(obs, "an observation with")

    def _check_finite(self, x: np.ndarray, name: str) -> None:
        """Raise ValueError for the first row of `x`, (num_envs, ...), that is not finite as float32."""
        for i, row in enumerate(x):
            if (problem := describe_not_finite(row)) is not None:
                where = f"step {self._lengths[i]:,} of an episode" if self._lengths[i] else "the reset"
                raise InvalidValueError(
                    f"environment {i} returned {name} {problem} in {where}: expected finite float32 numbers "
                    "(None is read as nan); correct the environment"
                )

    def _finish_episodes(self, done: np.ndarray, info: Any, returns: np.ndarray) -> None:
        scores = self._final_scores(done, info, returns)
        if isinstance(info, dict) and FLAG in info:
            self.success = goal_reached(info, done)
        else:
            self.success = None if self.best_score is None else scores >= self.best_score
        whole = done & ~info[RESTARTED] if isinstance(info, dict) and RESTARTED in info else done
        self.finished = [
            (i, Episode(float(scores[i]), float(returns[i]), int(self._lengths[i])))
            for i in np.flatnonzero(whole).tolist()
        ]
        self._episodes += [episode for _, episode in self.finished]
        self._returns[done], self._lengths[done] = 0.0, 0

    def _final_scores(self, done: np.ndarray, info: Any, returns: np.ndarray) -> np.ndarray:
        """Return (num_envs,), valid where done: the game's own scores if it reports them, else the sums of rewards."""
        if isinstance(info, dict):
            return reported_scores(info, returns, self.score_key)
        reported = [isinstance(each, dict) and self.score_key in each for each in info]  # one dict an environment
        if not all(reported[i] for i in np.flatnonzero(done)):
            return returns
        return np.array([float(x[self.score_key]) if has else 0.0 for x, has in zip(info, reported, strict=True)])

    def restart_episodes(self, seed: int | None = None) -> None:
        """Start new episodes everywhere, with a `seed` those of the seed; running ones are dropped."""
        self.obs: np.ndarray = self.envs.reset(seed=seed)[0]
        self.reset_seed = seed  # the environments are a function of it until the next step
        self.episode_start = np.ones(self.num_envs, np.bool_)
        self._resetting = np.zeros(self.num_envs, np.bool_)  # NEXT_STEP: environments that the next step resets
        self._returns[:], self._lengths[:] = 0.0, 0
        self._check_observations(self.obs)
        self._info: dict[str, Any] = {}  # of the last step

    def take_episodes(self) -> list[Episode]:
        """Return the episodes that ended since the last call."""
        episodes, self._episodes = self._episodes, []
        return episodes

    def running_episode(self, i: int) -> Episode:
        """Return the running episode of environment i so far; before its first step its score is 0."""
        if self._lengths[i] == 0:  # the information of the last step may be that of the previous episode
            return Episode(0.0, 0.0, 0)
        score = float(reported_scores(self._info, self._returns, self.score_key)[i])
        return Episode(score, float(self._returns[i]), int(self._lengths[i]))

    @property
    def restarts(self) -> int:
        """Return the number of actors of a cluster that were replaced; see `RayVectorEnv`."""
        return getattr(self.envs.unwrapped, "restarts", 0)

    def snapshot(self) -> dict[str, Any] | None:
        """Return the state of the environments, or None if they or one of their wrappers have no snapshot()."""
        if not has_snapshot(self.envs):
            return None
        try:
            return self.envs.snapshot()  # pyright: ignore[reportAttributeAccessIssue]  VectorEnv does not declare it
        except (NotImplementedError, ClosedEnvironmentError):  # a wrapper around environments without; or `close`d
            return None

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshot of the environments, or the seed from which they were just reset, and the episodes.

        Without both, another runner can only continue with new episodes.
        """
        return {
            "obs": self.obs.copy(),
            "episode_start": self.episode_start.copy(),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "resetting": self._resetting.copy(),
            "episodes": [list(episode) for episode in self._episodes],
            "exact": self.exact,
            "envs": self.snapshot(),
            "reset_seed": self.reset_seed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict()`; where that is impossible with new episodes, and `exact` becomes False.

        Raises ValueError for another number of environments or other observations.
        """
        if state["obs"].shape != self.obs.shape:
            raise InvalidValueError(
                f"saved with {len(state['obs'])} environments of {state['obs'].shape[1:]}, "
                f"got {self.num_envs} of {self.obs.shape[1:]}: use as many as the run was started with"
            )
        own = self.snapshot()
        if state["envs"] is None or own is None or ("actors" in state["envs"]) != ("actors" in own):  # of a cluster
            self.exact = state["reset_seed"] is not None and state["exact"]
            if self.exact:
                self.restart_episodes(state["reset_seed"])
                self._episodes = [Episode(*episode) for episode in state["episodes"]]
            return
        try:
            self.envs.restore(state["envs"])  # pyright: ignore[reportAttributeAccessIssue]  it has snapshot()
        except KeyError as error:
            raise InvalidValueError(
                f"saved with environments of other rewards or pixels or wrappers: their state has no {error}"
            ) from error
        self.obs, self.episode_start = state["obs"].copy(), state["episode_start"].copy()
        self._returns, self._lengths = state["returns"].copy(), state["lengths"].copy()
        self._resetting, self.reset_seed = state["resetting"].copy(), state["reset_seed"]
        self._episodes, self.exact = [Episode(*episode) for episode in state["episodes"]], state["exact"]
        self._info = {}  # the last step belongs to other episodes


def episode_returns(info: Any, default: np.ndarray) -> np.ndarray:
    """Return the sums of rewards that RecordEpisodeStatistics reports, (num_envs,), `default` where it reports none.

    Wrappers around it may change the rewards; Stable-Baselines3 takes its statistics from there too.
    """
    if not isinstance(info, dict):  # one dict an environment
        found = [each.get("episode", {}).get("r") if isinstance(each, dict) else None for each in info]
        return np.array([old if new is None else float(new) for old, new in zip(default, found, strict=True)])
    episode = info.get("episode")
    if not isinstance(episode, dict) or "r" not in episode:
        return default
    return np.where(info.get("_episode", True), episode["r"], default).astype(np.float64)


def has_snapshot(envs: VectorEnv) -> bool:
    """Return True if `envs` and all that they wrap have a snapshot() of their own: then no state is missing in it."""
    return hasattr(type(envs), "snapshot") and (not isinstance(envs, VectorWrapper) or has_snapshot(envs.env))


def describe_not_finite(x: np.ndarray) -> str | None:
    """Return the first number that is not finite as float32, with its index if there are several; None: all are."""
    if x.dtype.kind != "f" or not x.size or float(np.abs(x).max()) <= FLOAT32_MAX:
        return None
    index = tuple(np.argwhere(~(np.abs(x.astype(np.float64)) <= FLOAT32_MAX))[0].tolist())
    return f"{x[index]} at index {', '.join(map(str, index))}" if index else f"{x[index]}"


def single_spaces(envs: VectorEnv) -> tuple[Box, Discrete]:
    """Return observation and action space of one environment. Raises TypeError for spaces that agents cannot use."""
    observation, action = envs.single_observation_space, envs.single_action_space
    if not isinstance(observation, Box):
        raise InvalidTypeError(
            f"expected Box observations, got {brief(observation)}: "
            "wrap each environment in gymnasium.wrappers.FlattenObservation"
        )
    if observation.dtype.kind not in "biu" and observation.dtype not in (np.float32, np.float64):
        raise InvalidTypeError(
            f"expected observations of integers, bool, float32 or float64, got {observation.dtype}: "
            "wrap each environment in gymnasium.wrappers.DtypeObservation(env, np.float32)"
        )
    if not isinstance(action, Discrete):
        raise InvalidTypeError(
            f"expected Discrete actions, got {brief(action)}: choose some of them, "
            "gymnasium.wrappers.TransformAction(env, actions.__getitem__, gymnasium.spaces.Discrete(len(actions)))"
        )
    return observation, action


def as_vector_env(env: gym.Env | VectorEnv) -> VectorEnv:
    """Return a VectorEnv as it is, a single Env as a batch of one. Raises TypeError for anything else."""
    if isinstance(env, VectorEnv):
        return env
    if isinstance(env, gym.Env):
        return SyncVectorEnv([lambda: env], autoreset_mode=AutoresetMode.SAME_STEP)
    packages = {base.__module__.partition(".")[0] for base in type(env).__mro__}
    if "gym" in packages:
        remedy = "old Gym's are made with gymnasium.make instead, or converted by shimmy.GymV26CompatibilityV0(env=env)"
    elif "stable_baselines3" in packages:
        remedy = "in place of Stable-Baselines3's use gymnasium.vector.SyncVectorEnv([make_env] * n)"
    else:
        remedy = "make one first" if isinstance(env, type) or callable(env) else 'such as "CartPole"'
    raise InvalidTypeError(f"expected the name of a game, a gymnasium.Env or a VectorEnv, got {brief(env)}: {remedy}")


def stacked_frames(envs: VectorEnv | None) -> int:
    """Return how many frames an observation stacks, which a replay buffer stores once; 1 if that is unknown.

    Environments say so by `frame_stack`. It holds through wrappers of rewards and actions; any other wrapper may change
    the observations, and has to declare `frame_stack` itself.
    """
    while isinstance(envs, VectorWrapper) and getattr_static(envs, "frame_stack", None) is None:
        if not isinstance(envs, VectorRewardWrapper | VectorActionWrapper):
            return 1
        envs = envs.env
    return getattr(envs, "frame_stack", 1)
