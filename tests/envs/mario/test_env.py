"""Mario is gym-super-mario-bros frame by frame; traces of the unmodified package lie in mario_traces.json.

They were recorded with gym-super-mario-bros 7.4.0, nes-py 8.2.1 and NumPy 1.26.4: in each, buttons drawn with
RandomState(0) are held for six frames, every reward, end and information and every tenth screen go into one digest.
"""

import hashlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, DependencyNotInstalled, ResetNeeded
from gymnasium.utils.env_checker import check_env

import rlgames
from rlgames.envs.mario import nes_py as nes
from rlgames.envs.mario.game import ACTIONS, game
from rlgames.envs.mario.memory_map import area_of
from rlgames.envs.registry import load_game

for package in ("nes_py", "gym_super_mario_bros"):
    if not nes.find_spec(package):
        pytest.skip(f"needs {package}", allow_module_level=True)

TRACES = json.loads((Path(__file__).parent / "traces.json").read_text())
CODES = [0, 128, 129, 130, 131, 1, 64, 65, 66, 67, 32, 16]
CHANCES = [0.02, 0.2, 0.2, 0.2, 0.22, 0.02, 0.02, 0.02, 0.02, 0.02, 0.04, 0.02]


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: ",".join(f"{k}={v}" for k, v in trace["options"].items()))
def test_plays_as_the_original(trace: dict[str, Any]) -> None:
    env = game(actions="all", **trace["options"]).solo()
    rng, digest = np.random.RandomState(0), hashlib.sha256()
    total, ends, held, info = 0, 0, 0, {}
    digest.update(env.reset(seed=0)[0].tobytes())
    for frame in range(trace["frames"]):
        if frame % 6 == 0:
            held = CODES[int(rng.choice(12, p=CHANCES))]
        obs, reward, terminated, truncated, info = env.step(held)
        digest.update(json.dumps([reward, terminated, info], sort_keys=True).encode())
        if frame % 10 == 0:
            digest.update(obs.tobytes())
        total, ends = total + reward, ends + terminated
        assert not truncated
        assert {type(value) for value in (reward, terminated, *info.values())} == {int, bool, str}
        if terminated:
            digest.update(env.reset()[0].tobytes())
    env.close()
    assert (total, ends, info) == (trace["reward"], trace["ends"], trace["info"])
    assert digest.hexdigest() == trace["sha256"]


def test_reaches_the_flag_as_the_original() -> None:
    """A run that an agent found: every reward and information to the end of the stage, and the last screen."""
    trace = json.loads((Path(__file__).parent / "flag_trace.json").read_text())
    env = game(**trace["options"]).solo()
    digest, total, frames, over, info = hashlib.sha256(), 0, 0, False, {}
    obs, _ = env.reset(seed=0)
    digest.update(obs.tobytes())
    for action in "".join(trace["held"]):
        for _ in range(4):
            if not over:
                obs, reward, over, _, info = env.step(int(action))
                digest.update(json.dumps([reward, over, info], sort_keys=True).encode())
                total, frames = total + reward, frames + 1
    digest.update(obs.tobytes())
    env.close()
    assert info["flag_get"]
    assert (total, frames, info) == (trace["reward"], trace["frames"], trace["info"])
    assert digest.hexdigest() == trace["sha256"]


def test_keeps_gymnasiums_contract() -> None:
    env = gym.make("rlgames/Mario-v0", world=1, stage=2)
    check_env(env.unwrapped, skip_render_check=True)
    assert env.reset(seed=0)[1]["stage"] == 2
    env.close()


