"""Recordings: as many frames as the agent observed, at the game's speed, with the scores that evaluation gives."""

from __future__ import annotations

import base64
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import RecordVideo
from PIL import Image
from stable_baselines3 import PPO as SB3PPO

import rlgames
from rlgames.agents.base import Agent
from rlgames.evaluation import evaluate
from rlgames.recording import HOLD, Caption, record
from rlgames.wrappers import Pixels


def read_gif(path: Path) -> tuple[np.ndarray, list[int]]:
    """Return the frames (n, height, width, 3) of a GIF or WebP, and how many ms each is shown."""
    with Image.open(path) as gif:
        frames, durations = [], []
        for i in range(getattr(gif, "n_frames", 1)):
            gif.seek(i)
            gif.load()
            frames.append(np.asarray(gif.convert("RGB")))
            durations.append(gif.info["duration"])
    return np.stack(frames), durations


def read_mp4(path: Path) -> tuple[list[np.ndarray], float]:
    """Return the frames of a video, and how many are shown a second."""
    video = cv2.VideoCapture(str(path))
    frames = [frame for success, frame in iter(video.read, (False, None)) if success]
    fps = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return frames, fps


@pytest.fixture(scope="session")
def agent() -> Agent:
    return rlgames.PPO("CatchBall", num_envs=1)


# ---- GIF ----


def test_gif_has_each_frame_that_the_agent_acts_on(agent: Agent, tmp_path: Path) -> None:
    recording = record(agent, tmp_path / "film.gif", seed=5, episodes=2)
    evaluation = rlgames.evaluate(agent, rlgames.make("CatchBall"), seed=5, episodes=2)
    frames, durations = read_gif(recording.path)
    assert recording.scores == evaluation.scores
    assert not recording.cut
    assert len(frames) == sum(evaluation.lengths) + 2
    ends = np.cumsum([length + 1 for length in evaluation.lengths]) - 1
    assert durations == [1000 if i in ends else 200 for i in range(len(frames))]  # 5 frames a second
    assert recording.seconds == pytest.approx(sum(durations) / 1000)
    assert all((frame != next_frame).any() for frame, next_frame in pairwise(frames))
    with rlgames.make("CatchBall", render_mode="rgb_array") as env:  # the colors are the game's
        env.reset(seed=5)
        assert np.abs(frames[0, :480].astype(int) - np.asarray(env.render())).mean() < 2


