"""ChromeDino in the browser equals the simulator, and itself in another browser.

Most tests share one browser tab, so that they also test that a reset leaves nothing of the episodes before.
"""

import copy
import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import cloudpickle
import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from helpers.chrome import chrome_dino, skip_without_browser, state_differences
from helpers.vector_envs import final_rows

import rlgames
from rlgames.envs.chrome_dino import episodes
from rlgames.envs.chrome_dino import page as page_module
from rlgames.envs.chrome_dino.browser import Browser
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.chrome_dino.page import NOOP, OBSTACLE_FIELDS, RESET, SCALAR_FIELDS, Command, DinoPage
from rlgames.envs.dino.rules import RECORD
from rlgames.envs.registry import load_game

skip_without_browser()

JUMP, DUCK = 1, 2
N = 3  # environments of a vector environment


class SharedPage:
    """A page for an environment that does not close it."""

    def __init__(self, page: DinoPage):
        self.step, self.render, self._page, self.browser = page.step, page.render, page._page, page.browser

    def close(self) -> None:
        pass


def instrumented_script() -> str:
    """Return the page's script with `paintAll`, which makes the canvas paint all frames, and `painted`, their count."""
    compose, paint = "compose(runner.canvasCtx.calls || [])", "if (count < 0) {"
    script = page_module.script()
    assert script.count(compose) == script.count(paint) == 1
    script = script.replace(compose, f"window.paintAll ? -1 : {compose}")
    return script.replace(paint, f"{paint}window.painted++;")


@pytest.fixture(scope="module")
def page() -> Iterator[DinoPage]:
    with pytest.MonkeyPatch.context() as patch:
        script = instrumented_script()
        patch.setattr(page_module, "script", lambda: script)
        page = DinoPage(load_game("ChromeDino"), N)
    yield page
    page.close()


@pytest.fixture
def shared(page: DinoPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All environments of this test use the shared page."""

    def start(game: ChromeDinoGame, count: int, *, visible: bool) -> SharedPage:
        assert (game.acceleration, game.real_time, visible) == (True, False, False)
        assert count <= N
        return SharedPage(page)

    monkeypatch.setattr(episodes, "DinoPage", start)


def random_keys(seed: int, frames: int, num_envs: int | None = None) -> np.ndarray:
    """Return actions that are held for 8 frames each."""
    size = frames // 8 + 1 if num_envs is None else (frames // 8 + 1, num_envs)
    return np.random.default_rng(seed).choice(3, p=[0.4, 0.4, 0.2], size=size).repeat(8, axis=0)[:frames]


# ---- equal to the simulator ----


def check_against_simulator(env: Any, options: dict[str, Any], keys: int, frames: int) -> np.void:
    """Compare observations, rewards, scores and states number by number; return the simulator's last record."""
    settings: dict[str, Any] = {"obs": "state", "frame_skip": env.frame_skip}
    simulator: Any = gym.make("rlgames/Dino-v0", **settings, **options).unwrapped
    np.testing.assert_array_equal(env.reset(seed=3)[0], simulator.reset(seed=3)[0])
    ends = 0
    for action in random_keys(keys, frames // env.frame_skip):
        found, expected = env.step(action), simulator.step(action)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1:] == expected[1:]
        assert not state_differences(simulator._state.records, env._state.records)
        if found[2]:
            ends += 1
            np.testing.assert_array_equal(env.reset()[0], simulator.reset()[0])
    assert ends >= 2
    return simulator._state.records[0].copy()


def test_states_rewards_and_scores_equal_the_simulators(shared: None) -> None:
    check_against_simulator(chrome_dino(obs="state"), {}, keys=3, frames=600)


@pytest.mark.slow  # compiles another variant of the simulator
def test_without_acceleration_and_with_score_rewards_it_equals_the_simulator(opened: ExitStack) -> None:
    options: dict[str, Any] = {"acceleration": False, "reward": "score"}
    env = chrome_dino(obs="state", frame_skip=3, **options)
    opened.callback(env.close)
    record = check_against_simulator(env, options, keys=5, frames=600)
    assert record["speed"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"acceleration": False, "reward": "score"}], ids=str)
def test_every_frame_of_many_episodes_equals_the_simulators(options: dict[str, Any], opened: ExitStack) -> None:
    env = chrome_dino(obs="state", **options)
    opened.callback(env.close)
    check_against_simulator(env, options, keys=0, frames=5000)


