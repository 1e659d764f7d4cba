"""Dino's rules against numbers read off the page, its RNG, its observed state and its options."""

from typing import Any

import numpy as np
import pytest
from helpers.dino_search import plan
from helpers.games import SplitMix64, game_of, random_actions, single
from numba import njit

import rlgames
from rlgames.engine.loops import frame_functions
from rlgames.engine.rng import seed_stream
from rlgames.engine.shapes import Fields
from rlgames.engine.single_env import GameEnv
from rlgames.envs.dino.collision import crashed
from rlgames.envs.dino.rules import DUCK, FEATURES, JUMP, NOOP
from rlgames.envs.registry import load_game


def record(env: GameEnv) -> np.void:
    return env.snapshot()["records"][0]


def env_with(seed: int = 0, **values: Any) -> GameEnv:
    """Return an environment with these fields of its record set."""
    env = single("Dino:obs=state")
    env.reset(seed=seed)
    snapshot = env.snapshot()
    for field, value in values.items():
        snapshot["records"][0][field] = value
    env.restore(snapshot)
    return env


# ---- jumps, ducks and falls ----


@pytest.mark.parametrize(
    ("speed", "held", "frames", "apex"),
    [(6, 99, 35, 2), (8.5, 99, 35, 0), (13, 99, 34, 3), (6, 6, 32, 15), (13, 4, 28, 28)],
)
def test_jump_has_the_pages_length_and_height(speed: float, held: int, frames: int, apex: int) -> None:
    env, heights = env_with(speed=speed), []
    while not heights or record(env)["jumping"]:
        env.step(JUMP if len(heights) < held else NOOP)
        heights.append(record(env)["y"])
    assert (len(heights), min(heights)) == (frames, apex)


def test_held_jump_jumps_again_after_landing() -> None:
    env, jumping = env_with(), []
    for _ in range(72):
        env.step(JUMP)
        jumping.append(int(record(env)["jumping"]))
    assert jumping == [*[1] * 34, 0, *[1] * 34, 0, 1, 1]


def test_duck_in_the_air_falls_fast_and_lands_ducking() -> None:
    env = env_with()
    for action in [JUMP] * 10 + [DUCK] * 9:
        env.step(action)
    s = record(env)
    assert (s["y"], s["jumping"], s["ducking"], s["speed_drop"]) == (93, 0, 1, 0)
    env.step(NOOP)
    assert record(env)["ducking"] == 0


# A fast fall that will end exactly on the ground, one frame before it would pass it.
EXACT_FALL = {"y": 80.0, "velocity": 4.4, "jumping": 1, "speed_drop": 1, "reached": 1, "held": DUCK, "status": 1}


def test_fast_fall_that_ends_exactly_on_the_ground_ducks_before_it_lands() -> None:
    env = env_with(**EXACT_FALL)
    env.step(DUCK)
    s = record(env)
    assert (s["y"], s["jumping"], s["ducking"], s["speed_drop"]) == (93, 1, 1, 0)
    env.step(DUCK)
    s = record(env)
    assert (s["y"], s["jumping"], s["ducking"], s["velocity"]) == (93, 0, 0, 0)


def test_fast_fall_that_ends_exactly_on_the_ground_ducks_even_at_a_crash() -> None:
    obstacle = {"obstacles": 1, "size": 1, "x": 56.0, "width": 17.0, "top": 105.0, "running": 5000.0}
    env = env_with(**EXACT_FALL, **obstacle)
    _, _, terminated, _, _ = env.step(DUCK)
    s = record(env)
    assert terminated
    assert (s["y"], s["jumping"], s["ducking"], s["speed_drop"]) == (93, 1, 1, 0)


# ---- obstacles, speed and nights ----


def test_first_obstacle_appears_after_three_seconds_and_the_speed_grows() -> None:
    env = env_with()
    assert record(env)["speed"] == 6.001
    for frame in range(1, 182):
        env.step(NOOP)
        assert (record(env)["obstacles"] > 0) == (frame == 181)
    for action in plan(env.snapshot()["records"], 2600 - 181, seed=0):
        env.step(int(action))
    s = record(env)
    assert s["speed"] == pytest.approx(8.6, abs=0.01)
    assert s["score"] == pytest.approx(0.025 * sum(6.001 + i / 1000 for i in range(2600)), abs=1)