def test_patience_cuts_an_episode_short() -> None:
    """Counted again from what the information says: a pause that is allowed, and one too long."""
    patient = load_game("Mario", world=1, stage=1).solo(frame_skip=4)
    env = load_game("Mario", world=1, stage=1, patience=6).solo(frame_skip=4)
    furthest = env.reset(seed=0)[1]["x_pos"]
    patient.reset(seed=0)
    idle = pauses = 0
    truncated = False
    for action in [*[1] * 4, *[0] * 5, *[1] * 5, *[6] * 3, *[1] * 5, *[0] * 20]:
        obs, *rest, truncated, info = env.step(action)
        expected, *others, never, told = patient.step(action)
        np.testing.assert_array_equal(obs, expected)
        assert (rest, info, never) == (others, told, False)
        idle = 0 if info["x_pos"] > furthest else idle + 1
        pauses += idle == 1
        furthest = max(furthest, info["x_pos"])
        assert truncated == (idle == 6)
        if truncated:
            break
    assert truncated
    assert pauses > 1
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset()
    assert [env.step(0)[3] for _ in range(6)] == [False] * 5 + [True]
    env.close(), patient.close()


@pytest.mark.parametrize("max_pool", [False, True])
def test_a_step_of_several_frames(max_pool: bool) -> None:
    """The frames one by one are the oracle; grey is OpenCV's, and made of what is shown alone."""
    plain = load_game("Mario", world=1, stage=1).solo()
    envs = [
        load_game("Mario", world=1, stage=1).solo(frame_skip=4, max_pool=max_pool, grey=grey) for grey in (False, True)
    ]
    assert [env.observation_space.shape for env in envs] == [(240, 256, 3), (240, 256)]
    assert envs[0].metadata["render_fps"] == 15
    for env in (plain, *envs):
        env.reset(seed=0)
    over = False
    for action in (1, 4, 4, 2, 1, 4, *[4] * 40):
        frames, total, over, info = [], 0, False, {}
        while len(frames) < 4 and not over:
            obs, reward, over, _, info = plain.step(action)
            total += int(reward)
            frames.append((obs, cv2.cvtColor(obs, cv2.COLOR_RGB2GRAY)))
        for i, env in enumerate(envs):
            obs, reward, ended, _, told = env.step(action)
            pooled = max_pool and len(frames) == 4
            shown = np.maximum(frames[-2][i], frames[-1][i]) if pooled else frames[-1][i]
            np.testing.assert_array_equal(obs, shown)
            assert (reward, ended, told) == (total, over, info)
        if over:
            break
    assert over
    for env in (plain, *envs):
        env.close()


def test_the_engine_crops_and_resizes_as_the_wrappers_do() -> None:
    look = rlgames.Pixels(crop=(32, 240, 16, 256), size=(84, 80), skip=4, max_pool=True)
    ours, wrapped = rlgames.make("Mario:world=1,stage=1", pixels=look), load_game("Mario", world=1, stage=1).solo()
    wrapped = look.wrap(wrapped)
    assert ours.observation_space == wrapped.observation_space
    np.testing.assert_array_equal(ours.reset(seed=0)[0], wrapped.reset(seed=0)[0])
    for _ in range(10):
        np.testing.assert_array_equal(ours.step(4)[0], wrapped.step(4)[0])
    ours.close()
    wrapped.close()
    with pytest.raises(ValueError, match="crop"):
        rlgames.make("Mario", pixels=rlgames.Pixels(crop=(0, 300, 0, 10)))


def test_the_four_skipped_frames_as_channels() -> None:
    """The tutorials' way: each frame grey and small, four of them one observation."""
    look = rlgames.Pixels(grey=True, size=(84, 84), skip=4, stack_skipped=True, scale=True)
    envs = rlgames.make_vec("Mario:world=1,stage=1", 2, pixels=look)
    single = rlgames.make("Mario:world=1,stage=1", pixels=rlgames.Pixels(grey=True, size=(84, 84), scale=True))
    single.reset(seed=0)
    envs.reset(seed=0)
    for _ in range(12):
        frames = [single.step(2)[0] for _ in range(4)]
        np.testing.assert_array_equal(envs.step(np.full(2, 2))[0][1], np.stack(frames))
    envs.close()
    single.close()


