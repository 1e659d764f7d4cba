"""Record an agent while it plays: an animated GIF or WebP, or an MP4 with the extra `video`.

A recording shows the frames that the agent acts on, at the game's own speed, small games enlarged, and below each frame
the score, the last action and the step. A GIF has at most 25 frames a second (browsers slow down what is faster than
50), one palette for all its frames, and of each only what has changed. A WebP has at most 30, all colors, and is
smaller. A notebook displays what `rlgames.record(...)` returns.
"""

from __future__ import annotations

import base64
import math
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from PIL import Image, ImageDraw, ImageFont

from rlgames.engine.rendering import INK, PAPER, action_names
from rlgames.errors import InvalidTypeError, InvalidValueError, NotWritableError, WriteError, brief
from rlgames.evaluation import Model, as_model, check_observed, evaluation_task, model_threads
from rlgames.values import Count, Positive, check_seed, check_value

COLORS = 128  # of a GIF's palette
PALETTE_FRAMES = 16  # evenly spread, from which the palette is chosen
HOLD = 1.0  # seconds that the last frame of an episode is shown
SMALLEST = 320  # pixels: lower pictures are enlarged by a whole factor
SEEDS = range(5)  # of the episodes of which the median one is recorded


@dataclass(frozen=True)
class Recording:
    path: Path
    scores: list[float]  # one an episode
    seconds: float
    cut: bool  # ended by `seconds` before the last episode: its score is that so far
    seed: int = 0  # of the first episode
    candidates: tuple[float, ...] = ()  # scores of the episodes with SEEDS, of which this is the median one

    def _repr_html_(self) -> str:
        """Return the recording itself, for notebooks."""
        data = base64.b64encode(self.path.read_bytes()).decode()
        if (kind := self.path.suffix.lower()) in (".gif", ".webp"):
            return f'<img alt="{self.path.name}" src="data:image/{kind[1:]};base64,{data}">'
        return f'<video controls autoplay loop muted src="data:video/mp4;base64,{data}"></video>'


