"""Build the film of README: agents play the games side by side: python docs/film.py [FILE] [FOLDER ...]

A folder is an exported agent, as in zoo/; games that none of the folders plays are played by zoo/NAME of AGENTS. Mario
needs its ROM.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import rlgames
from rlgames.agents.base import Agent
from rlgames.engine.rendering import INK, PAPER
from rlgames.recording import Caption, Film, Limits, VideoWriter, play, video_writer_class
from rlgames.runs.directory import find_checkpoint

DOCS, ZOO = Path(__file__).parent, Path(__file__).parents[1] / "zoo"
AGENTS = {  # by game, in the order of the tiles
    "CatchBall": "catch-ppo",
    "Cave": "cave-ppo",
    "CartPole": "cartpole-ppo",
    "Dino": "dino-ppo",
    "Pong": "pong-ppo",
    "Mario": "mario-1-1-ppo",
}
SKIPPED = {"Cave": 8.0, "Dino": 25.0, "Pong": 4.0}  # seconds before the film, in which little happens
SECONDS, RATE = 10.0, 15  # length of the film, frames a second
LARGEST = 3_000_000  # bytes
PICTURE, STRIP, GAP = (256, 240), 24, 6  # width and height of a game's picture, height of its caption, pixels between
COLUMNS = 3
SEED = 1


class Tile(Film):
    """Keeps the pictures of one game, small."""

    def __init__(self, game: str, agent: Agent, fps: float):
        super().__init__(Path(game), fps, RATE)
        self.game, self.agent = game, agent
        self.pictures: list[Image.Image] = []  # one a tick

    def show(self, env: gym.Env, caption: Caption, ticks: int) -> None:
        if self.seconds >= SKIPPED.get(self.game, 0.0):
            self.pictures += [self.draw(Image.fromarray(np.asarray(env.render())), caption.score)] * ticks
        super().show(env, caption, ticks)

    def draw(self, picture: Image.Image, score: float) -> Image.Image:
        """Return the picture in a box of PICTURE, above its names and its score."""
        width, height = PICTURE
        scale = min(width / picture.width, height / picture.height)
        scale = math.floor(scale) if scale >= 1 else scale  # pixels stay square, and the film small
        size = round(picture.width * scale), round(picture.height * scale)
        resized = picture.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)
        tile = Image.new("RGB", (width, height + STRIP), INK)
        tile.paste(resized, ((width - size[0]) // 2, (height - size[1]) // 2))
        draw, font, middle = ImageDraw.Draw(tile), ImageFont.load_default(13), height + STRIP / 2
        draw.text((6, middle), f"{self.game}  {self.agent.name.upper()}", PAPER, font, "lm")
        draw.text((width - 6, middle), f"{score:,.0f}", PAPER, font, "rm")
        return tile

    def at(self, seconds: float) -> Image.Image:
        return self.pictures[min(int(seconds * self.rate), len(self.pictures) - 1)]


def find_agents(folders: list[Path]) -> dict[str, Path]:
    """Return a folder for each game: those that are given, else those of the zoo."""
    found = {json.loads((folder / "card.json").read_text())["task"]["game"]: folder for folder in folders}
    if unknown := [game for game in found if game not in AGENTS]:
        raise SystemExit(f"{found[unknown[0]]} plays {unknown[0]}: expected agents of {', '.join(AGENTS)}")
    agents = {game: found.get(game, ZOO / name) for game, name in AGENTS.items()}
    if missing := [game for game, folder in agents.items() if not folder.exists()]:
        raise SystemExit(f"no agent of {', '.join(missing)}: give folders that rlgames export wrote")
    return agents


def film_game(game: str, folder: Path) -> Tile:
    """Return the pictures of an agent's episodes."""
    agent = rlgames.load(find_checkpoint(folder), weights_only=True)
    env: Any = agent.make_env(render_mode="rgb_array")
    tile = Tile(game, agent, env.metadata.get("render_fps", 30))
    play(agent, env, tile, SEED, True, Limits(1_000, SKIPPED.get(game, 0.0) + SECONDS, math.inf))
    env.close()
    print(f"{game}: {agent!r}, {len(tile.pictures)} pictures, {tile.rate:g} a second", flush=True)
    return tile


def compose(tiles: list[Tile], seconds: float) -> Image.Image:
    """Return all games as they are at a time of the film."""
    width, height = PICTURE[0], PICTURE[1] + STRIP
    rows = math.ceil(len(tiles) / COLUMNS)
    image = Image.new("RGB", (COLUMNS * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for i, tile in enumerate(tiles):
        image.paste(tile.at(seconds), (i % COLUMNS * (width + GAP), i // COLUMNS * (height + GAP)))
    return image


def main(argv: list[str]) -> None:
    path = Path(argv[0]) if argv else DOCS / "games.webp"
    tiles = [film_game(game, folder) for game, folder in find_agents([Path(each) for each in argv[1:]]).items()]
    writer: VideoWriter = video_writer_class(path)(path, RATE, None, False)
    with writer:
        for i in range(round(SECONDS * RATE)):
            writer.add(compose(tiles, i / RATE), 1)
            writer.ticks += 1
    size = path.stat().st_size
    print(f"{path}: {SECONDS:g} s, {size / 1e6:.2f} MB")
    if size > LARGEST:
        raise SystemExit(f"{path} has {size:,} bytes, expected at most {LARGEST:,}: fewer SECONDS, or a lower RATE")


if __name__ == "__main__":
    main(sys.argv[1:])
