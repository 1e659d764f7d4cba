"""Dino's picture against the same outlines drawn the slow way, and the one for people."""

from itertools import pairwise

import numpy as np
from helpers.dino_search import plan
from helpers.games import single

from rlgames.engine.single_env import GameEnv
from rlgames.envs.dino import shapes as dino_shapes
from rlgames.envs.dino.picture import CELL, CLOUD_INK, DIGIT_EVERY, DIGIT_TOP, DIGIT_X, GROUND_TOP, INK, SIZE
from rlgames.envs.dino.rules import NOOP


def record(env: GameEnv) -> np.void:
    return env.snapshot()["records"][0]


def canvas(s: np.void) -> np.ndarray:
    """The picture drawn the slow way: all outlines on one canvas of 600 x 150, then the mean over each pixel."""
    fine = dino_shapes.FINE
    paper = np.full((150 * fine, 600 * fine), 255.0)

    def put(shape: dino_shapes.Shape, x: float, y: float, ink: int, size: tuple[int, int]) -> None:
        samples = dino_shapes.samples(shape, *size)
        left = int(x) * fine
        part = paper[int(y) * fine :, max(left, 0) :][: samples.shape[0], : max(samples.shape[1] + min(left, 0), 0)]
        part[samples[: part.shape[0], max(-left, 0) :][:, : part.shape[1]]] = ink

    for i, bumpy in enumerate(s["bumpy"]):
        put(dino_shapes.ground(bool(bumpy)), s["ground"] + 600 * i, GROUND_TOP, INK, (600, 12))
    for i in range(s["clouds"]):
        put(dino_shapes.CLOUD_SHAPE, s["cloud_x"][i], s["cloud_top"][i], CLOUD_INK, (46, 14))
    for i in range(s["obstacles"]):
        groups = (dino_shapes.SMALL_GROUPS, dino_shapes.LARGE_GROUPS, dino_shapes.PTERODACTYLS)[s["kind"][i]]
        shape = groups[s["wing"][i] if s["kind"][i] == 2 else s["size"][i] - 1]
        put(shape, s["x"][i], s["top"][i], INK, (76, 50))
    shape = dino_shapes.STANDING
    if s["y"] == 93 and s["status"] in (0, 2):
        shape = (dino_shapes.STRIDES, None, dino_shapes.DUCKS)[s["status"]][s["seen"]]
    put(shape, 24, s["y"], INK, (60, 47))
    if not 0 < s["flash"] % 500 < 250:
        points = s["score"] // 100 * 100 if s["flash"] else s["score"]
        for place, digit in enumerate(f"{int(points):05d}"):
            put(dino_shapes.DIGITS[int(digit)], DIGIT_X + DIGIT_EVERY * place, DIGIT_TOP, INK, (8, 11))
    rows = dino_shapes.shares(paper.T, np.zeros(1), CELL[0], SIZE)[:, 0]
    return dino_shapes.shares(rows.T, np.zeros(1), CELL[1], SIZE)[:, 0]


def test_the_picture() -> None:
    """Against the slow way, to the rounding but where one thing lies upon another; at night in negative."""
    env, nights = single("Dino"), 0
    obs, _ = env.reset(seed=6)
    for frame, action in enumerate(plan(env.snapshot()["records"], 4200, seed=6)):
        if frame % 30 == 0:
            s = record(env)
            error = np.abs((255 - obs if s["night"] else obs) - canvas(s))
            assert error.mean() < 0.2
            assert np.quantile(error, 0.98) <= 1
            nights += s["night"]
        obs, *_ = env.step(int(action))
    assert nights > 10


def test_what_is_shown_moves() -> None:
    """A person's picture, too: by day and at night."""
    env = single("Dino")
    env.reset(seed=0)
    s = record(env)
    day = env.game.paint(s)
    s["night"] = 1
    night = env.game.paint(s)
    assert day.shape == night.shape == (400, 1600, 3)
    assert day.mean() > 200 > 60 > night.mean()
    pictures = []
    for _ in range(3):
        pictures.append(env.game.paint(record(env)))
        env.step(NOOP)
    assert all(not np.array_equal(a, b) for a, b in pairwise(pictures))
