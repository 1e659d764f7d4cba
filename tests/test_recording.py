"""Films: as many frames as the agent saw, at the game's pace, and the scores that evaluation gives."""

import base64
import sys
from itertools import pairwise

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.wrappers import RecordVideo
from PIL import Image

import rlgames
from rlgames.recording import HOLD, record
from rlgames.wrappers import Pixels


def gif(path) -> tuple[np.ndarray, list[int]]:
    """Its frames (n, height, width, 3), and how many ms each is shown."""
    with Image.open(path) as film:
        frames, durations = [], []
        for i in range(getattr(film, "n_frames", 1)):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")))
            durations.append(film.info["duration"])
    return np.stack(frames), durations


@pytest.fixture(scope="module")
def catcher():
    return rlgames.PPO("CatchBall", num_envs=1)


def test_a_gif_shows_each_frame_that_the_agent_acts_on(catcher, tmp_path):
    film = record(catcher, tmp_path / "film.gif", seed=5, episodes=2)
    played = rlgames.evaluate(catcher, rlgames.make("CatchBall"), seed=5, episodes=2)
    frames, durations = gif(film.path)
    assert film.scores == played.scores
    assert not film.cut
    assert len(frames) == sum(played.lengths) + 2
    ends = np.cumsum([length + 1 for length in played.lengths]) - 1
    assert durations == [1000 if i in ends else 200 for i in range(len(frames))]  # 5 frames a second
    assert film.seconds == pytest.approx(sum(durations) / 1000)
    assert all((before != after).any() for before, after in pairwise(frames))


def test_the_colours_are_the_game_s(catcher, tmp_path):
    env = rlgames.make("CatchBall", render_mode="rgb_array")
    env.reset(seed=5)
    frames, _ = gif(record(catcher, tmp_path / "film.gif", seed=5).path)
    assert np.abs(frames[0].astype(int) - env.render()).mean() < 2
    env.close()


