"""Wrappers of one environment that `Pixels` needs where Gymnasium has none, or one that behaves differently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import GrayscaleObservation, ResizeObservation, TransformObservation


class FrameSkip(gym.Wrapper, RecordConstructorArgs):
    """Repeat each action for `skip` frames, stop where the episode ends, and sum the rewards.

    It observes the last frame or, with `max_pool`, the maximum of the last two. This equals Gymnasium's
    MaxAndSkipObservation but for one case, on purpose: when an episode ends within a skip, Gymnasium's buffer still
    holds frames of the step before; here the maximum is of the last two frames of this skip, or is its only frame.
    """

    def __init__(self, env: gym.Env, skip: int, max_pool: bool = False) -> None:
        RecordConstructorArgs.__init__(self, skip=skip, max_pool=max_pool)
        gym.Wrapper.__init__(self, env)
        self.skip, self.max_pool = skip, max_pool
        self.metadata = skipped_metadata(env.metadata, skip)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        previous = None
        obs, reward, terminated, truncated, info = self.env.step(action)
        total = float(reward)
        for _ in range(self.skip - 1):
            if terminated or truncated:
                break
            previous = obs.copy() if self.max_pool else None  # the game may draw its next frame into the same array
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
        return obs if previous is None else np.maximum(previous, obs), total, terminated, truncated, info


class SkippedFrames(gym.Wrapper, RecordConstructorArgs):
    """Repeat each action for `skip` frames and observe all of them, (skip, *frame), oldest first; rewards are summed.

    After a reset the first frame is repeated; where an episode ends within a skip, its last frame is.
    """

    def __init__(self, env: gym.Env, skip: int) -> None:
        RecordConstructorArgs.__init__(self, skip=skip)
        gym.Wrapper.__init__(self, env)
        self.skip = skip
        self.metadata = skipped_metadata(env.metadata, skip)
        self.observation_space = batch_space(env.observation_space, skip)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return np.stack([obs] * self.skip), info

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        frames, total = [], 0.0
        obs, reward, terminated, truncated, info = self.env.step(action)
        while True:
            frames.append(np.array(obs))  # the game may draw its next frame into the same array
            total += float(reward)
            if terminated or truncated or len(frames) == self.skip:
                break
            obs, reward, terminated, truncated, info = self.env.step(action)
        return np.stack(frames + frames[-1:] * (self.skip - len(frames))), total, terminated, truncated, info


class FrameDifference(gym.Wrapper, RecordConstructorArgs):
    """Observe each frame minus the previous one, float32 of the frame's shape; zeros at the start of an episode."""

    def __init__(self, env: gym.Env) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        space = env.observation_space
        assert isinstance(space, Box)  # checked by Pixels.check
        limit = space.high.astype(np.float32) - space.low.astype(np.float32)
        self.observation_space = Box(-limit, limit, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        self.previous = obs.astype(np.float32)
        return np.zeros_like(self.previous), info

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        frame = obs.astype(np.float32)
        difference, self.previous = frame - self.previous, frame
        return difference, reward, terminated, truncated, info


class Grayscale(GrayscaleObservation):
    """Gymnasium's wrapper, made anew where it is pickled or copied: its function cannot be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.env, self.keep_dim)


class Resize(ResizeObservation):
    """Gymnasium's wrapper, made anew as `Grayscale`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.env, self.shape)


class SpaceOnlyEnv(gym.Env):
    """An environment that has only an observation space, to ask wrappers for the space that they make of it."""

    def __init__(self, space: gym.Space) -> None:
        self.observation_space = space


def skipped_metadata(metadata: dict[str, Any], skip: int) -> dict[str, Any]:
    """Return the `metadata` of an environment that shows one of `skip` frames."""
    if "render_fps" not in metadata:
        return metadata
    return {**metadata, "render_fps": frames_per_second(metadata["render_fps"], skip)}


def frames_per_second(fps: float, skip: int) -> int | float:
    """Return the pictures a second when one of `skip` frames is shown; an int if whole, as Gymnasium wants."""
    rate = fps / skip
    return int(rate) if rate == int(rate) else rate


def transform_frames(env: gym.Env, transform: Callable[[np.ndarray], np.ndarray]) -> gym.Env:
    """Apply `transform` to the frames of `env` and to their bounds, all uint8."""
    space = env.observation_space
    assert isinstance(space, Box)  # checked by Pixels.check
    return TransformObservation(env, transform, Box(transform(space.low), transform(space.high), dtype=np.uint8))


def scale_pixels(env: gym.Env) -> gym.Env:
    """Divide the pixels of `env` by 255."""
    space = env.observation_space
    assert isinstance(space, Box)  # checked by Pixels.check
    bounds = divide_by_255(space.low), divide_by_255(space.high)
    return TransformObservation(env, divide_by_255, Box(*bounds, dtype=np.float32))


def copy_of(frame: np.ndarray, index: Any) -> np.ndarray:
    return frame[index].copy()


def divide_by_255(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` (any shape) / 255 as a new float32 array; divided, not multiplied, so that 255 becomes 1."""
    return np.divide(pixels, np.float32(255), dtype=np.float32)
