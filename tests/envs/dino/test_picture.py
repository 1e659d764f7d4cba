"""Dino's observation against the same outlines on a supersampled canvas, and the picture for people."""

from itertools import pairwise

import numpy as np
from helpers.dino_search import plan
from helpers.games import single

from rlgames.engine.single_env import GameEnv
from rlgames.envs.dino import shapes
from rlgames.envs.dino.picture import CELL, CLOUD_INK, DIGIT_SPACING, DIGIT_TOP, DIGIT_X, GROUND_TOP, INK, SIZE
from rlgames.envs.dino.rules import NOOP
from rlgames.envs.dino.shapes import SUPERSAMPLING


def record(env: GameEnv) -> np.void:
    return env.snapshot()["records"][0]


def plain_observation(s: np.void) -> np.ndarray:
    """Draw all outlines on one supersampled canvas of 600 x 150 and return the mean over each pixel, by day."""
    canvas = np.full((150 * SUPERSAMPLING, 600 * SUPERSAMPLING), 255.0)

    def draw(shape: shapes.Shape, x: float, y: float, ink: int, size: tuple[int, int]) -> None:
        samples = shapes.rasterize(shape, *size)
        left, top = int(x) * SUPERSAMPLING, int(y) * SUPERSAMPLING
        width = max(samples.shape[1] + min(left, 0), 0)
        area = canvas[top:, max(left, 0) :][: samples.shape[0], :width]
        area[samples[: area.shape[0], max(-left, 0) :][:, : area.shape[1]]] = ink

    for i, bumpy in enumerate(s["bumpy"]):
        draw(shapes.ground(bool(bumpy)), s["ground_x"] + 600 * i, GROUND_TOP, INK, (600, 12))
    for i in range(s["clouds"]):
        draw(shapes.CLOUD, s["cloud_x"][i], s["cloud_top"][i], CLOUD_INK, (46, 14))
    for i in range(s["obstacles"]):
        by_kind = (shapes.SMALL_CACTI, shapes.LARGE_CACTI, shapes.PTERODACTYLS)[s["kind"][i]]
        shape = by_kind[s["wing"][i] if s["kind"][i] == 2 else s["size"][i] - 1]
        draw(shape, s["x"][i], s["top"][i], INK, (76, 50))
    shape = shapes.STANDING
    if s["y"] == 93 and s["status"] in (0, 2):
        shape = (shapes.RUNNING, None, shapes.DUCKING)[s["status"]][s["drawn_pose"]]
    draw(shape, 24, s["y"], INK, (60, 47))
    if not 0 < s["flash_time"] % 500 < 250:
        points = s["score"] // 100 * 100 if s["flash_time"] else s["score"]
        for place, digit in enumerate(f"{int(points):05d}"):
            draw(shapes.DIGITS[int(digit)], DIGIT_X + DIGIT_SPACING * place, DIGIT_TOP, INK, (8, 11))
    by_row = shapes.coverage(canvas.T, np.zeros(1), CELL[0], SIZE)[:, 0]
    return shapes.coverage(by_row.T, np.zeros(1), CELL[1], SIZE)[:, 0]


def test_observation_equals_the_supersampled_canvas() -> None:
    """Up to rounding, but where shapes overlap; inverted at night."""
    env, nights, kinds, statuses = single("Dino"), 0, set(), set()
    obs, _ = env.reset(seed=6)
    for frame, action in enumerate(plan(env.snapshot()["records"], 4200, seed=6)):
        if frame % 140 == 0:
            s = record(env)
            error = np.abs((255 - obs if s["night"] else obs) - plain_observation(s))
            assert error.mean() < 0.2
            assert np.quantile(error, 0.98) <= 1
            nights += s["night"]
            kinds |= set(s["kind"][: s["obstacles"]].tolist())
            statuses.add(int(s["status"]))
        obs, *_ = env.step(int(action))
    assert nights > 2
    assert kinds == statuses == {0, 1, 2}


def test_render_draws_day_night_and_motion() -> None:
    env = single("Dino")
    env.reset(seed=0)
    s = record(env)
    day = env.game.render(s)
    s["night"] = 1
    night = env.game.render(s)
    assert day.shape == night.shape == (400, 1600, 3)
    assert day.mean() > 200 > 60 > night.mean()
    pictures = []
    for _ in range(3):
        pictures.append(env.game.render(record(env)))
        env.step(NOOP)
    assert all(not np.array_equal(a, b) for a, b in pairwise(pictures))
