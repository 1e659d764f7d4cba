"""Preprocessing of a game's frames: one frozen declaration, applied to one environment or to a vector environment.

The steps follow Mnih et al. 2015, "Human-level control through deep reinforcement learning" (Methods, preprocessing),
always in this order: skip and max-pool, crop and every, grey or channel, resize, erase, channel axis, difference,
stack, scale; with `stack_skipped` the skip takes the place of the stack. For one environment they are Gymnasium's own
wrappers where Gymnasium has them; `FrameSkip` says where it differs. `VectorPixels` is the same for a vector
environment.

    nature = Pixels(size=(84, 84), grey=True, skip=4, max_pool=True, stack=4)
    nature.wrap(gym.make("ALE/Pong-v5", frameskip=1))    # observations (4, 84, 84) uint8

To add an operation on single frames: add its field and check here, and one `Operation` in `Pixels.operations`. Engines
take over only the fields they know, so a new one is left to the wrappers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import FrameStackObservation, TransformObservation

from rlgames.compilation import njit_cached
from rlgames.errors import InvalidValueError
from rlgames.values import Count, Range, check_fields
from rlgames.wrappers.frames import (
    FrameDifference,
    FrameSkip,
    Grayscale,
    Resize,
    SkippedFrames,
    SpaceOnlyEnv,
    copy_of,
    scale_pixels,
    transform_frames,
)
from rlgames.wrappers.vector_pixels import VectorPixels

Level = Annotated[int, Range(0, 255)]


class Operation(NamedTuple):
    """One operation on single frames, for one environment and for many."""

    wrap: Callable[[gym.Env], gym.Env]
    transform: Callable[[np.ndarray], np.ndarray]  # (n, H, W[, channels]) uint8 to the same, a view or a new array


@dataclass(frozen=True)
class Pixels:
    """Preprocessing of frames; `Pixels()` does nothing, and wrapping with it returns the environment itself.

    Frames are uint8, (H, W) or (H, W, channels). A stack comes first, oldest frame first, as in Gymnasium's
    FrameStackObservation: (stack, H, W) for grey frames, (stack, H, W, 3) for color; an episode's first frame fills it.
    Single grey frames with `channel_axis` are (1, H, W), which Stable-Baselines3's CnnPolicy takes for pictures. With
    `difference` or `scale` pixels are float32, otherwise uint8.

    Raises:
        TypeError: for a setting of another type.
        ValueError: if settings are out of range or contradict each other, and in `wrap` and `wrap_vec` if the frames do
            not fit them.
    """

    crop: tuple[int, int, int, int] | None = None  # top, bottom, left, right; bottom and right are excluded
    every: Count = 1  # keep every n-th row and column, from the first
    channel: Annotated[int, Range(0)] | None = None  # keep one color channel: 0 red, 1 green, 2 blue
    size: tuple[Count, Count] | None = None  # (height, width) after an area resize (cv2.INTER_AREA)
    grey: bool = False  # luminance, as Gymnasium's GrayscaleObservation computes it; emulators use their own
    erase: tuple[Level, ...] = ()  # levels of the background: they become 0, all others 255
    skip: Count = 1  # frames for each action, rewards summed
    max_pool: bool = False  # maximum of the last two frames of the skip, against sprites that flicker
    stack: Count = 1  # frames observed at once
    stack_skipped: bool = False  # observe all frames of the skip, (skip, H, W), in place of a stack
    difference: bool = False  # frame minus the previous frame, -255..255; zeros at the start of an episode
    scale: bool = False  # divide by 255, to float32 in 0..1 (-1..1 with difference)
    channel_axis: bool = False  # observe frames (H, W) as (1, H, W)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.max_pool and self.skip == 1:
            raise InvalidValueError("max_pool needs two frames of a skip, got skip=1: use skip >= 2 or max_pool=False")
        if self.stack_skipped and (self.skip == 1 or self.max_pool or self.stack > 1):
            raise InvalidValueError(
                "stack_skipped observes every frame of a skip: expected skip >= 2, max_pool=False and stack=1, got"
                f" skip={self.skip}, max_pool={self.max_pool} and stack={self.stack}"
            )
        if self.channel_axis and (self.stack > 1 or self.stack_skipped):
            raise InvalidValueError(
                "channel_axis is for single frames: expected stack=1 and stack_skipped=False, got"
                f" stack={self.stack} and stack_skipped={self.stack_skipped}, which have such an axis already"
            )
        if self.channel is not None and self.grey:
            raise InvalidValueError(f"expected grey=True or a channel, got both, channel={self.channel}: leave out one")
        if self.crop is not None:
            top, bottom, left, right = self.crop
            if not (0 <= top < bottom and 0 <= left < right):
                raise InvalidValueError(
                    "expected crop=(top, bottom, left, right) with 0 <= top < bottom and 0 <= left < right,"
                    f" got {self.crop}"
                )

    def operations(self) -> list[Operation]:
        """Return the operations on single frames that are asked for, in order."""
        chosen = []
        if self.crop is not None or self.every > 1:
            top, bottom, left, right = self.crop or (None, None, None, None)
            window = slice(top, bottom, self.every), slice(left, right, self.every)
            chosen.append(
                Operation(
                    lambda env: transform_frames(env, partial(copy_of, index=window)),
                    lambda frames: frames[:, *window],
                )
            )
        if self.grey:
            chosen.append(Operation(Grayscale, luminance))
        if (channel := self.channel) is not None:
            chosen.append(
                Operation(
                    lambda env: transform_frames(env, partial(copy_of, index=(..., channel))),
                    lambda frames: frames[..., channel],
                )
            )
        if (size := self.size) is not None:
            chosen.append(Operation(lambda env: Resize(env, size), lambda frames: resize(frames, size)))
        if self.erase:
            levels = np.where(np.isin(np.arange(256), self.erase), 0, 255).astype(np.uint8)
            chosen.append(
                Operation(
                    lambda env: TransformObservation(
                        env, levels.take, Box(0, 255, env.observation_space.shape, np.uint8)
                    ),
                    levels.take,
                )
            )
        if self.channel_axis:
            chosen.append(
                Operation(
                    lambda env: transform_frames(env, partial(copy_of, index=np.newaxis)),
                    lambda frames: frames[:, np.newaxis],
                )
            )
        return chosen

    def check(self, space: gym.Space) -> None:
        """Raises ValueError if frames of `space` do not fit the declaration."""
        if not isinstance(space, Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
            raise InvalidValueError(
                "expected frames in a uint8 Box of shape (H, W) or (H, W, channels), got"
                f" {space}: Pixels is for games observed as pictures; use the game's picture, or no Pixels"
            )
        height, width = space.shape[:2]
        if self.crop is not None and (self.crop[1] > height or self.crop[3] > width):
            raise InvalidValueError(
                f"crop={self.crop} (top, bottom, left, right) reaches outside frames of {height} rows and {width}"
                f" columns: keep bottom <= {height} and right <= {width}"
            )
        if self.grey and space.shape[2:] != (3,):
            raise InvalidValueError(f"grey=True needs frames of shape (H, W, 3), got {space.shape}: use grey=False")
        if self.channel is not None and (len(space.shape) < 3 or self.channel >= space.shape[2]):
            raise InvalidValueError(
                f"channel={self.channel} needs frames of shape (H, W, channels > {self.channel}), got {space.shape}"
            )
        if self.erase and len(space.shape) == 3 and not self.grey and self.channel is None:
            raise InvalidValueError(
                f"erase needs one level a pixel, got frames {space.shape}: use grey=True or a channel"
            )
        if self.channel_axis and len(space.shape) == 3 and not self.grey and self.channel is None:
            raise InvalidValueError(
                f"channel_axis=True needs frames of shape (H, W), got {space.shape}: use grey=True or a channel"
            )
        if (self.grey or self.size is not None) and (np.any(space.low != 0) or np.any(space.high != 255)):
            raise InvalidValueError(
                f"grey and size need pixels from 0 to 255, got {space}: use grey=False and size=None,"
                " or declare the game's observation space as Box(0, 255, shape, np.uint8)"
            )

    def wrap(self, env: gym.Env) -> gym.Env:
        """Return `env` with at most one wrapper for each step of the declaration, mostly Gymnasium's own."""
        if self == Pixels():
            return env
        if self == Pixels(skip=self.skip):  # which needs no pictures
            return FrameSkip(env, self.skip)
        self.check(env.observation_space)
        if self.skip > 1 and not self.stack_skipped:
            env = FrameSkip(env, self.skip, self.max_pool)
        for operation in self.operations():
            env = operation.wrap(env)
        if self.difference:
            env = FrameDifference(env)
        if self.stack_skipped:
            env = SkippedFrames(env, self.skip)
        if self.stack > 1:
            env = FrameStackObservation(env, self.stack)
        if self.scale:
            env = scale_pixels(env)
        return env

    def wrap_vec(self, envs: VectorEnv) -> VectorEnv:
        """Return `envs` with every row equal to `wrap` of that environment, in all three autoreset modes.

        The skip is the engine's own: a batch cannot be skipped from outside, because its episodes end at different
        frames.
        """
        if self.stack_skipped:
            raise InvalidValueError(
                "stack_skipped needs all frames of a skip, which a vector environment does not return:"
                " use rlgames.make_vec, which wraps each environment by itself"
            )
        engine = envs.unwrapped
        skip, max_pool = getattr(engine, "frame_skip", 1), getattr(engine, "max_pool", False)
        if (skip, max_pool) != (self.skip, self.max_pool):
            raise InvalidValueError(
                f"the declaration has skip={self.skip} and max_pool={self.max_pool}, but {type(engine).__name__} has"
                f" frame_skip={skip} and max_pool={max_pool}: pass **engine_arguments() to its constructor,"
                " or wrap each environment with Pixels.wrap inside SyncVectorEnv or AsyncVectorEnv"
            )
        if self == Pixels(skip=self.skip, max_pool=self.max_pool):
            return envs
        space = self.observation_space(envs.single_observation_space)
        transform = FrameTransform(self)
        return VectorPixels(envs, transform, space, stack=self.stack, difference=self.difference, scale=self.scale)

    def engine_arguments(self) -> dict[str, Any]:
        """Return the constructor arguments of an engine that skips frames itself; none if every frame is observed."""
        return {} if self.skip == 1 or self.stack_skipped else {"frame_skip": self.skip, "max_pool": self.max_pool}

    def after_skip(self) -> Pixels:
        """Return the rest of the declaration, for the frames of an engine that has `engine_arguments()`."""
        return self if self.stack_skipped else replace(self, skip=1, max_pool=False)

    def observation_space(self, space: gym.Space) -> Box:
        """Return the observation space that `wrap` makes of `space`. Raises ValueError if its frames do not fit."""
        wrapped = self.wrap(SpaceOnlyEnv(space)).observation_space
        if not isinstance(wrapped, Box):
            raise InvalidValueError(f"expected frames in a Box space, got {space}")
        return wrapped


