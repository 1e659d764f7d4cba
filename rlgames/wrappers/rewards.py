"""Reward shaping: one frozen declaration, for one environment or a vector environment, that keeps the score.

    reward = scale * (the game's reward) + (survival, or if the step terminated the episode: won or lost)

`info["score"]` stays the game's own: the score that the game reports, or else the sum of its unshaped rewards in the
episode, so that runs with different shaping can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from rlgames.errors import InvalidValueError
from rlgames.values import check_fields

FLAG = "flag_get"  # key of the information that says whether an episode ended at its goal


@dataclass(frozen=True)
class Rewards:
    """Rewards as the agent gets them; `Rewards()` changes none of them and only adds the score.

    Raises:
        TypeError: if a factor is no number.
        ValueError: if a factor is not finite.
    """

    scale: float = 1.0  # multiplies the game's reward
    survival: float = 0.0  # added for each step that does not terminate the episode
    won: float = 0.0  # added for a step that terminates the episode at its goal, where info["flag_get"] is true
    lost: float = 0.0  # added for any other step that terminates the episode

    def __post_init__(self) -> None:
        check_fields(self)

    def wrap(self, env: gym.Env) -> gym.Env:
        """Return `env` with these rewards and `info["score"]`, a float."""
        return ShapedReward(env, self)

    def wrap_vec(self, envs: VectorEnv) -> VectorEnv:
        """Return `envs` with these rewards and `info["score"]`, in any autoreset mode (see `VectorShapedReward`)."""
        return VectorShapedReward(envs, self)


class ShapedReward(gym.Wrapper, RecordConstructorArgs):
    """One environment with shaped rewards; `info["score"]` is the score of the episode so far."""

    def __init__(self, env: gym.Env, rewards: Rewards) -> None:
        RecordConstructorArgs.__init__(self, rewards=rewards)
        gym.Wrapper.__init__(self, env)
        self.rewards = rewards
        self.score = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        self.score = float(info.get("score", 0.0))
        return obs, {**info, "score": self.score}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.score = float(info.get("score", self.score + float(reward)))
        c = self.rewards
        end = (c.won if info.get(FLAG, False) else c.lost) if terminated else c.survival
        shaped = c.scale * float(reward) + end
        return obs, shaped, terminated, truncated, {**info, "score": self.score}


class VectorShapedReward(VectorWrapper):
    """A vector environment with shaped rewards; `info["score"]` is float64 (num_envs,), masked by `info["_score"]`.

    NEXT_STEP: the step that resets an environment has reward 0, no survival bonus, and score 0. SAME_STEP: environments
    that were reset have score 0; the score of the episode that ended is in `info["final_info"]["score"]`, masked by its
    `"_score"`.

    Raises:
        ValueError: if `envs.metadata` has no autoreset mode.
    """

    def __init__(self, envs: VectorEnv, rewards: Rewards) -> None:
        super().__init__(envs)
        if "autoreset_mode" not in envs.metadata:
            raise InvalidValueError(
                f"{envs} has no metadata['autoreset_mode']: set it to the AutoresetMode that it follows"
            )
        self.autoreset_mode = AutoresetMode(envs.metadata["autoreset_mode"])
        self.frame_stack = getattr(envs, "frame_stack", 1)  # frames of an observation: a replay keeps each once
        self.rewards = rewards
        self.score = np.zeros(envs.num_envs)  # of the running episodes
        self.ended = np.zeros(envs.num_envs, np.bool_)  # NEXT_STEP: environments that the next step resets

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        mask = (options or {}).get("reset_mask")  # read first: Gymnasium's SyncVectorEnv removes it from the options
        reset = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        obs, info = self.env.reset(seed=seed, options=options)
        self.score = np.where(reset, reported_scores(info, np.zeros(self.num_envs)), self.score)
        self.ended[reset] = False
        return obs, self.with_score(info, reset.copy())

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        return self.shape(self.env.step(actions))

    def send(self, actions: Any) -> None:
        """Start a step, of environments that have `send` and `recv`."""
        self.env.send(actions)  # pyright: ignore[reportAttributeAccessIssue]  VectorEnv does not declare it

    def recv(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return the results of the step that `send` started."""
        return self.shape(self.env.recv())  # pyright: ignore[reportAttributeAccessIssue]  VectorEnv does not declare it

    def shape(
        self, results: tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return the results of a step of the wrapped environments with these rewards, and with the score."""
        obs, reward, terminated, truncated, info = results
        done = terminated | truncated
        c, last = self.rewards, info.get("final_info", {}) if self.autoreset_mode is AutoresetMode.SAME_STEP else info
        shaped = c.scale * reward + np.where(terminated, np.where(goal_reached(last, done), c.won, c.lost), c.survival)
        summed = self.score + reward
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            if done.any():  # here `info` already belongs to the new episodes
                final = info.get("final_info", {})
                final = {**final, "score": np.where(done, reported_scores(final, summed), 0.0), "_score": done.copy()}
                info = {**info, "final_info": final, "_final_info": done.copy()}
            self.score = np.where(done, 0.0, reported_scores(info, summed))
        else:
            shaped[self.ended] = 0.0
            self.score = np.where(self.ended, 0.0, reported_scores(info, summed))
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self.ended = done
        return obs, shaped, terminated, truncated, self.with_score(info, np.ones(self.num_envs, np.bool_))

    def with_score(self, info: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
        """Return `info` with the scores where `mask`, bool (num_envs,)."""
        return {**info, "score": np.where(mask, self.score, 0.0), "_score": mask}

    def snapshot(self) -> dict[str, Any]:
        """Return all that the next steps depend on, a nested dict of arrays; `restore` continues from it bit for bit.

        Raises:
            NotImplementedError: if the wrapped environments have no snapshot().
        """
        if not hasattr(self.env, "snapshot"):
            raise NotImplementedError(
                f"{self.env} has no snapshot(): its episodes are restarted at checkpoints instead"
            )
        state = self.env.snapshot()  # pyright: ignore[reportAttributeAccessIssue]  checked above
        return {"env": state, "score": self.score.copy(), "ended": self.ended.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `snapshot()`.

        Raises:
            NotImplementedError: if the wrapped environments have no restore().
            ValueError: if the state is of another number of environments.
        """
        if not hasattr(self.env, "restore"):
            raise NotImplementedError(f"{self.env} has no restore()")
        if state["score"].shape != self.score.shape:
            raise InvalidValueError(
                f"expected a state of {self.num_envs} environments, got one of {len(state['score'])}:"
                " restore with the num_envs of the snapshot"
            )
        self.env.restore(state["env"])  # pyright: ignore[reportAttributeAccessIssue]  checked above
        self.score, self.ended = state["score"].copy(), state["ended"].copy()


def goal_reached(info: Any, done: np.ndarray) -> np.ndarray:
    """Return where episodes have ended at their goal, (num_envs,) bool; `info` is that of their last step."""
    if not isinstance(info, dict) or FLAG not in info:
        return np.zeros_like(done)
    return done & np.asarray(info.get(f"_{FLAG}", True)) & np.asarray(info[FLAG], np.bool_)


def reported_scores(info: dict[str, Any], default: np.ndarray, key: str = "score") -> np.ndarray:
    """Return the scores in `info[key]`, float64 (num_envs,); `default` where an environment reports none."""
    if key not in info:
        return default
    return np.where(info.get(f"_{key}", True), info[key], default).astype(np.float64)
