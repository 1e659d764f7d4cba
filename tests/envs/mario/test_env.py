"""Mario equals gym-super-mario-bros frame by frame, by traces of the unmodified package (`record_traces.py`).

In a trace, buttons drawn with RandomState(0) are held for six frames each; every reward, termination and information
and every tenth screen go into one digest.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, DependencyNotInstalled, ResetNeeded
from gymnasium.utils.env_checker import check_env

import rlgames
from rlgames.envs.mario import make_env, nes_py
from rlgames.envs.mario.game import ACTIONS, OBSERVATIONS, game
from rlgames.envs.mario.rules import area_of
from rlgames.envs.registry import load_game

if find_spec("gym_super_mario_bros") is None:
    pytest.skip("needs the ROMs of gym-super-mario-bros", allow_module_level=True)

TRACES = json.loads((Path(__file__).parent / "traces.json").read_text())
CODES = [0, 128, 129, 130, 131, 1, 64, 65, 66, 67, 32, 16]
CHANCES = [0.02, 0.2, 0.2, 0.2, 0.22, 0.02, 0.02, 0.02, 0.02, 0.02, 0.04, 0.02]
QUICK = ({"version": 3},)  # the whole game, in which a life is lost; with nes-py the other traces are slow
NOTHING, RIGHT, RIGHT_B, RIGHT_A_B, LEFT = 0, 1, 3, 4, 6  # actions
needs_nes_py = pytest.mark.skipif(find_spec("nes_py") is None, reason="needs nes-py")
on_both = pytest.mark.parametrize("engine", ["nes", pytest.param("nes-py", marks=needs_nes_py)])


@pytest.fixture
def make(opened: ExitStack) -> Callable[..., Any]:
    """Make environments that are closed after the test."""

    def make(options: dict[str, Any], **settings: Any) -> Any:
        env = make_env(game(**options), **settings)
        opened.callback(env.close)
        return env

    return make


# ---- equal to the original ----


def trace_parameters() -> list[Any]:
    return [
        pytest.param(
            engine,
            trace,
            id=",".join([engine, *(f"{key}={value}" for key, value in trace["options"].items())]),
            marks=[] if engine == "nes" else [needs_nes_py] + [pytest.mark.slow] * (trace["options"] not in QUICK),
        )
        for engine in ("nes", "nes-py")
        for trace in TRACES
    ]


def add_step(digest: Any, trace: dict[str, Any], reward: Any, terminated: Any, info: dict[str, Any]) -> dict[str, Any]:
    """Add a step to the digest; return its information without the keys that the original does not have."""
    assert reward == int(reward)
    info = {key: info[key] for key in trace["info"]}
    digest.update(json.dumps([int(reward), terminated, info], sort_keys=True).encode())
    assert {type(value) for value in (terminated, *info.values())} == {int, bool, str}
    return info


@pytest.mark.parametrize(("engine", "trace"), trace_parameters())
def test_random_episodes_equal_the_originals(engine: str, trace: dict[str, Any], make: Callable[..., Any]) -> None:
    env = make({"actions": "all", "engine": engine, **trace["options"]})
    rng, digest = np.random.RandomState(0), hashlib.sha256()
    total, ends, held, info = 0, 0, 0, {}
    digest.update(env.reset(seed=0)[0].tobytes())
    for frame in range(trace["frames"]):
        if frame % 6 == 0:
            held = CODES[int(rng.choice(12, p=CHANCES))]
        obs, reward, terminated, truncated, info = env.step(held)
        info = add_step(digest, trace, reward, terminated, info)
        if frame % 10 == 0:
            digest.update(obs.tobytes())
        total, ends = total + reward, ends + terminated
        assert not truncated
        if terminated:
            digest.update(env.reset()[0].tobytes())
    assert (total, ends, info) == (trace["reward"], trace["ends"], trace["info"])
    assert digest.hexdigest() == trace["sha256"]


@on_both
def test_an_episode_to_the_flag_equals_the_originals(engine: str, make: Callable[..., Any]) -> None:
    """Found by an agent: every reward and information to the end of the stage, and the last screen."""
    trace = json.loads((Path(__file__).parent / "flag_trace.json").read_text())
    env = make({"engine": engine, **trace["options"]})
    digest, total, frames, terminated, info = hashlib.sha256(), 0, 0, False, {}
    obs, _ = env.reset(seed=0)
    digest.update(obs.tobytes())
    for action in "".join(trace["held"]):
        for _ in range(4):
            if not terminated:
                obs, reward, terminated, _, info = env.step(int(action))
                info = add_step(digest, trace, reward, terminated, info)
                total, frames = total + reward, frames + 1
    digest.update(obs.tobytes())
    assert info["flag_get"]
    assert (total, frames, info) == (trace["reward"], trace["frames"], trace["info"])
    assert digest.hexdigest() == trace["sha256"]


@needs_nes_py
def test_neither_old_gym_nor_the_packages_are_imported() -> None:
    code = (
        "import sys, rlgames; rlgames.make('Mario:engine=nes-py').reset(); "
        "print({'gym', 'nes_py', 'gym_super_mario_bros', 'pyglet'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# ---- episodes ----


@on_both
def test_passes_gymnasiums_check_env(engine: str, opened: ExitStack) -> None:
    env = gym.make("rlgames/Mario-v0", world=1, stage=2, engine=engine)
    opened.callback(env.close)
    check_env(env.unwrapped, skip_render_check=True)
    assert env.reset(seed=0)[1]["stage"] == 2


@on_both
def test_reset_leaves_nothing_of_the_episode_before(engine: str, make: Callable[..., Any]) -> None:
    """An exact resume depends on it."""
    options = {"world": 1, "stage": 1, "engine": engine}
    env = make(options, frame_skip=4)
    env.reset(seed=0)
    while not env.step(RIGHT_B)[2]:
        pass
    found = [env.reset(seed=1), *(env.step(RIGHT_A_B) for _ in range(10))]
    fresh = make(options, frame_skip=4)
    for result, expected in zip(found, [fresh.reset(seed=1), *(fresh.step(RIGHT_A_B) for _ in range(10))], strict=True):
        np.testing.assert_array_equal(result[0], expected[0])
        assert result[1:] == expected[1:]


@on_both
def test_reset_draws_a_stage(engine: str, make: Callable[..., Any]) -> None:
    env = make({"stages": "1-1+4-2", "engine": engine})
    seeds = (*range(8), 0)
    drawn = [tuple(env.reset(seed=seed)[1][key] for key in ("world", "stage")) for seed in seeds]
    assert set(drawn) == {(1, 1), (4, 2)}
    assert drawn[0] == drawn[-1]


def test_stages_are_listed_by_name() -> None:
    assert len(load_game("Mario", stages="all").targets) == 32
    assert load_game("Mario", stages=("8-4",)).targets == ((8, 4),)
    assert game(stages=["1-1", "4-2"]).targets == ((1, 1), (4, 2))


@on_both
def test_patience_truncates_after_steps_without_progress(engine: str, make: Callable[..., Any]) -> None:
    """Counted from the information: a pause that is allowed, and one that is too long."""
    actions = [*[RIGHT] * 4, *[NOTHING] * 5, *[RIGHT] * 5, *[LEFT] * 3, *[RIGHT] * 5, *[NOTHING] * 20]
    options = {"world": 1, "stage": 1, "engine": engine}
    env = make(options | {"patience": 6}, frame_skip=4)
    results: list[Any] = [env.reset(seed=0)]
    furthest = results[0][1]["x_pos"]
    idle = pauses = 0
    truncated = False
    for action in actions:
        results.append(env.step(action))
        *_, truncated, info = results[-1]
        idle = 0 if info["x_pos"] > furthest else idle + 1
        pauses += idle == 1
        furthest = max(furthest, info["x_pos"])
        assert truncated == (idle == 6)
        if truncated:
            break
    assert truncated
    assert pauses > 1
    with pytest.raises(ResetNeeded):
        env.step(NOTHING)
    env.reset()
    assert [env.step(NOTHING)[3] for _ in range(6)] == [False] * 5 + [True]
    patient = make(options, frame_skip=4)
    patient.reset(seed=0)
    for action, (obs, *rest, _, info) in zip(actions, results[1:], strict=False):
        expected, *expected_rest, truncated, expected_info = patient.step(action)
        np.testing.assert_array_equal(obs, expected)
        assert (rest, info, truncated) == (expected_rest, expected_info, False)


@on_both
def test_max_episode_steps_truncates_after_so_many_steps(engine: str, make: Callable[..., Any]) -> None:
    env = make({"world": 1, "stage": 1, "engine": engine}, frame_skip=2, max_episode_steps=3)
    for _ in range(2):
        env.reset(seed=0)
        assert [env.step(NOTHING)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
        with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
            env.step(NOTHING)


# ---- observations ----


@on_both
def test_frame_skip_sums_rewards_and_max_pools_the_last_two_frames(engine: str, make: Callable[..., Any]) -> None:
    """Compared with single frames until a death; grey is OpenCV's, computed before the maximum."""
    options = {"world": 1, "stage": 1, "engine": engine}
    actions = [1, 4, 4, 2, 1, 4, *[RIGHT_B] * 60]
    frame_by_frame = make(options)
    frame_by_frame.reset(seed=0)
    steps: list[list[Any]] = []
    while not (steps and steps[-1][-1][2]):
        steps.append([])
        while len(steps[-1]) < 4 and not (steps[-1] and steps[-1][-1][2]):
            steps[-1].append(frame_by_frame.step(actions[len(steps) - 1]))
    for max_pool, grey in ((False, False), (True, False), (True, True)):
        env = make(options, frame_skip=4, max_pool=max_pool, grey=grey)
        assert env.observation_space.shape == ((240, 256) if grey else (240, 256, 3))
        assert env.metadata["render_fps"] == 15
        env.reset(seed=0)
        for action, frames in zip(actions, steps, strict=False):
            screens = [cv2.cvtColor(obs, cv2.COLOR_RGB2GRAY) if grey else obs for obs, *_ in frames]
            pooled = max_pool and len(frames) == 4
            obs, reward, terminated, _, info = env.step(action)
            np.testing.assert_array_equal(obs, np.maximum(*screens[-2:]) if pooled else screens[-1])
            assert (terminated, info) == (frames[-1][2], frames[-1][4])
            assert reward == sum(frame[1] for frame in frames)