def test_states_have_the_simulators_fields() -> None:
    """Fields are matched by name: a renamed one would not be compared, nor observed."""
    names = set(RECORD.names or ())
    assert set(SCALAR_FIELDS) - names == {"frames", "crashed", "points"}
    assert set(OBSTACLE_FIELDS) <= names


@pytest.mark.parametrize("limit", [None, 30])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_env_autoresets_like_the_simulators(mode: AutoresetMode, limit: int | None, shared: None) -> None:
    """Those equal Gymnasium's SyncVectorEnv, see tests/engine/test_autoreset.py."""
    settings: dict[str, Any] = {"autoreset_mode": mode, "frame_skip": 4, "max_episode_steps": limit, "obs": "state"}
    envs, simulators = (gym.make_vec(f"rlgames/{name}-v0", N, **settings) for name in ("ChromeDino", "Dino"))
    np.testing.assert_array_equal(envs.reset(seed=11)[0], simulators.reset(seed=11)[0])
    ends = 0
    for actions in random_keys(1, 130 if limit is None else 40, N):
        (*found, info), (*expected, expected_info) = envs.step(actions), simulators.step(actions)
        for array, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, other)
        assert set(info) == set(expected_info)
        np.testing.assert_array_equal(info["score"], expected_info["score"])
        done = found[2] | found[3]
        ends += done.sum()
        if "final_obs" in info:
            np.testing.assert_array_equal(info["_final_obs"], done)
            np.testing.assert_array_equal(final_rows(info), final_rows(expected_info))
            final, expected_final = info["final_info"]["score"], expected_info["final_info"]["score"]
            np.testing.assert_array_equal(final[done], expected_final[done])
        if mode is AutoresetMode.DISABLED and done.any():
            with pytest.raises(ResetNeeded, match="over"):
                envs.step(actions)
            obs, _ = envs.reset(options={"reset_mask": done})
            np.testing.assert_array_equal(obs, simulators.reset(options={"reset_mask": done})[0])
    assert ends >= N


# ---- equal to itself ----


def test_environments_of_a_vector_env_equal_single_ones(shared: None) -> None:
    """With the default preprocessing: four frames a step, a stack of four."""
    envs = rlgames.make_vec("ChromeDino", N)
    first = envs.reset(seed=5)[0]
    assert first.shape == (N, 4, 84, 84)
    actions = random_keys(2, 40, N)
    history = [first.copy()]
    for row in actions:
        obs, _, terminated, *_ = envs.step(row)
        history.append(np.where(terminated[:, None, None, None], 0, obs))
    assert all((obs != next_obs).any() for obs, next_obs in pairwise(history))
    for i in range(N):
        env = rlgames.make("ChromeDino")
        np.testing.assert_array_equal(env.reset(seed=5 + i)[0], first[i])
        for t, action in enumerate(actions[:, i]):
            obs, _, terminated, *_ = env.step(int(action))
            if terminated:
                break
            np.testing.assert_array_equal(obs, history[t + 1][i])


def digest_of_two_episodes(env: Any) -> str:
    digest = hashlib.sha256()
    for seed in (7, None):
        digest.update(env.reset(seed=seed)[0].tobytes())
        for action in random_keys(4, 80):
            obs, reward, terminated, _, info = env.step(action)
            digest.update(obs.tobytes() + json.dumps([reward, terminated, info]).encode())
            if terminated:
                break
    return digest.hexdigest()


def test_pixels_are_the_same_in_every_episode_with_a_seed(shared: None) -> None:
    env = chrome_dino(frame_skip=4)
    assert digest_of_two_episodes(env) == digest_of_two_episodes(env)


@pytest.mark.slow  # `test_human_mode_shows_the_same_episode` compares two browsers too
def test_pixels_are_the_same_in_a_fresh_browser(
    shared: None, monkeypatch: pytest.MonkeyPatch, opened: ExitStack
) -> None:
    expected = digest_of_two_episodes(chrome_dino(frame_skip=4))
    monkeypatch.undo()
    fresh = chrome_dino(frame_skip=4)
    opened.callback(fresh.close)
    assert digest_of_two_episodes(fresh) == expected


# ---- observations and pictures ----


