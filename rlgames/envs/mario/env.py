"""`MarioEnv`: Super Mario Bros. as a Gymnasium environment, on either emulator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.engine.copying import Copyable
from rlgames.engine.processes import ProcessVectorEnv
from rlgames.engine.rendering import Window
from rlgames.engine.threaded import ThreadedVectorEnv
from rlgames.engine.validation import EnvSettings, check_render_mode, check_seed, invalid_action, lookup_action
from rlgames.envs.mario.game import MarioGame
from rlgames.envs.mario.memory_map import Mario
from rlgames.envs.mario.nes_py import HEIGHT, WIDTH
from rlgames.envs.mario.retro import ConsoleSnapshot
from rlgames.errors import InvalidValueError
from rlgames.wrappers.frames import frames_per_second
from rlgames.wrappers.pixels import Pixels

PRELOAD = ("rlgames.envs.mario.env", "cv2", "stable_retro")  # modules that each process of stable-retro needs


def make_env(
    game: MarioGame,
    *,
    grey: bool = False,
    crop: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
    **settings: Any,
) -> MarioEnv:
    """Make one environment; `settings` are the fields of `EnvSettings`."""
    env_class = RetroMarioEnv if game.engine == "retro" else MarioEnv
    return env_class(game, EnvSettings(**settings), grey=grey, crop=crop, size=size)


def make_vector_env(
    game: MarioGame,
    num_envs: int,
    *,
    grey: bool = False,
    crop: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    threads: int | None = None,
    **settings: Any,
) -> VectorEnv:
    """Make any number of environments; `settings` are the fields of `EnvSettings`."""
    make = partial(make_env, game, grey=grey, crop=crop, size=size, **settings)
    return vectorize(game, make, num_envs, autoreset_mode=autoreset_mode, threads=threads)


def vectorize(
    game: MarioGame,
    make: Callable[[], gym.Env],
    num_envs: int,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    threads: int | None = None,
) -> VectorEnv:
    """Step environments made by `make` in parallel: by threads, or in processes, each with one emulator of retro."""
    if game.engine == "nes-py":
        return ThreadedVectorEnv(make, num_envs, autoreset_mode=autoreset_mode, threads=threads)
    if threads is not None:
        raise InvalidValueError(
            f"engine='retro' steps each environment in a process: expected no threads, got {threads!r}"
        )
    return ProcessVectorEnv(make, num_envs, autoreset_mode=autoreset_mode, preload=PRELOAD)


class MarioEnv(Copyable, gym.Env):
    """One environment of Super Mario Bros.

    Observation space: the screen, (240, 256, 3) uint8. `crop` (top, bottom, left, right) selects a region of it, `grey`
    takes the luminance, (height, width) uint8, `size` (height, width) resizes by area means, `max_pool` takes the
    maximum of the last two frames. Action space, rewards and termination: see `game`. `frame_skip` repeats each action
    and sums the rewards; `max_episode_steps` truncates the episode after so many steps.

    The information is that of the last frame, with gym-super-mario-bros' keys: coins, flag_get, life, score, stage,
    status, time, world, x_pos, y_pos. A console is made on demand, with nes-py one for each stage. Every returned array
    is the caller's.

    Raises ValueError for bad arguments, seeds and actions, ResetNeeded for a step without a reset,
    ClosedEnvironmentError after `close`, DependencyNotInstalled where the emulator or the ROM is missing.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"]}

    def __init__(
        self,
        game: MarioGame,
        settings: EnvSettings = EnvSettings(),
        *,
        grey: bool = False,
        crop: tuple[int, int, int, int] | None = None,
        size: tuple[int, int] | None = None,
    ):
        check_render_mode(settings.render_mode, self.metadata["render_modes"])
        game.emulator().load_library()
        self.rom = game.rom_path()
        self.game, self.render_mode, self.grey = game, settings.render_mode, grey
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool
        self.max_episode_steps = settings.max_episode_steps
        score = "x_pos" if game.targets else "score"  # the distance in a stage, or the points of the whole game
        self.metadata = {
            **self.metadata,
            "render_fps": frames_per_second(game.fps, settings.frame_skip),
            "score": score,
        }
        screen = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        Pixels(crop=crop, size=size).check(screen)
        top, bottom, left, right = crop or (0, HEIGHT, 0, WIDTH)
        self._region = slice(top, bottom), slice(left, right)
        self._size = size[::-1] if size else None  # width, height: OpenCV's order
        shape = size or (bottom - top, right - left)
        self.observation_space = Box(0, 255, shape if grey else (*shape, 3), np.uint8)
        self.action_space = Discrete(len(game.actions))
        self._codes = game.codes
        self._window = Window(game.name, game.fps) if settings.render_mode == "human" else None
        self._consoles: list[Any] = []
        self._mario_by_target: dict[tuple[int, int] | None, Mario] = {}
        self._mario: Mario | None = None  # of the running episode; None before the first reset
        self._num_steps, self._over, self._closed = 0, False, False
        self._furthest, self._idle_steps = (0, 0, 0), 0  # see `progress`; steps since it was reached

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        super().reset(seed=check_seed(seed))
        targets = list(self.game.targets) or [None]
        target = targets[int(self.np_random.integers(len(targets)))] if len(targets) > 1 else targets[0]
        self._mario = self._mario_at(target)
        self._mario.reset()
        self._num_steps, self._over = 0, False
        info = self._mario.info(False)
        self._furthest, self._idle_steps = progress(info), 0
        self._show(self._mario)
        return self._observe(self._mario), info

    def _mario_at(self, target: tuple[int, int] | None) -> Mario:
        """Return the game with this target, on a console of its own if consoles hold one snapshot: its first frame."""
        if target not in self._mario_by_target:
            if not self._consoles or self._consoles[0].max_snapshots is not None:
                self._consoles.append(self.game.emulator().Nes(self.rom))
            self._mario_by_target[target] = Mario(self._consoles[-1], target, self.game.lost_levels)
        return self._mario_by_target[target]

    def step(self, action: int):
        self._check_open()
        mario = self._mario
        if mario is None or self._over:
            when = "before the first reset()" if mario is None else "after the end of an episode: call reset()"
            raise ResetNeeded(f"step() of {self.game.name} {when}")
        code = lookup_action(self._codes, action)
        if code is None:
            raise invalid_action(action, self.game.name, self.game.actions)
        total, terminated, info, last_but_one = 0, False, {}, None
        for left in reversed(range(self.frame_skip)):
            reward, terminated, info = mario.step(code, with_info=left == 0)
            total += reward
            self._show(mario)
            if terminated:
                break
            if self.max_pool and left == 1:
                last_but_one = self._render_region(mario)
        self._num_steps += 1
        truncated = not terminated and (
            self._out_of_patience(info)
            or (self.max_episode_steps is not None and self._num_steps >= self.max_episode_steps)
        )
        self._over = terminated or truncated
        return self._observe(mario, last_but_one), total, terminated, truncated, info

    def _out_of_patience(self, info: dict[str, Any]) -> bool:
        """Update the progress; return True after `patience` steps without any."""
        reached = progress(info)
        self._idle_steps = 0 if reached > self._furthest else self._idle_steps + 1
        self._furthest = max(reached, self._furthest)
        return self.game.patience is not None and self._idle_steps >= self.game.patience

    def _render_region(self, mario: Mario) -> np.ndarray:
        return mario.nes.render(self._region, self.grey)

    def _observe(self, mario: Mario, last_but_one: np.ndarray | None = None) -> np.ndarray:
        frame = self._render_region(mario)
        if last_but_one is not None:
            frame = np.maximum(last_but_one, frame)
        if self._size is None:
            return frame
        import cv2  # noqa: PLC0415  heavy

        return cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)

    def render(self) -> np.ndarray | None:
        self._check_open()
        if self.render_mode != "rgb_array" or self._mario is None:
            return None
        return render_screen(self._mario)

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return key names, as `gymnasium.utils.play` takes them, and their actions."""
        return self.game.keys

    def _show(self, mario: Mario) -> None:
        if self._window:
            self._window.show(render_screen(mario))

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedEnvironmentError(f"this environment of {self.game.name} is closed: make another")

    def close(self) -> None:
        self._closed, self._mario = True, None
        for console in self._consoles:
            console.close()
        self._consoles.clear()
        self._mario_by_target.clear()
        if self._window:
            self._window.close()


class RetroMarioEnv(MarioEnv, gym.Env):  # see GameVectorEnv
    """One environment on the emulator of stable-retro, which has snapshots.

    Raises RuntimeError, with the remedy, for a second one that is reset in the same process.
    """

    def snapshot(self) -> dict[str, Any]:
        """Return all that the next steps depend on, the RNG included: copies of arrays, and plain values."""
        self._check_open()
        mario = self._mario
        state: dict[str, Any] = {"game": self.game.name, "np_random": self.np_random.bit_generator.state}
        if mario is None:
            return state | {"mario": None}
        console = mario.nes.snapshot()
        return state | {
            "mario": [mario.target and list(mario.target), mario.clock, mario.x, self._num_steps, self._over],
            "progress": [*self._furthest, self._idle_steps],
            "console": np.frombuffer(console.state, np.uint8).copy(),
            "screen": console.screen.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a snapshot. Raises ValueError for a snapshot of another game."""
        self._check_open()
        if state["game"] != self.game.name:
            raise InvalidValueError(f"this snapshot is of {state['game']}, expected {self.game.name}")
        self.np_random.bit_generator.state = state["np_random"]
        self._mario = None
        if state["mario"] is not None:
            target, clock, x, self._num_steps, self._over = state["mario"]
            world, stage, x_pos, self._idle_steps = state["progress"]
            self._furthest = world, stage, x_pos
            self._mario = self._mario_at(target and tuple(target))
            self._mario.clock, self._mario.x = clock, x
            self._mario.nes.restore(ConsoleSnapshot(state["console"].tobytes(), state["screen"].copy()))


def progress(info: dict[str, Any]) -> tuple[int, int, int]:
    return info["world"], info["stage"], info["x_pos"]


def render_screen(mario: Mario) -> np.ndarray:
    """Return the whole screen, (240, 256, 3) uint8."""
    return mario.nes.render((slice(None), slice(None)), grey=False)
