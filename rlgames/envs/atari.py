"""Atari games through ale-py: `SoloAtari` for one player, `BatchAtari` for any number on ale-py's C++ threads.

Both follow ale-py's `AtariVectorEnv`: row i of a batch is the single environment seeded with `seed + i`, frame by frame
and episode after episode. An episode begins with up to `noop_max` - 1 frames of doing nothing, so many as the player's
own dice say (Machado et al. 2018, "Revisiting the Arcade Learning Environment", section 4.3, on why games must differ).
The picture of a step is of the frames played before the game was over, as in Gymnasium's AtariPreprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import index
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError, DependencyNotInstalled, ResetNeeded
from gymnasium.spaces import Box, Discrete

from rlgames.envs.players import check_count, check_seed, is_integer
from rlgames.envs.window import Window
from rlgames.wrappers.pixels import Pixels

if TYPE_CHECKING:
    from rlgames.envs.atari_batch import BatchAtari

HEIGHT, WIDTH = 210, 160  # of the screen
FRAMES = 108_000  # of an episode at most: half an hour at 60 a second
SEEDS = 2**31  # the emulator's seeds: others are taken modulo this


@dataclass(frozen=True)
class AtariGame:
    """An Atari game: its ROM, and which of the emulator's actions a player has."""

    name: str
    rom: str  # as ale-py calls it
    actions: tuple[str, ...]  # their names, in order
    codes: tuple[int, ...]  # their numbers in the ROM's minimal set
    keys: dict[str, int] = field(default_factory=dict)  # key name -> action, for a person who plays
    noop_max: int = 30  # an episode begins with fewer frames of nothing than this
    repeat_action_probability: float = 0.0  # of the emulator playing the last frame's action once more ("sticky")
    fps: int = 60

    observation = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

    def __post_init__(self) -> None:
        if not is_integer(self.noop_max) or self.noop_max < 0:
            raise ValueError(f"expected noop_max >= 0, got {self.noop_max!r}")
        sticky = self.repeat_action_probability
        if isinstance(sticky, bool) or not isinstance(sticky, int | float) or not 0 <= sticky < 1:
            raise ValueError(f"expected a repeat_action_probability in [0, 1), got {sticky!r}")

    def solo(self, **kwargs: Any) -> SoloAtari:
        return SoloAtari(self, **kwargs)

    def batch(self, num_envs: int, **kwargs: Any) -> BatchAtari:
        from rlgames.envs.atari_batch import BatchAtari

        return BatchAtari(self, num_envs, **kwargs)

    def refusal(self, action: Any) -> ValueError:
        named = ", ".join(f"{i} {name}" for i, name in enumerate(self.actions))
        return ValueError(f"no such action in {self.name}: got {action}, possible are {named}")


def share(pixels: Pixels, many: bool) -> tuple[dict[str, Any], Pixels]:
    """What an engine does of a declaration by itself, as constructor arguments, and what is left for wrappers.

    The grey of an Atari game is the emulator's own. A single environment skips; a batch also resizes and stacks, if
    nothing else comes in between.
    """
    done: dict[str, Any] = {"frame_skip": pixels.skip, "max_pool": pixels.max_pool, "grey": pixels.grey}
    if not many:
        return done, replace(pixels, skip=1, max_pool=False, grey=False)
    rest = replace(pixels, grey=False)
    plain = rest == Pixels(**{key: getattr(rest, key) for key in ("size", "skip", "max_pool", "stack", "scale")})
    if plain and pixels.size and pixels.size[0] != HEIGHT and pixels.size[1] != WIDTH:
        done["size"], rest = pixels.size, replace(rest, size=None)
    if plain and rest.size is None:
        done["stack"], rest = pixels.stack, replace(rest, stack=1)
    return done, rest


def emulator() -> Any:
    """The module ale_py. Raises DependencyNotInstalled, with the remedy, where it is missing or too old."""
    remedy = 'pip install --upgrade "rlgames[pong]"'
    try:
        import ale_py
        from ale_py import vector_env
    except ImportError as error:
        raise DependencyNotInstalled(f"Atari games need ale-py 0.12 or newer ({error}): {remedy}") from error
    if not hasattr(vector_env, "AutoresetMode"):
        raise DependencyNotInstalled(f"Atari games need ale-py 0.12 or newer, found {ale_py.__version__}: {remedy}")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py


def rom_path(game: AtariGame) -> Any:
    """Where the game's ROM lies. Raises ValueError for one that ale-py does not bring."""
    from ale_py import roms

    known = roms.get_all_rom_ids()
    if game.rom not in known:
        raise ValueError(f"ale-py has no ROM called {game.rom!r}: it has {', '.join(sorted(known))}")
    return roms.get_rom_path(game.rom)


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


class SoloAtari(gym.Env):
    """One player of an Atari game: the screen, (210, 160, 3) uint8, one frame a step unless told otherwise.

    `frame_skip` repeats each action, `max_pool` shows the maximum of the last two frames, `grey` the emulator's
    luminance, (210, 160) uint8; `max_episode_steps` is in frames. `info["score"]` is the sum of the rewards.

    Raises ValueError for bad arguments, seeds and actions, ResetNeeded for a step without a reset,
    ClosedEnvironmentError after `close`, DependencyNotInstalled without ale-py.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 60}

    def __init__(
        self,
        game: AtariGame,
        *,
        render_mode: str | None = None,
        frame_skip: int = 1,
        max_pool: bool = False,
        max_episode_steps: int | None = None,
        grey: bool = False,
    ):
        check(game, frame_skip, max_pool, max_episode_steps)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"expected render_mode None, 'rgb_array' or 'human', got {render_mode!r}")
        module = emulator()
        self.game, self.render_mode, self.grey = game, render_mode, grey
        self.frame_skip, self.max_pool, self.limit = frame_skip, max_pool, max_episode_steps or FRAMES
        self.observation_space = Box(0, 255, (HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3), np.uint8)
        self.action_space = Discrete(len(game.actions))
        self._window = Window(game.name, game.fps) if render_mode == "human" else None
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
        try:
            code = self._codes[index(action)] if index(action) >= 0 else None
        except (TypeError, IndexError):
            code = None
        if code is None:
            raise self.game.refusal(action)
        reward, terminated = 0.0, False
        for left in reversed(range(self.frame_skip)):
            reward += self._ale.act(code)
            self._frames += 1
            terminated = self._ale.game_over(with_truncation=False)
            self._over = terminated or self._frames >= self.limit
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
            raise ValueError(f"this snapshot is of {state['game']}, the environment is {self.game.name}")
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


def check(game: AtariGame, frame_skip: Any, max_pool: bool, max_episode_steps: Any) -> None:
    check_count("frame_skip", frame_skip)
    check_count("max_episode_steps", max_episode_steps, or_none=True)
    if max_pool and frame_skip < 2:
        raise ValueError(f"max_pool takes the maximum over two frames: it needs frame_skip >= 2, got {frame_skip}")