def test_gif_of_a_fast_game_leaves_frames_out(tmp_path: Path) -> None:
    """It keeps the game's speed, and the last frame."""
    agent = rlgames.PPO("CartPole", num_envs=1)
    recording = record(agent, tmp_path / "film.gif", seed=1, size=100)
    [length] = rlgames.evaluate(agent, seed=1, episodes=1).lengths
    _, durations = read_gif(recording.path)
    assert set(durations) == {40, 1000 * HOLD}  # 50 frames a second become 25
    assert len(durations) == 1 + -(-length // 2)


def test_gif_of_a_game_that_skips_frames_keeps_its_speed(tmp_path: Path) -> None:
    recording = record(rlgames.Random("Cave", num_envs=1), tmp_path / "film.gif", seed=0)
    _, durations = read_gif(recording.path)
    assert set(durations[:-1]) == {60, 70}  # 15 a second, in the hundredths that a GIF counts
    assert sum(durations) == pytest.approx(1000 * recording.seconds, abs=5)


def test_seconds_limit_the_recording(agent: Agent, tmp_path: Path) -> None:
    recording = record(agent, tmp_path / "film.gif", seconds=1.0, episodes=3)
    assert len(read_gif(recording.path)[0]) == 5
    assert (recording.seconds, recording.cut, recording.scores) == (1.0, True, [0.0])
    recording = record(agent, tmp_path / "film.gif", seconds=0.1, seed=0)
    assert len(read_gif(recording.path)[0]) == 1


def test_max_episode_steps_truncate_each_episode(agent: Agent, tmp_path: Path) -> None:
    recording = record(agent, tmp_path / "film.gif", max_episode_steps=3, episodes=2)
    assert len(read_gif(recording.path)[0]) == 2 * (1 + 3)
    assert not recording.cut
    assert recording.scores == rlgames.evaluate(agent, episodes=2, max_episode_steps=3).scores


@pytest.mark.parametrize(
    ("size", "shape"),
    [(240, (240, 240)), (None, (480, 480)), pytest.param(960, (960, 960), marks=pytest.mark.slow)],
)
def test_size_is_the_height(agent: Agent, tmp_path: Path, size: int | None, shape: tuple[int, int]) -> None:
    """Of the game's picture; the caption is below it."""
    for captions, strip in ((False, 0), (True, 2 * max(12, round(shape[0] / 24)))):
        film = record(agent, tmp_path / "film.gif", size=size, seconds=0.4, seed=0, captions=captions)
        frames, _ = read_gif(film.path)
        assert frames.shape[1:3] == (shape[0] + strip, shape[1])


class Blinking(gym.Env):
    """Pictures of 10 x 20 pixels, half of them red, or with `rows` of them; the score of an episode is its seed."""

    observation_space, action_space = Box(0, 1, (2,), np.float32), Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, rows: int = 10, length: int = 4) -> None:
        self.render_mode, self.rows, self.length = "rgb_array", rows, length
        self.actions: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.seed, self.t = seed, 0
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> Any:
        self.t += 1
        self.actions.append(action)
        return np.zeros(2, np.float32), 1.0, self.t == self.length, False, {"score": self.score()}

    def score(self) -> float:
        return [70.0, 10.0, 50.0, 30.0, 20.0][self.seed or 0]

    def render(self) -> Any:
        picture = np.zeros((self.rows, 20, 3), np.uint8)
        picture[:, self.t % 2 :: 2] = (200, 0, 0)
        return picture


@pytest.mark.parametrize(("rows", "factor"), [(10, 32), (200, 2), (320, 1), (500, 1)])
def test_small_games_are_enlarged_by_a_whole_factor(rows: int, factor: int, tmp_path: Path) -> None:
    env = Blinking(rows)
    frames, _ = read_gif(record(rlgames.Random(env), tmp_path / "film.gif", env, seed=0, captions=False).path)
    env.reset(seed=0)
    assert np.abs(frames[0].astype(int) - env.render().repeat(factor, 0).repeat(factor, 1)).max() < 4


def test_captions_change_with_score_action_and_step() -> None:
    """They are below the picture, which stays as it is, and fit its width."""
    picture = Image.new("RGB", (320, 420), (90, 10, 10))
    first = np.asarray(Caption(3.0, 1_299, "up").below(picture))
    assert first.shape == (420 + 36, 320, 3)
    assert (first[:420] == (90, 10, 10)).all()
    parts = np.split(first[420:], (110, 210), axis=1)
    for i, other in enumerate([Caption(-3.5, 1_299, "up"), Caption(3.0, 1_299, "down"), Caption(3.0, 1_300, "up")]):
        changed = np.split(np.asarray(other.below(picture))[420:], (110, 210), axis=1)
        assert [bool((a != b).any()) for a, b in zip(parts, changed, strict=True)] == [i == 0, i == 1, i == 2]
    long = np.asarray(Caption(123_456.5, 1_000_000, "up and right and fire").below(Image.new("RGB", (160, 320))))[320:]
    assert (long[:, [0, 1, -2, -1]] == long[0, 0]).all()  # nothing reaches the margins
    columns = (long != long[0, 0]).any((0, 2))
    assert np.diff(np.flatnonzero(np.diff(columns.astype(int)))).max() > 3  # and the three are apart


# ---- the median episode ----


def test_default_is_the_median_episode_of_five(tmp_path: Path) -> None:
    """Its actions are those that it had when it was chosen, sampled ones too."""
    env = Blinking()
    agent = rlgames.PPO(env)
    for deterministic in (True, False):
        env.actions = []
        recording = record(agent, tmp_path / "film.gif", env, deterministic=deterministic)
        assert (recording.seed, recording.scores) == (3, [30.0])
        assert recording.candidates == (70.0, 10.0, 50.0, 30.0, 20.0)
        assert env.actions[3 * 4 : 4 * 4] == env.actions[-4:]
        assert len(env.actions) == 6 * 4


