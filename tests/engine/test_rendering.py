"""Rendering: pictures as arrays, the window of render_mode "human", and Gymnasium's `play` with a keyboard."""

import sys
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.wrappers import HumanRendering
from helpers.games import game_of, random_actions, single, vector

from rlgames.engine.rendering import action_names
from rlgames.engine.single_env import GameEnv


@pytest.fixture
def pygame(monkeypatch: pytest.MonkeyPatch) -> Any:
    """pygame without a screen."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    import pygame  # noqa: PLC0415  it reads the variables above

    yield pygame
    pygame.quit()


def rendered(env: GameEnv) -> np.ndarray:
    picture = env.render()
    assert picture is not None
    return picture


def test_render_returns_a_picture_of_each_step(game: str) -> None:
    """A step that changes the observation changes the picture; rendering changes nothing."""
    env = single(game, render_mode="rgb_array")
    last_obs, _ = env.reset(seed=0)
    last = rendered(env)
    assert last.dtype == np.uint8
    assert last.ndim == 3
    assert last.shape[2] == 3
    assert min(last.shape[:2]) >= 400
    assert len(np.unique(last @ np.array([1, 256, 65536]))) > 4  # colors
    assert np.array_equal(rendered(env), last)
    assert env.metadata["render_fps"] == game_of(game).fps
    changes = 0
    for action in random_actions(game, 4, 6):
        obs, *_ = env.step(action)
        picture = rendered(env)
        if not np.array_equal(obs, last_obs):
            assert not np.array_equal(picture, last)
            changes += 1
        last_obs, last = obs, picture
    assert changes > 3


def test_render_after_the_end_shows_the_last_state(game: str) -> None:
    env, over = single(game, render_mode="rgb_array"), False
    env.reset(seed=0)
    while not over:
        _, _, terminated, truncated, _ = env.step(0)
        over = terminated or truncated
    last = rendered(env)
    env.reset()
    assert not np.array_equal(rendered(env), last)


def test_vector_env_renders_each_env(game: str) -> None:
    envs, env = vector(game, 3, render_mode="rgb_array"), single(game, render_mode="rgb_array")
    envs.reset(seed=4)
    env.reset(seed=5)
    for action in random_actions(game, 4, 4):
        envs.step(np.array([0, action, 0]))
        env.step(action)
    pictures = envs.render()
    assert pictures is not None
    assert len(pictures) == 3
    assert np.array_equal(pictures[1], rendered(env))


def test_render_returns_none_without_render_mode(game: str) -> None:
    env, envs = single(game), vector(game, 2)
    env.reset(seed=0)
    envs.reset(seed=0)
    assert env.render() is None
    assert envs.render() is None


def test_human_mode_shows_the_picture_of_each_step(game: str, pygame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pygame.time, "Clock", lambda: SimpleNamespace(tick=lambda fps: None))
    env, same = single(game, render_mode="human"), single(game, render_mode="rgb_array")
    assert pygame.display.get_surface() is None  # opens with the first picture
    env.reset(seed=0)
    same.reset(seed=0)
    for action in random_actions(game, 4, 3):
        env.step(action)
        same.step(action)
        assert env.render() is None
        shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
        assert np.array_equal(shown, rendered(same))
    env.close()
    env.close()
    assert pygame.display.get_surface() is None
    env.reset(seed=0)  # opens again
    assert pygame.display.get_surface() is not None
    env.close()


def test_human_mode_runs_at_the_games_fps(pygame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = []
    monkeypatch.setattr(pygame.time, "Clock", lambda: SimpleNamespace(tick=ticks.append))
    env = single("Cave", render_mode="human")
    env.reset(seed=0)
    env.step(0)
    env.close()
    assert ticks == [30, 30]


def test_gymnasium_human_rendering_shows_the_pictures(pygame: Any) -> None:
    env = single("CatchBall", render_mode="rgb_array")
    window = HumanRendering(env)
    window.reset(seed=0)
    window.step(0)
    assert pygame.display.get_surface().get_size() == rendered(env).shape[1::-1]
    window.close()


def test_human_mode_without_pygame_names_the_extra(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(DependencyNotInstalled, match=r'shows a window: pip install "rlgames\[play\]"'):
        single(game, render_mode="human")
    single(game, render_mode="rgb_array")


def test_every_action_but_noop_has_a_key(game: str) -> None:
    keys = single(game).get_keys_to_action()
    assert set(keys.values()) <= set(range(len(game_of(game).actions)))
    assert all(len(key) == 1 and len(key[0]) == 1 for key in keys)
    assert len(set(keys.values()) | {0}) == len(game_of(game).actions)  # no key: action 0


def test_gymnasium_play_maps_keys_to_actions(pygame: Any) -> None:
    """Each key is pressed for a frame; then the window is closed."""
    from gymnasium.utils.play import play  # noqa: PLC0415  it imports pygame, which reads variables of the fixture

    env = gym.make("rlgames/Dino-v0", render_mode="rgb_array")
    keys = single("Dino").get_keys_to_action()
    pygame.init()
    expected, played = list(keys.items()), []

    def press_next_key(obs: Any, next_obs: Any, action: int, *outcome: Any) -> None:
        played.append(action)
        i = len(played) - 1
        if i > 0:
            pygame.event.post(pygame.event.Event(pygame.KEYUP, key=ord(expected[i - 1][0][0])))
        if i < len(expected):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=ord(expected[i][0][0])))
        else:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    play(env, fps=1000, callback=press_next_key, seed=3)
    assert played == [0, *[action for _, action in expected]]


class FirstAction(gym.ActionWrapper):
    """Has one action, the first of the game's."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.action_space = gym.spaces.Discrete(1)

    def action(self, action: Any) -> Any:
        return action


def test_actions_have_the_names_of_the_game():
    env = gym.make("rlgames/CatchBall-v0")
    assert action_names(env) == ["stay", "left", "right"]
    assert action_names(FirstAction(env)) == ["action 0"]
    other: Any = gym.make("CartPole-v1")
    assert action_names(other) == ["action 0", "action 1"]
    other.unwrapped.get_action_meanings = lambda: ["NOOP", "FIRE"]  # as Atari's environments have it
    assert action_names(other) == ["noop", "fire"]
