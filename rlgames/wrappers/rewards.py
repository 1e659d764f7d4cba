"""What an agent is rewarded for: one declaration of reward shaping, for one game or a batch, that keeps the score.

    reward = scale * (the game's reward) + (survival, or if the step terminated the episode: won or lost)

`info["score"]` stays the game's own: the score that the game reports, or else the sum of its unshaped rewards in the
episode, so that curves of differently shaped runs can be compared.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

FLAG = "flag_get"  # what the information calls it that an episode ended at its goal


@dataclass(frozen=True)
class Rewards:
    """Rewards as the agent gets them; `Rewards()` changes none and only adds the score.

    Raises:
        ValueError: if a factor is not finite.
    """

    scale: float = 1.0  # multiplies the game's reward
    survival: float = 0.0  # added for each step that does not terminate the episode
    won: float = 0.0  # added for one that does at the goal, where info["flag_get"] is true
    lost: float = 0.0  # added for any other that does

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value):
                raise ValueError(f"expected a finite {name}, got {value}")

    def wrap(self, env: gym.Env) -> gym.Env:
        """`env` with these rewards and `info["score"]`, a float."""
        return ShapedReward(env, self)

    def wrap_vec(self, envs: VectorEnv) -> VectorEnv:
        """`envs` with these rewards and `info["score"]`, in all three autoreset modes (see `VectorShapedReward`)."""
        return VectorShapedReward(envs, self)


class ShapedReward(gym.Wrapper, RecordConstructorArgs):
    """One environment with the rewards of a declaration; `info["score"]` is the score of the episode so far."""

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
    """A batch with the rewards of a declaration; `info["score"]` is float64 (num_envs,), `info["_score"]` all True.

    NEXT_STEP: the step that restarts a row has reward 0, no survival bonus, and score 0. SAME_STEP: rows that restarted
    have score 0, and the score of the episode that ended in `info["final_info"]["score"]`, marked by its `"_score"`.

    Raises:
        ValueError: if `envs.metadata` has no autoreset mode.
    """

    def __init__(self, envs: VectorEnv, rewards: Rewards) -> None:
        super().__init__(envs)
        if "autoreset_mode" not in envs.metadata:
            raise ValueError(f"{envs} has no metadata['autoreset_mode']: set it to the AutoresetMode that it follows")
        self.mode = AutoresetMode(envs.metadata["autoreset_mode"])
        self.stacked = getattr(envs, "stacked", 1)  # frames of an observation, for a replay to keep each once
        self.rewards = rewards
        self.score = np.zeros(envs.num_envs)  # of the episodes in flight
        self.ended = np.zeros(envs.num_envs, np.bool_)  # NEXT_STEP: rows that the next step restarts

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        mask = (options or {}).get("reset_mask")  # read first: Gymnasium's SyncVectorEnv takes it out of the options
        restarted = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        obs, info = self.env.reset(seed=seed, options=options)
        self.score = np.where(restarted, reported(info, np.zeros(self.num_envs)), self.score)
        self.ended[restarted] = False
        return obs, self.with_score(info)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        done = terminated | truncated
        c, last = self.rewards, info.get("final_info", {}) if self.mode is AutoresetMode.SAME_STEP else info
        shaped = c.scale * reward + np.where(terminated, np.where(flagged(last, done), c.won, c.lost), c.survival)
        summed = self.score + reward
        if self.mode is AutoresetMode.SAME_STEP:
            if done.any():  # `info` is already of the new episodes in these rows
                final = info.get("final_info", {})
                final = {**final, "score": np.where(done, reported(final, summed), 0.0), "_score": done}
                info = {**info, "final_info": final, "_final_info": done}
            self.score = np.where(done, 0.0, reported(info, summed))
        else:
            shaped[self.ended] = 0.0
            self.score = np.where(self.ended, 0.0, reported(info, summed))
        if self.mode is AutoresetMode.NEXT_STEP:
            self.ended = done
        return obs, shaped, terminated, truncated, self.with_score(info)

    def with_score(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "score": self.score.copy(), "_score": np.ones(self.num_envs, np.bool_)}

    def snapshot(self) -> dict[str, Any]:
        """All that the next steps depend on, as a nested dict of arrays; `restore` goes on from it bit for bit.

        Raises:
            NotImplementedError: if the wrapped environments cannot give their own state.
        """
        if not hasattr(self.env, "snapshot"):
            raise NotImplementedError(
                f"{self.env} has no snapshot(): use an engine that has one, or restart its episodes at checkpoints"
            )
        state = self.env.snapshot()  # pyright: ignore[reportAttributeAccessIssue]  # asked for just above
        return {"env": state, "score": self.score.copy(), "ended": self.ended.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to a `snapshot()`, which is left as it is.

        Raises:
            NotImplementedError: if the wrapped environments cannot take their state back.
            ValueError: if the state is of another number of environments.
        """
        if not hasattr(self.env, "restore"):
            raise NotImplementedError(f"{self.env} has no restore(): use an engine that has one")
        if state["score"].shape != self.score.shape:
            raise ValueError(
                f"expected a state of {self.num_envs} environments, got one of {len(state['score'])}:"
                " restore with the num_envs that it was taken with"
            )
        self.env.restore(state["env"])  # pyright: ignore[reportAttributeAccessIssue]  # asked for just above
        self.score, self.ended = state["score"].copy(), state["ended"].copy()


def flagged(last: Any, done: np.ndarray) -> np.ndarray:
    """Where episodes have ended at their goal, (num_envs,) bool; `last` is what they told in their last step."""
    if not isinstance(last, dict) or FLAG not in last:
        return np.zeros_like(done)
    return done & np.asarray(last.get(f"_{FLAG}", True)) & np.asarray(last[FLAG], np.bool_)


def reported(info: dict[str, Any], otherwise: np.ndarray, name: str = "score") -> np.ndarray:
    """The scores in `info`, where they are called `name`, float64 (num_envs,); `otherwise` in rows that report none."""
    if name not in info:
        return otherwise
    return np.where(info.get(f"_{name}", True), info[name], otherwise).astype(np.float64)
