"""The window of render_mode "human": pictures at the game's pace, through pygame (extra `play`)."""

from __future__ import annotations

import numpy as np
from gymnasium.error import DependencyNotInstalled


class Window:
    """Shows (height, width, 3) uint8 pictures, `fps` a second; opens with the first one. Closing twice is fine."""

    def __init__(self, title: str, fps: int):
        try:
            import pygame
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
