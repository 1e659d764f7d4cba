"""`Pixels` for a vector environment: observation i equals that of `Pixels.wrap` for environment i, pixel by pixel.

The frames that later stacks need are copies, so the caller may keep and change observations and `final_obs`, and the
environments may reuse their arrays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from rlgames.errors import InvalidValueError
from rlgames.wrappers.frames import divide_by_255


class VectorPixels(VectorWrapper):
    """Transform, difference, stack and scale the frames of `envs`, in any autoreset mode.

    `transform` turns frames (n, H, W[, channels]) uint8 into new arrays (n, h, w[, channels]) uint8; `space` is
    the resulting observation space of one environment. Frames are skipped by the engine (see `Pixels.wrap_vec`).

    SAME_STEP: `info["final_obs"]` is one array like an observation, zero outside of `info["_final_obs"]`. A `reset`
    with `options={"reset_mask": mask}` restarts the stacks of the masked environments and keeps the others.

    Raises:
        ValueError: if `envs.metadata` has no autoreset mode.
    """

    def __init__(
        self,
        envs: VectorEnv,
        transform: Callable[[np.ndarray], np.ndarray],
        space: Box,
        *,
        stack: int = 1,
        difference: bool = False,
        scale: bool = False,
    ) -> None:
        super().__init__(envs)
        if "autoreset_mode" not in envs.metadata:
            raise InvalidValueError(
                f"{envs} has no metadata['autoreset_mode']: set it to the AutoresetMode that it follows"
            )
        self.autoreset_mode = AutoresetMode(envs.metadata["autoreset_mode"])
        self.transform, self.difference, self.scale = transform, difference, scale
        self.frame_stack = stack if stack > 1 else getattr(envs, "frame_stack", 1)  # frames of an observation
        self.single_observation_space = space
        self.observation_space = batch_space(space, envs.num_envs)
        self.shape, self.dtype = space.shape, space.dtype

        frame = (envs.num_envs, *(space.shape[1:] if stack > 1 else space.shape))
        dtype = np.float32 if difference else np.uint8
        self.history = deque([np.zeros(frame, dtype) for _ in range(stack)], stack)  # stacked frames, oldest first
        self.previous = np.zeros(frame, np.uint8)  # the last frames, for the difference
        self.ended = np.zeros(envs.num_envs, np.bool_)  # NEXT_STEP: environments that the next step resets

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        mask = (options or {}).get("reset_mask")  # read first: Gymnasium's SyncVectorEnv removes it from the options
        reset = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        obs, info = self.env.reset(seed=seed, options=options)
        self.start_episodes(self.transform(obs), reset)
        self.ended[reset] = False
        return self.observe(self.history), info

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        return self.process(self.env.step(actions))

    def send(self, actions: Any) -> None:
        """Start a step, of environments that have `send` and `recv`."""
        self.env.send(actions)  # pyright: ignore[reportAttributeAccessIssue]  VectorEnv does not declare it

    def recv(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return the results of the step that `send` started."""
        return self.process(self.env.recv())  # pyright: ignore[reportAttributeAccessIssue]  VectorEnv does not declare it

    def process(
        self, results: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return the results of a step of the wrapped environments with these observations."""
        obs, reward, terminated, truncated, info = results
        done = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and "final_obs" in info:
            info = {**info, **self.final_obs(info["final_obs"], info.get("_final_obs", done))}
        reset = done if self.autoreset_mode is AutoresetMode.SAME_STEP else self.ended

        frames = self.transform(obs)
        self.history.append(self.change(frames, self.previous))
        self.previous = frames
        if reset.any():
            self.start_episodes(frames, reset)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self.ended = done
        return self.observe(self.history), reward, terminated, truncated, info

    def start_episodes(self, frames: np.ndarray, mask: np.ndarray) -> None:
        """Fill the history where `mask`, bool (num_envs,), with the first frames of new episodes."""
        for old in self.history:
            old[mask] = 0 if self.difference else frames[mask]
        self.previous[mask] = frames[mask]

    def change(self, frames: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Return the frames to stack: the difference from `previous`, or the frames themselves."""
        return np.subtract(frames, previous, dtype=np.float32) if self.difference else frames

    def observe(self, history: Sequence[np.ndarray] | deque[np.ndarray]) -> np.ndarray:
        """Return a new array (n, *shape) of the frames in `history`, each (n, *frame), oldest first."""
        obs = np.stack(history, axis=1).reshape(-1, *self.shape)
        return divide_by_255(obs) if self.scale else obs

    def final_obs(self, obs: Any, ended: np.ndarray) -> dict[str, np.ndarray]:
        """Return the last observations where `ended`, bool (num_envs,); `obs` has their frames.

        Call it before the history moves on to the new episodes.
        """
        final = np.zeros((self.num_envs, *self.shape), self.dtype)
        indices = np.flatnonzero(ended)
        if indices.size:
            frames = self.transform(np.stack([obs[i] for i in indices]))
            newest = self.change(frames, self.previous[indices])
            final[indices] = self.observe([old[indices] for old in list(self.history)[1:]] + [newest])
        return {"final_obs": final, "_final_obs": ended}

    def snapshot(self) -> dict[str, Any]:
        """Return all that the next steps depend on, a nested dict of arrays; `restore` continues from it bit for bit.

        Raises:
            NotImplementedError: if the wrapped environments have no snapshot().
        """
        if not hasattr(self.env, "snapshot"):
            raise NotImplementedError(
                f"{self.env} has no snapshot(): its episodes are restarted at checkpoints instead"
            )
        return {
            "env": self.env.snapshot(),  # pyright: ignore[reportAttributeAccessIssue]  checked above
            "history": np.stack(self.history),
            "previous": self.previous.copy(),
            "ended": self.ended.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `snapshot()` of environments with the same Pixels.

        Raises:
            NotImplementedError: if the wrapped environments have no restore().
            ValueError: if the state has other frames, another stack or another number of environments.
        """
        if not hasattr(self.env, "restore"):
            raise NotImplementedError(f"{self.env} has no restore()")
        history, expected = state["history"], np.stack(self.history)
        if (history.shape, history.dtype) != (expected.shape, expected.dtype):
            raise InvalidValueError(
                f"expected {expected.dtype} frames (stack, num_envs, *frame) = {expected.shape} in the state, got"
                f" {history.dtype} {history.shape}: restore with the num_envs and the Pixels of the snapshot"
            )
        self.env.restore(state["env"])  # pyright: ignore[reportAttributeAccessIssue]  checked above
        self.history.extend(frames.copy() for frames in history)
        self.previous, self.ended = state["previous"].copy(), state["ended"].copy()
