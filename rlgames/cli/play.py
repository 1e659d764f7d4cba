"""`rlgames play`: a person plays a game, in a window and at the game's speed (Gymnasium's `play`, extra `play`)."""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
from gymnasium.error import DependencyNotInstalled

from rlgames.engine.rendering import action_names, has_display
from rlgames.envs.task import Task
from rlgames.errors import InvalidValueError


def play(game: str, *, seed: int | None = None, zoom: float = 1.0) -> None:
    """Print the keys, open the window, and print each score; return when the window is closed.

    With a `seed` every episode is that of the seed. Raises ValueError for a game without keys, and
    DependencyNotInstalled without pygame or a display.
    """
    task = Task.parse(game)
    env = gym.make(f"rlgames/{task.game}-v0" if task.native else task.game, render_mode="rgb_array", **task.options)
    try:
        if not env.has_wrapper_attr("get_keys_to_action"):
            raise InvalidValueError(f"{task} cannot be played: it has no get_keys_to_action()")
        pygame, play_in_window = import_window()
        actions = action_names(env)
        for keys, action in env.get_wrapper_attr("get_keys_to_action")().items():
            print(f"{' + '.join('space' if key == ' ' else str(key) for key in keys):<8}{actions[action]}")
        print(f"{'no key':<8}{actions[0]}\n{'escape':<8}quit", flush=True)
        score = ScorePrinter(env.metadata.get("score", "score"))
        try:
            play_in_window(env, callback=score, seed=seed, zoom=zoom)
        except pygame.error as error:
            raise DependencyNotInstalled(f"the window cannot be opened: {error}") from error
        finally:
            pygame.quit()
        if score.running is not None:
            print(f"score {score.running:,.1f}, not finished")
    finally:
        env.close()


class ScorePrinter:
    """Prints the score of each episode when it ends; `running` is that of the running one.

    `key` is its key in the information.
    """

    def __init__(self, key: str = "score"):
        self.key, self.running = key, None

    def __call__(
        self,
        obs: Any,
        next_obs: Any,
        action: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> None:
        self.running = float(info.get(self.key, (self.running or 0.0) + reward))
        if terminated or truncated:
            print(f"score {self.running:,.1f}", flush=True)
            self.running = None


def import_window() -> tuple[Any, Any]:
    """Return pygame and Gymnasium's `play`. Raises DependencyNotInstalled without them or without a display."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame  # noqa: PLC0415  optional
        from gymnasium.utils.play import play  # noqa: PLC0415  imports pygame
    except (ImportError, DependencyNotInstalled) as error:
        raise DependencyNotInstalled('a window needs the extra play: pip install "rlgames[play]"') from error
    if not (has_display() or os.environ.get("SDL_VIDEODRIVER")):
        raise DependencyNotInstalled(
            "there is no display to open a window on (rlgames watch writes recordings instead)"
        )
    return pygame, play
