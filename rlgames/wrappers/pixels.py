"""What an agent sees of a game: one frozen declaration, compiled to wrappers for one environment or for a batch.

The steps follow Mnih et al. 2015, "Human-level control through deep reinforcement learning" (Methods, preprocessing),
and always come in this order: skip and max-pool, crop and every, grey or channel, resize, erase, difference, stack,
scale; with `stack_skipped` the skip comes where the stack does. For one environment they are Gymnasium's own wrappers
where Gymnasium has them; `FrameSkip` says where it differs. `vector_pixels.py` is the same for a batch.

    nature = Pixels(size=(84, 84), grey=True, skip=4, max_pool=True, stack=4)
    nature.wrap(gym.make("ALE/Pong-v5", frameskip=1))    # observations (4, 84, 84) uint8
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import (
    FrameStackObservation,
    GrayscaleObservation,
    ResizeObservation,
    TransformObservation,
)

from rlgames.wrappers.frames import FrameDifference, FrameSkip, SkippedFrames, Unplayed, scaled, shown


@dataclass(frozen=True)
class Pixels:
    """What is done to a game's frames before an agent sees them; `Pixels()` does nothing and wraps to the game itself.

    Frames are uint8, (H, W) or (H, W, channels). A stack comes first, oldest frame first, as in Gymnasium's
    FrameStackObservation: (stack, H, W) for grey frames, (stack, H, W, 3) for coloured ones; an episode's first frame
    fills it. With `difference` or `scale` the pixels are float32, otherwise uint8.

    Raises:
        ValueError: on a declaration that cannot be meant, and in `wrap` and `wrap_vec` on frames that do not fit it.
    """

    crop: tuple[int, int, int, int] | None = None  # top, bottom, left, right; bottom and right are not kept
    every: int = 1  # of so many rows and columns one is kept, the first
    channel: int | None = None  # one of the colours alone: 0 red, 1 green, 2 blue
    size: tuple[int, int] | None = None  # (height, width) after an area resize (cv2.INTER_AREA)
    grey: bool = (
        False  # one luminance per pixel, as Gymnasium's GrayscaleObservation computes it; emulators have theirs
    )
    erase: tuple[int, ...] = ()  # levels of the background: they become 0, all others 255
    skip: int = 1  # frames played for each action, rewards summed
    max_pool: bool = False  # maximum over the last two frames of the skip, against sprites that flicker
    stack: int = 1  # frames seen at once
    stack_skipped: bool = False  # all frames of the skip are seen at once, (skip, H, W), in place of a stack
    difference: bool = False  # frame minus the frame before, -255..255; zeros at the first frame of an episode
    scale: bool = False  # divided by 255, to float32 in 0..1 (-1..1 with difference)

    def __post_init__(self) -> None:
        if self.skip < 1:
            raise ValueError(f"expected skip >= 1, got {self.skip}: skip=1 plays one frame for each action")
        if self.max_pool and self.skip == 1:
            raise ValueError("max_pool takes two frames of a skip, but got skip=1: pass skip >= 2 or max_pool=False")
        if self.stack_skipped and (self.skip == 1 or self.max_pool or self.stack > 1):
            raise ValueError(
                "stack_skipped shows every frame of a skip: expected skip >= 2, max_pool=False and stack=1, got"
                f" skip={self.skip}, max_pool={self.max_pool} and stack={self.stack}"
            )
        if self.stack < 1:
            raise ValueError(f"expected stack >= 1, got {self.stack}: stack=1 shows one frame")
        if self.every < 1:
            raise ValueError(f"expected every >= 1, got {self.every}: every=1 keeps all rows and columns")
        if self.channel is not None and (self.grey or self.channel < 0):
            raise ValueError(f"expected channel >= 0 and grey=False, got channel={self.channel} and grey={self.grey}")
        if any(not 0 <= level <= 255 for level in self.erase):
            raise ValueError(f"expected levels in 0..255 to erase, got {self.erase}")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ValueError(f"expected size=(height, width), both at least 1, got {self.size}")
        if self.crop is not None:
            top, bottom, left, right = self.crop if len(self.crop) == 4 else (0, 0, 0, 0)
            if not (0 <= top < bottom and 0 <= left < right):
                raise ValueError(
                    "expected crop=(top, bottom, left, right) with 0 <= top < bottom and 0 <= left < right,"
                    f" got {self.crop}"
                )

    def wrap(self, env: gym.Env) -> gym.Env:
        """`env`, seen through this declaration: at most one wrapper for each step of it, mostly Gymnasium's own."""
        if self == Pixels():
            return env
        if self == Pixels(skip=self.skip):  # which needs no pictures
            return FrameSkip(env, self.skip)
        self.check(env.observation_space)
        if self.skip > 1 and not self.stack_skipped:
            env = FrameSkip(env, self.skip, self.max_pool)
        if self.crop is not None or self.every > 1:
            env = shown(env, lambda frame: frame[self.window(frame)].copy())
        if self.grey:
            env = GrayscaleObservation(env)
        if self.channel is not None:
            env = shown(env, lambda frame: frame[..., self.channel].copy())
        if self.size is not None:
            env = ResizeObservation(env, self.size)
        if self.erase:
            shape = env.observation_space.shape
            env = TransformObservation(env, self.kept().take, Box(0, 255, shape, np.uint8))
        if self.difference:
            env = FrameDifference(env)
        if self.stack_skipped:
            env = SkippedFrames(env, self.skip)
        if self.stack > 1:
            env = FrameStackObservation(env, self.stack)
        if self.scale:
            env = scaled(env)
        return env

    def window(self, frame: np.ndarray) -> tuple[slice, slice]:
        """The rows and columns of `frame`, (H, W) or (H, W, channels), that crop and every keep."""
        top, bottom, left, right = self.crop or (0, frame.shape[0], 0, frame.shape[1])
        return slice(top, bottom, self.every), slice(left, right, self.every)

    def kept(self) -> np.ndarray:
        """What erase makes of each level, (256,) uint8."""
        return np.where(np.isin(np.arange(256), self.erase), 0, 255).astype(np.uint8)

    def wrap_vec(self, envs: VectorEnv) -> VectorEnv:
        """`envs`, every row equal to `wrap` of that row pixel by pixel, in all three autoreset modes.

        The skip is the engine's own: a batch cannot be skipped from outside, because its rows end at different frames.
        """
        if self.stack_skipped:
            raise ValueError(
                "stack_skipped sees frames that a batch does not show: rlgames.make_vec wraps each game by itself"
            )
        engine = envs.unwrapped
        skip, max_pool = getattr(engine, "frame_skip", 1), getattr(engine, "max_pool", False)
        if (skip, max_pool) != (self.skip, self.max_pool):
            raise ValueError(
                f"the declaration has skip={self.skip} and max_pool={self.max_pool}, but {type(engine).__name__} has"
                f" frame_skip={skip} and max_pool={max_pool}: pass **engine_arguments() to its constructor,"
                " or wrap each environment with Pixels.wrap inside SyncVectorEnv or AsyncVectorEnv"
            )
        if self == Pixels(skip=self.skip, max_pool=self.max_pool):
            return envs
        from rlgames.wrappers.vector_pixels import VectorPixels  # here, because it loads numba

        return VectorPixels(envs, self)

    def engine_arguments(self) -> dict[str, Any]:
        """Constructor arguments for an engine that skips by itself; none if every frame is seen."""
        return {} if self.skip == 1 or self.stack_skipped else {"frame_skip": self.skip, "max_pool": self.max_pool}

    def after_skip(self) -> Pixels:
        """What is left to do with the frames of an engine that has `engine_arguments()`."""
        return self if self.stack_skipped else replace(self, skip=1, max_pool=False)

    def observation_space(self, space: gym.Space) -> Box:
        """What becomes of `space`, the observation space of one game.

        Raises:
            ValueError: if frames of `space` do not fit the declaration.
        """
        seen = self.wrap(Unplayed(space)).observation_space
        if not isinstance(seen, Box):
            raise ValueError(f"expected frames in a Box space, got {space}")
        return seen

    def check(self, space: gym.Space) -> None:
        """Raises ValueError if frames of `space` do not fit the declaration."""
        if not isinstance(space, Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
            raise ValueError(
                "expected frames in a uint8 Box of shape (H, W) or (H, W, channels), got"
                f" {space}: Pixels is for games seen as pictures; use the game's picture, or no Pixels"
            )
        height, width = space.shape[:2]
        if self.crop is not None and (self.crop[1] > height or self.crop[3] > width):
            raise ValueError(
                f"crop={self.crop} (top, bottom, left, right) reaches outside frames of {height} rows and {width}"
                f" columns: keep bottom <= {height} and right <= {width}"
            )
        if self.grey and space.shape[2:] != (3,):
            raise ValueError(f"grey=True needs frames of shape (H, W, 3), got {space.shape}: pass grey=False")
        if self.channel is not None and (len(space.shape) < 3 or self.channel >= space.shape[2]):
            raise ValueError(f"channel={self.channel} needs frames of shape (H, W, more than that), got {space.shape}")
        if self.erase and len(space.shape) == 3 and not self.grey and self.channel is None:
            raise ValueError(f"erase needs one level a pixel, got frames {space.shape}: pass grey=True or a channel")
        if (self.grey or self.size is not None) and (np.any(space.low != 0) or np.any(space.high != 255)):
            raise ValueError(
                f"grey and size need pixels from 0 to 255, got {space}: pass grey=False and size=None,"
                " or declare the game's observation space as Box(0, 255, shape, np.uint8)"
            )
