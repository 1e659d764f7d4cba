"""`AtariVectorEnv`: many environments of one Atari game on ale-py's C++ threads.

ale-py's own `AtariVectorEnv` steps, skips, resizes and stacks. This class adds all three autoreset modes, scores,
stacks that begin with an episode's first frame as Gymnasium's do, an error for invalid actions (ale-py takes them for
other actions, or hangs), and snapshots.

The state of the C++ environments cannot be copied. But an episode without sticky actions is a function of its seed, of
the number of episodes since that seed, and of its actions so far: a snapshot holds these three, and `restore` replays
the actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.engine.forks import ForkGuard
from rlgames.engine.sending import SendRecv, StepResults
from rlgames.engine.validation import (
    VectorEnvSettings,
    check_actions,
    check_count,
    check_reset,
    invalid_action,
    is_integer,
)
from rlgames.engine.vector_env import CORES, BaseVectorEnv, final_info
from rlgames.envs.atari.game import HEIGHT, MAX_FRAMES, SEEDS, WIDTH, AtariGame, import_ale, rom_path
from rlgames.errors import InvalidValueError

UNSEEDED = -1  # ale-py's seed of an environment whose RNG continues
RECORDED_STEPS = 1024  # initial length of the recorded actions


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


class AtariVectorEnv(SendRecv, BaseVectorEnv, VectorEnv):  # see GameVectorEnv
    """`num_envs` environments of one Atari game, stepped together.

    Observation space: (num_envs, [stack,] height, width [, 3 unless grey]) uint8; `size` is (height, width) after an
    area resize, 210 x 160 without it; a stack holds the oldest frame first.
    Action space: one of the game's actions each.
    Rewards, termination and truncation: as in `AtariEnv`; information and autoreset modes as in `GameVectorEnv`. Every
    returned array is the caller's. `send` and `recv` are the halves of a step, see `rlgames.engine.sending`.

    Raises ValueError for bad arguments, seeds, masks and actions, ResetNeeded for a step without a reset,
    ClosedEnvironmentError after `close`, ForkedError after a fork, DependencyNotInstalled without ale-py.
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
        self.metadata["best_score"] = game.best_score
        self.frame_stack = stack
        ale = import_ale()
        rom_path(game)
        self._engine: Any = ale.vector_env.AtariVectorEnv(  # None after close()
            game.rom,
            self.num_envs,
            num_threads=settings.threads or min(CORES, self.num_envs),
            max_num_frames_per_episode=settings.max_frames(MAX_FRAMES),
            repeat_action_probability=float(game.repeat_action_probability),
            autoreset_mode="NextStep" if self.autoreset_mode is AutoresetMode.NEXT_STEP else "SameStep",
            img_height=height,
            img_width=width,
            grayscale=grey,
            stack_num=stack,
            frameskip=settings.frame_skip,
            maxpool=settings.max_pool,
            noop_max=game.noop_max + 1,  # ale-py draws fewer than this
            reward_clipping=False,
            use_fire_reset=False,
        )
        self._fork_guard = ForkGuard(self._engine)
        n = self.num_envs
        self._codes, self._indices = np.array(game.codes, np.int64), np.arange(n)
        self._started = False
        self._score = np.zeros(n)
        self._over = np.zeros(n, np.bool_)  # ended and not reset yet; always False in SAME_STEP
        # The state of each environment is a function of these; see the module.
        self._seeds = np.zeros(n, np.int64)
        self._episodes = np.zeros(n, np.int64)  # begun since the seed
        self._steps = np.zeros(n, np.int64)  # of the running episode
        self._actions = np.zeros((n, RECORDED_STEPS), np.uint8)  # of the running episode, as ALE's codes
        # DISABLED: last observations of environments that are over, because ale-py has reset these already
        self._final_obs: dict[int, np.ndarray] = {}

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        self._check_no_step("reset")
        seeds, mask = check_reset(seed, options, self.num_envs, self._started)
        if is_integer(seed):
            super().reset(seed=seeds[0])
        ale_seeds = np.array([UNSEEDED if s is None else s % SEEDS for s in seeds], np.int64)
        if not self._started:
            ale_seeds = np.where(ale_seeds < 0, self.np_random.integers(SEEDS, size=self.num_envs), ale_seeds)
        seeded = mask & (ale_seeds >= 0)
        self._seeds[seeded], self._episodes[seeded] = ale_seeds[seeded], 0
        disabled = self.autoreset_mode is AutoresetMode.DISABLED
        already_reset = mask & self._over & ~seeded if disabled else ~self._all  # by ale-py; it counted this episode
        to_reset = mask & ~already_reset
        obs = self._reset_engine(ale_seeds, to_reset)
        self._started = True
        self._episodes[to_reset] += 1
        self._steps[mask], self._score[mask], self._over[mask] = 0, 0.0, False
        for i in np.flatnonzero(mask).tolist():
            self._final_obs.pop(i, None)
        obs = self._stack(obs)
        for i, final_obs in self._final_obs.items():
            obs[i] = final_obs
        return obs, {"score": np.zeros(self.num_envs), "_score": mask}

    def _start_step(self, actions: np.ndarray) -> Callable[[], StepResults]:
        codes = self._check_actions(actions)
        self._record_actions(codes)
        self._engine.send(codes)
        return self._receive

    def _receive(self) -> StepResults:
        reset = self._over if self.autoreset_mode is AutoresetMode.NEXT_STEP and self._over.any() else None
        obs, reward, terminated, truncated, info = self._engine.recv()
        reward = reward.astype(np.float64)
        self._steps += 1
        self._score += reward
        if reset is not None:
            self._start_episodes(reset)
        done = terminated | truncated
        self._over = done if self.autoreset_mode is not AutoresetMode.SAME_STEP else ~self._all
        score, final = self._score.copy(), {}
        if done.any() and self.autoreset_mode is not AutoresetMode.NEXT_STEP:  # ale-py has reset these environments
            final_obs = self._stack(info["final_obs"])
            self._start_episodes(done)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                final = final_info(done, final_obs, score)
                score = self._score.copy()
            obs = self._stack(obs)
            if self.autoreset_mode is AutoresetMode.DISABLED:
                for i in np.flatnonzero(done).tolist():
                    obs[i] = self._final_obs[i] = final_obs[i]
        else:
            obs = self._stack(obs)
        return obs, reward, terminated, truncated, {"score": score, "_score": self._all.copy(), **final}

    def _check_actions(self, actions: Any) -> np.ndarray:
        """Return ALE's codes of the actions."""
        self._check_open()
        if not self._started:
            raise ResetNeeded(f"step() of {self.game.name} before the first reset()")
        checked = check_actions(actions, self.num_envs)
        if checked.min() < 0 or checked.max() >= len(self._codes):
            raise invalid_action(actions, self.game.name, self.game.actions)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"an episode of {self.game.name} is over and was not reset: call reset() first")
        return self._codes[checked]

    def _reset_engine(self, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Reset ale-py's environments in `mask`, which may be empty, and return the observations of all."""
        return self._engine.reset(seed=seeds[mask], options={"reset_mask": mask})[0]

    def _start_episodes(self, mask: np.ndarray) -> None:
        self._episodes[mask] += 1
        self._steps[mask], self._score[mask] = 0, 0.0

    def _record_actions(self, codes: np.ndarray) -> None:
        if self._steps.max() >= self._actions.shape[1]:
            self._actions = np.concatenate([self._actions, np.zeros_like(self._actions)], 1)
        self._actions[self._indices, self._steps] = codes

    def _stack(self, obs: np.ndarray) -> np.ndarray:
        """Return observations (num_envs, stack, ...) as Gymnasium stacks them: the first frame fills the stack."""
        if self.frame_stack == 1:
            return obs[:, 0]
        missing = self.frame_stack - 1 - self._steps
        if missing.max() > 0:
            for i in np.flatnonzero(missing > 0):
                obs[i, : missing[i]] = obs[i, missing[i]]
        return obs

    def snapshot(self) -> dict[str, Any]:
        """Return seeds, episode counts and actions, from which `restore` replays the running episodes.

        Raises NotImplementedError with sticky actions, whose RNG cannot be set.
        """
        self._check_no_step("snapshot")
        if self.game.repeat_action_probability:
            raise NotImplementedError("ale-py's vector environments with sticky actions have no snapshot")
        return {
            "game": self.game.name,
            "started": self._started,
            "seeds": self._seeds.copy(),
            "episodes": self._episodes.copy(),
            "steps": self._steps.copy(),
            "actions": self._actions[:, : int(self._steps.max())].copy(),
            "score": self._score.copy(),
            "over": self._over.copy(),
            "final_obs": {str(i): obs.copy() for i, obs in self._final_obs.items()},
            "np_random": self.np_random.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `snapshot()`, in about the time that the running episodes took.

        Raises ValueError if it is of another game or number of environments.
        """
        self._check_open()
        self._check_no_step("restore")
        if (state["game"], len(state["seeds"])) != (self.game.name, self.num_envs):
            raise InvalidValueError(
                f"this snapshot is of {len(state['seeds'])} environments of {state['game']}, "
                f"expected {self.num_envs} of {self.game.name}"
            )
        self._started, self._score, self._over = state["started"], state["score"].copy(), state["over"].copy()
        self._seeds, self._episodes, self._steps = (state[key].copy() for key in ("seeds", "episodes", "steps"))
        steps = state["actions"].shape[1]
        self._actions = np.zeros((self.num_envs, max(RECORDED_STEPS, 2 * steps)), np.uint8)
        self._actions[:, :steps] = state["actions"]
        self._final_obs = {int(i): obs.copy() for i, obs in state["final_obs"].items()}
        self.np_random.bit_generator.state = state["np_random"]
        if self._started:
            self._replay()

    def _replay(self) -> None:
        """Replay the running episodes, the longest one first, so that all reach their last step at the same time."""
        unseeded, longest = np.full_like(self._seeds, UNSEEDED), int(self._steps.max())
        self._reset_engine(unseeded, self._all)  # ale-py steps environments only after a first reset of all
        start = longest - self._steps  # step of the replay at which each episode starts
        for t in range(longest + 1):
            starting = start == t
            for episode in range(int(self._episodes[starting].max(initial=0))):
                self._reset_engine(unseeded if episode else self._seeds, starting & (self._episodes > episode))
            if t < longest:
                recorded = self._actions[self._indices, np.maximum(t - start, 0)]
                self._engine.step(np.where(t >= start, recorded, 0).astype(np.int64))

    def _check_open(self) -> None:
        if self._engine is None:
            raise ClosedEnvironmentError(f"these environments of {self.game.name} are closed: make others")
        self._fork_guard.check(self)

    def close_extras(self, **kwargs: Any) -> None:
        self._drop_step()
        self._engine = self._fork_guard.resource = None
