"""Pictures for people: an antialiased canvas drawn with Pillow, and the window of render_mode "human"."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from PIL import Image, ImageDraw


def has_display() -> bool:
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def action_names(env: gym.Env) -> list[str]:
    """Return a name for each action of an environment: its game's, those of Atari, or "action 0", "action 1", ..."""
    n = int(env.get_wrapper_attr("action_space").n)
    names = list(getattr(getattr(env.unwrapped, "game", None), "actions", []))
    if not names and env.has_wrapper_attr("get_action_meanings"):
        names = [str(name).lower() for name in env.get_wrapper_attr("get_action_meanings")()]
    return names if len(names) == n else [f"action {action}" for action in range(n)]


INK, PAPER, FAINT = (43, 48, 64), (250, 248, 242), (226, 224, 216)
RED, BLUE, GREEN, YELLOW = (214, 76, 63), (56, 116, 186), (76, 152, 100), (236, 176, 60)
SUPERSAMPLING = 2  # pixels drawn for each pixel shown, in both directions

Color = tuple[int, int, int]


class Canvas:
    """Picture of `width` x `height` pixels; coordinates are in units of `cell` pixels, from the top left corner."""

    def __init__(self, width: int, height: int, cell: float = 1.0, background: Color = PAPER):
        self.size, self.cell = (width, height), cell * SUPERSAMPLING
        self.image = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING), background)
        self.draw = ImageDraw.Draw(self.image)

    def _at(self, points: Sequence[float]) -> list[float]:
        return [value * self.cell for value in points]

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        self.draw.ellipse(self._at((x - radius, y - radius, x + radius, y + radius)), fill=color)

    def bar(self, left: float, top: float, right: float, bottom: float, color: Color, radius: float = 0.0) -> None:
        self.draw.rounded_rectangle(self._at((left, top, right, bottom)), radius * self.cell, fill=color)

    def line(self, points: Sequence[float], color: Color, width: float) -> None:
        self.draw.line(self._at(points), fill=color, width=max(1, round(width * self.cell)), joint="curve")

    def shape(self, points: Sequence[float], color: Color) -> None:
        """Fill the polygon through x0, y0, x1, y1, ..."""
        self.draw.polygon(self._at(points), fill=color)

    def fill(self, color: Color) -> None:
        """Paint the whole picture."""
        self.draw.rectangle((0, 0, *self.image.size), color)

    def pixels(self) -> np.ndarray:
        """Return the picture, (height, width, 3) uint8."""
        return np.array(self.image.resize(self.size, Image.Resampling.BOX))


class Window:
    """Window that shows (height, width, 3) uint8 pictures, `fps` a second, through pygame (extra `play`).

    It opens with the first picture; closing it twice is fine. Raises DependencyNotInstalled without pygame.
    """

    def __init__(self, title: str, fps: int):
        try:
            import pygame  # noqa: PLC0415  optional
        except ImportError as error:
            raise DependencyNotInstalled(
                'render_mode="human" shows a window: pip install "rlgames[play]" (or use render_mode="rgb_array")'
            ) from error
        self.pygame, self.title, self.fps = pygame, title, fps
        self.surface, self.clock = None, pygame.time.Clock()

    def show(self, picture: np.ndarray) -> None:
        pygame = self.pygame
        if self.surface is None:
            pygame.display.init()
            pygame.display.set_caption(self.title)
            self.surface = pygame.display.set_mode((picture.shape[1], picture.shape[0]))
        pygame.event.pump()
        self.surface.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        self.clock.tick(self.fps)

    def close(self) -> None:
        if self.surface is not None:
            self.pygame.display.quit()
            self.surface = None