def test_obstacles_follow_the_pages_distances_kinds_and_sizes() -> None:
    """20,000 frames survived: the gaps, kinds, heights and sizes of obstacles, and the number of nights."""
    env = env_with(seed=3)
    start = env.snapshot()["records"]
    kinds, nights, tops, sizes = [], 0, set(), set()
    last = start[0]
    for action in plan(start, 20_000, seed=3):
        assert not env.step(int(action))[2]
        s = record(env)
        n = s["obstacles"]
        for i in range(n - 1):
            assert s["x"][i + 1] - s["x"][i] - s["width"][i] >= 90
        if n and s["x"][n - 1] == 600 + (17, 25, 46)[s["kind"][n - 1]]:  # where a new one appears
            kinds.append(int(s["kind"][n - 1]))
            tops.add((kinds[-1], float(s["top"][n - 1])))
            sizes.add((kinds[-1], int(s["size"][n - 1])))
            assert kinds[-1] < 2 or s["speed"] >= 8.5
            assert s["size"][n - 1] == 1 or kinds[-1] == 0 or (kinds[-1] == 1 and s["speed"] >= 7)
        nights += s["night"] > last["night"]
        last = s
    assert nights == last["score"] // 700 >= 7
    assert last["speed"] == pytest.approx(13, abs=0.001)
    assert tops == {(0, 105.0), (1, 90.0), (2, 100.0), (2, 75.0), (2, 50.0)}
    assert sizes == {(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1)}
    assert all(len(set(three)) > 1 for three in zip(kinds, kinds[1:], kinds[2:], strict=False))


@njit
def first_crashed(records: np.ndarray) -> bool:
    return crashed(records[0])


@pytest.mark.parametrize(
    ("kind", "x", "y", "ducking", "crash"),
    [
        (0, 66, 93, 0, False),  # a small cactus in front of the feet
        (0, 50, 93, 0, True),
        (0, 50, 60, 0, False),  # jumped over
        (2, 40, 93, 0, True),  # a pterodactyl at the height of the head
        (2, 40, 93, 1, False),  # ducked under
    ],
)
def test_collision_boxes(kind: int, x: float, y: float, ducking: int, crash: bool) -> None:
    records = env_with().snapshot()["records"]
    s = records[0]
    s["obstacles"], s["kind"][0], s["size"][0], s["x"][0] = 1, kind, 1, x
    s["width"][0], s["top"][0] = (17, 25, 46)[kind], (105, 90, 75)[kind]
    s["y"], s["ducking"] = y, ducking
    assert first_crashed(records) == crash


# ---- random numbers, observations and options ----


def mulberry32(state: int) -> tuple[int, float]:
    """Return the next state and number, in Python's integers."""
    state = (state + 0x6D2B79F5) % 2**32
    t = ((state ^ state >> 15) * (state | 1)) % 2**32
    t ^= (t + (t ^ t >> 7) * (t | 61)) % 2**32
    return state, (t ^ t >> 14) / 2**32


def test_reset_seeds_the_pages_rng_from_the_environments_stream() -> None:
    """Each reset takes one number of the stream as mulberry32's state; the page's restart then draws ten numbers."""
    env, stream = single("Dino"), SplitMix64(int(seed_stream(5)))
    for seed in (5, None, None):
        env.reset(seed=seed)
        state, numbers = int(stream.uniform() * 2**32), []
        for _ in range(10):
            state, number = mulberry32(state)
            numbers.append(number)
        s = record(env)
        assert s["page_rng"] == state
        assert s["cloud_gap"][0] == int(numbers[8] * 301) + 100
        assert s["cloud_top"][0] == int(numbers[9] * 42) + 30


