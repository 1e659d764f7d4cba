"""`Pixels` for a batch: every row equals what `Pixels.wrap` shows of that row, pixel by pixel.

Crop and grey are one compiled loop over the batch, the resize is cv2's on each row, and a stack of frames is one copy.
The frames that later stacks need are kept apart, so what is handed out (observations, `final_obs`) is the caller's to
keep and to alter, and the engine may reuse its own arrays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numba import njit

from rlgames.wrappers.frames import divided
from rlgames.wrappers.pixels import Pixels

RED, GREEN, BLUE = (np.arange(256) * weight for weight in (0.2125, 0.7154, 0.0721))  # their parts of the luminance


class VectorPixels(VectorWrapper):
    """`envs` seen through `pixels`, in any autoreset mode; skipping is left to the engine (see `Pixels.wrap_vec`).

    SAME_STEP: `info["final_obs"]` is one array like an observation, zero in the rows that `info["_final_obs"]` does not
    mark. A `reset` with `options={"reset_mask": mask}` starts the marked rows afresh and shows the others as they were.

    Raises:
        ValueError: if the frames do not fit the declaration, or `envs.metadata` has no autoreset mode.
    """

    def __init__(self, envs: VectorEnv, pixels: Pixels) -> None:
        super().__init__(envs)
        if "autoreset_mode" not in envs.metadata:
            raise ValueError(f"{envs} has no metadata['autoreset_mode']: set it to the AutoresetMode that it follows")
        self.mode = AutoresetMode(envs.metadata["autoreset_mode"])
        self.pixels = pixels
        self.stacked = pixels.stack if pixels.stack > 1 else getattr(envs, "stacked", 1)  # frames of an observation
        single = pixels.observation_space(envs.single_observation_space)
        self.single_observation_space = single
        self.observation_space = batch_space(single, envs.num_envs)
        self.shape, self.dtype = single.shape, single.dtype

        frame = (envs.num_envs, *(single.shape[1:] if pixels.stack > 1 else single.shape))
        kind = np.float32 if pixels.difference else np.uint8
        # Of every row: what is stacked, oldest first, and the last frame, from which a difference is taken.
        self.history = deque([np.zeros(frame, kind) for _ in range(pixels.stack)], pixels.stack)
        self.before = np.zeros(frame, np.uint8)
        self.ended = np.zeros(envs.num_envs, np.bool_)  # NEXT_STEP: rows that the next step restarts

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        mask = (options or {}).get("reset_mask")  # read first: Gymnasium's SyncVectorEnv takes it out of the options
        restarted = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        obs, info = self.env.reset(seed=seed, options=options)
        self.restart(framed(obs, self.pixels), restarted)
        self.ended[restarted] = False
        return self.picture(self.history), info

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        done = terminated | truncated
        if self.mode is AutoresetMode.SAME_STEP and "final_obs" in info:
            info = {**info, **self.final(info["final_obs"], info.get("_final_obs", done))}
        restarted = done if self.mode is AutoresetMode.SAME_STEP else self.ended

        frames = framed(obs, self.pixels)
        self.history.append(self.change(frames, self.before))
        self.before = frames
        if restarted.any():
            self.restart(frames, restarted)
        if self.mode is AutoresetMode.NEXT_STEP:
            self.ended = done
        return self.picture(self.history), reward, terminated, truncated, info

    def restart(self, frames: np.ndarray, rows: np.ndarray) -> None:
        """Fills the history of `rows` (num_envs,) bool with the first of `frames` of their new episodes."""
        for old in self.history:
            old[rows] = 0 if self.pixels.difference else frames[rows]
        self.before[rows] = frames[rows]

    def change(self, frames: np.ndarray, before: np.ndarray) -> np.ndarray:
        """What is stacked of `frames`: their difference from `before` where it is asked for, else themselves."""
        return np.subtract(frames, before, dtype=np.float32) if self.pixels.difference else frames

    def picture(self, history: Sequence[np.ndarray] | deque[np.ndarray]) -> np.ndarray:
        """A new array (rows, *single shape) of the frames in `history`, each (rows, *frame), oldest first."""
        stacked = np.stack(history, axis=1).reshape(-1, *self.shape)
        return divided(stacked) if self.pixels.scale else stacked

    def final(self, obs: Any, ended: np.ndarray) -> dict[str, np.ndarray]:
        """The last observations of the rows `ended` (num_envs,) bool, which `obs` has as an array or as objects.

        Called before the history moves on to the new episodes.
        """
        final = np.zeros((self.num_envs, *self.shape), self.dtype)
        rows = np.flatnonzero(ended)
        if rows.size:
            frames = framed(np.stack([obs[i] for i in rows]), self.pixels)
            newest = self.change(frames, self.before[rows])
            final[rows] = self.picture([old[rows] for old in list(self.history)[1:]] + [newest])
        return {"final_obs": final, "_final_obs": ended}

    def snapshot(self) -> dict[str, Any]:
        """All that the next steps depend on, as a nested dict of arrays; `restore` goes on from it bit for bit.

        Raises:
            NotImplementedError: if the wrapped environments cannot give their own state.
        """
        if not hasattr(self.env, "snapshot"):
            raise NotImplementedError(
                f"{self.env} has no snapshot(): use an engine that has one, or restart its episodes at checkpoints"
            )
        return {
            "env": self.env.snapshot(),  # pyright: ignore[reportAttributeAccessIssue]  # asked for just above
            "history": np.stack(self.history),
            "before": self.before.copy(),
            "ended": self.ended.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to a `snapshot()` of equally declared environments, which is left as it is.

        Raises:
            NotImplementedError: if the wrapped environments cannot take their state back.
            ValueError: if the state is of other frames, of another stack or of another number of environments.
        """
        if not hasattr(self.env, "restore"):
            raise NotImplementedError(f"{self.env} has no restore(): use an engine that has one")
        history, expected = state["history"], np.stack(self.history)
        if (history.shape, history.dtype) != (expected.shape, expected.dtype):
            raise ValueError(
                f"expected {expected.dtype} frames (stack, num_envs, *frame) = {expected.shape} in the state, got"
                f" {history.dtype} {history.shape}: restore with the num_envs and the Pixels that it was taken with"
            )
        self.env.restore(state["env"])  # pyright: ignore[reportAttributeAccessIssue]  # asked for just above
        self.history.extend(frames.copy() for frames in history)
        self.before, self.ended = state["before"].copy(), state["ended"].copy()


