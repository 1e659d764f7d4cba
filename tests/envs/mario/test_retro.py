"""Mario on the emulator of stable-retro: the rules are those on nes-py, the frames are not."""

from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, DependencyNotInstalled, ResetNeeded
from gymnasium.utils.env_checker import check_env

from rlgames.envs.mario import make_env, retro
from rlgames.envs.mario.game import game
from rlgames.envs.mario.retro import ConsoleSnapshot

for package in ("stable_retro", "nes_py", "gym_super_mario_bros"):
    if not find_spec(package):
        pytest.skip(f"needs {package}", allow_module_level=True)

RIGHT, RUN_AND_JUMP = 1, 4  # of the simple actions
TO_THE_FLAG = (  # of 1-1, each held for twelve frames; found by search
    "413144244344444314433143444443432233424133344244313324443334441443443434414434344344343334424314344341443444333"
    "4344431414443341432433344413433342344444"
)
Result = tuple[Any, ...]  # of a reset or a step


@pytest.fixture
def make(opened: ExitStack) -> Callable[..., Any]:
    """Make environments that are closed after the test, so that the next one can have the emulator."""

    def make(options: dict[str, Any], **settings: Any) -> Any:
        options = {"engine": "retro", **options}
        env = make_env(game(**options), **settings)
        opened.callback(env.close)
        return env

    return make


def assert_equal(found: list[Result], expected: list[Result]) -> None:
    for result, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(result[0], other[0])
        assert result[1:] == other[1:]


def random_results(env: gym.Env, steps: int, seed: int = 0) -> list[Result]:
    """Reset with the seed, then hold random buttons for four steps each; reset when an episode ends."""
    rng, action = np.random.default_rng(seed), 0
    results: list[Result] = [env.reset(seed=seed)]
    for t in range(steps):
        if t % 4 == 0:
            action = int(rng.choice(7, p=[0.02, 0.3, 0.2, 0.3, 0.14, 0.02, 0.02]))
        results.append(env.step(action))
        if results[-1][2] or results[-1][3]:
            results.append(env.reset())
    return results


STAGES = [(1, 1), (1, 2), (2, 3), (4, 2), (7, 4), (8, 4)]
QUICK_STARTS = [((1, 2), False), ((4, 2), True)]
STARTS = [*((stage, False) for stage in STAGES), *((stage, True) for stage in STAGES[:4])]


@pytest.mark.parametrize(
    ("stage", "lost_levels"),
    [pytest.param(*start, marks=() if start in QUICK_STARTS else pytest.mark.slow) for start in STARTS],
)
def test_a_stage_starts_as_on_the_other_emulator(
    stage: tuple[int, int], lost_levels: bool, make: Callable[..., Any]
) -> None:
    options = {"world": stage[0], "stage": stage[1], "lost_levels": lost_levels}
    obs, info = make(options).reset(seed=0)
    expected_obs, expected = make(options | {"engine": "nes-py"}).reset(seed=0)
    assert obs.shape == expected_obs.shape == (240, 256, 3)
    assert (info["world"], info["stage"]) == stage
    assert info["x_pos"] == 40
    assert set(info) == set(expected)
    assert [type(info[key]) for key in expected] == [type(value) for value in expected.values()]
    info.pop("y_pos"), expected.pop("y_pos")  # where Mario drops into the stage, he is a frame further here
    assert info == expected
    screen, expected_screen = (pixels.mean(-1)[16:224, 16:240] for pixels in (obs, expected_obs))  # without the margin
    correlations = {
        (down, right): np.corrcoef(np.roll(screen, (down, right), (0, 1)).ravel(), expected_screen.ravel())[0, 1]
        for down in (-8, 0, 8)
        for right in (-8, 0, 8)
    }
    assert max(correlations, key=lambda shift: correlations[shift]) == (0, 0), correlations
    assert correlations[0, 0] > 0.9


def test_versions_differ_in_graphics_only(make: Callable[..., Any]) -> None:
    screens = []
    for version in range(4):
        env = make({"world": 1, "stage": 1, "version": version})
        obs, info = env.reset(seed=0)
        env.close()
        assert (info["world"], info["stage"], info["x_pos"], info["time"]) == (1, 1, 40, 400)
        screens.append(obs)
    assert len({screen.tobytes() for screen in screens}) == 4


@pytest.mark.parametrize("stage", [(1, 1), (4, 3)], ids=str)
def test_rewards_follow_from_the_information(stage: tuple[int, int], make: Callable[..., Any]) -> None:
    """dx + dt - 25 at a death, clipped to [-15, 15]: recomputed from x_pos and time alone."""
    results, deaths = random_results(make({"world": stage[0], "stage": stage[1]}), 600), 0
    for (*_, last_info), result in pairwise(results):
        if len(result) == 2:
            continue
        _, reward, terminated, truncated, info = result
        moved, ticked = info["x_pos"] - last_info["x_pos"], info["time"] - last_info["time"]
        died = terminated and not info["flag_get"]
        assert reward == np.clip((moved if abs(moved) <= 5 else 0) + min(ticked, 0) - 25 * died, -15, 15)
        assert {type(value) for value in (reward, terminated, *info.values())} == {int, bool, str}
        assert not truncated
        deaths += died
    assert deaths
    assert max(info["x_pos"] for *_, info in results) > 250


