"""`SoloAtari`: one player of an Atari game on ale-py's emulator, and the dice by which its episodes begin.

It plays as ale-py's `AtariVectorEnv` does, frame by frame, so that it is a row of `BatchAtari`; a snapshot holds the
emulator's state as a whole.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Discrete

from rlgames.engine.rendering import Window
from rlgames.engine.validation import EnvSettings, check_render_mode, check_seed, invalid_action, lookup_action
from rlgames.envs.atari.game import HEIGHT, MAX_FRAMES, SEEDS, WIDTH, AtariGame, emulator, rom_path
from rlgames.errors import InvalidValueError
from rlgames.wrappers.frames import frames_per_second


class Noops:
    """How many frames each episode of a player begins with: the dice of ale-py's vector environments.

    Theirs are C++'s `mt19937` and libstdc++'s `uniform_int_distribution`, which scales a word to a range by a product
    and throws again where that would be biased (Lemire 2019, "Fast random integer generation in an interval").
    """

    def __init__(self, seed: int):
        self.bits: Any = np.random.MT19937()
        self.bits.state = np.random.RandomState(seed % SEEDS).get_state(legacy=False)  # which seeds as C++ does

    def below(self, n: int) -> int:
        if n < 2:
            return 0
        product = int(self.bits.random_raw()) * n
        while product % 2**32 < 2**32 % n:
            product = int(self.bits.random_raw()) * n
        return product >> 32


def make_env(game: AtariGame, *, grey: bool = False, **settings: Any) -> AtariEnv:
    """Make one environment; `settings` are the fields of `EnvSettings`."""
    return AtariEnv(game, EnvSettings(**settings), grey=grey)


class AtariEnv(gym.Env):
    """One player of an Atari game: the screen, (210, 160, 3) uint8, one frame a step unless told otherwise.

    `frame_skip` repeats each action, `max_pool` shows the maximum of the last two frames, `grey` the emulator's
    luminance, (210, 160) uint8; `max_episode_steps` is in frames. `info["score"]` is the sum of the rewards.

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
        module = emulator()
        self.metadata = {**self.metadata, "render_fps": frames_per_second(game.fps, settings.frame_skip)}
        self.game, self.render_mode, self.grey = game, settings.render_mode, grey
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool
        self.max_frames = settings.max_frames(MAX_FRAMES)
        self.observation_space = Box(0, 255, (HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3), np.uint8)
        self.action_space = Discrete(len(game.actions))
        self._window = Window(game.name, game.fps) if settings.render_mode == "human" else None
        self._rom = str(rom_path(game))
        self._state = module.ALEState
        self._ale: Any = module.ALEInterface()
        self._ale.setFloat("repeat_action_probability", game.repeat_action_probability)
        self._codes: list[Any] = []
        self._noops: Noops | None = None  # None: never reset
        self._frames, self._score, self._over = 0, 0.0, False
        self._last = [np.empty(0, np.uint8)] * 2  # frames of the next picture: what is shown, and the one before

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        seed = check_seed(seed)
        super().reset(seed=seed)
        if seed is None and self._noops is None:
            seed = int(self.np_random.integers(SEEDS))
        if seed is not None:
            self._seed(seed)
        assert self._noops is not None
        self._ale.reset_game()
        for _ in range(self._noops.below(self.game.noop_max)):
            self._ale.act(0)
        self._frames, self._score, self._over = 0, 0.0, False
        screen = self._screen()
        self._last = [screen, np.zeros_like(screen)]
        self._show()
        return self._picture(), {"score": 0.0}

    def _seed(self, seed: int) -> None:
        self._ale.setInt("random_seed", seed % SEEDS)
        self._ale.loadROM(self._rom)  # only now the seed counts
        legal = self._ale.getMinimalActionSet()
        self._codes = [legal[code] for code in self.game.codes]
        self._noops = Noops(seed)

    def step(self, action: int):
        self._check_open()
        if self._noops is None or self._over:
            why = "before the first reset()" if self._noops is None else "after the end of an episode: call reset()"
            raise ResetNeeded(f"step() of {self.game.name} {why}")
        code = lookup_action(self._codes, action)
        if code is None:
            raise invalid_action(action, self.game.name, self.game.actions)
        reward, terminated = 0.0, False
        for left in reversed(range(self.frame_skip)):
            reward += self._ale.act(code)
            self._frames += 1
            terminated = self._ale.game_over(with_truncation=False)
            self._over = terminated or self._frames >= self.max_frames
            self._show()
            if self._over:
                break
            if left < 2:
                self._last[left] = self._screen()
        self._score += reward
        return self._picture(), reward, terminated, self._over and not terminated, {"score": self._score}

    def _screen(self) -> np.ndarray:
        return self._ale.getScreenGrayscale() if self.grey else self._ale.getScreenRGB()

    def _picture(self) -> np.ndarray:
        if self.max_pool:
            self._last[0] = np.maximum(*self._last)
        return self._last[0].copy()

    def snapshot(self) -> dict[str, Any]:
        """All that comes next depends on, the emulator's dice included; `restore` goes on from it bit for bit."""
        started = self._noops is not None
        return {
            "game": self.game.name,
            "emulator": np.frombuffer(self._ale.cloneState(include_rng=True).serialize(), np.uint8)
            if started
            else None,
            "noops": self._noops.bits.state if self._noops else None,
            "last": [frame.copy() for frame in self._last],
            "episode": [self._frames, self._score, self._over],
            "np_random": self.np_random.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ValueError for a snapshot of another game."""
        self._check_open()
        if state["game"] != self.game.name:
            raise InvalidValueError(f"this snapshot is of {state['game']}, expected {self.game.name}")
        self.np_random.bit_generator.state = state["np_random"]
        self._noops = None
        if state["noops"] is not None:
            self._seed(0)
            assert self._noops is not None
            self._noops.bits.state = state["noops"]
            self._ale.restoreState(self._state(state["emulator"].tobytes()))
        self._last = [frame.copy() for frame in state["last"]]
        self._frames, self._score, self._over = state["episode"]

    def render(self) -> np.ndarray | None:
        self._check_open()
        return self._ale.getScreenRGB() if self.render_mode == "rgb_array" else None

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Key names, as `gymnasium.utils.play` takes them, to actions."""
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
