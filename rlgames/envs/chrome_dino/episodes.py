"""`DinoEpisodes`: the state of all environments in one page: seeds, records, running episodes, and the page itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

from rlgames.engine.forks import ForkGuard
from rlgames.engine.records import EnvRecords
from rlgames.engine.rng import uniform
from rlgames.engine.validation import EnvSettings
from rlgames.envs.chrome_dino.browser import find_browser
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.chrome_dino.page import NOOP, OBSTACLE_FIELDS, RESET, SCALAR_FIELDS, Command, DinoPage
from rlgames.envs.dino.rules import LOST, SURVIVED
from rlgames.errors import InvalidValueError

T = TypeVar("T")


class StepResult(NamedTuple):
    """Result of a step of all environments."""

    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    score: np.ndarray
    final: tuple[np.ndarray, np.ndarray] | None  # obs and scores before the resets in the same step, if there were any


class DinoEpisodes(EnvRecords):
    """State of `num_envs` environments in one browser tab, shared by the single and the vector environment.

    The browser starts with the first `reset`; the constructor only checks that it is installed. `step` and
    `render` raise what `DinoPage` raises; the browser is then closed, and `reset` starts another.
    """

    def __init__(self, game: ChromeDinoGame, num_envs: int, settings: EnvSettings, visible: bool = False):
        super().__init__(game, num_envs, settings)
        if settings.max_pool and not game.has_pixels:
            raise InvalidValueError(f"max_pool is for pixels: {game.name} observes its state")
        find_browser(game.browser)
        self.chrome_game, self.visible, self.closed = game, visible, False
        self.page: DinoPage | None = None
        survival = np.full(settings.frame_skip, SURVIVED)
        self._survival_rewards = np.concatenate([[0.0], np.cumsum(survival)])  # by the number of frames survived

    def reset(self, mask: np.ndarray) -> np.ndarray:
        """Start new episodes where `mask`, bool (num_envs,), and return the observations of all environments."""
        if self.page is None:
            self._fork_guard = ForkGuard()
            self.page = DinoPage(self.chrome_game, len(self.records), visible=self.visible)
        seeds, advanced = self._draw_seeds()
        commands: list[Command] = [[RESET, seeds[i]] if new else [NOOP, 0, None, 0] for i, new in enumerate(mask)]
        states = self._step_page(commands)
        self.records["rng"][mask] = advanced[mask]
        for field in ("age", "over", "score"):
            self.records[field][mask] = 0
        return self._observe(states, self.records)

    def step(self, actions: list[int], reset_mask: np.ndarray, same_step: bool) -> StepResult:
        """Step all environments; those in `reset_mask` start an episode instead.

        With `same_step`, environments whose episodes end start the next one in the same step.
        """
        records, skip = self.records, self.frame_skip
        draw = same_step or reset_mask.any()
        seeds, advanced = self._draw_seeds() if draw else ([None] * len(actions), records["rng"])
        limit = np.inf if self.max_frames is None else self.max_frames
        commands: list[Command] = []
        for i, left in enumerate((limit - records["age"]).tolist()):
            next_seed = seeds[i] if same_step else None
            step = [actions[i], int(min(skip, left)), next_seed, left <= skip]
            commands.append([RESET, seeds[i]] if reset_mask[i] else step)
        states = self._step_page(commands)
        states, restarted = states[: len(actions)], states[len(actions) :]
        frames = states["frames"].astype(np.int64)
        terminated, last_score = (states["crashed"] > 0) & ~reset_mask, records["score"].copy()
        records["rng"][reset_mask] = advanced[reset_mask]
        records["age"] = np.where(reset_mask, 0, records["age"] + frames)
        records["score"] = states["points"]
        truncated = (records["age"] >= limit) & ~terminated & ~reset_mask
        reward = np.where(reset_mask, 0.0, self._rewards(frames, terminated, states["points"] - last_score))
        records["over"] = done = terminated | truncated
        obs, final = self._observe(states, records), None
        if same_step and done.any():
            final = obs.copy(), records["score"].copy()
            fresh = records[done]
            fresh["rng"], fresh["age"], fresh["over"], fresh["score"] = advanced[done], 0, 0, 0.0
            obs[done] = self._observe(restarted, fresh)
            records[done] = fresh
        return StepResult(obs, reward, terminated, truncated, records["score"].copy(), final)

    def _rewards(self, frames: np.ndarray, terminated: np.ndarray, points: np.ndarray) -> np.ndarray:
        if self.chrome_game.by_score:
            return points
        if self.chrome_game.real_time:  # any number of frames
            return SURVIVED * (frames - terminated) + LOST * terminated
        return self._survival_rewards[frames - terminated] + LOST * terminated

    def _draw_seeds(self) -> tuple[list[int], np.ndarray]:
        """Draw a seed for the next episode of each environment; return the seeds and the advanced streams."""
        streams = Streams(self.records["rng"].copy())
        return (uniform(streams) * 2**32).astype(np.int64).tolist(), streams.rng  # pyright: ignore[reportAttributeAccessIssue]  an array

    def _step_page(self, commands: list[Command]) -> np.ndarray:
        pixels = self.chrome_game.has_pixels
        return self._call_page(lambda page: page.step(commands, pixels=pixels, max_pool=self.max_pool))

    def _call_page(self, call: Callable[[DinoPage], T]) -> T:
        page, self.page = self.page, None  # it is closed if the call raises
        assert page is not None
        answer = call(page)
        self.page = page
        return answer

    def render(self) -> list[np.ndarray]:
        """Return the picture of each game, (150, 600, 3) uint8; nothing before the first `reset`."""
        self.check_open()
        if self.page is None:
            return []
        return [self._call_page(lambda page, i=i: page.render(i)) for i in range(len(self.records))]

    def _observe(self, states: np.ndarray, records: np.ndarray) -> np.ndarray:
        """Return the observations of the page's `states`; copy the states into `records` if those are observed."""
        if self.chrome_game.has_pixels:
            return states["pixels"].copy()
        for name in (*SCALAR_FIELDS, *OBSTACLE_FIELDS):
            if name in (records.dtype.names or ()):
                records[name] = states[name]
        obs = np.empty((len(states), *self.chrome_game.observation.shape), self.chrome_game.observation.dtype)
        self.chrome_game.features(records, np.zeros(len(states), np.bool_), obs)
        return obs

    def check_open(self) -> None:
        """Raise ClosedEnvironmentError after `close`, ForkedError in a process that was forked from the browser's."""
        if self.closed:
            raise ClosedEnvironmentError(f"this environment of {self.chrome_game.name} is closed: make another")
        if self.page is not None:
            self._fork_guard.check(f"this environment of {self.chrome_game.name}")

    def check_ready(self) -> None:
        self.check_open()
        if self.page is None:
            when = "after its browser was lost: call reset()" if self.started else "before the first reset()"
            raise ResetNeeded(f"step() of {self.chrome_game.name} {when}")

    def close(self) -> None:
        self.closed = True
        page, self.page = self.page, None
        if page:
            page.close()


@dataclass
class Streams:
    """The random streams of all environments, for one call of `uniform`."""

    rng: np.ndarray