def test_a_fast_game_is_thinned_and_keeps_its_pace_and_its_end(tmp_path):
    agent = rlgames.PPO("CartPole", num_envs=1)
    film = record(agent, tmp_path / "film.gif", seed=1)
    [length] = rlgames.evaluate(agent, seed=1, episodes=1).lengths
    _, durations = gif(film.path)
    assert set(durations) == {40, 1000 * HOLD}  # 50 frames a second become 25
    assert len(durations) == 1 + -(-length // 2)


def test_a_skipped_frame_takes_its_time(tmp_path):
    film = record(rlgames.Random("Cave", num_envs=1), tmp_path / "film.gif")
    _, durations = gif(film.path)
    assert set(durations[:-1]) == {60, 70}  # 15 a second, in the hundredths that a GIF counts
    assert sum(durations) == pytest.approx(1000 * film.seconds, abs=5)


def test_a_full_film_ends_the_play_and_says_so(catcher, tmp_path):
    film = record(catcher, tmp_path / "film.gif", seconds=1.0, episodes=3)
    assert len(gif(film.path)[0]) == 5
    assert (film.seconds, film.cut, film.scores) == (1.0, True, [0.0])
    film = record(catcher, tmp_path / "film.gif", seconds=0.1)
    assert len(gif(film.path)[0]) == 1


@pytest.mark.parametrize(("size", "shape"), [(240, (240, 240)), (None, (480, 480)), (960, (960, 960))])
def test_size_is_the_height(catcher, tmp_path, size, shape):
    frames, _ = gif(record(catcher, tmp_path / "film.gif", size=size).path)
    assert frames.shape[1:3] == shape


def test_an_environment_of_ones_own(tmp_path):
    env = gym.make("CartPole-v1", render_mode=None)
    agent = rlgames.Random(env)
    with pytest.raises(ValueError, match="say what to play"):
        record(agent, tmp_path / "film.gif")
    with pytest.raises(ValueError, match="render_mode 'rgb_array', got None"):
        record(agent, tmp_path / "film.gif", env)
    own = rlgames.make("CartPole", pixels=Pixels(), render_mode="rgb_array")
    film = record(agent, tmp_path / "film.gif", own)
    assert film.scores[0] > 0
    assert own.render() is not None  # not closed
    own.close()


def test_an_mp4_can_be_read_back(catcher, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    film = record(catcher, tmp_path / "new" / "film.mp4", size=121)
    video = cv2.VideoCapture(str(film.path))
    frames = [frame for read, frame in iter(video.read, (False, None)) if read]
    assert video.get(cv2.CAP_PROP_FPS) == 5
    video.release()
    assert frames[0].shape == (120, 120, 3)
    assert len(frames) == round(5 * film.seconds)
    assert any((before != after).any() for before, after in pairwise(frames))


@pytest.mark.parametrize(("name", "tag"), [("film.gif", "<img "), ("film.mp4", "<video ")])
def test_a_notebook_shows_the_film_itself(catcher, tmp_path, name, tag):
    if name.endswith("mp4"):
        pytest.importorskip("imageio_ffmpeg")
    film = rlgames.record(catcher, tmp_path / name, seconds=2)
    html = film._repr_html_()
    assert html.startswith(tag)
    assert base64.b64decode(html.split("base64,")[1].split('"')[0]) == film.path.read_bytes()


@pytest.mark.parametrize(
    ("name", "rate"), [("Cave", 15.0), ("Pong", 15.0), ("Cave:frame_skip=4", 7.5), ("CatchBall", 5.0)]
)
def test_gymnasiums_films_run_at_the_games_pace(tmp_path, name, rate):
    """A step of a game that skips frames is one picture, which stays for as long as those frames take."""
    pytest.importorskip("moviepy")
    if name == "Pong":
        pytest.importorskip("ale_py")
    env = rlgames.make(name, render_mode="rgb_array")
    assert env.metadata["render_fps"] == rate
    by_wrapper = rlgames.Pixels(skip=3).wrap(gym.make(f"rlgames/{name.split(':')[0]}-v0", render_mode="rgb_array"))
    assert by_wrapper.metadata["render_fps"] == by_wrapper.unwrapped.metadata["render_fps"] / 3
    by_wrapper.close()
    env.reset()
    height, width, _ = np.asarray(env.render()).shape
    done, pictures = False, 1
    with RecordVideo(env, str(tmp_path / "films"), disable_logger=True) as filmed:
        filmed.reset(seed=0)
        while not done and pictures < 25:
            _, _, terminated, truncated, _ = filmed.step(0)
            done, pictures = terminated or truncated, pictures + 1
    (path,) = (tmp_path / "films").glob("*.mp4")
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == rate
    frames = [frame for read, frame in iter(video.read, (False, None)) if read]
    video.release()
    assert pictures - len(frames) in (0, 1)  # moviepy sometimes leaves the last one out
    assert frames[0].shape == (height, width, 3)


def test_an_agent_is_filmed_at_pong(tmp_path):
    film = rlgames.record(rlgames.Random("Pong", num_envs=1), tmp_path / "film.gif", seconds=2)
    frames, durations = gif(film.path)
    assert film.cut
    assert frames.shape[1:] == (210, 160, 3)
    assert sum(durations) == pytest.approx(2000, abs=100)  # 15 pictures a second, one for each action


def test_what_cannot_be_meant_is_refused_before_anything_is_played(catcher, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"called \*.gif or \*.mp4, got 'film.avi'"):
        record(catcher, "film.avi")
    with pytest.raises(ValueError, match="expected episodes > 0, got 0"):
        record(catcher, tmp_path / "film.gif", episodes=0)
    with pytest.raises(ValueError, match="expected seconds > 0, got nan"):
        record(catcher, tmp_path / "film.gif", seconds=float("nan"))
    with pytest.raises(ValueError, match="expected size > 0, got 0"):
        record(catcher, tmp_path / "film.gif", size=0)
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(PermissionError, match="folder.gif cannot be written"):
        record(catcher, tmp_path / "folder.gif")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(DependencyNotInstalled, match=r'pip install "rlgames\[video\]"'):
        record(catcher, tmp_path / "film.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.gif"]


def test_a_film_that_fails_leaves_nothing(catcher, tmp_path):
    class Breaking(gym.Wrapper):
        def step(self, action):
            raise RuntimeError("unplugged")

    for name in ("film.gif", "film.mp4"):
        env = Breaking(rlgames.make("CatchBall", render_mode="rgb_array"))
        with pytest.raises(RuntimeError, match="unplugged"):
            record(catcher, tmp_path / name, env)
        env.close()
    assert not (tmp_path / "film.gif").exists()
