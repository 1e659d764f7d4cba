"""`DinoPlayers`: the players of games in a browser, one or many: seeds, dice, episodes, and the browser itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

from rlgames.engine.records import EnvRecords
from rlgames.engine.rng import uniform
from rlgames.engine.validation import EnvSettings
from rlgames.envs.chrome_dino.browser import BROWSERS, DRIVERS, check_packages, find
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.chrome_dino.page import LISTS, NOOP, PLAIN, RESET, DinoPage, Order
from rlgames.envs.dino.rules import LOST, SURVIVED
from rlgames.errors import InvalidValueError

T = TypeVar("T")


class Played(NamedTuple):
    """What a step has led to; of players that restarted in the same step `final` is what came before."""

    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    score: np.ndarray
    final: tuple[np.ndarray, np.ndarray] | None  # observations and scores, of all players


class DinoPlayers(EnvRecords):
    """Raises what `DinoPage` does, after which everything starts anew with `begin`.

    The browser starts with the first `begin`; that the programs are there is checked at once.
    """

    def __init__(self, game: ChromeDinoGame, num_envs: int, settings: EnvSettings, visible: bool = False):
        super().__init__(game, num_envs, settings)
        if settings.max_pool and not game.pictures:
            raise InvalidValueError(f"max_pool is for pictures: {game.name} shows its state")
        check_packages()
        find(BROWSERS, game.browser, "browser")
        find(DRIVERS, game.driver, "driver of the browser")
        self.chrome, self.visible, self.closed = game, visible, False
        self.record_names = set(game.record.names or ())
        self.page: DinoPage | None = None
        self._rewards = np.concatenate(
            [[0.0], np.cumsum(np.full(settings.frame_skip, SURVIVED))]
        )  # after so many frames

    def begin(self, mask: np.ndarray) -> np.ndarray:
        """New episodes of the players in `mask`, and what all of them see."""
        if self.page is None:
            self.page = DinoPage(self.chrome, len(self.records), visible=self.visible, max_pool=self.max_pool)
        dice, after = self._dice()
        orders: list[Order] = [[RESET, dice[i]] if new else [NOOP, 0, None, 0] for i, new in enumerate(mask)]
        rows = self._ask(lambda page: page.step(orders))
        self.records["rng"][mask] = after[mask]
        for field in ("age", "over", "score"):
            self.records[field][mask] = 0
        return self._observed(rows, self.records)

    def play(self, actions: list[int], restart: np.ndarray, same_step: bool) -> Played:
        """A step. Players of `restart` begin anew instead, with `same_step` those whose episodes end also do."""
        records, skip = self.records, self.frame_skip
        dice, after = self._dice() if same_step or restart.any() else ([None] * len(actions), records["rng"])
        limit = np.inf if self.max_frames is None else self.max_frames
        orders: list[Order] = []
        for i, left in enumerate((limit - records["age"]).tolist()):
            again = dice[i] if same_step else None
            orders.append([RESET, dice[i]] if restart[i] else [actions[i], int(min(skip, left)), again, left <= skip])
        rows = self._ask(lambda page: page.step(orders))
        now, fresh = rows[: len(actions)], rows[len(actions) :]
        frames = now["frames"].astype(np.int64)
        terminated, before = (now["crashed"] > 0) & ~restart, records["score"].copy()
        records["rng"][restart] = after[restart]
        records["age"] = np.where(restart, 0, records["age"] + frames)
        records["score"] = now["points"]
        truncated = (records["age"] >= limit) & ~terminated & ~restart
        reward = np.where(restart, 0.0, self._reward(frames, terminated, now["points"] - before))
        records["over"] = done = terminated | truncated
        obs, final = self._observed(now, records), None
        if same_step and done.any():
            final = obs.copy(), records["score"].copy()
            again = records[done]
            again["rng"], again["age"], again["over"], again["score"] = after[done], 0, 0, 0.0
            obs[done] = self._observed(fresh, again)
            records[done] = again
        return Played(obs, reward, terminated, truncated, records["score"].copy(), final)

    def _reward(self, frames: np.ndarray, terminated: np.ndarray, points: np.ndarray) -> np.ndarray:
        if self.chrome.by_score:
            return points
        if self.chrome.real_time:  # as many frames as the screen had time for
            return SURVIVED * (frames - terminated) + LOST * terminated
        return self._rewards[frames - terminated] + LOST * terminated

    def _dice(self) -> tuple[list[int], np.ndarray]:
        """What the dice of each player's next episode begin with, and the player's stream after this draw."""
        streams = Streams(self.records["rng"].copy())
        return (uniform(streams) * 2**32).astype(np.int64).tolist(), streams.rng  # pyright: ignore[reportAttributeAccessIssue]  an array of them

    def _ask(self, call: Callable[[DinoPage], T]) -> T:
        page, self.page = self.page, None  # lost, should it raise
        assert page is not None
        answer = call(page)
        self.page = page
        return answer

    def colours(self) -> list[np.ndarray]:
        """What a person sees of each game, (150, 600, 3) uint8; nothing before the first `begin`."""
        self.check_open()
        return [self._ask(lambda page, i=i: page.colours(i)) for i in range(len(self.records))] if self.page else []

    def _observed(self, rows: np.ndarray, records: np.ndarray) -> np.ndarray:
        """Of `rows` as the page gave them; states also go into the simulator's `records`."""
        if self.chrome.pictures:
            return rows["picture"].copy()
        for name in (*PLAIN, *LISTS):
            if name in self.record_names:
                records[name] = rows[name]
        obs = np.empty((len(rows), *self.chrome.observation.shape), self.chrome.observation.dtype)
        self.chrome.features(records, np.zeros(len(rows), np.bool_), obs)
        return obs

    def check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError(f"this environment of {self.chrome.name} is closed: make another")

    def check_ready(self) -> None:
        self.check_open()
        if self.page is None:
            why = "after its browser was lost: call reset()" if self.started else "before the first reset()"
            raise ResetNeeded(f"step() of {self.chrome.name} {why}")

    def close(self) -> None:
        self.closed = True
        page, self.page = self.page, None
        if page:
            page.close()


class Streams:
    """Random streams, for `uniform` to draw from all at once."""

    def __init__(self, rng: np.ndarray):
        self.rng = rng