def test_pixels_are_area_means_of_the_rendered_picture(shared: None) -> None:
    """Both are inverted at night."""
    env = chrome_dino(render_mode="rgb_array", frame_skip=4)
    assert env.metadata["render_fps"] == 15
    assert env.render() is None
    obs, _ = env.reset(seed=0)
    for _ in range(60):
        obs = env.step(NOOP)[0]
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((150, 600, 3), np.uint8)
    assert np.median(picture) == 255
    mean = cv2.resize(picture[..., 0], (84, 84), interpolation=cv2.INTER_AREA)
    assert np.abs(obs.astype(int) - mean).max() <= 1
    env._state.page._page.evaluate("Runner.getInstance().inverted = true")
    np.testing.assert_array_equal(env.render(), 255 - picture)
    env.reset(seed=0)
    assert np.median(env.render()) == 255


def test_vector_env_renders_one_picture_of_each_environment(shared: None) -> None:
    envs: Any = gym.make_vec("rlgames/ChromeDino-v0", N, render_mode="rgb_array", obs="state")
    assert envs.render() is None
    envs.reset(seed=0)
    for _ in range(10):
        envs.step(np.array([NOOP, JUMP, DUCK]))
    standing, jumping, ducking = envs.render()
    assert standing.shape == (150, 600, 3)
    assert (standing != jumping).any()
    assert (standing != ducking).any()


def check_composed_pixels(page: DinoPage, steps: int) -> None:
    """Run an episode with a night twice: painted by the canvas, and composed of sprites."""
    runs = []
    try:
        for paint_all in ("true", "false"):
            page._page.evaluate(f"window.painted = 0; window.paintAll = {paint_all}")
            page.step([[RESET, 7]])
            page._page.evaluate("Runner.getInstance().distanceRan = 690 / 0.025")  # shortly before the night
            commands: list[Command] = [[int(action), 2, 9 + t, 0] for t, action in enumerate(random_keys(0, steps))]
            runs.append(np.concatenate([page.step([command], pixels=True)["pixels"] for command in commands]))
    finally:
        page._page.evaluate("window.paintAll = false")
    np.testing.assert_array_equal(*runs)
    assert (runs[0].mean((1, 2)) < 128).sum() > 50
    assert 0 < page._page.evaluate("window.painted") < 60  # while the moon fades in and out


def test_composed_pixels_equal_those_of_the_canvas(page: DinoPage) -> None:
    check_composed_pixels(page, steps=120)


@pytest.mark.slow
def test_composed_pixels_of_a_whole_night_equal_those_of_the_canvas(page: DinoPage) -> None:
    check_composed_pixels(page, steps=400)


def test_stack_skipped_observes_all_frames_of_a_step(shared: None) -> None:
    frame_by_frame, actions = chrome_dino(), random_keys(1, 24)
    first, _ = frame_by_frame.reset(seed=3)
    frames = [frame_by_frame.step(action)[0] for action in actions[::8].repeat(3)]
    env = rlgames.make("ChromeDino", pixels=rlgames.Pixels(skip=3, stack_skipped=True))
    obs, _ = env.reset(seed=3)
    assert env.observation_space.contains(obs)
    np.testing.assert_array_equal(obs[-1], first)
    for t, action in enumerate(actions[::8]):
        np.testing.assert_array_equal(env.step(action)[0], frames[3 * t : 3 * t + 3])


def test_frame_skip_sums_rewards_and_max_pools_the_last_two_frames(shared: None) -> None:
    frame_by_frame, env = chrome_dino(), chrome_dino(frame_skip=4, max_pool=True)
    frame_by_frame.reset(seed=1)
    frames = [frame_by_frame.step(JUMP)[:2] for _ in range(32)]
    env.reset(seed=1)
    for t in range(0, 32, 4):
        obs, reward, *_ = env.step(JUMP)
        np.testing.assert_array_equal(obs, np.maximum(frames[t + 2][0], frames[t + 3][0]))
        assert reward == sum(reward for _, reward in frames[t : t + 4])


def test_passes_gymnasiums_check_env(shared: None) -> None:
    check_env(chrome_dino(), skip_render_check=True)
    env = chrome_dino(obs="state")
    assert env.observation_space.shape == (24,)
    assert env.get_keys_to_action() == {("w",): JUMP, ("s",): DUCK}


# ---- pickles and copies ----


def with_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def with_cloudpickle(value: Any) -> Any:
    return cloudpickle.loads(cloudpickle.dumps(value))


