"""Mario on our own NES as a game of the compiled engine: batches, threads, snapshots, pictures."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import rlgames
from rlgames.envs.mario import game, make_env, make_vector_env

if find_spec("gym_super_mario_bros") is None:
    pytest.skip("needs the ROMs of gym-super-mario-bros", allow_module_level=True)

STAGES = "1-1+4-2+8-1"
RIGHT_B = 3


def random_actions(steps: int, num_envs: int) -> np.ndarray:
    """Return actions (steps, num_envs) that are held for three steps, most of them to the right."""
    rng = np.random.default_rng(0)
    held = rng.choice(7, (steps // 3 + 1, num_envs), p=[0.05, 0.2, 0.2, 0.3, 0.2, 0.03, 0.02])
    return held.repeat(3, axis=0)[:steps]


def assert_equal(found: Any, expected: Any) -> None:
    for array, other in zip(found[:4], expected[:4], strict=True):
        np.testing.assert_array_equal(array, other)
    for key in expected[4].keys() - {"final_info"}:
        np.testing.assert_array_equal(found[4][key], expected[4][key])


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_results_do_not_depend_on_the_threads(mode: AutoresetMode) -> None:
    settings: dict[str, Any] = {"frame_skip": 8, "grey": True, "size": (42, 42), "autoreset_mode": mode}
    sides = [make_vector_env(game(stages=STAGES, patience=8), 5, threads=n, **settings) for n in (1, 3)]
    obs = [envs.reset(seed=3)[0] for envs in sides]
    np.testing.assert_array_equal(*obs)
    ends = 0
    for actions in random_actions(60, 5):
        results = [envs.step(actions) for envs in sides]
        assert_equal(*results)
        done = results[0][2] | results[0][3]
        ends += done.sum()
        if mode is AutoresetMode.DISABLED and done.any():
            obs = [envs.reset(options={"reset_mask": done})[0] for envs in sides]
            np.testing.assert_array_equal(*obs)
            np.testing.assert_array_equal(obs[0][~done], results[0][0][~done])
    assert ends > 5


@pytest.mark.parametrize("obs", ["pixels", pytest.param("ram", marks=pytest.mark.slow), "tiles"])
def test_an_environment_continues_from_a_snapshot_bit_for_bit(obs: str) -> None:
    """In the middle of episodes, and as often as it is wanted; batches that were never reset too."""
    name = f"Mario:stages={STAGES},obs={obs},patience=20"
    envs: Any = rlgames.make_vec(name, 3)
    envs.reset(seed=1)
    actions = random_actions(50, 3)
    for row in actions[:20]:
        envs.step(row)
    snapshot = envs.snapshot()
    expected = [envs.step(row) for row in actions[20:]]
    assert sum((result[2] | result[3]).sum() for result in expected)
    fresh: Any = rlgames.make_vec(name, 3)
    for _ in range(2):
        fresh.restore(snapshot)
        for row, result in zip(actions[20:], expected, strict=True):
            assert_equal(fresh.step(row), result)


def test_snapshots_hold_any_number_of_moments() -> None:
    env: Any = make_env(game(world=1, stage=1), frame_skip=4, render_mode="rgb_array")
    env.reset(seed=0)
    moments = []
    for action in random_actions(25, 1)[:, 0]:
        env.step(int(action))
        moments.append((env.snapshot(), env.render()))
    for state, picture in moments[::-1]:
        env.restore(state)
        np.testing.assert_array_equal(env.render(), picture)
    assert len({picture.tobytes() for _, picture in moments}) == len(moments)


def test_a_snapshot_of_another_stage_is_named() -> None:
    envs: list[Any] = [make_env(game(world=1, stage=stage)) for stage in (1, 2)]
    envs[0].reset(seed=0)
    with pytest.raises(ValueError, match=r"this snapshot is of 1 environments of Mario:world=1,stage=1, expected") as e:
        envs[1].restore(envs[0].snapshot())
    assert "\n" not in str(e.value)


def test_observing_changes_nothing() -> None:
    """A picture is drawn by emulating the last frame again, on a copy."""
    env: Any = make_env(game(world=1, stage=1), frame_skip=4, render_mode="rgb_array")
    obs = env.reset(seed=0)[0]
    for _ in range(15):
        before = env.snapshot()["records"].copy()
        for _ in range(2):
            np.testing.assert_array_equal(env.render(), obs)
        assert env.snapshot()["records"].tobytes() == before.tobytes()
        obs = env.step(RIGHT_B)[0]


def test_the_memory_is_observed() -> None:
    env: Any = make_env(game(world=1, stage=2, obs="ram"))
    obs, info = env.reset(seed=0)
    assert obs.shape == (2048,)
    assert obs in env.observation_space
    for _ in range(60):
        obs, *_, info = env.step(RIGHT_B)
    assert 256 * int(obs[0x6D]) + int(obs[0x86]) == info["x_pos"] > 100
    np.testing.assert_array_equal(obs, env.snapshot()["records"]["console"]["ram"][0])


def draw_tiles(obs: np.ndarray) -> list[str]:
    return ["".join({0: ".", 64: "#", 128: "o", 192: "E", 255: "M"}[value] for value in row) for row in obs.tolist()]


def test_the_tiles_around_mario_are_observed() -> None:
    """At the start of 3-1, as the screen shows it: question blocks, a turtle with wings, the end of the screen."""
    env: Any = make_env(game(world=3, stage=1, obs="tiles"))
    rows = draw_tiles(env.reset(seed=0)[0])
    assert rows[9:] == ["################"] or rows[11:] == ["################"] * 2
    info: dict[str, Any] = {"x_pos": 0}
    obs = np.empty(0)
    while info["x_pos"] < 274:
        obs, *_, info = env.step(RIGHT_B)
    assert draw_tiles(obs)[6:] == [
        "........#..#....",
        ".....#.........#",
        ".............E..",
        "................",
        "......M.........",
        "################",
        "################",
    ]


def test_kills_and_power_ups_are_counted() -> None:
    """Points follow each kill, and Mario grows or gets fire with each power-up and with nothing else."""
    num_envs, rng = 64, np.random.default_rng(0)
    envs = make_vector_env(game(stages="2-1+3-1+4-1", obs="ram"), num_envs, autoreset_mode="SameStep")
    envs.reset(seed=0)
    held, infos, ends = np.zeros(num_envs, np.int64), [], []
    for t in range(400):
        if t % 8 == 0:
            held = np.where(rng.random(num_envs) < 0.7, rng.choice([1, 2, 3, 4, 4, 4, 5, 6], num_envs), held)
        *_, terminated, _, info = envs.step(held)
        infos.append(info)
        ends.append(terminated)
    kills, power_ups, score, status = (
        np.array([info[key] for info in infos]) for key in ("kills", "power_ups", "score", "status")
    )
    counted = 0
    for t, i in np.argwhere(np.diff(kills, axis=0) > 0):
        if t + 11 < len(ends) and not np.array(ends)[t : t + 11, i].any():
            assert score[t + 9, i] >= score[t, i] + 100
            counted += 1
    assert counted > 10
    assert power_ups.any()
    grown = (status[1:] != status[:-1]) & (status[1:] != "small")
    np.testing.assert_array_equal(np.argwhere(grown), np.argwhere(np.diff(power_ups, axis=0) > 0))
