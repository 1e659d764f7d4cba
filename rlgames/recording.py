"""Record an agent while it plays: an animated GIF, or an MP4 with the extra `video`.

A recording shows the frames that the agent acts on, at the game's own speed. A GIF has at most 25 frames a second
(browsers slow down what is faster than 50), one palette for all its frames, and of each only what has changed. A
notebook displays what `rlgames.record(...)` returns.
"""

from __future__ import annotations

import base64
import math
import os
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from PIL import Image

from rlgames.agents.base import Agent
from rlgames.agents.registry import load
from rlgames.errors import InvalidValueError, NotWritableError
from rlgames.evaluation import evaluation_task

COLORS = 128  # of a GIF's palette
PALETTE_FRAMES = 16  # evenly spread, from which the palette is chosen
HOLD = 1.0  # seconds that the last frame of an episode is shown


@dataclass(frozen=True)
class Recording:
    path: Path
    scores: list[float]  # one an episode
    seconds: float
    cut: bool  # ended by `seconds` before the last episode: its score is that so far

    def _repr_html_(self) -> str:
        """Return the recording itself, for notebooks."""
        data = base64.b64encode(self.path.read_bytes()).decode()
        if self.path.suffix.lower() == ".gif":
            return f'<img alt="{self.path.name}" src="data:image/gif;base64,{data}">'
        return f'<video controls autoplay loop muted src="data:video/mp4;base64,{data}"></video>'


def record(
    agent: Agent | str | Path,
    path: str | Path,
    env: str | gym.Env | None = None,
    *,
    episodes: int = 1,
    seed: int = 0,
    deterministic: bool = True,
    max_episode_steps: int | None = None,
    seconds: float = 30.0,
    size: int | None = None,
) -> Recording:
    """Play `episodes` and write a recording of them to `path`, "*.gif" or "*.mp4", of at most `seconds`.

    `agent` is an agent or the path of a checkpoint; `env` a game's name or an environment with render_mode "rgb_array",
    by default the game that the agent was made for. `max_episode_steps` truncates each episode after so many agent
    steps (None: as the game does). `size` is the height of the picture in pixels (None: the game's own).

    Raises, before anything is played, ValueError for arguments that are not allowed, OSError for a path that cannot be
    written, and DependencyNotInstalled for an MP4 without the extra `video`.
    """
    numbers = {"episodes": episodes, "max_episode_steps": max_episode_steps, "seconds": seconds, "size": size}
    for name, value in numbers.items():
        if value is not None and not value > 0:
            raise InvalidValueError(f"expected {name} > 0, got {value}")
    writer_class = video_writer_class(path)
    agent = agent if isinstance(agent, Agent) else load(agent, weights_only=True)
    task = evaluation_task(agent, env)
    rendered: Any = task.make(render_mode="rgb_array") if task else env
    try:
        if rendered.render_mode != "rgb_array":
            raise InvalidValueError(
                f"expected an environment with render_mode 'rgb_array', got {rendered.render_mode!r}"
            )
        fps = rendered.metadata.get("render_fps", 30)
        with writer_class(Path(path), fps, size) as video:
            return play(agent, rendered, video, episodes, seed, deterministic, max_episode_steps or math.inf, seconds)
    finally:
        if task:
            rendered.close()


def video_writer_class(path: str | Path) -> type[GifWriter | Mp4Writer]:
    """Return the writer for the suffix of `path`; raises as `record` does."""
    path = Path(path)
    writer_class = {".gif": GifWriter, ".mp4": Mp4Writer}.get(path.suffix.lower())
    if writer_class is None:
        raise InvalidValueError(f"expected a recording named *.gif or *.mp4, got {str(path)!r}")
    if writer_class is Mp4Writer:
        try:
            import imageio_ffmpeg  # noqa: F401, PLC0415  optional; imageio writes MP4 with it
        except ImportError as error:
            raise DependencyNotInstalled(
                f'{path}: MP4 needs the extra video: pip install "rlgames[video]" (or write a .gif)'
            ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error}") from error
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise NotWritableError(f"{path} cannot be written: choose another file for the recording")
    return writer_class