PREPROCESSING = {
    "agents": rlgames.Pixels(crop=(32, 240, 0, 256), size=(84, 84), grey=True, skip=4),
    "color": rlgames.Pixels(crop=(31, 240, 16, 255), size=(84, 80), skip=4, max_pool=True),
    "pooled": rlgames.Pixels(size=(60, 100), grey=True, skip=2, max_pool=True),
    "halves": rlgames.Pixels(size=(120, 128), grey=True, skip=2),  # whole factors, which OpenCV averages otherwise
    "every": rlgames.Pixels(crop=(0, 200, 0, 200), every=2, size=(84, 84), grey=True),
    "larger": rlgames.Pixels(crop=(0, 20, 0, 200), size=(84, 84), grey=True),  # partly larger
}


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        *(("nes", name) for name in PREPROCESSING),
        pytest.param("nes-py", "color", marks=needs_nes_py),
        *(
            pytest.param("nes-py", name, marks=[needs_nes_py, pytest.mark.slow])
            for name in PREPROCESSING
            if name != "color"
        ),
    ],
)
def test_preprocessing_equals_the_wrappers(engine: str, name: str, make: Callable[..., Any]) -> None:
    pixels = PREPROCESSING[name]
    options = {"world": 1, "stage": 1, "engine": engine}
    screen = make(options, grey=pixels.grey)  # grey is OpenCV's
    wrapped = replace(pixels, grey=False).wrap(screen)
    env = rlgames.make("Mario", pixels=pixels, **options)
    envs = rlgames.make_vec("Mario", 2, pixels=pixels, **options)
    found = [env.reset(seed=0)[0], *(env.step(RIGHT_A_B)[0] for _ in range(12))]
    batch = [envs.reset(seed=0)[0], *(envs.step(np.full(2, RIGHT_A_B))[0] for _ in range(12))]
    expected = [wrapped.reset(seed=0)[0], *(wrapped.step(RIGHT_A_B)[0] for _ in range(12))]
    env.close(), envs.close()
    assert env.observation_space == wrapped.observation_space
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(batch, np.stack([expected, expected], 1))