def test_what_an_agent_sees() -> None:
    one, many = rlgames.make("Mario:world=1,stage=1"), rlgames.make_vec("Mario:world=1,stage=1", 3)
    obs, first = one.reset(seed=5)[0], many.reset(seed=5)[0]
    assert first.shape == (3, 4, 84, 84)
    pictures = [first.copy()]
    for row in first:
        np.testing.assert_array_equal(row, obs)
    for action in (1, 4, 2):
        obs, reward, *_ = one.step(action)
        seen, rewards, _, _, info = many.step(np.full(3, action))
        pictures.append(seen.copy())
        for i, row in enumerate(seen):
            np.testing.assert_array_equal(row, obs)
            assert rewards[i] == reward
        assert info["x_pos"].dtype == np.int64
    assert all((before != after).any() for before, after in pairwise(pictures))
    one.close()
    many.close()


def test_episodes_draw_their_stage() -> None:
    env = load_game("Mario", stages="1-1+4-2").solo()
    seen = [tuple(env.reset(seed=seed)[1][key] for key in ("world", "stage")) for seed in (0, 1, 2, 3, 0)]
    assert set(seen) == {(1, 1), (4, 2)}
    assert seen[0] == seen[4]
    env.close()
    assert len(load_game("Mario", stages="all").targets) == 32
    assert load_game("Mario", stages=("8-4",)).targets == ((8, 4),)
    listed: Any = gym.make("rlgames/Mario-v0", stages=["1-1", "4-2"]).unwrapped
    assert listed.game.targets == ((1, 1), (4, 2))


def test_the_same_whatever_came_before() -> None:
    """A restart leaves nothing of the episode before: that is what resuming exactly rests on."""
    env, fresh = (load_game("Mario", world=1, stage=1).solo(frame_skip=4) for _ in range(2))
    env.reset(seed=0)
    for _ in range(60):
        if env.step(4)[2]:
            break
    for found, expected in (
        (env.reset(seed=1), fresh.reset(seed=1)),
        *((env.step(4), fresh.step(4)) for _ in range(20)),
    ):
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1:] == expected[1:]
    env.close()
    fresh.close()


def test_neither_old_gym_nor_the_packages_are_imported() -> None:
    code = "import sys, rlgames; rlgames.make('Mario').reset(); print({'gym', 'nes_py', 'pyglet'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_keys_and_actions() -> None:
    assert {name: len(actions) for name, actions in ACTIONS.items()} == {
        "right_only": 5,
        "simple": 7,
        "complex": 12,
        "all": 256,
    }
    assert game(actions="complex").codes == tuple(CODES)
    assert game(actions="all").codes == tuple(range(256))
    assert game().keys[("d",)] == 1
    assert game().keys[("d", "o", "p")] == 4
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
        ({"world": 1, "stage": 1, "patience": 0}, "expected patience >= 1 or None, got 0"),
        ({"actions": "some"}, "actions of right_only, simple, complex, all, got 'some'"),
    ],
)
def test_what_there_is_not(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        game(**options)


def test_bad_steps() -> None:
    env = load_game("Mario", world=1, stage=1).solo()
    with pytest.raises(ResetNeeded, match="before the first reset"):
        env.step(0)
    env.reset(seed=0)
    for action in (7, -1, 1.5, "right"):
        with pytest.raises(
            ValueError, match=r"no such action in Mario:world=1,stage=1: got .*, possible are 0 nothing, 1"
        ):
            env.step(action)  # pyright: ignore[reportArgumentType]
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(0), env.render):
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            call()


@pytest.mark.parametrize("package", ["nes_py", "gym_super_mario_bros"])
def test_what_is_missing_is_named_with_the_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = nes.find_spec
    monkeypatch.setattr(nes, "find_spec", lambda name: None if name == package else find(name))
    nes.library.cache_clear()
    with pytest.raises(DependencyNotInstalled, match=rf"{package.replace('_', '-')}: pip install .rlgames\[mario\]"):
        load_game("Mario").solo()
    nes.library.cache_clear()


def test_a_rom_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("rlgames.envs.mario.game.folder_of", lambda package: tmp_path)
    with pytest.raises(DependencyNotInstalled, match="no ROM super-mario-bros.nes"):
        load_game("Mario").solo()