def plain_features(s: np.void) -> list[float]:
    visible = [i for i in range(s["obstacles"]) if s["x"][i] + s["width"][i] >= 24][:3]
    values = [s["speed"] / 13, (93 - s["y"]) / 93, s["velocity"] / 12, s["jumping"], s["ducking"], s["speed_drop"]]
    for i in visible:
        height = (35, 50, 40)[s["kind"][i]]
        values += [1.0, (s["x"][i] - 68) / 600, s["width"][i] / 75]
        values += [height / 50, s["top"][i] / 150, s["offset"][i] / 0.8]
    return values + [0.0] * (FEATURES - len(values))


def test_state_observation_equals_plain_features_and_survival_pays_a_tenth() -> None:
    env = single("Dino:obs=state")
    (obs, _), terminated = env.reset(seed=1), False
    for action in plan(env.snapshot()["records"], 4000, seed=1):
        assert obs in env.observation_space
        assert np.allclose(obs, plain_features(record(env)), rtol=0, atol=1e-6)
        obs, reward, terminated, _, _ = env.step(int(action))
        assert (reward, terminated) == (0.1, False)
    assert obs[0] > 0.7
    while not terminated:
        _, reward, terminated, _, _ = env.step(NOOP)
        assert reward == (-1 if terminated else 0.1)


def test_pixels_and_state_observe_the_same_game() -> None:
    """With the default preprocessing: four frames or one state, every fourth frame; single and vector environment."""
    envs = [rlgames.make("Dino"), rlgames.make("Dino:obs=state"), rlgames.make("Dino", obs="state")]
    vector = rlgames.make_vec("Dino:obs=state", 2)
    assert [env.observation_space.shape for env in envs] == [(4, 84, 84), (FEATURES,), (FEATURES,)]
    assert vector.single_observation_space == envs[1].observation_space
    for env in envs:
        env.reset(seed=4)
    vector.reset(seed=4)
    for action in random_actions("Dino", 2, 100):
        (_, *pixels), (state, *expected), (same, *_) = (env.step(int(action)) for env in envs)
        states, _, terminated, *_ = vector.step(np.array([action, 0]))
        assert pixels == expected
        assert np.array_equal(state, same)
        if terminated[0]:
            break
        assert np.array_equal(states[0], state)


class WritableFields(Fields):
    """A record on which Python runs rules that change it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_record":
            object.__setattr__(self, name, value)
        else:
            self._record[name] = value


def play_in_python(name: str, seed: int, steps: int) -> tuple[float, np.void]:
    """Press no key; return the sum of rewards and the last record. A variant takes long to compile."""
    game, total = game_of(name), 0.0
    reset, step = frame_functions(game.reset, game.step, game.score)
    last = np.zeros(1, game.record)[0]
    s = WritableFields(last)
    s.rng = seed_stream(seed)
    with np.errstate(over="ignore"):  # of the random numbers
        reset(s)
        for _ in range(steps):
            reward, terminated = step(s, NOOP, game.max_frames)
            assert not terminated
            total += reward
    return total, last


def test_options_fix_the_speed_and_reward_the_score() -> None:
    total, last = play_in_python("Dino:obs=state,acceleration=false,reward=score", 2, 200)
    assert total == last["score"] > 0
    assert last["speed"] == 6
    assert play_in_python("Dino:obs=state,acceleration=false", 2, 200)[0] == pytest.approx(200 * 0.1)
    assert play_in_python("Dino:obs=state", 2, 200)[1]["speed"] > 6


@pytest.mark.slow
def test_a_long_episode_at_a_fixed_speed_rewards_the_score() -> None:
    game = "Dino:obs=state,acceleration=false,reward=score"
    env = single(game)
    env.reset(seed=2)
    total, info = 0.0, {}
    for action in plan(env.snapshot()["records"], 1500, 2, game):
        _, reward, terminated, _, info = env.step(int(action))
        assert not terminated
        total += reward
    assert total == info["score"] > 0
    assert record(env)["speed"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs": "numbers"}, "expected Dino's obs to be 'pixels' or 'state', got 'numbers'"),
        ({"reward": 1}, "expected Dino's reward to be 'survival' or 'score', got 1"),
        ({"acceleration": 1}, "expected Dino's acceleration to be True or False, got 1"),
    ],
)
def test_invalid_option_raises(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_game("Dino", **options)