def play(
    agent: Agent,
    env: gym.Env,
    video: VideoWriter,
    episodes: int,
    seed: int,
    deterministic: bool,
    max_episode_steps: float,
    seconds: float,
) -> Recording:
    scores: list[float] = []
    done = True
    while len(scores) < episodes and video.seconds < seconds:
        obs, info = env.reset(seed=None if scores else seed)
        video.add(env.render(), 1)
        state, done, t, total = None, False, 0, 0.0
        while not done and video.seconds < seconds:
            action, state = agent.predict(obs, state, np.array([t == 0]), deterministic)
            obs, reward, terminated, truncated, info = env.step(int(action))
            t, total = t + 1, total + float(reward)
            done = terminated or truncated or t >= max_episode_steps
            if done or t % video.thinning == 0:
                video.add(env.render(), math.ceil(HOLD * video.rate) if done else 1)
        scores.append(float(info.get(env.metadata.get("score", "score"), total)))
    return Recording(video.path, scores, video.seconds, not done or len(scores) < episodes)


class VideoWriter(ABC):
    """Writes frames at a constant rate, one in `thinning` of the `fps` of a game; a frame lasts a tick."""

    MAX_FPS = 60

    def __init__(self, path: Path, fps: float, size: int | None):
        self.path, self.size, self.ticks = path, size, 0
        self.thinning = math.ceil(fps / self.MAX_FPS)
        self.rate = fps / self.thinning  # frames a second of the video

    @property
    def seconds(self) -> float:
        return self.ticks / self.rate

    def resize(self, picture: Any) -> Image.Image:
        image = Image.fromarray(np.asarray(picture))
        if self.size is None or self.size == image.height:
            return image
        whole = self.size % image.height == 0  # big pixels stay square
        resampling = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
        return image.resize((max(1, round(image.width * self.size / image.height)), self.size), resampling)

    @abstractmethod
    def add(self, picture: Any, ticks: int) -> None:
        """Show `picture`, (height, width, 3) uint8, for `ticks` ticks."""

    def __enter__(self) -> Self:
        return self


class GifWriter(VideoWriter):
    MAX_FPS = 25

    def __init__(self, path: Path, fps: float, size: int | None):
        super().__init__(path, fps, size)
        self.frames: list[bytes] = []  # compressed: the palette is chosen after the last one
        self.ends: list[int] = []  # ticks

    def add(self, picture: Any, ticks: int) -> None:
        image = self.resize(picture)
        self.shape = image.size
        self.frames.append(zlib.compress(image.tobytes(), 1))
        self.ticks += ticks
        self.ends.append(self.ticks)

    def image(self, i: int) -> Image.Image:
        return Image.frombytes("RGB", self.shape, zlib.decompress(self.frames[i]))

    def __exit__(self, failed: object, *_: object) -> None:
        if failed:
            return
        width, height = self.shape
        mosaic = Image.new("RGB", (width, height * PALETTE_FRAMES))
        for row, i in enumerate(np.linspace(0, len(self.frames) - 1, PALETTE_FRAMES).astype(int)):
            mosaic.paste(self.image(i), (0, height * row))
        palette = mosaic.quantize(COLORS)
        images = [self.image(i).quantize(palette=palette, dither=Image.Dither.NONE) for i in range(len(self.frames))]
        ends = np.round(np.array([0, *self.ends]) / self.rate * 100) * 10  # ms; a GIF counts hundredths of a second
        durations = np.diff(ends).astype(int).tolist()
        images[0].save(self.path, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


class Mp4Writer(VideoWriter):
    def __init__(self, path: Path, fps: float, size: int | None):
        import imageio.v2  # noqa: PLC0415  optional

        super().__init__(path, fps, size)
        self.writer: Any = imageio.v2.get_writer(path, "FFMPEG", fps=self.rate, macro_block_size=2)

    def add(self, picture: Any, ticks: int) -> None:
        frame = np.asarray(self.resize(picture))
        frame = frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2]  # video players expect even sides
        for _ in range(ticks):
            self.writer.append_data(frame)
        self.ticks += ticks

    def __exit__(self, *_: object) -> None:
        self.writer.close()
