"""Pong: the vector environment against ale-py's own, against single environments, and against Gymnasium."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv as AleVectorEnv
from gymnasium.error import ClosedEnvironmentError, DependencyNotInstalled, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation
from helpers.vector_envs import assert_equal

import rlgames
from rlgames.envs.atari.env import make_env
from rlgames.envs.atari.game import MAX_FRAMES, AtariGame, split_pixels
from rlgames.envs.atari.vector_env import make_vector_env
from rlgames.envs.registry import load_game
from rlgames.wrappers import Pixels

NATURE = Pixels(size=(84, 84), grey=True, skip=4, max_pool=True, stack=4)  # Pong's default
NOOPS = 30  # with which scores are published
PONG = f"Pong:noop_max={NOOPS}"
STEPS = 40  # an episode's limit in most tests
all_modes = pytest.mark.parametrize("mode", list(AutoresetMode))


def single(pixels: Pixels = NATURE, max_episode_steps: int | None = None, **options: Any) -> gym.Env:
    """Make one environment like `rlgames.make`, but with the engine's own time limit instead of Gymnasium's."""
    arguments, rest = split_pixels(pixels, vector=False)
    return rest.wrap(
        make_env(load_game("Pong", **({"noop_max": NOOPS} | options)), max_episode_steps=max_episode_steps, **arguments)
    )


def sync_vector(n: int, mode: AutoresetMode = AutoresetMode.SAME_STEP, **kwargs: Any) -> SyncVectorEnv:
    """Make Gymnasium's vector environment of single environments."""
    return SyncVectorEnv([lambda: single(**kwargs)] * n, autoreset_mode=mode)