def test_median_of_the_longest_episodes_is_of_the_seconds_that_are_recorded(tmp_path: Path) -> None:
    env = Blinking(length=10_000)
    recording = record(rlgames.Random(env), tmp_path / "film.gif", env, seconds=2.0)
    assert (recording.seed, recording.cut, recording.seconds) == (3, True, 2.0)
    assert len(env.actions) == 6 * 9  # the frame of the reset, and 9 more


def test_a_seed_and_several_episodes_are_recorded_as_they_are(tmp_path: Path) -> None:
    env = Blinking()
    agent = rlgames.Random(env)
    recording = record(agent, tmp_path / "film.gif", env, seed=1)
    assert (recording.seed, recording.scores, recording.candidates) == (1, [10.0], ())
    recording = record(agent, tmp_path / "film.gif", env, episodes=2)
    assert (recording.seed, recording.scores, recording.candidates) == (0, [70.0, 70.0], ())


def test_recording_of_an_environment_leaves_it_open(tmp_path: Path) -> None:
    env = gym.make("CartPole-v1", render_mode=None)
    agent = rlgames.Random(env)
    with pytest.raises(ValueError, match="say what to play"):
        record(agent, tmp_path / "film.gif")
    with pytest.raises(ValueError, match="render_mode 'rgb_array', got None"):
        record(agent, tmp_path / "film.gif", env)
    own = rlgames.make("CartPole", pixels=Pixels(), render_mode="rgb_array")
    recording = record(agent, tmp_path / "film.gif", own, size=100, seed=0)
    assert recording.scores[0] > 0
    assert own.render() is not None
    own.close()


def test_a_model_of_stable_baselines_is_recorded(tmp_path: Path) -> None:
    model = SB3PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=8, batch_size=8, seed=0, device="cpu")
    recording = record(model, tmp_path / "film.gif", "CartPole", seed=3)
    assert recording.scores == evaluate(model, "CartPole", episodes=1, seed=3).scores