@pytest.mark.parametrize("duplicate", [with_pickle, with_cloudpickle, copy.deepcopy])
def test_pickles_and_copies_are_environments_as_they_were_made(duplicate: Callable[[Any], Any], shared: None) -> None:
    """A browser has no snapshot: they start with reset(), also while the original plays."""
    options: dict[str, Any] = {"obs": "state", "reward": "score", "frame_skip": 3, "max_episode_steps": 20}
    make = {
        "single": lambda: gym.make("rlgames/ChromeDino-v0", **options),
        "vector": lambda: gym.make_vec("rlgames/ChromeDino-v0", N, autoreset_mode="Disabled", **options),
        "pixels": lambda: rlgames.make("ChromeDino"),
        "pixels of a vector env": lambda: rlgames.make_vec("ChromeDino", N),
    }
    for kind in make:
        env = make[kind]()
        action = np.ones(N, np.int64) if "vector" in kind else JUMP
        env.reset(seed=1)
        other = duplicate(env)
        with pytest.raises(ResetNeeded, match="before the first reset"):
            other.unwrapped.step(action)
        assert other.unwrapped.spec == env.unwrapped.spec
        runs = []
        for each in (env, other):
            first = each.reset(seed=2)[0].copy()
            runs.append([first, *(each.step(action) for _ in range(20))])
        np.testing.assert_equal(runs[0], runs[1])


# ---- errors ----


def test_step_refuses_invalid_actions_and_calls_out_of_order(shared: None) -> None:
    env, envs = chrome_dino(obs="state"), gym.make_vec("rlgames/ChromeDino-v0", N, obs="state")
    for each, action in ((env, 0), (envs, np.zeros(N, np.int64))):
        with pytest.raises(ResetNeeded, match="before the first reset"):
            each.step(action)
        each.reset(seed=0)
    for action in (3, -1, 1.5, "jump"):
        expected = r"invalid action .* for ChromeDino:obs=state: expected 0 \(noop\), 1 \(jump\) or 2 \(duck\)"
        with pytest.raises(ValueError, match=expected):
            env.step(action)
    with pytest.raises(ValueError, match="invalid action"):
        envs.step(np.full(N, 3))
    while not env.step(NOOP)[2]:
        pass
    with pytest.raises(ResetNeeded, match="is over"):
        env.step(NOOP)
    with pytest.raises(ResetNeeded, match="before resetting some"):
        gym.make_vec("rlgames/ChromeDino-v0", N).reset(options={"reset_mask": np.array([True, False, False])})
    for each in (env, envs):
        each.close()
        each.close()
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            each.reset()
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            each.step(NOOP)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs": "sound"}, "obs to be 'pixels' or 'state', got 'sound'"),
        ({"reward": "fame"}, "reward to be 'survival' or 'score', got 'fame'"),
        ({"acceleration": 2}, "acceleration to be True or False, got 2"),
        ({"real_time": 1}, "real_time to be True or False, got 1"),
        ({"obs": "state", "max_pool": True, "frame_skip": 2}, "max_pool is for pixels"),
        ({"frame_skip": 0}, "frame_skip >= 1, got 0"),
    ],
)
def test_invalid_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chrome_dino(**options)


# ---- at the pace of the screen ----


def test_human_mode_shows_the_same_episode(shared: None, monkeypatch: pytest.MonkeyPatch, opened: ExitStack) -> None:
    """The browser is headless here: not every machine has a display."""
    env = chrome_dino(frame_skip=4)
    expected = [env.reset(seed=6)[0], *(env.step(JUMP)[0] for _ in range(8))]
    monkeypatch.undo()
    monkeypatch.setattr(page_module, "Browser", lambda code, headless, **paths: Browser(code, **paths))
    visible = chrome_dino(frame_skip=4, render_mode="human")
    opened.callback(visible.close)
    np.testing.assert_array_equal(visible.reset(seed=6)[0], expected[0])
    for obs in expected[1:]:
        np.testing.assert_array_equal(visible.step(JUMP)[0], obs)
    assert visible.render() is None


def test_real_time_steps_by_the_pages_clock(opened: ExitStack) -> None:
    env = chrome_dino(real_time=True, frame_skip=4)
    opened.callback(env.close)
    obs, info = env.reset()
    total, terminated, scores = 0.0, False, [info["score"]]
    for t in range(20):
        obs, reward, terminated, _, info = env.step(JUMP if t % 10 == 5 else NOOP)
        assert env.observation_space.contains(obs)
        total += reward
        scores.append(info["score"])
        if terminated:  # only on a slow machine: the first three seconds have no obstacles
            break
    assert total > 0 or terminated
    assert scores == sorted(scores)
    assert scores[-1] > 0
    env.reset()


def test_vector_env_in_real_time_is_refused() -> None:
    with pytest.raises(ValueError, match="real_time=False for a vector environment"):
        gym.make_vec("rlgames/ChromeDino-v0", 2, real_time=True)
