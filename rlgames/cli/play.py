"""A person plays a game, in a window and at the game's pace (Gymnasium's `play`, extra `play`)."""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
from gymnasium.error import DependencyNotInstalled

from rlgames.engine.rendering import has_display
from rlgames.envs.task import Task


def play(task: Task, *, seed: int | None = None, zoom: float = 1.0) -> None:
    """Tell the keys, open the window, and tell each score; returns when the window is closed.

    With a `seed` every episode is that of the seed. Raises ValueError for a game that names no keys, and
    DependencyNotInstalled without pygame or a display.
    """
    env = gym.make(f"rlgames/{task.game}-v0" if task.native else task.game, render_mode="rgb_array", **task.options)
    try:
        if not env.has_wrapper_attr("get_keys_to_action"):
            raise ValueError(f"{task} does not say with which keys a person plays it")
        pygame, show = window()
        actions = getattr(getattr(env.unwrapped, "game", None), "actions", None) or [
            f"action {action}" for action in range(int(env.get_wrapper_attr("action_space").n))
        ]
        for keys, action in env.get_wrapper_attr("get_keys_to_action")().items():
            print(f"{' + '.join('space' if key == ' ' else str(key) for key in keys):<8}{actions[action]}")
        print(f"{'no key':<8}{actions[0]}\n{'escape':<8}the end", flush=True)
        score = Score(env.metadata.get("score", "score"))
        try:
            show(env, callback=score, seed=seed, zoom=zoom)
        except pygame.error as error:
            raise DependencyNotInstalled(f"the window cannot be opened: {error}") from error
        finally:
            pygame.quit()
        if score.running is not None:
            print(f"score {score.running:,.1f}, not played to its end")
    finally:
        env.close()


class Score:
    """Prints the score of each episode when it ends; `running` is that of the one in progress.

    `called` is its name in the information.
    """

    def __init__(self, called: str = "score"):
        self.called, self.running = called, None

    def __call__(
        self, obs: Any, after: Any, action: Any, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> None:
        self.running = float(info.get(self.called, (self.running or 0.0) + reward))
        if terminated or truncated:
            print(f"score {self.running:,.1f}", flush=True)
            self.running = None


def window() -> tuple[Any, Any]:
    """pygame and Gymnasium's `play`, if there is something to open a window on."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
        from gymnasium.utils.play import play
    except (ImportError, DependencyNotInstalled) as error:
        raise DependencyNotInstalled('a window needs the extra play: pip install "rlgames[play]"') from error
    if not (has_display() or os.environ.get("SDL_VIDEODRIVER")):
        raise DependencyNotInstalled("there is no display to open a window on (rlgames watch writes films instead)")
    return pygame, play