def test_a_crop_outside_of_the_screen_is_named() -> None:
    for make in (rlgames.make, rlgames.make_vec):
        with pytest.raises(ValueError, match=r"crop=\(0, 300, 0, 10\) .*reaches outside"):
            make("Mario", pixels=rlgames.Pixels(crop=(0, 300, 0, 10)))


def test_stack_skipped_observes_all_frames_of_a_step(opened: ExitStack) -> None:
    """The tutorials' preprocessing: each frame grey and small, four of them one observation."""
    pixels = rlgames.Pixels(grey=True, size=(84, 84), skip=4, stack_skipped=True, scale=True)
    envs = rlgames.make_vec("Mario:world=1,stage=1", 2, pixels=pixels)
    opened.callback(envs.close)
    env = rlgames.make("Mario:world=1,stage=1", pixels=rlgames.Pixels(grey=True, size=(84, 84), scale=True))
    opened.callback(env.close)
    env.reset(seed=0)
    envs.reset(seed=0)
    for _ in range(6):
        frames = [env.step(2)[0] for _ in range(4)]
        np.testing.assert_array_equal(envs.step(np.full(2, 2))[0][1], np.stack(frames))


@on_both
def test_environments_of_a_vector_env_equal_single_ones(engine: str, opened: ExitStack) -> None:
    """With the default preprocessing: four frames a step, a stack of four."""
    name = f"Mario:world=1,stage=1,engine={engine}"
    env, envs = rlgames.make(name), rlgames.make_vec(name, 2)
    opened.callback(env.close)
    opened.callback(envs.close)
    obs, first = env.reset(seed=5)[0], envs.reset(seed=5)[0]
    assert first.shape == (2, 4, 84, 84)
    history = [first.copy()]
    for row in first:
        np.testing.assert_array_equal(row, obs)
    for action in (1, 4, 2):
        obs, reward, *_ = env.step(action)
        batch, rewards, _, _, infos = envs.step(np.full(2, action))
        history.append(batch.copy())
        for i, row in enumerate(batch):
            np.testing.assert_array_equal(row, obs)
            assert rewards[i] == reward
        assert infos["x_pos"].dtype == np.int64
    assert all((obs != next_obs).any() for obs, next_obs in pairwise(history))


