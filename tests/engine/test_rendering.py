"""Pictures for people: as arrays, in a window, and under a person's keys."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.wrappers import HumanRendering
from helpers.games import game_of, random_actions, single, vector

import rlgames
from rlgames.engine.single_env import GameEnv
from rlgames.envs.registry import parse


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Any:
    """pygame without a screen."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    import pygame  # here, for the variables above to be read

    yield pygame
    pygame.quit()


def picture_of(env: GameEnv) -> np.ndarray:
    picture = env.render()
    assert picture is not None
    return picture


def test_a_picture(game: str) -> None:
    env = single(game, render_mode="rgb_array")
    env.reset(seed=0)
    picture = picture_of(env)
    assert isinstance(picture, np.ndarray)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 4
    assert np.array_equal(picture_of(env), picture)  # to look changes nothing
    assert env.metadata["render_fps"] == game_of(game).fps


def test_pictures_follow_the_game(game: str) -> None:
    """Steps that change what an agent sees change what a person sees."""
    env = single(game, render_mode="rgb_array")
    before, _ = env.reset(seed=0)
    picture, changes = picture_of(env), 0
    for action in random_actions(game, 4, 6):
        obs, *_ = env.step(action)
        shown = picture_of(env)
        if not np.array_equal(obs, before):
            assert not np.array_equal(shown, picture)
            changes += 1
        before, picture = obs, shown
    assert changes > 3


def test_the_end_can_be_seen(game: str) -> None:
    env, over = single(game, render_mode="rgb_array"), False
    env.reset(seed=0)
    while not over:
        _, _, terminated, truncated, _ = env.step(0)
        over = terminated or truncated
    last = picture_of(env)
    env.reset()
    assert not np.array_equal(picture_of(env), last)


def test_a_batch_shows_each_player(game: str) -> None:
    envs, env = vector(game, 3, render_mode="rgb_array"), single(game, render_mode="rgb_array")
    envs.reset(seed=4)
    env.reset(seed=5)
    for action in random_actions(game, 4, 4):
        envs.step(np.array([0, action, 0]))
        env.step(action)
    pictures = envs.render()
    assert pictures is not None
    assert len(pictures) == 3
    assert np.array_equal(pictures[1], picture_of(env))


def test_nothing_is_shown_unasked(game: str) -> None:
    env, envs = single(game), vector(game, 2)
    env.reset(seed=0)
    envs.reset(seed=0)
    assert env.render() is None
    assert envs.render() is None


def test_a_window_shows_the_picture(game: str, window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window.time, "Clock", lambda: SimpleNamespace(tick=lambda fps: None))
    env, same = single(game, render_mode="human"), single(game, render_mode="rgb_array")
    assert window.display.get_surface() is None  # opens with the first picture
    env.reset(seed=0)
    same.reset(seed=0)
    for action in random_actions(game, 4, 5):
        env.step(action)
        same.step(action)
        assert env.render() is None
        shown = window.surfarray.array3d(window.display.get_surface()).swapaxes(0, 1)
        assert np.array_equal(shown, picture_of(same))
    env.close()
    env.close()
    assert window.display.get_surface() is None
    env.reset(seed=0)  # opens again
    assert window.display.get_surface() is not None
    env.close()


def test_a_window_keeps_the_games_pace(window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = []
    monkeypatch.setattr(window.time, "Clock", lambda: SimpleNamespace(tick=ticks.append))
    env = single("Cave", render_mode="human")
    env.reset(seed=0)
    env.step(0)
    env.close()
    assert ticks == [30, 30]


def test_gymnasiums_window_takes_the_pictures(game: str, window: Any) -> None:
    env = single(game, render_mode="rgb_array")
    shown = HumanRendering(env)
    shown.reset(seed=0)
    shown.step(0)
    assert window.display.get_surface().get_size() == picture_of(env).shape[1::-1]
    shown.close()


def test_a_missing_pygame_is_named(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(DependencyNotInstalled, match=r'shows a window: pip install "rlgames\[play\]"'):
        single(game, render_mode="human")
    single(game, render_mode="rgb_array")


def test_gymnasiums_play_takes_the_keys(game: str, window: Any) -> None:
    """Each key is pressed for a frame; the window is closed at the end."""
    from gymnasium.utils.play import play

    env = gym.make(f"rlgames/{parse(game)[0]}-v0", render_mode="rgb_array", **parse(game)[1])
    keys = single(game).get_keys_to_action()
    assert set(keys.values()) <= set(range(len(game_of(game).actions)))
    assert all(len(key) == 1 and len(key[0]) == 1 for key in keys)
    assert len(set(keys.values()) | {0}) == len(game_of(game).actions)  # no key: action 0
    window.init()
    expected, played = list(keys.items()), []

    def press(obs: Any, after: Any, action: int, *outcome: Any) -> None:
        played.append(action)
        i = len(played) - 1
        if i > 0:
            window.event.post(window.event.Event(window.KEYUP, key=ord(expected[i - 1][0][0])))
        if i < len(expected):
            window.event.post(window.event.Event(window.KEYDOWN, key=ord(expected[i][0][0])))
        else:
            window.event.post(window.event.Event(window.QUIT))

    play(env, fps=1000, callback=press, seed=3)
    assert played == [0, *[action for _, action in expected]]


def test_rules_paint_without_pygame() -> None:
    """Films are made on servers: a picture needs no window and no pygame."""
    script = (
        "import sys, rlgames\n"
        "env = rlgames.make('Cave', render_mode='rgb_array'); env.reset(seed=0); env.render()\n"
        "print('pygame' in sys.modules)\n"
    )
    root = Path(rlgames.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
