"""The wrappers of one environment that `Pixels` is made of where Gymnasium has none, or one that does otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TransformObservation


class FrameSkip(gym.Wrapper, RecordConstructorArgs):
    """Plays `skip` frames for each action, stops where the episode ends, and sums the rewards.

    It shows the last frame, or with `max_pool` the maximum over the last two. That equals Gymnasium's
    MaxAndSkipObservation but for one case, on purpose: when an episode ends within a skip, Gymnasium's buffer still
    holds frames of the step before; here the maximum is over the last two frames of this skip, or is its only frame.
    """

    def __init__(self, env: gym.Env, skip: int, max_pool: bool = False) -> None:
        RecordConstructorArgs.__init__(self, skip=skip, max_pool=max_pool)
        gym.Wrapper.__init__(self, env)
        self.skip, self.max_pool = skip, max_pool
        self.metadata = paced(env.metadata, skip)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        before = None
        obs, reward, terminated, truncated, info = self.env.step(action)
        total = float(reward)
        for _ in range(self.skip - 1):
            if terminated or truncated:
                break
            before = obs.copy() if self.max_pool else None  # the game may draw its next frame into the same array
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
        return obs if before is None else np.maximum(before, obs), total, terminated, truncated, info


class SkippedFrames(gym.Wrapper, RecordConstructorArgs):
    """Plays `skip` frames for each action and shows all of them, (skip, *frame), the oldest first; rewards are summed.

    An episode's first frame, and its last where it ends within a skip, stand for those that there are not.
    """

    def __init__(self, env: gym.Env, skip: int) -> None:
        RecordConstructorArgs.__init__(self, skip=skip)
        gym.Wrapper.__init__(self, env)
        self.skip = skip
        self.metadata = paced(env.metadata, skip)
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
    """Shows each frame minus the frame before, float32 of the frame's shape; zeros at the first frame of an episode."""

    def __init__(self, env: gym.Env) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        space = env.observation_space
        assert isinstance(space, Box)  # Pixels.check has seen it
        reach = space.high.astype(np.float32) - space.low.astype(np.float32)
        self.observation_space = Box(-reach, reach, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        self.before = obs.astype(np.float32)
        return np.zeros_like(self.before), info

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        frame = obs.astype(np.float32)
        change, self.before = frame - self.before, frame
        return change, reward, terminated, truncated, info


def paced(metadata: dict[str, Any], skip: int) -> dict[str, Any]:
    """`metadata` of an environment of which one in `skip` frames is shown."""
    if "render_fps" not in metadata:
        return metadata
    return {**metadata, "render_fps": pace(metadata["render_fps"], skip)}


def pace(fps: float, skip: int) -> int | float:
    """Pictures a second when one of `skip` frames is shown; an integer where it can be, as Gymnasium wants."""
    rate = fps / skip
    return int(rate) if rate == int(rate) else rate


def shown(env: gym.Env, change: Callable[[np.ndarray], np.ndarray]) -> gym.Env:
    """`env` with each frame, and the bounds of its frames, put through `change`."""
    space = env.observation_space
    assert isinstance(space, Box)  # Pixels.check has seen it
    return TransformObservation(env, change, Box(change(space.low), change(space.high), dtype=np.uint8))


def scaled(env: gym.Env) -> gym.Env:
    """`env` with its pixels divided by 255."""
    space = env.observation_space
    assert isinstance(space, Box)  # Pixels.check has seen it
    return TransformObservation(env, divided, Box(divided(space.low), divided(space.high), dtype=np.float32))


def divided(pixels: np.ndarray) -> np.ndarray:
    """A new float32 array of `pixels` (any shape) over 255; by division, not by product, so that 255 becomes 1."""
    return np.divide(pixels, np.float32(255), dtype=np.float32)


class Unplayed(gym.Env):
    """An environment that only has an observation space, to ask the wrappers what they make of it."""

    def __init__(self, space: gym.Space) -> None:
        self.observation_space = space
