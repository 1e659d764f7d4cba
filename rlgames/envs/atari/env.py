"""`AtariEnv`: one environment of an Atari game on ale-py's emulator."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Discrete

from rlgames.engine.copying import Copyable
from rlgames.engine.rendering import Window
from rlgames.engine.validation import EnvSettings, check_render_mode, check_seed, invalid_action, lookup_action
from rlgames.envs.atari.game import HEIGHT, MAX_FRAMES, SEEDS, WIDTH, AtariGame, import_ale, rom_path
from rlgames.errors import InvalidValueError
from rlgames.wrappers.frames import frames_per_second

NOOP_CODE = 0  # of ALE


class NoopRng:
    """RNG that draws the number of no-op frames of each episode, the same as in ale-py's vector environments.

    C++'s `mt19937` and libstdc++'s `uniform_int_distribution`: a 32-bit word is scaled to a range by a product and
    rejected where this would be biased (Lemire 2019, "Fast random integer generation in an interval").
    """

    def __init__(self, seed: int):
        self.bits: Any = np.random.MT19937()
        self.bits.state = np.random.RandomState(seed % SEEDS).get_state(legacy=False)  # seeds the way C++ does

    def below(self, n: int) -> int:
        """Return an integer in [0, n)."""
        if n < 2:
            return 0
        product = int(self.bits.random_raw()) * n
        while product % 2**32 < 2**32 % n:
            product = int(self.bits.random_raw()) * n
        return product >> 32


def make_env(game: AtariGame, *, grey: bool = False, **settings: Any) -> AtariEnv:
    """Make one environment; `settings` are the fields of `EnvSettings`."""
    return AtariEnv(game, EnvSettings(**settings), grey=grey)


class AtariEnv(Copyable, gym.Env):
    """One environment of an Atari game.

    Observation space: the screen, (210, 160, 3) uint8, or with `grey` the emulator's luminance, (210, 160) uint8.
    Action space: the game's actions; `settings.frame_skip` repeats each one.
    Rewards: the emulator's; `info["score"]` is the sum of the episode's.
    Termination: the emulator's game over.
    Truncation: after `settings.max_episode_steps` steps, and after 108,000 frames.

    Raises ValueError for bad arguments, seeds and actions, ResetNeeded for a step without a reset,
    ClosedEnvironmentError after `close`, DependencyNotInstalled without ale-py.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"]}

    def __init__(
        self,
        game: AtariGame,
        settings: EnvSettings = EnvSettings(),
        *,
        grey: bool = False,
    ):
        check_render_mode(settings.render_mode, self.metadata["render_modes"])
        ale = import_ale()
        fps = frames_per_second(game.fps, settings.frame_skip)
        self.metadata = {**self.metadata, "render_fps": fps, "best_score": game.best_score}
        self.game, self.render_mode, self.grey = game, settings.render_mode, grey
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool
        self._frameskip = settings.frame_skip  # in ale-py's environments, where AtariPreprocessing looks for it
        self.max_frames = settings.max_frames(MAX_FRAMES)
        self.observation_space = Box(0, 255, (HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3), np.uint8)
        self.action_space = Discrete(len(game.actions))
        self._window = Window(game.name, game.fps) if settings.render_mode == "human" else None
        self._rom = str(rom_path(game))
        self._make_state = ale.ALEState
        self._ale: Any = ale.ALEInterface()  # None after close()
        self._ale.setFloat("repeat_action_probability", game.repeat_action_probability)
        self._codes: list[Any] = []  # of ALE, by action
        self._noop_rng: NoopRng | None = None  # None before the first reset()
        self._frames, self._score, self._over = 0, 0.0, False  # of the episode
        self._screens = [np.empty(0, np.uint8)] * 2  # the last two that are observed, newest first

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        seed = check_seed(seed)
        super().reset(seed=seed)
        if seed is None and self._noop_rng is None:
            seed = int(self.np_random.integers(SEEDS))
        if seed is not None:
            self._seed(seed)
        assert self._noop_rng is not None
        self._ale.reset_game()
        for _ in range(self._noop_rng.below(self.game.noop_max + 1)):
            self._ale.act(NOOP_CODE)
        self._frames, self._score, self._over = 0, 0.0, False
        screen = self._screen()
        self._screens = [screen, np.zeros_like(screen)]
        self._show()
        return self._observe(), {"score": 0.0}

    def _seed(self, seed: int) -> None:
        self._ale.setInt("random_seed", seed % SEEDS)
        self._load_rom()  # the seed takes effect here
        self._noop_rng = NoopRng(seed)

    def _load_rom(self) -> None:
        self._ale.loadROM(self._rom)
        minimal_actions = self._ale.getMinimalActionSet()
        self._codes = [minimal_actions[code] for code in self.game.codes]

    @property
    def ale(self) -> Any:
        """ale-py's emulator, as wrappers of Atari games read lives and screens from it."""
        self._check_open()
        return self._ale

    def get_action_meanings(self) -> list[str]:
        """Return ALE's names of the actions, as wrappers of Atari games look for NOOP and FIRE."""
        self._check_open()
        if not self._codes:
            self._load_rom()
        return [code.name for code in self._codes]

    def step(self, action: int):
        self._check_open()
        if self._noop_rng is None or self._over:
            when = "before the first reset()" if self._noop_rng is None else "after the end of an episode: call reset()"
            raise ResetNeeded(f"step() of {self.game.name} {when}")
        code = lookup_action(self._codes, action)
        if code is None:
            raise invalid_action(action, self.game.name, self.game.actions)
        reward, terminated = 0.0, False
        for frames_left in reversed(range(self.frame_skip)):
            reward += self._ale.act(code)
            self._frames += 1
            terminated = self._ale.game_over(with_truncation=False)
            self._over = terminated or self._frames >= self.max_frames
            self._show()
            if self._over:
                break
            if frames_left < 2:
                self._screens[frames_left] = self._screen()
        self._score += reward
        return self._observe(), reward, terminated, self._over and not terminated, {"score": self._score}

    def _screen(self) -> np.ndarray:
        return self._ale.getScreenGrayscale() if self.grey else self._ale.getScreenRGB()

    def _observe(self) -> np.ndarray:
        if self.max_pool:
            self._screens[0] = np.maximum(*self._screens)
        return self._screens[0].copy()

    def snapshot(self) -> dict[str, Any]:
        """Return the state of the emulator and of all RNGs, from which `restore` continues bit for bit."""
        self._check_open()
        started = self._noop_rng is not None
        ale_state = self._ale.cloneState(include_rng=True).serialize() if started else None
        return {
            "game": self.game.name,
            "ale_state": np.frombuffer(ale_state, np.uint8) if ale_state is not None else None,
            "noop_rng": self._noop_rng.bits.state if self._noop_rng else None,
            "screens": [screen.copy() for screen in self._screens],
            "episode": [self._frames, self._score, self._over],
            "np_random": self.np_random.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `snapshot()`. Raises ValueError if it is of another game."""
        self._check_open()
        if state["game"] != self.game.name:
            raise InvalidValueError(f"this snapshot is of {state['game']}, expected {self.game.name}")
        self.np_random.bit_generator.state = state["np_random"]
        self._noop_rng = None
        if state["noop_rng"] is not None:
            self._seed(0)  # loads the ROM; all RNGs are restored below
            assert self._noop_rng is not None
            self._noop_rng.bits.state = state["noop_rng"]
            self._ale.restoreState(self._make_state(state["ale_state"].tobytes()))
        self._screens = [screen.copy() for screen in state["screens"]]
        self._frames, self._score, self._over = state["episode"]

    def render(self) -> np.ndarray | None:
        self._check_open()
        return self._ale.getScreenRGB() if self.render_mode == "rgb_array" else None

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return key names, as `gymnasium.utils.play` takes them, and their actions."""
        return {(key,): action for key, action in self.game.keys.items()}

    def _show(self) -> None:
        if self._window:
            self._window.show(self._ale.getScreenRGB())

    def _check_open(self) -> None:
        if self._ale is None:
            raise ClosedEnvironmentError(f"this environment of {self.game.name} is closed: make another")

    def close(self) -> None:
        self._ale = None
        if self._window:
            self._window.close()