def test_recording_of_pong(tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    recording = record(rlgames.Random("Pong", num_envs=1), tmp_path / "film.gif", seconds=2, seed=0)
    frames, durations = read_gif(recording.path)
    assert recording.cut
    assert frames.shape[1:] == (420 + 36, 320, 3)  # enlarged, with a caption
    assert sum(durations) == pytest.approx(2000, abs=100)  # 15 frames a second, one for each action


# ---- WebP ----


def test_webp_has_the_pictures_of_the_game(agent: Agent, tmp_path: Path) -> None:
    """Without loss, and as many as a GIF."""
    options: dict[str, Any] = {"seed": 5, "max_episode_steps": 6, "captions": False, "size": 480}
    recording = record(agent, tmp_path / "film.webp", **options)
    frames, durations = read_gif(recording.path)
    assert durations == [200] * 6 + [1000]
    assert recording.seconds == pytest.approx(sum(durations) / 1000)
    env = agent.make_env(render_mode="rgb_array")
    obs, _ = env.reset(seed=5)
    for frame in frames:
        np.testing.assert_array_equal(frame, env.render())
        action, _ = agent.predict(obs, deterministic=True)
        obs, *_ = env.step(int(action))
    env.close()
    check_html(recording, "<img ")
    assert recording.path.stat().st_size < record(agent, tmp_path / "film.gif", **options).path.stat().st_size


# ---- MP4 and notebooks ----


def test_mp4_can_be_read_and_shown_in_a_notebook(agent: Agent, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    recording = record(agent, tmp_path / "new" / "film.mp4", size=121, seconds=4, seed=0)
    frames, fps = read_mp4(recording.path)
    assert fps == 5
    assert frames[0].shape == (144, 120, 3)
    assert len(frames) == round(5 * recording.seconds)
    assert any((frame != next_frame).any() for frame, next_frame in pairwise(frames))
    check_html(recording, "<video ")


def test_gif_is_shown_in_a_notebook(agent: Agent, tmp_path: Path) -> None:
    check_html(record(agent, tmp_path / "film.gif", seconds=1, seed=0), "<img ")


def check_html(recording: Any, tag: str) -> None:
    html = recording._repr_html_()
    assert html.startswith(tag)
    assert base64.b64decode(html.split("base64,")[1].split('"')[0]) == recording.path.read_bytes()


# ---- Gymnasium's recordings ----


@pytest.mark.parametrize(
    ("name", "fps"),
    [
        ("Cave", 15.0),
        ("Cave:frame_skip=4", 7.5),
        pytest.param("Pong", 15.0, marks=pytest.mark.slow),
        pytest.param("CatchBall", 5.0, marks=pytest.mark.slow),
    ],
)
def test_gymnasiums_recordings_have_the_games_speed(tmp_path: Path, name: str, fps: float) -> None:
    """A step of a game that skips frames is one picture, which is shown for as long as those frames take."""
    pytest.importorskip("moviepy")
    if name == "Pong":
        pytest.importorskip("ale_py")
    env = rlgames.make(name, render_mode="rgb_array")
    assert env.metadata["render_fps"] == fps
    wrapped = Pixels(skip=3).wrap(gym.make(f"rlgames/{name.split(':')[0]}-v0", render_mode="rgb_array"))
    assert wrapped.metadata["render_fps"] == wrapped.unwrapped.metadata["render_fps"] / 3
    wrapped.close()
    env.reset()
    height, width, _ = np.asarray(env.render()).shape
    done, pictures = False, 1
    with RecordVideo(env, str(tmp_path / "films"), disable_logger=True) as recorded:
        recorded.reset(seed=0)
        while not done and pictures < 25:
            _, _, terminated, truncated, _ = recorded.step(0)
            done, pictures = terminated or truncated, pictures + 1
    [path] = (tmp_path / "films").glob("*.mp4")
    frames, written_fps = read_mp4(path)
    assert written_fps == fps
    assert pictures - len(frames) in (0, 1)  # moviepy sometimes leaves the last one out
    assert frames[0].shape == (height, width, 3)


# ---- errors ----


def test_invalid_arguments_raise_before_anything_is_played(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"named \*.gif, \*.webp or \*.mp4, got 'film.avi'"):
        record(agent, "film.avi")
    for name, value in (("episodes", 0), ("max_episode_steps", 0), ("seconds", float("nan")), ("size", 0)):
        arguments: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match=f"expected {name} to be .*, got {value}"):
            record(agent, tmp_path / "film.gif", **arguments)
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(PermissionError, match="folder.gif cannot be written"):
        record(agent, tmp_path / "folder.gif")
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match="film.gif cannot be written"):
        record(agent, tmp_path / "file" / "film.gif")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(DependencyNotInstalled, match=r'pip install "rlgames\[video\]"'):
        record(agent, tmp_path / "film.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.gif"]


@pytest.mark.parametrize("name", ["film.gif", "film.webp", "film.mp4"])
def test_error_while_recording_leaves_no_picture(agent: Agent, tmp_path: Path, name: str) -> None:
    """And no process that writes an MP4."""
    if name.endswith("mp4"):
        pytest.importorskip("imageio_ffmpeg")

    class Faulty(gym.Wrapper):
        def step(self, action: Any) -> Any:
            raise RuntimeError("unplugged")

    with (
        Faulty(rlgames.make("CatchBall", render_mode="rgb_array")) as env,
        pytest.raises(RuntimeError, match="unplugged"),
    ):
        record(agent, tmp_path / name, env)
    assert name.endswith("mp4") or not (tmp_path / name).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are POSIX's")
def test_full_disk_is_named_in_one_line(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415  POSIX alone

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with rlgames.Random("CatchBall", num_envs=1) as agent:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(OSError, match=r"film\.gif cannot be written: File too large$"):
                record(agent, tmp_path / "film.gif", seed=0, max_episode_steps=20)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
