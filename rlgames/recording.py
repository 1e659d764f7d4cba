"""Films: an agent plays, and what a person would see becomes an animated GIF, or an MP4 with the extra `video`.

A film shows the frames that the agent acts on, at the game's own pace. A GIF is thinned to 25 frames a second (browsers
slow down what comes faster than 50), has one palette for all its frames, and holds of each only what has changed. In a
notebook a cell that ends with `rlgames.record(...)` shows the film.
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
from rlgames.evaluation import task_of

COLOURS = 128  # of a GIF's palette
SAMPLES = 16  # frames, evenly spread, that the palette is chosen for
HOLD = 1.0  # seconds that the last picture of an episode stays


@dataclass(frozen=True)
class Film:
    path: Path
    scores: list[float]  # one an episode
    seconds: float
    cut: bool  # full before the last episode ended: its score is that so far

    def _repr_html_(self) -> str:
        """The film itself, which is how a notebook shows what a cell returns."""
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
    seconds: float = 30.0,
    size: int | None = None,
) -> Film:
    """Play `episodes` and write a film of them to `path`, "*.gif" or "*.mp4"; play ends when it is `seconds` long.

    `agent` is an agent or a checkpoint's path; `env` a game's name or an environment with render_mode "rgb_array", by
    default the game that the agent was made for. `size` is the height of the picture in pixels (None: the game's own).

    Raises, before anything is played, ValueError for arguments that cannot be meant, OSError for a path that cannot be
    written, and DependencyNotInstalled for an MP4 without the extra `video`.
    """
    for name, value in (("episodes", episodes), ("seconds", seconds), ("size", size)):
        if value is not None and not value > 0:
            raise ValueError(f"expected {name} > 0, got {value}")
    kind = film_kind(path)
    agent = agent if isinstance(agent, Agent) else load(agent)
    task, given = task_of(agent, env)
    stage: Any = task.make(render_mode="rgb_array") if task else given
    try:
        if stage.render_mode != "rgb_array":
            raise ValueError(f"expected an environment with render_mode 'rgb_array', got {stage.render_mode!r}")
        rate = stage.metadata.get("render_fps", 30)
        with kind(Path(path), rate, size) as film:
            return play(agent, stage, film, episodes, seed, deterministic, seconds)
    finally:
        if task:
            stage.close()


def film_kind(path: str | Path) -> type[Gif | Mp4]:
    """What `path` asks for; raises as `record` does."""
    path = Path(path)
    kind = {".gif": Gif, ".mp4": Mp4}.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"expected a film called *.gif or *.mp4, got {str(path)!r}")
    if kind is Mp4:
        try:
            import imageio_ffmpeg  # noqa: F401  what imageio writes MP4 with
        except ImportError as error:
            raise DependencyNotInstalled(
                f'{path}: films in MP4 need the extra video: pip install "rlgames[video]" (or write a .gif)'
            ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: choose another file for the film")
    return kind


def play(agent: Agent, env: gym.Env, film: Reel, episodes: int, seed: int, deterministic: bool, seconds: float) -> Film:
    scores: list[float] = []
    done = True
    while len(scores) < episodes and film.seconds < seconds:
        obs, info = env.reset(seed=None if scores else seed)
        film.add(env.render(), 1)
        state, done, t, total = None, False, 0, 0.0
        while not done and film.seconds < seconds:
            action, state = agent.predict(obs, state, np.array([t == 0]), deterministic)
            obs, reward, terminated, truncated, info = env.step(int(action))
            done, t, total = terminated or truncated, t + 1, total + float(reward)
            if done or t % film.thinning == 0:
                film.add(env.render(), math.ceil(HOLD * film.rate) if done else 1)
        scores.append(float(info.get(env.metadata.get("score", "score"), total)))
    return Film(film.path, scores, film.seconds, not done or len(scores) < episodes)


class Reel(ABC):
    """Pictures at a steady pace, one in `thinning` of the `rate` a second that a game shows; one lasts a tick."""

    MOST = 60  # pictures a second

    def __init__(self, path: Path, rate: float, size: int | None):
        self.path, self.size, self.ticks = path, size, 0
        self.thinning = math.ceil(rate / self.MOST)
        self.rate = rate / self.thinning

    @property
    def seconds(self) -> float:
        return self.ticks / self.rate

    def sized(self, picture: Any) -> Image.Image:
        image = Image.fromarray(np.asarray(picture))
        if self.size is None or self.size == image.height:
            return image
        crisp = self.size % image.height == 0  # big pixels stay square
        how = Image.Resampling.NEAREST if crisp else Image.Resampling.LANCZOS
        return image.resize((max(1, round(image.width * self.size / image.height)), self.size), how)

    @abstractmethod
    def add(self, picture: Any, ticks: int) -> None:
        """Show `picture`, (height, width, 3) uint8, for so many ticks."""

    def __enter__(self) -> Self:
        return self


class Gif(Reel):
    MOST = 25

    def __init__(self, path: Path, rate: float, size: int | None):
        super().__init__(path, rate, size)
        self.frames: list[bytes] = []  # compressed: the palette can be chosen only after the last one
        self.ends: list[int] = []  # ticks

    def add(self, picture: Any, ticks: int) -> None:
        image = self.sized(picture)
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
        mosaic = Image.new("RGB", (width, height * SAMPLES))
        for row, i in enumerate(np.linspace(0, len(self.frames) - 1, SAMPLES).astype(int)):
            mosaic.paste(self.image(i), (0, height * row))
        palette = mosaic.quantize(COLOURS)
        images = [self.image(i).quantize(palette=palette, dither=Image.Dither.NONE) for i in range(len(self.frames))]
        ends = np.round(np.array([0, *self.ends]) / self.rate * 100) * 10  # ms; a GIF counts hundredths of a second
        durations = np.diff(ends).astype(int).tolist()
        images[0].save(self.path, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


class Mp4(Reel):
    def __init__(self, path: Path, rate: float, size: int | None):
        import imageio.v2

        super().__init__(path, rate, size)
        self.writer: Any = imageio.v2.get_writer(path, "FFMPEG", fps=self.rate, macro_block_size=2)

    def add(self, picture: Any, ticks: int) -> None:
        frame = np.asarray(self.sized(picture))
        frame = frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2]  # players expect even sides
        for _ in range(ticks):
            self.writer.append_data(frame)
        self.ticks += ticks

    def __exit__(self, *_: object) -> None:
        self.writer.close()
