"""Dino's rules by numbers that were read off the page, its dice, its state as numbers and its options."""

from typing import Any

import numpy as np
import pytest
from helpers.dino_search import plan
from helpers.games import SplitMix64, random_actions, single
from numba import njit

import rlgames
from rlgames.engine.rng import stream
from rlgames.engine.single_env import GameEnv
from rlgames.envs.dino.collision import crashed
from rlgames.envs.dino.rules import DUCK, FEATURES, JUMP, NOOP
from rlgames.envs.registry import load_game


def record(env: GameEnv) -> np.void:
    return env.snapshot()["records"][0]


def placed(game: str = "Dino:obs=state", seed: int = 0, **values: Any) -> GameEnv:
    """A game whose record has been changed."""
    env = single(game)
    env.reset(seed=seed)
    place = env.snapshot()
    for field, value in values.items():
        place["records"][0][field] = value
    env.restore(place)
    return env


@pytest.mark.parametrize(
    ("speed", "held", "frames", "apex"),
    [(6, 99, 35, 2), (8.5, 99, 35, 0), (13, 99, 34, 3), (6, 6, 32, 15), (13, 4, 28, 28)],
)
def test_a_jump(speed: float, held: int, frames: int, apex: int) -> None:
    env, heights = placed(speed=speed), []
    while not heights or record(env)["jumping"]:
        env.step(JUMP if len(heights) < held else NOOP)
        heights.append(record(env)["y"])
    assert (len(heights), min(heights)) == (frames, apex)


def test_a_held_jump_jumps_again() -> None:
    env, jumping = placed(), []
    for _ in range(72):
        env.step(JUMP)
        jumping.append(int(record(env)["jumping"]))
    assert jumping == [*[1] * 34, 0, *[1] * 34, 0, 1, 1]


def test_down_in_the_air_falls_fast_and_lands_as_a_duck() -> None:
    env = placed()
    for action in [JUMP] * 10 + [DUCK] * 9:
        env.step(action)
    s = record(env)
    assert (s["y"], s["jumping"], s["ducking"], s["speed_drop"]) == (93, 0, 1, 0)
    env.step(NOOP)
    assert record(env)["ducking"] == 0


def test_a_fall_that_ends_on_the_ground_to_the_pixel_is_a_duck_before_it_lands() -> None:
    env = placed(y=80.0, velocity=4.4, jumping=1, speed_drop=1, reached=1, held=DUCK, status=1)
    env.step(DUCK)
    s = record(env)
    assert (s["y"], s["jumping"], s["ducking"], s["speed_drop"]) == (93, 1, 1, 0)
    env.step(DUCK)
    s = record(env)
    assert (s["y"], s["jumping"], s["ducking"], s["velocity"]) == (93, 0, 0, 0)


def test_so_is_one_that_ends_in_a_cactus() -> None:
    there = {"obstacles": 1, "size": 1, "x": 56.0, "width": 17.0, "top": 105.0, "running": 5000.0}
    env = placed(y=80.0, velocity=4.4, jumping=1, speed_drop=1, reached=1, held=DUCK, status=1, **there)
    _, _, crash, _, _ = env.step(DUCK)
    s = record(env)
    assert crash
    assert (s["y"], s["jumping"], s["ducking"], s["speed_drop"]) == (93, 1, 1, 0)


def test_the_first_obstacle_and_the_speed() -> None:
    env = placed()
    assert record(env)["speed"] == 6.001
    for frame in range(1, 182):
        env.step(NOOP)
        assert (record(env)["obstacles"] > 0) == (frame == 181)
    for action in plan(env.snapshot()["records"], 2600 - 181, seed=0):
        env.step(int(action))
    s = record(env)
    assert s["speed"] == pytest.approx(8.6, abs=0.01)
    assert s["score"] == pytest.approx(0.025 * sum(6.001 + i / 1000 for i in range(2600)), abs=1)


def test_obstacles_keep_their_distance_and_kinds() -> None:
    """Over 20,000 frames of a player who survives: what comes, how far apart, and what the nights do."""
    env = placed(seed=3)
    start = env.snapshot()["records"]
    kinds, nights, tops, sizes = [], 0, set(), set()
    before = start[0]
    for action in plan(start, 20_000, seed=3):
        assert not env.step(int(action))[2]
        s = record(env)
        n = s["obstacles"]
        for i in range(n - 1):
            assert s["x"][i + 1] - s["x"][i] - s["width"][i] >= 90
        if n and s["x"][n - 1] == 600 + (17, 25, 46)[s["kind"][n - 1]]:  # which is where a new one stands
            kinds.append(int(s["kind"][n - 1]))
            tops.add((kinds[-1], float(s["top"][n - 1])))
            sizes.add((kinds[-1], int(s["size"][n - 1])))
            assert kinds[-1] < 2 or s["speed"] >= 8.5
            assert s["size"][n - 1] == 1 or kinds[-1] == 0 or (kinds[-1] == 1 and s["speed"] >= 7)
        nights += s["night"] > before["night"]
        before = s
    assert nights == before["score"] // 700 >= 7
    assert before["speed"] == pytest.approx(13, abs=0.001)
    assert tops == {(0, 105.0), (1, 90.0), (2, 100.0), (2, 75.0), (2, 50.0)}
    assert sizes == {(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1)}
    assert all(len(set(three)) > 1 for three in zip(kinds, kinds[1:], kinds[2:], strict=False))