class FrameTransform:
    """All operations of `pixels` on single frames: (n, H, W[, channels]) uint8 to a new array of the same kind."""

    def __init__(self, pixels: Pixels):
        self.pixels, self.operations = pixels, pixels.operations()

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        frames = obs
        for operation in self.operations:
            frames = operation.transform(frames)
        return frames.copy() if np.may_share_memory(frames, obs) else frames

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.pixels,)


RED, GREEN, BLUE = (np.arange(256) * weight for weight in (0.2125, 0.7154, 0.0721))  # contributions to the luminance


def luminance(frames: np.ndarray) -> np.ndarray:
    """Return the luminance, (n, H, W) uint8, of color `frames` (n, H, W, 3) uint8.

    Contributions are float64, added from left to right and truncated: bit for bit Gymnasium's GrayscaleObservation.
    """
    grey = np.empty(frames.shape[:3], np.uint8)
    write_luminance(frames, grey)
    return grey


@njit_cached("the preprocessing", 1)
def write_luminance(frames, grey):
    n, height, width = grey.shape
    for i in range(n):
        for y in range(height):
            for x in range(width):
                pixel = frames[i, y, x]
                grey[i, y, x] = np.uint8(np.int32(RED[pixel[0]] + GREEN[pixel[1]] + BLUE[pixel[2]]))


def resize(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an area resize of `frames` (n, H, W[, channels]) uint8 to `size`, (height, width)."""
    import cv2  # noqa: PLC0415  heavy

    height, width = size
    resized = np.empty((len(frames), height, width, *frames.shape[3:]), np.uint8)
    for i, frame in enumerate(frames):
        # the reshape restores a single channel, which OpenCV drops
        resized[i] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA).reshape(resized.shape[1:])
    return resized