def record(
    agent: Model | str | Path,
    path: str | Path,
    env: str | gym.Env | None = None,
    *,
    episodes: int = 1,
    seed: int | None = None,
    deterministic: bool = True,
    max_episode_steps: int | None = None,
    seconds: float = 30.0,
    size: int | None = None,
    captions: bool = True,
) -> Recording:
    """Play `episodes` and write a recording of them to `path`, "*.gif", "*.webp" or "*.mp4", of at most `seconds`.

    `agent` is an agent, a model of Stable-Baselines3, or the path of a checkpoint; `env` a game's name or an
    environment with render_mode "rgb_array", by default the game that the agent was made for. Without a `seed`, five
    episodes are played, with seeds 0 to 4 and none for longer than `seconds`, and the one with the median score is
    recorded; several `episodes` start from seed 0 then. `max_episode_steps` truncates each episode after so many agent
    steps (None: as the game does). `size` is the height of the game's picture in pixels (None: the game's own, enlarged
    if it is small); `captions=False` leaves out score, action and step below it.

    Raises, before anything is played, ValueError for arguments that are not allowed, OSError for a path that cannot be
    written, and DependencyNotInstalled for an MP4 without the extra `video`.
    """
    episodes = check_value("episodes", episodes, Count)
    max_episode_steps = check_value("max_episode_steps", max_episode_steps, Count | None)
    seconds, size = check_value("seconds", seconds, Positive), check_value("size", size, Count | None)
    check_value("captions", captions, bool)
    seed = None if seed is None else check_seed(seed)
    if not isinstance(env, str | gym.Env | None):
        raise InvalidTypeError(f"expected a game's name or one gymnasium.Env to record, got {brief(env)}")
    writer_class = video_writer_class(path)
    model = as_model(agent)
    task = evaluation_task(model, env)
    rendered: Any = task.make(render_mode="rgb_array") if task else env
    limits = Limits(episodes, seconds, max_episode_steps or math.inf)
    try:
        if rendered.render_mode != "rgb_array":
            raise InvalidValueError(
                f"expected an environment with render_mode 'rgb_array', got {rendered.render_mode!r}"
            )
        check_observed(model, rendered.observation_space, env)
        fps = rendered.metadata.get("render_fps", 30)
        candidates: list[float] = []
        with model_threads(model, 1):
            if seed is None and episodes == 1:
                for each in SEEDS:
                    with same_actions(model):
                        film = Film(Path(path), fps, writer_class.MAX_FPS)
                        candidates += play(model, rendered, film, each, deterministic, limits).scores
                seed = sorted(SEEDS, key=lambda each: candidates[each])[len(SEEDS) // 2]
            with writer_class(Path(path), fps, size, captions) as film:
                recording = play(model, rendered, film, seed or 0, deterministic, limits)
        return replace(recording, candidates=tuple(candidates))
    finally:
        if task:
            rendered.close()


class Limits(NamedTuple):
    episodes: int
    seconds: float
    max_episode_steps: float


@contextmanager
def same_actions(model: Model) -> Iterator[None]:
    """Leave an agent's RNG as it was, so that the same episode can be played once more with sampled actions."""
    rng = getattr(model, "predict_rng", None)
    if rng is None:
        yield
        return
    before = rng.bit_generator.state
    try:
        yield
    finally:
        rng.bit_generator.state = before


def video_writer_class(path: str | Path) -> type[VideoWriter]:
    """Return the writer for the suffix of `path`; raises as `record` does."""
    if not isinstance(path, str | os.PathLike):
        raise InvalidTypeError(f"expected the path of a recording, named *.gif, *.webp or *.mp4, got {brief(path)}")
    given, path = path, Path(path)
    writer_class = {".gif": GifWriter, ".webp": WebPWriter, ".mp4": Mp4Writer}.get(path.suffix.lower())
    if writer_class is None:
        raise InvalidValueError(f"expected a recording named *.gif, *.webp or *.mp4, got {brief(str(given))}")
    if writer_class is Mp4Writer:
        try:
            import imageio_ffmpeg  # noqa: F401, PLC0415  optional; imageio writes MP4 with it
        except ImportError as error:
            raise DependencyNotInstalled(
                f'{path}: MP4 needs the extra video: pip install "rlgames[video]" (or write a .webp or .gif)'
            ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error}") from error
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise NotWritableError(f"{path} cannot be written: choose another file for the recording")
    return writer_class


def play(model: Model, env: gym.Env, film: Film, seed: int, deterministic: bool, limits: Limits) -> Recording:
    """Play and film episodes, the first with that seed."""
    names, score_key = action_names(env), env.metadata.get("score", "score")
    first = int(getattr(env.action_space, "start", 0))
    scores: list[float] = []
    done = True
    while len(scores) < limits.episodes and film.seconds < limits.seconds:
        obs, info = env.reset(seed=None if scores else seed)
        film.show(env, Caption(0.0), 1)
        state, done, t, total, score = None, False, 0, 0.0, 0.0
        while not done and film.seconds < limits.seconds:
            action, state = model.predict(obs, state, np.array([t == 0]), deterministic)
            obs, reward, terminated, truncated, info = env.step(int(action))
            t, total = t + 1, total + float(reward)
            score = float(info.get(score_key, total))
            done = terminated or truncated or t >= limits.max_episode_steps
            if done or t % film.thinning == 0:
                caption = Caption(score, t, names[int(action) - first])
                film.show(env, caption, math.ceil(HOLD * film.rate) if done else 1)
        scores.append(score)
    return Recording(film.path, scores, film.seconds, not done or len(scores) < limits.episodes, seed)


class Caption(NamedTuple):
    """Text below a frame."""

    score: float
    step: int = 0
    action: str = ""  # the last one

    def below(self, image: Image.Image) -> Image.Image:
        """Return the picture with a strip below it: score, action and step."""
        texts = f"score {self.score:,.1f}".removesuffix(".0"), self.action, f"step {self.step:,}"
        size = max(12, round(max(image.height / 24, image.width / 60)))  # of the letters
        height = 2 * size
        strip = Image.new("RGB", (image.width, image.height + height), INK)
        strip.paste(image)
        draw, margin = ImageDraw.Draw(strip), size // 2
        font = ImageFont.load_default(size)
        room = (image.width - 4 * margin) / max(sum(draw.textlength(text, font) for text in texts), 1.0)
        font = ImageFont.load_default(max(6, size * min(1.0, room)))
        middle = image.height + height / 2
        for text, x, anchor in zip(
            texts, (margin, image.width / 2, image.width - margin), ("lm", "mm", "rm"), strict=True
        ):
            draw.text((x, middle), text, PAPER, font, anchor)
        return strip


class Film:
    """Counts frames at a constant rate, one in `thinning` of the `fps` of a game; a frame lasts a tick."""

    def __init__(self, path: Path, fps: float, max_fps: float):
        self.path, self.ticks = path, 0
        self.thinning = math.ceil(fps / max_fps)
        self.rate = fps / self.thinning  # frames a second of the video

    @property
    def seconds(self) -> float:
        return self.ticks / self.rate

    def show(self, env: gym.Env, caption: Caption, ticks: int) -> None:
        """Show the game as it is for `ticks` ticks."""
        self.ticks += ticks


class VideoWriter(Film, ABC):
    """Writes what is shown."""

    MAX_FPS = 60

    def __init__(self, path: Path, fps: float, size: int | None, captions: bool):
        super().__init__(path, fps, self.MAX_FPS)
        self.size, self.captions = size, captions

    def show(self, env: gym.Env, caption: Caption, ticks: int) -> None:
        image = self.resize(env.render())
        self.add(caption.below(image) if self.captions else image, ticks)
        super().show(env, caption, ticks)

    def resize(self, picture: Any) -> Image.Image:
        image = Image.fromarray(np.asarray(picture))
        size = image.height * math.ceil(SMALLEST / image.height) if self.size is None else self.size
        if size == image.height:
            return image
        whole = size % image.height == 0  # big pixels stay square
        resampling = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
        return image.resize((max(1, round(image.width * size / image.height)), size), resampling)

    @abstractmethod
    def add(self, image: Image.Image, ticks: int) -> None:
        """Write a frame that lasts `ticks` ticks."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, failed: object, *_: object) -> None:
        """Complete the file, unless recording has failed."""


class AnimationWriter(VideoWriter):
    """Keeps all frames, compressed, and writes a file of pictures after the last one."""

    def __init__(self, path: Path, fps: float, size: int | None, captions: bool):
        super().__init__(path, fps, size, captions)
        self.frames: list[bytes] = []
        self.ends: list[int] = []  # ticks

    def add(self, image: Image.Image, ticks: int) -> None:
        self.shape = image.size
        self.frames.append(zlib.compress(image.tobytes(), 1))
        self.ends.append(self.ticks + ticks)

    def image(self, i: int) -> Image.Image:
        return Image.frombytes("RGB", self.shape, zlib.decompress(self.frames[i]))

    def durations(self, unit: int) -> list[int]:
        """Return how long each frame is shown, ms, in whole units of so many."""
        ends = np.round(np.array([0, *self.ends]) / self.rate * 1000 / unit) * unit
        return np.diff(ends).astype(int).tolist()

    def __exit__(self, failed: object, *_: object) -> None:
        if failed:
            return
        try:
            self.save()
        except OSError as error:
            raise WriteError(f"{self.path} cannot be written: {error.strerror or error}") from error

    @abstractmethod
    def save(self) -> None:
        """Write the file."""


class GifWriter(AnimationWriter):
    MAX_FPS = 25

    def save(self) -> None:
        width, height = self.shape
        mosaic = Image.new("RGB", (width, height * PALETTE_FRAMES))
        for row, i in enumerate(np.linspace(0, len(self.frames) - 1, PALETTE_FRAMES).astype(int)):
            mosaic.paste(self.image(i), (0, height * row))
        palette = mosaic.quantize(COLORS)
        images = [self.image(i).quantize(palette=palette, dither=Image.Dither.NONE) for i in range(len(self.frames))]
        durations = self.durations(10)  # a GIF counts hundredths of a second
        images[0].save(self.path, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


class WebPWriter(AnimationWriter):
    MAX_FPS = 30

    def save(self) -> None:
        frames = Frames(self.image, len(self.frames))
        # Without loss, as the few colors of these games are smaller so; kmax=0: only the first frame is whole.
        options: dict[str, Any] = {"lossless": True, "quality": 30, "method": 2, "kmin": 0, "kmax": 0}
        frames.save(self.path, "WEBP", save_all=True, duration=self.durations(1), loop=0, **options)


class Frames(Image.Image):
    """Pictures that Pillow saves as one animation without having all of them in memory."""

    def __init__(self, image: Callable[[int], Image.Image], n_frames: int):
        super().__init__()
        self.image, self.n_frames = image, n_frames
        self.seek(0)

    def seek(self, frame: int) -> None:
        picture = self.image(frame)
        self.im, self._mode, self._size = picture.im, picture.mode, picture.size
        self.frame = frame

    def tell(self) -> int:
        return self.frame


class Mp4Writer(VideoWriter):
    def __init__(self, path: Path, fps: float, size: int | None, captions: bool):
        import imageio.v2  # noqa: PLC0415  optional

        super().__init__(path, fps, size, captions)
        self.writer: Any = imageio.v2.get_writer(path, "FFMPEG", fps=self.rate, macro_block_size=2)

    def add(self, image: Image.Image, ticks: int) -> None:
        frame = np.asarray(image)
        frame = frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2]  # video players expect even sides
        for _ in range(ticks):
            self.writer.append_data(frame)

    def __exit__(self, *_: object) -> None:
        self.writer.close()