@njit
def touched(places: np.ndarray) -> bool:
    return crashed(places[0])


@pytest.mark.parametrize(
    ("kind", "x", "y", "ducking", "crash"),
    [
        (0, 66, 93, 0, False),  # a small cactus before the feet
        (0, 50, 93, 0, True),
        (0, 50, 60, 0, False),  # jumped over
        (2, 40, 93, 0, True),  # a pterodactyl at the height of the head
        (2, 40, 93, 1, False),  # ducked under
    ],
)
def test_a_collision(kind: int, x: float, y: float, ducking: int, crash: bool) -> None:
    places = placed().snapshot()["records"]
    s = places[0]
    s["obstacles"], s["kind"][0], s["size"][0], s["x"][0] = 1, kind, 1, x
    s["width"][0], s["top"][0] = (17, 25, 46)[kind], (105, 90, 75)[kind]
    s["y"], s["ducking"] = y, ducking
    assert touched(places) == crash


def mulberry32(state: int) -> tuple[int, float]:
    """In Python's integers."""
    state = (state + 0x6D2B79F5) % 2**32
    t = ((state ^ state >> 15) * (state | 1)) % 2**32
    t ^= (t + (t ^ t >> 7) * (t | 61)) % 2**32
    return state, (t ^ t >> 14) / 2**32


def test_the_dice() -> None:
    """One number of the player's stream sets them at the start of every episode; a restart rolls them ten times."""
    env, dice = single("Dino"), SplitMix64(int(stream(5)))
    for seed in (5, None, None):
        env.reset(seed=seed)
        state, rolls = int(dice.uniform() * 2**32), []
        for _ in range(10):
            state, roll = mulberry32(state)
            rolls.append(roll)
        s = record(env)
        assert s["dice"] == state
        assert s["cloud_gap"][0] == int(rolls[8] * 301) + 100
        assert s["cloud_top"][0] == int(rolls[9] * 42) + 30


def told(s: np.void) -> list[float]:
    """The features, from the record in words of the page."""
    ahead = [i for i in range(s["obstacles"]) if s["x"][i] + s["width"][i] >= 24][:3]
    numbers = [s["speed"] / 13, (93 - s["y"]) / 93, s["velocity"] / 12, s["jumping"], s["ducking"], s["speed_drop"]]
    for i in ahead:
        high = (35, 50, 40)[s["kind"][i]]
        where = [(s["x"][i] - 68) / 600, s["width"][i] / 75, high / 50, s["top"][i] / 150, s["offset"][i] / 0.8]
        numbers += [1.0, *where]
    return numbers + [0.0] * (FEATURES - len(numbers))


def test_the_state_as_numbers() -> None:
    env = single("Dino:obs=state")
    obs, _ = env.reset(seed=1)
    for action in plan(env.snapshot()["records"], 4000, seed=1):
        assert obs in env.observation_space
        assert obs == pytest.approx(told(record(env)), abs=1e-6)
        obs, *_ = env.step(int(action))
    assert obs[0] > 0.7


def test_pixels_and_state_are_of_one_game() -> None:
    """As an agent sees it: four pictures or one state, every fourth frame, for one player and for many."""
    seen = [rlgames.make("Dino"), rlgames.make("Dino:obs=state"), rlgames.make("Dino", obs="state")]
    many = rlgames.make_vec("Dino:obs=state", 2)
    assert [env.observation_space.shape for env in seen] == [(4, 84, 84), (FEATURES,), (FEATURES,)]
    assert many.single_observation_space == seen[1].observation_space
    for env in seen:
        env.reset(seed=4)
    many.reset(seed=4)
    for action in random_actions("Dino", 2, 100):
        (_, *pixels), (state, *numbers), (same, *_) = (env.step(int(action)) for env in seen)
        rows, _, done, *_ = many.step(np.array([action, 0]))
        assert pixels == numbers
        assert np.array_equal(state, same)
        if done[0]:
            break
        assert np.array_equal(rows[0], state)


def test_options() -> None:
    slow, points = single("Dino:acceleration=false"), single("Dino:reward=score")
    for env in (slow, points):
        env.reset(seed=2)
        total, info = 0.0, {}
        for action in plan(env.snapshot()["records"], 1500, 2, env.game.name):
            _, reward, over, _, info = env.step(int(action))
            assert not over
            total += reward
            assert env is points or reward == 0.1
        assert record(env)["speed"] == pytest.approx(6 if env is slow else 7.5, abs=0.01)
        assert env is slow or total == info["score"]
    over = False
    while not over:
        _, reward, over, _, _ = slow.step(NOOP)
        assert reward == (-1 if over else 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs": "numbers"}, "expected Dino's obs to be 'pixels' or 'state', got 'numbers'"),
        ({"reward": 1}, "expected Dino's reward to be 'survival' or 'score', got 1"),
        ({"acceleration": 1}, "expected Dino's acceleration to be True or False, got 1"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_game("Dino", **options)
