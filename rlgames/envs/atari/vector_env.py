"""`BatchAtari`: many players of one Atari game on ale-py's C++ threads, with Gymnasium's contracts and exact resume.

ale-py's `AtariVectorEnv` plays, skips, resizes and stacks. Added here: all three autoreset modes, scores, stacks that
begin with an episode's first frame as Gymnasium's do, one clear refusal for bad actions (which ale-py would play as
another action, or hang on), and snapshots. The C++ side cannot be cloned, but an episode without sticky actions is a
function of its seed, of how many episodes came before, and of the actions since: a snapshot is these, and `restore`
plays them again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode

from rlgames.engine.validation import (
    VectorEnvSettings,
    check_actions,
    check_count,
    check_reset,
    invalid_action,
    is_integer,
)
from rlgames.engine.vector_env import CORES, BaseVectorEnv, final_info
from rlgames.envs.atari.game import HEIGHT, MAX_FRAMES, SEEDS, WIDTH, AtariGame, emulator, rom_path
from rlgames.errors import InvalidValueError


def make_vector_env(
    game: AtariGame,
    num_envs: int,
    *,
    grey: bool = False,
    size: tuple[int, int] | None = None,
    stack: int = 1,
    **settings: Any,
) -> AtariVectorEnv:
    """Make any number of environments; `settings` are the fields of `VectorEnvSettings`."""
    return AtariVectorEnv(game, num_envs, VectorEnvSettings(**settings), grey=grey, size=size, stack=stack)


class AtariVectorEnv(BaseVectorEnv):
    """`num_envs` players of an Atari game: uint8 (num_envs, [stack,] height, width [, 3 unless grey]).

    `size` is (height, width) after an area resize, 210 x 160 without it; `stack` counts frames, oldest first. The other
    arguments, the information and the errors are those of `BatchEnv` and `SoloAtari`. Every array that is handed out is
    the caller's.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        game: AtariGame,
        num_envs: int = 1,
        settings: VectorEnvSettings = VectorEnvSettings(),
        *,
        grey: bool = False,
        size: tuple[int, int] | None = None,
        stack: int = 1,
    ):
        check_count("stack", stack)
        height, width = size or (HEIGHT, WIDTH)
        shape = (*([stack] if stack > 1 else []), height, width, *([] if grey else [3]))
        super().__init__(game, num_envs, Box(0, 255, shape, np.uint8), settings)
        self.frame_stack = stack
        emulator()
        rom_path(game)
        from ale_py.vector_env import AtariVectorEnv as AleVectorEnv

        self._engine: Any = AleVectorEnv(
            game.rom,
            self.num_envs,
            num_threads=settings.threads or min(CORES, self.num_envs),
            max_num_frames_per_episode=settings.max_frames(MAX_FRAMES),
            repeat_action_probability=float(game.repeat_action_probability),
            autoreset_mode="NextStep" if self.mode is AutoresetMode.NEXT_STEP else "SameStep",
            img_height=height,
            img_width=width,
            grayscale=grey,
            stack_num=stack,
            frameskip=settings.frame_skip,
            maxpool=settings.max_pool,
            noop_max=game.noop_max,
            reward_clipping=False,
            use_fire_reset=False,
        )
        n = self.num_envs
        self._codes, self._rows = np.array(game.codes, np.int64), np.arange(n)
        self._started = False
        self._score = np.zeros(n)
        self._over = np.zeros(n, np.bool_)  # ended and not restarted: NEXT_STEP, DISABLED
        # What each player's game is a function of: see the module.
        self._seeds, self._resets = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._age = np.zeros(n, np.int64)  # steps since the last of them
        self._played = np.zeros((n, 1024), np.uint8)
        self._ends: dict[
            int, np.ndarray
        ] = {}  # DISABLED: last pictures of players that are over; ale-py has restarted them

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        seeds, mask = check_reset(seed, options, self.num_envs, self._started)
        if is_integer(seed):
            super().reset(seed=seeds[0])
        given = np.array([-1 if s is None else s % SEEDS for s in seeds], np.int64)  # -1: the dice go on
        if not self._started:
            given = np.where(given < 0, self.np_random.integers(SEEDS, size=self.num_envs), given)
        seeded = mask & (given >= 0)
        self._seeds[seeded], self._resets[seeded] = given[seeded], 0
        begun = mask & self._over & ~seeded if self.mode is AutoresetMode.DISABLED else ~self._all
        anew = mask & ~begun
        obs = self._look(given, anew)
        self._started = True
        self._resets[anew] += 1
        self._age[mask], self._score[mask], self._over[mask] = 0, 0.0, False
        for i in np.flatnonzero(mask).tolist():
            self._ends.pop(i, None)
        obs = self._shown(obs)
        for i, end in self._ends.items():
            obs[i] = end
        return obs, {"score": self._score.copy(), "_score": self._all}

    def _look(self, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The pictures of all players after a restart of those of `mask`, which may be nobody."""
        return self._engine.reset(seed=seeds[mask], options={"reset_mask": mask})[0]

    def step(self, actions: np.ndarray):
        codes = self._take(actions)
        restarted = self._over if self.mode is AutoresetMode.NEXT_STEP and self._over.any() else None
        self._remember(codes)
        obs, reward, terminated, truncated, info = self._engine.step(codes)
        reward = reward.astype(np.float64)
        self._age += 1
        self._score += reward
        if restarted is not None:
            self._resets[restarted] += 1
            self._age[restarted], self._score[restarted] = 0, 0.0
        done = terminated | truncated
        ended = done.any()
        self._over = done if self.mode is not AutoresetMode.SAME_STEP else ~self._all
        score, news = self._score.copy(), {}
        if ended and self.mode is not AutoresetMode.NEXT_STEP:
            final = self._shown(info["final_obs"])
            self._resets[done] += 1
            self._age[done], self._score[done] = 0, 0.0
            if self.mode is AutoresetMode.SAME_STEP:
                news = final_info(done, final, score)
                score = self._score.copy()
            obs = self._shown(obs)
            if self.mode is AutoresetMode.DISABLED:
                for i in np.flatnonzero(done).tolist():
                    obs[i] = self._ends[i] = final[i]
        else:
            obs = self._shown(obs)
        return obs, reward, terminated, truncated, {"score": score, "_score": self._all, **news}

    def _take(self, actions: Any) -> np.ndarray:
        self._check_open()
        if not self._started:
            raise ResetNeeded(f"step() of {self.game.name} before the first reset()")
        given = check_actions(actions, self.num_envs)
        if given.min() < 0 or given.max() >= len(self._codes):
            raise invalid_action(actions, self.game.name, self.game.actions)
        if self.mode is AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"an episode of {self.game.name} is over and was not reset: call reset() first")
        return self._codes[given]

    def _remember(self, codes: np.ndarray) -> None:
        age = self._age
        if age.max() >= self._played.shape[1]:
            self._played = np.concatenate([self._played, np.zeros_like(self._played)], 1)
        self._played[self._rows, age] = codes

    def _shown(self, obs: np.ndarray) -> np.ndarray:
        """Pictures as Gymnasium stacks them: an episode's first frame also stands for those before it."""
        if self.frame_stack == 1:
            return obs[:, 0]
        missing = self.frame_stack - 1 - self._age
        if missing.max() > 0:
            for i in np.flatnonzero(missing > 0):
                obs[i, : missing[i]] = obs[i, missing[i]]
        return obs

    def snapshot(self) -> dict[str, Any]:
        """What the games are functions of; `restore` plays it again, in about the time that the episodes took.

        Raises NotImplementedError with sticky actions, whose dice nobody can set.
        """
        if self.game.repeat_action_probability:
            raise NotImplementedError("ale-py's vector environments with sticky actions cannot say their state")
        return {
            "game": self.game.name,
            "started": self._started,
            "seeds": self._seeds.copy(),
            "resets": self._resets.copy(),
            "age": self._age.copy(),
            "played": self._played[:, : int(self._age.max())].copy(),
            "score": self._score.copy(),
            "over": self._over.copy(),
            "ends": {str(i): end.copy() for i, end in self._ends.items()},
            "np_random": self.np_random.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to a snapshot. Raises ValueError for one of other environments."""
        self._check_open()
        if (state["game"], len(state["seeds"])) != (self.game.name, self.num_envs):
            here = f"{self.num_envs} of {self.game.name}"
            raise InvalidValueError(
                f"this snapshot is of {len(state['seeds'])} environments of {state['game']}, expected {here}"
            )
        self._started, self._score, self._over = state["started"], state["score"].copy(), state["over"].copy()
        self._seeds, self._resets, self._age = (state[key].copy() for key in ("seeds", "resets", "age"))
        self._played = np.zeros((self.num_envs, max(1024, 2 * state["played"].shape[1])), np.uint8)
        self._played[:, : state["played"].shape[1]] = state["played"]
        self._ends = {int(i): end.copy() for i, end in state["ends"].items()}
        self.np_random.bit_generator.state = state["np_random"]
        if self._started:
            self._play_again()

    def _play_again(self) -> None:
        """The longest episode begins first, so that all stand where they stood at the same moment."""
        self._look(self._seeds, self._all)
        begin = int(self._age.max()) - self._age
        for t in range(int(self._age.max()) + 1):
            now = begin == t
            if now.any():
                for again in range(int(self._resets[now].max())):
                    self._look(
                        self._seeds if again == 0 else np.full_like(self._seeds, -1), now & (self._resets > again)
                    )
            if t < self._age.max():
                self._engine.step(np.where(t >= begin, self._played[self._rows, t - begin], 0).astype(np.int64))

    def _check_open(self) -> None:
        if self._engine is None:
            raise ClosedEnvironmentError(f"these environments of {self.game.name} are closed: make others")

    def close_extras(self, **kwargs: Any) -> None:
        self._engine = None