def framed(obs: np.ndarray, pixels: Pixels) -> np.ndarray:
    """All of `pixels` up to erase, of `obs` (rows, H, W) or (rows, H, W, channels) uint8; always a new array."""
    frames = obs[:, *pixels.window(obs[0])]
    if pixels.grey:
        colours, frames = frames, np.empty(frames.shape[:3], np.uint8)
        luminance(colours, frames)
    elif pixels.channel is not None:
        frames = frames[..., pixels.channel].copy()
    else:
        frames = frames.copy()
    if pixels.size is not None:
        frames = resized(frames, pixels.size)
    return pixels.kept()[frames] if pixels.erase else frames


@njit(cache=True)
def luminance(colours, frames):
    """Luminance of `colours` (rows, height, width, 3), into `frames` (rows, height, width), all uint8.

    The parts are float64, added from left to right and cut off: bit for bit Gymnasium's GrayscaleObservation.
    """
    rows, height, width = frames.shape
    for i in range(rows):
        for y in range(height):
            for x in range(width):
                pixel = colours[i, y, x]
                frames[i, y, x] = np.uint8(np.int32(RED[pixel[0]] + GREEN[pixel[1]] + BLUE[pixel[2]]))


def resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Area resize of `frames` (rows, H, W) or (rows, H, W, channels) uint8 to the (height, width) of `size`."""
    import cv2  # here, because most declarations do without

    height, width = size
    smaller = np.empty((len(frames), height, width, *frames.shape[3:]), np.uint8)
    for i, frame in enumerate(frames):
        # the reshape gives a single channel back, which OpenCV drops
        smaller[i] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA).reshape(smaller.shape[1:])
    return smaller