def random_actions(n: int, steps: int, num_actions: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(num_actions, size=(steps, n))


# ---- against ale-py, Gymnasium and single environments ----


@pytest.mark.parametrize(
    ("n", "mode", "sticky"), [(2, AutoresetMode.NEXT_STEP, 0.0), (1, AutoresetMode.SAME_STEP, 0.25)]
)
def test_vector_env_equals_ales_vector_env(n: int, mode: AutoresetMode, sticky: float) -> None:
    """But for the first three observations of an episode, whose stacks ale-py fills with black."""
    limit, frame_skip = 80, 4
    ours = rlgames.make_vec(
        "Pong:noop_max=29",  # ale-py draws fewer than its noop_max, 30 by default
        n,
        autoreset_mode=mode,
        max_episode_steps=limit,
        repeat_action_probability=sticky,
    )
    theirs = AleVectorEnv(
        "pong",
        n,
        use_fire_reset=False,
        reward_clipping=False,
        autoreset_mode=mode,
        num_threads=1,
        max_num_frames_per_episode=limit * frame_skip,
        repeat_action_probability=sticky,
    )
    obs, expected_obs = ours.reset(seed=5)[0], theirs.reset(seed=5)[0]
    total_reward, truncations = 0.0, 0
    for actions in random_actions(n, 170):
        filled = expected_obs.max((2, 3)) > 0
        assert np.array_equal(obs[filled], expected_obs[filled])
        obs, *result, _ = ours.step(actions)
        expected_obs, *expected, _ = theirs.step(actions)
        for one, other in zip(result, expected, strict=True):  # reward, terminated, truncated
            assert np.array_equal(one, other)
        total_reward, truncations = total_reward + np.abs(result[0]).sum(), truncations + result[2].sum()
    assert total_reward > n
    assert truncations == 2 * n


def test_whole_game_equals_gymnasiums_preprocessing() -> None:
    """One game to 21 points through AtariPreprocessing and FrameStackObservation."""
    env = rlgames.make("Pong", noop_max=0)
    raw = ale_py.AtariEnv("pong", obs_type="grayscale", frameskip=1, repeat_action_probability=0.0)
    theirs = FrameStackObservation(AtariPreprocessing(raw, noop_max=0, frame_skip=4, screen_size=84), 4)
    obs, expected_obs = env.reset(seed=1)[0], theirs.reset(seed=1)[0]
    terminated, info = False, {"score": 0.0}
    for action in random_actions(1, 1200)[:, 0]:
        assert np.array_equal(obs, expected_obs)
        obs, reward, terminated, _, info = env.step(int(action))
        expected_obs, *expected = theirs.step(int(action))
        assert [reward, terminated] == expected[:2]
        if terminated:
            break
    assert terminated
    assert np.array_equal(obs, expected_obs)
    assert info["score"] <= -15


@pytest.mark.parametrize(
    "pixels",
    [
        NATURE,
        Pixels(size=(84, 84), skip=4, stack=2),
        Pixels(size=(40, 84), grey=True, skip=2, max_pool=True),
        Pixels(crop=(34, 194, 0, 160), size=(80, 80), grey=True, skip=4, difference=True),
        Pixels(size=(210, 80), grey=True, stack=2, scale=True, skip=4),
        Pixels(),
    ],
    ids=str,
)
def test_vector_env_equals_single_envs_with_any_preprocessing(pixels: Pixels) -> None:
    """Over three episodes each: `max_episode_steps` counts agent steps in both, at any frame skip."""
    seeds: Any = [3, 3_000_000_000] if pixels == NATURE else [3]
    n = len(seeds)
    ours = rlgames.make_vec(PONG, n, pixels=pixels, max_episode_steps=25)
    theirs = sync_vector(n, pixels=pixels, max_episode_steps=25)
    assert ours.observation_space == theirs.observation_space
    obs, expected_obs = ours.reset(seed=seeds)[0], theirs.reset(seed=seeds)[0]
    for step, actions in enumerate(random_actions(n, 60), 1):
        assert np.array_equal(obs, expected_obs)
        obs, reward, _, truncated, _ = ours.step(actions)
        expected_obs, expected_reward, _, expected_truncated, _ = theirs.step(actions)
        assert np.array_equal(reward, expected_reward)
        assert truncated.tolist() == expected_truncated.tolist() == [step % 25 == 0] * n


@all_modes
def test_autoreset_equals_gymnasiums_sync_vector_env(mode: AutoresetMode) -> None:
    """With a reset of one environment in the middle of its episode and, in DISABLED, resets by mask and by seed."""
    n = 3 if mode is AutoresetMode.DISABLED else 2
    ours = rlgames.make_vec(PONG, n, autoreset_mode=mode, max_episode_steps=STEPS)
    theirs = sync_vector(n, mode, max_episode_steps=STEPS)
    assert ours.metadata["autoreset_mode"] is mode

    def reset(**kwargs: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        obs, info = ours.reset(**kwargs)
        return obs, theirs.reset(**kwargs)[0], info

    obs, expected_obs, _ = reset(seed=7)
    for t, actions in enumerate(random_actions(n, 100)):
        assert np.array_equal(obs, expected_obs)
        obs, *result, info = ours.step(actions)
        expected_obs, *expected, expected_info = theirs.step(actions)
        assert_equal((*result, info), (*expected, expected_info))
        done = result[1] | result[2]
        if t == 15:
            done = np.arange(n) == 1
        elif mode is not AutoresetMode.DISABLED or not done.any():
            continue
        if t == STEPS - 1:  # DISABLED: environments 0 and 2 are over; reset 0, then the others, with a seed
            for seed, mask in ((None, np.array([True, False, False])), (9, np.array([False, True, True]))):
                obs, expected_obs, _ = reset(seed=seed, options={"reset_mask": mask})
                assert np.array_equal(obs, expected_obs)
        else:
            obs, expected_obs, info = reset(options={"reset_mask": done.copy()})
            assert (info["score"][done] == 0).all()


def test_max_episode_steps_keeps_the_games_own_limit() -> None:
    game = load_game("Pong")
    for steps, frames in ((None, MAX_FRAMES), (100, 400), (MAX_FRAMES, MAX_FRAMES)):
        assert make_env(game, frame_skip=4, max_episode_steps=steps).max_frames == frames


# ---- snapshots ----


def record_steps(envs: Any, actions: np.ndarray) -> list[bytes]:
    """Return observations, rewards and scores of all steps; environments that do not reset themselves are reset."""
    recorded = []
    for row in actions:
        obs, reward, terminated, truncated, info = envs.step(row)
        recorded += [obs.tobytes(), np.asarray(reward).tobytes(), np.asarray(info["score"]).tobytes()]
        done = np.asarray(terminated | truncated)
        if not isinstance(envs, gym.Env) and envs.metadata["autoreset_mode"] is not AutoresetMode.DISABLED:
            continue
        if done.any():
            options = {"reset_mask": done} if done.ndim else None
            recorded.append(envs.reset(options=options)[0].tobytes())
    return recorded


@pytest.mark.parametrize(
    ("mode", "steps"),
    [
        (AutoresetMode.NEXT_STEP, 55),  # the second episode of environment 1 has just ended
        (AutoresetMode.SAME_STEP, 45),
        pytest.param(AutoresetMode.DISABLED, 45, marks=pytest.mark.slow),
    ],
)
def test_restored_vector_env_continues_bit_for_bit(mode: AutoresetMode, steps: int) -> None:
    """In environments that were never reset, from episodes of different lengths."""

    def make() -> Any:
        return rlgames.make_vec(PONG, 2, autoreset_mode=mode, max_episode_steps=STEPS)

    envs, restored, actions = make(), make(), random_actions(2, steps + 30)
    envs.reset(seed=2)
    record_steps(envs, actions[:15])
    envs.reset(options={"reset_mask": np.array([False, True])})
    record_steps(envs, actions[15:steps])  # environment 0 begins its second episode
    restored.restore(envs.snapshot())
    assert record_steps(restored, actions[steps:]) == record_steps(envs, actions[steps:])


def test_restored_vector_env_keeps_final_observations_in_disabled_mode() -> None:
    """From two episodes that are over, into environments that were reset and stepped; reset one after the other."""
    envs: Any = rlgames.make_vec(PONG, 2, autoreset_mode="Disabled", max_episode_steps=10)
    envs.reset(seed=2)
    actions = random_actions(2, 20)
    final_obs = [envs.step(row)[0] for row in actions[:10]][-1]
    snapshot = envs.snapshot()

    def reset_one_by_one_and_step() -> list[bytes]:
        obs, _ = envs.reset(options={"reset_mask": np.array([True, False])})
        assert np.array_equal(obs[1], final_obs[1])
        recorded = [obs.tobytes(), envs.reset(options={"reset_mask": np.array([False, True])})[0].tobytes()]
        return recorded + record_steps(envs, actions[10:])

    expected = reset_one_by_one_and_step()
    envs.restore(snapshot)
    assert reset_one_by_one_and_step() == expected


def test_restored_single_env_continues_bit_for_bit() -> None:
    """With sticky actions, into the same environment and into a new one, over the next episode's random start."""

    def make() -> Any:
        game = load_game("Pong", noop_max=NOOPS, repeat_action_probability=0.25)
        return make_env(game, frame_skip=4, max_pool=True, grey=True, max_episode_steps=150)

    env, actions = make(), random_actions(1, 300)[:, 0]
    env.reset(seed=3)
    record_steps(env, actions[:100])
    snapshot = env.snapshot()
    expected = record_steps(env, actions[100:])
    for restored in (env, make()):
        restored.restore(snapshot)
        assert record_steps(restored, actions[100:]) == expected


def test_vector_env_with_sticky_actions_has_no_snapshot() -> None:
    with pytest.raises(NotImplementedError, match="sticky"):
        make_vector_env(load_game("Pong", repeat_action_probability=0.25), 1).snapshot()


# ---- options and keys ----


def test_minimal_actions_are_up_and_down() -> None:
    two, six = rlgames.make("Pong", actions="minimal"), rlgames.make("Pong")
    assert (two.action_space.n, six.action_space.n) == (2, 6)  # pyright: ignore[reportAttributeAccessIssue]
    two.reset(seed=1)
    six.reset(seed=1)
    for action in random_actions(1, 60, num_actions=2)[:, 0]:
        assert np.array_equal(two.step(int(action))[0], six.step(2 + int(action))[0])


def test_keys_move_the_bat_up_and_down() -> None:
    env: Any = gym.make("rlgames/Pong-v0")
    keys = env.get_wrapper_attr("get_keys_to_action")()
    heights = {}
    env.reset(seed=1)
    for key in "ws":
        env.reset()
        obs = [env.step(keys[key,])[0] for _ in range(100)][-1]
        green = np.all(obs[34:194] == (92, 186, 92), axis=2)
        heights[key] = np.flatnonzero(green.any(1)).mean()
    assert heights["w"] < 60 < 100 < heights["s"]


@pytest.mark.parametrize("episodes", [25, pytest.param(100, marks=pytest.mark.slow)])
def test_episodes_begin_after_0_to_noop_max_frames(episodes: int) -> None:
    """All equally likely; with 0 all episodes are the same."""
    env: Any = gym.make("rlgames/Pong-v0", noop_max=4)
    frames = [env.reset(seed=seed) and env.unwrapped.ale.getEpisodeFrameNumber() for seed in range(episodes)]
    mean = episodes / 5
    assert ((np.bincount(frames, minlength=5) - mean) ** 2 / mean).sum() < 18.5  # chi-squared of 4 degrees: 0.1%
    assert set(frames) == {0, 1, 2, 3, 4}
    plain: Any = gym.make("rlgames/Pong-v0", noop_max=0)
    assert [plain.reset(seed=seed) and plain.unwrapped.ale.getEpisodeFrameNumber() for seed in range(3)] == [0] * 3


def test_episodes_begin_differently_and_repeat_with_the_seed() -> None:
    env = rlgames.make(PONG)
    first = env.reset(seed=1)[0]
    others = [env.reset()[0] for _ in range(5)]
    assert any(not np.array_equal(first, other) for other in others)
    assert np.array_equal(env.reset(seed=1)[0], first)
    assert all(np.array_equal(env.reset()[0], other) for other in others)


# ---- errors, of single and vector environments ----

both_makers = pytest.mark.parametrize(
    "make", [rlgames.make, lambda game, **options: rlgames.make_vec(game, 1, **options)], ids=["make", "make_vec"]
)


@both_makers
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"actions": "few"}, ValueError, r"expected actions 'all' \(six\) or 'minimal' .*, got 'few'"),
        ({"repeat_action_probability": 1.5}, ValueError, r"expected a repeat_action_probability in \[0, 1\), got 1.5"),
        ({"noop_max": -1}, ValueError, "expected noop_max of 0 to 60 frames, got -1"),
        ({"noop_max": 10**30}, ValueError, "expected noop_max of 0 to 60 frames, got 1000"),
        ({"frame_skip": 0}, ValueError, "expected frame_skip >= 1, got 0"),
        ({"colour": "red"}, TypeError, "unknown option 'colour' for Pong: expected one of actions, noop_max, "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_invalid_option_raises(
    make: Callable[..., Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make("Pong", **options)


@both_makers
def test_step_before_reset_with_invalid_action_or_after_close_raises(make: Callable[..., Any]) -> None:
    env = make("Pong")
    action = env.action_space.sample() * 0
    with pytest.raises(ResetNeeded):
        env.step(action)
    env.reset(seed=1)
    for invalid in (action + 7, action - 1):
        with pytest.raises(ValueError, match=r"invalid action .* for Pong: expected 0 \(noop\), 1 \(fire\), 2 \(up\)"):
            env.step(invalid)
    env.close()
    env.close()
    with pytest.raises(ClosedEnvironmentError, match="Pong .*closed"):
        env.step(action)


@both_makers
def test_missing_or_old_ale_py_raises_with_the_remedy(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ale_py", None)
        with pytest.raises(DependencyNotInstalled, match=r'pip install --upgrade "rlgames\[pong\]"'):
            make("Pong")
    monkeypatch.delattr("ale_py.vector_env.AutoresetMode")
    with pytest.raises(DependencyNotInstalled, match=r"need ale-py 0.12 or newer, found"):
        make("Pong")


@pytest.mark.parametrize("make", [make_env, lambda game: make_vector_env(game, 2)], ids=["make_env", "make_vector_env"])
def test_unknown_rom_raises(make: Callable[[AtariGame], Any]) -> None:
    game = AtariGame("Tennis", "table_tennis", ("noop",), (0,))
    with pytest.raises(ValueError, match="no ROM 'table_tennis': it has .*pong"):
        make(game)