# ---- options and errors ----


def test_actions_keys_and_areas() -> None:
    sizes = {"right_only": 5, "simple": 7, "complex": 12, "all": 256}
    assert {name: len(actions) for name, actions in ACTIONS.items()} == sizes
    assert game(actions="complex").codes == tuple(CODES)
    assert game(actions="all").codes == tuple(range(256))
    keys: Any = make_env(game()).unwrapped.get_keys_to_action()  # pyright: ignore[reportAttributeAccessIssue]
    assert keys[("d",)] == 1
    assert keys[("d", "o", "p")] == 4
    assert area_of(1, 2) == 3
    assert area_of(3, 2) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"world": 9, "stage": 1}, "a world of 1 to 8 and a stage of 1 to 4, got 9-1"),
        ({"world": 1, "stage": 0}, "a world of 1 to 8 and a stage of 1 to 4, got 1-0"),
        ({"world": 1}, "a world and a stage, or neither for the whole game: got 1-None"),
        ({"world": 1, "stage": 1, "stages": "all"}, "stages or a world and a stage"),
        ({"stages": "1-1+nowhere"}, r"expected stages as in '1-1\+1-2', or 'all', got '1-1\+nowhere'"),
        ({"stages": "1-x"}, "got 1-x"),
        ({"lost_levels": "False"}, "expected lost_levels true or false, got 'False'"),
        ({"lost_levels": True, "world": 5, "stage": 1}, "a world of 1 to 4"),
        ({"lost_levels": True, "version": 2}, "a version of 0 to 1, got 2"),
        ({"version": 4}, "a version of 0 to 3, got 4"),
        ({"world": 1, "stage": 1, "noop_max": -1}, "expected noop_max of 0 to 60 frames, got -1"),
        ({"world": 1, "stage": 1, "noop_max": 2.5}, "expected noop_max of 0 to 60 frames, got 2.5"),
        ({"world": 1, "stage": 1, "patience": 0}, "expected patience >= 1 or None, got 0"),
        ({"actions": "some"}, "actions of right_only, simple, complex, all, got 'some'"),
        ({"engine": "mame"}, "expected an engine of nes, nes-py, got 'mame'"),
        ({"obs": "sound"}, "expected obs of pixels, ram, tiles, got 'sound'"),
        ({"obs": "ram", "engine": "nes-py"}, "ram needs engine='nes'"),
    ],
)
def test_invalid_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        game(**options)