def test_a_death_ends_a_stage_and_costs_a_life_of_the_whole_game(make: Callable[..., Any]) -> None:
    stage = make({"world": 1, "stage": 1})
    stage.reset(seed=0)
    rewards, terminated, info = [], False, {}
    while not terminated:
        _, reward, terminated, _, info = stage.step(RUN_AND_JUMP)
        rewards.append(reward)
    assert rewards[-1] == -15
    assert min(rewards[:-1]) >= -1
    assert (info["life"], info["flag_get"]) == (2, False)
    with pytest.raises(ResetNeeded, match="after the end of an episode"):
        stage.step(0)
    stage.close()

    whole = make({}, frame_skip=4)
    lives, terminated = [whole.reset(seed=0)[1]["life"]], False
    while not terminated:
        _, _, terminated, _, info = whole.step(RUN_AND_JUMP)
        if info["life"] != lives[-1]:
            lives.append(info["life"])
    assert lives == [2, 1, 0, 255]


def test_the_flag_ends_a_stage_and_leads_to_the_next_in_the_whole_game(make: Callable[..., Any]) -> None:
    for options, ends in (({"world": 1, "stage": 1}, True), ({}, False)):
        env = make(options, frame_skip=12)
        env.reset(seed=0)
        results = [env.step(int(action)) for action in TO_THE_FLAG]
        assert [terminated for _, _, terminated, *_ in results] == [False] * (len(results) - 1) + [ends]
        info = results[-1][-1]
        expected = (True, 1, 3161, 310) if ends else (False, 2, 40, 400)
        assert (info["flag_get"], info["stage"], info["x_pos"], info["time"]) == expected
        assert info["life"] == 2
        env.close()


def test_reset_leaves_nothing_of_the_episode_before(make: Callable[..., Any]) -> None:
    env = make({"stages": "1-1+4-2"}, frame_skip=4)
    expected = [random_results(env, 30, seed) for seed in (0, 1)]
    assert {results[0][1]["world"] for results in expected} == {1, 4}
    env.close()
    env = make({"stages": "1-1+4-2"}, frame_skip=4)
    for seed in (1, 0, 1):
        assert_equal(random_results(env, 30, seed), expected[seed])


def test_restore_continues_from_the_snapshot(make: Callable[..., Any]) -> None:
    def continue_episode(env: gym.Env) -> list[Result]:
        results: list[Result] = []
        for t in range(50):
            results.append(env.step((RIGHT, RUN_AND_JUMP)[t // 5 % 2]))
            if results[-1][2]:
                results.append(env.reset())
        return [*results, env.reset()]

    options, settings = {"stages": "1-1+4-2"}, {"frame_skip": 4, "render_mode": "rgb_array"}
    env = make(options, **settings)
    random_results(env, 20)
    snapshot, picture = env.snapshot(), env.render()
    expected = continue_episode(env)
    assert sum(len(result) == 2 for result in expected) > 1
    env.close()
    fresh = make(options, **settings)
    for _ in range(2):
        fresh.restore(snapshot)
        np.testing.assert_array_equal(fresh.render(), picture)
        assert_equal(continue_episode(fresh), expected)
    with pytest.raises(ValueError, match="this snapshot is of Mario:stages=1-1"):
        make({"world": 1, "stage": 1}).restore(snapshot)


def test_snapshot_before_the_first_reset_holds_the_rng(make: Callable[..., Any]) -> None:
    env = make({"stages": "1-1+4-2"})
    env.np_random.random()
    snapshot = env.snapshot()
    expected = [env.reset() for _ in range(4)]
    env.close()
    fresh = make({"stages": "1-1+4-2"})
    fresh.restore(snapshot)
    with pytest.raises(ResetNeeded, match="before the first reset"):
        fresh.step(0)
    assert_equal([fresh.reset() for _ in range(4)], expected)


def test_snapshot_holds_the_steps_without_progress(make: Callable[..., Any]) -> None:
    env = make({"world": 1, "stage": 1, "patience": 8})
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    snapshot = env.snapshot()
    for _ in range(2):
        assert [env.step(0)[3] for _ in range(3)] == [False, False, True]
        env.restore(snapshot)


def test_restore_refuses_a_state_that_is_not_the_emulators(make: Callable[..., Any]) -> None:
    env = make({"world": 1, "stage": 1})
    _, info = env.reset(seed=0)
    console = env._mario.nes
    with pytest.raises(ValueError, match="expected a state of this emulator"):
        console.restore(ConsoleSnapshot(b"nothing", console.screen))
    assert env.step(0)[-1]["world"] == info["world"]


def test_passes_gymnasiums_check_env() -> None:
    env = gym.make("rlgames/Mario-v0", world=1, stage=2, engine="retro")
    try:
        check_env(env.unwrapped, skip_render_check=True)
    finally:
        env.close()
    for call in (env.unwrapped.reset, lambda: env.unwrapped.step(0)):
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            call()


def test_a_second_emulator_in_the_process_is_refused(make: Callable[..., Any]) -> None:
    first, second = make({"world": 1, "stage": 1}), make({"world": 1, "stage": 2})
    first.reset(seed=0)
    remedy = r"it allows one: close\(\) that environment before, make several with rlgames.make_vec"
    with pytest.raises(RuntimeError, match=remedy):
        second.reset(seed=0)
    first.step(RIGHT)
    first.close()
    assert second.reset(seed=0)[1]["stage"] == 2


def test_invalid_options_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected an engine of nes-py, retro, got 'mame'"):
        game(engine="mame")
    with pytest.raises(ValueError, match="expected no threads, got 2"):
        gym.make_vec("rlgames/Mario-v0", 2, engine="retro", threads=2)
    assert game(world=1, stage=1, engine="retro").name == "Mario:world=1,stage=1,engine=retro"
    assert game(engine="nes-py") == game()
    monkeypatch.setattr(retro, "find_spec", lambda name: None)
    with pytest.raises(DependencyNotInstalled, match=r"needs stable-retro: pip install .*retro"):
        make_env(game(engine="retro"))
