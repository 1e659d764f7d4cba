"""What people see: anti-aliased pictures of the games, drawn with Pillow at twice their size and scaled down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

INK, PAPER, FAINT = (43, 48, 64), (250, 248, 242), (226, 224, 216)
RED, BLUE, GREEN, YELLOW = (214, 76, 63), (56, 116, 186), (76, 152, 100), (236, 176, 60)
FINE = 2  # pixels drawn for each pixel shown, in both directions

Colour = tuple[int, int, int]


class Canvas:
    """A picture of `width` x `height` pixels; coordinates are in units of `cell` pixels, from the top left corner."""

    def __init__(self, width: int, height: int, cell: float = 1.0, background: Colour = PAPER):
        self.size, self.cell = (width, height), cell * FINE
        self.image = Image.new("RGB", (width * FINE, height * FINE), background)
        self.draw = ImageDraw.Draw(self.image)

    def _at(self, points: Sequence[float]) -> list[float]:
        return [value * self.cell for value in points]

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.draw.ellipse(self._at((x - radius, y - radius, x + radius, y + radius)), fill=colour)

    def bar(self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 0.0) -> None:
        self.draw.rounded_rectangle(self._at((left, top, right, bottom)), radius * self.cell, fill=colour)

    def line(self, points: Sequence[float], colour: Colour, width: float) -> None:
        self.draw.line(self._at(points), fill=colour, width=max(1, round(width * self.cell)), joint="curve")

    def shape(self, points: Sequence[float], colour: Colour) -> None:
        """A filled polygon through x0, y0, x1, y1, ..."""
        self.draw.polygon(self._at(points), fill=colour)

    def pixels(self) -> np.ndarray:
        """(height, width, 3) uint8."""
        return np.array(self.image.resize(self.size, Image.Resampling.BOX))