@on_both
def test_step_refuses_invalid_actions_and_calls_out_of_order(engine: str, make: Callable[..., Any]) -> None:
    env = make({"world": 1, "stage": 1, "engine": engine})
    with pytest.raises(ResetNeeded, match="before the first reset"):
        env.step(0)
    env.reset(seed=0)
    for action in (7, -1, 1.5, "right"):
        expected = r"invalid action .* for Mario:world=1,stage=1.*: expected 0 \(nothing\), 1 \(right\)"
        with pytest.raises(ValueError, match=expected):
            env.step(action)


@needs_nes_py
def test_a_closed_environment_of_nes_py_is_named(make: Callable[..., Any]) -> None:
    env = make({"engine": "nes-py"})
    env.reset(seed=0)
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(0), env.render):
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            call()


def test_missing_nes_py_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nes_py, "find_spec", lambda name: None)
    nes_py.load_library.cache_clear()
    with pytest.raises(DependencyNotInstalled, match=r"engine='nes-py' needs nes-py: pip install .rlgames\[nes-py\]"):
        make_env(game(engine="nes-py"))
    nes_py.load_library.cache_clear()


@pytest.mark.parametrize(("installed", "what"), [("9.0.1", "new"), ("7.0.1", "old"), ("8.2.1", None), (None, None)])
def test_another_version_of_nes_py_is_called_too_new_or_too_old(
    installed: str | None, what: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise nes_py.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(nes_py, "version", version)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(nes_py, "find_spec", lambda name: spec)
    nes_py.load_library.cache_clear()
    expected = (
        rf"nes-py {installed} is too {what}: rlgames works with nes-py 8: pip install .rlgames\[nes-py\]"
        if what
        else r"installed without its compiled emulator: pip install .rlgames\[nes-py\]"
    )
    with pytest.raises(DependencyNotInstalled, match=expected):
        nes_py.load_library()
    nes_py.load_library.cache_clear()


@pytest.mark.parametrize("obs", OBSERVATIONS)
def test_game_declares_the_observation_of_its_environment(obs: str, make: Callable[..., Any]) -> None:
    """As `rlgames list` prints it, without the ROM."""
    options = {"world": 1, "stage": 1, "obs": obs}
    assert make(options).observation_space == game(**options).observation
