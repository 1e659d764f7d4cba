"""`Pixels`, compared with Gymnasium's own wrappers where they exist and with plain loops elsewhere."""

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import (
    FrameStackObservation,
    GrayscaleObservation,
    MaxAndSkipObservation,
    ReshapeObservation,
    ResizeObservation,
    TransformObservation,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO as SB3PPO
from stable_baselines3.common.preprocessing import is_image_space

import rlgames
from rlgames.envs.registry import default_pixels
from rlgames.errors import InvalidTypeError
from rlgames.wrappers import Pixels
from rlgames.wrappers.frames import FrameSkip
from rlgames.wrappers.pixels import luminance

HEIGHT, WIDTH = 9, 11
MODES = list(AutoresetMode)
PICTURE = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
WINDOW = (1, 8, 2, 11)
# one declaration for each operation alone, then combinations
DECLARATIONS = [
    Pixels(crop=WINDOW),
    Pixels(every=3),
    Pixels(grey=True),
    Pixels(channel=1),
    Pixels(size=(4, 5)),
    Pixels(grey=True, erase=tuple(range(100))),
    Pixels(difference=True),
    Pixels(stack=3),
    Pixels(scale=True),
    Pixels(grey=True, channel_axis=True),
    Pixels(channel=1, size=(4, 5), difference=True, scale=True, channel_axis=True),
    Pixels(crop=WINDOW, stack=2),
    Pixels(difference=True, stack=2, scale=True),
    Pixels(crop=WINDOW, size=(5, 4), grey=True, stack=4),
    Pixels(crop=WINDOW, size=(5, 4), grey=True, difference=True, stack=3, scale=True),
    Pixels(crop=WINDOW, every=2, channel=0, erase=tuple(range(9, 200)), difference=True, scale=True),
]

declarations = st.builds(
    Pixels,
    crop=st.sampled_from([None, WINDOW, (0, HEIGHT, 0, WIDTH), (4, 5, 10, 11)]),
    every=st.sampled_from([1, 1, 2]),
    size=st.sampled_from([None, (4, 5), (12, 7), (1, 1)]),
    grey=st.booleans(),
    stack=st.integers(1, 4),
    difference=st.booleans(),
    scale=st.booleans(),
)
seeds = st.integers(0, 2**32)


@cache
def frame(seed: int, episode: int, time: int) -> np.ndarray:
    return np.random.default_rng((seed, episode, time)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@cache
def outcome(seed: int, episode: int, time: int, action: int) -> tuple[float, bool, bool]:
    """Return reward, terminated, truncated of step `time`, from 1; episodes of 1 to 9 steps end in one way or both."""
    length, end = np.random.default_rng((seed, episode)).integers((1, 1), (10, 4))
    reward = float(seed % 7 - 2.5 * time + 20 * action)
    return reward, bool(time == length and end & 1), bool(time == length and end & 2)


class RandomFramesEnv(gym.Env):
    """Random frames in episodes of random length; both are functions of the seed."""

    observation_space = PICTURE
    action_space = Discrete(2)
    seed, episode, time = 0, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.seed, self.episode = (self.seed, self.episode + 1) if seed is None else (seed, 0)
        self.time = 0
        return self.observe(), {"episode": self.episode}

    def step(self, action: int):
        self.time += 1
        return self.observe(), *outcome(self.seed, self.episode, self.time, action), {"time": self.time}

    def observe(self) -> np.ndarray:
        return frame(self.seed, self.episode, self.time).copy()


class SharedArrayEnv(RandomFramesEnv):
    """The same, but every frame is written into the same array."""

    def __init__(self) -> None:
        self.screen = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    def observe(self) -> np.ndarray:
        self.screen[:] = super().observe()
        return self.screen


class RandomFramesVectorEnv(VectorEnv):
    """A batch of `RandomFramesEnv` that reuses its arrays and has snapshots; its `final_obs` is one array."""

    def __init__(self, num_envs: int, mode: AutoresetMode, frame_skip: int = 1, max_pool: bool = False) -> None:
        self.num_envs, self.mode = num_envs, mode
        self.metadata = {"autoreset_mode": mode}
        self.frame_skip, self.max_pool = frame_skip, max_pool
        self.single_observation_space, self.single_action_space = PICTURE, Discrete(2)
        self.observation_space, self.action_space = batch_space(PICTURE, num_envs), batch_space(Discrete(2), num_envs)
        self.clock = np.zeros((num_envs, 3), np.int64)  # seed, episode, time
        self.over = np.zeros(num_envs, np.bool_)
        self.screens = np.zeros((num_envs, HEIGHT, WIDTH, 3), np.uint8)
        self.last = np.full_like(self.screens, 99)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        for i in range(self.num_envs):
            if options is None or options["reset_mask"][i]:
                self.start_episode(i, None if seed is None else seed + i)
        return self.screens, {}

    def start_episode(self, i: int, seed: int | None = None) -> None:
        self.clock[i] = (self.clock[i, 0], self.clock[i, 1] + 1, 0) if seed is None else (seed, 0, 0)
        self.over[i] = False
        self.screens[i] = frame(*self.clock[i].tolist())

    def step(self, actions: np.ndarray):
        reward, terminated, truncated = np.zeros(self.num_envs), self.over & False, self.over & False
        for i in range(self.num_envs):
            if self.over[i] and self.mode is AutoresetMode.NEXT_STEP:
                self.start_episode(i)
                continue
            self.clock[i, 2] += 1
            seed, episode, time = self.clock[i].tolist()
            reward[i], terminated[i], truncated[i] = outcome(seed, episode, time, actions[i])
            self.screens[i] = frame(seed, episode, time)
            self.over[i] = terminated[i] or truncated[i]
            if self.over[i] and self.mode is AutoresetMode.SAME_STEP:
                self.last[i] = self.screens[i]
                self.start_episode(i)
        done = terminated | truncated
        ends = self.mode is AutoresetMode.SAME_STEP and done.any()
        info = {"final_obs": self.last, "_final_obs": done} if ends else {}
        return self.screens, reward, terminated, truncated, info

    def snapshot(self) -> dict[str, Any]:
        return {"clock": self.clock.copy(), "over": self.over.copy(), "screens": self.screens.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        self.clock, self.over, self.screens = (state[name].copy() for name in ("clock", "over", "screens"))


def sync(wrap, mode: AutoresetMode, num_envs: int = 3) -> SyncVectorEnv:
    """Gymnasium's loop over single environments; copy=False: it returns the same array in every step."""
    return SyncVectorEnv([lambda: wrap(RandomFramesEnv())] * num_envs, copy=False, autoreset_mode=mode)


def by_gymnasium(env: gym.Env, pixels: Pixels) -> gym.Env:
    """Apply the declaration, without skip and difference, by Gymnasium's wrappers."""
    if pixels.crop:
        top, bottom, left, right = pixels.crop
        window = Box(0, 255, (bottom - top, right - left, 3), np.uint8)
        env = TransformObservation(env, lambda obs: obs[top:bottom, left:right].copy(), window)
    if pixels.every > 1:
        space = Box(0, 255, env.observation_space.sample()[:: pixels.every, :: pixels.every].shape, np.uint8)
        env = TransformObservation(env, lambda obs: obs[:: pixels.every, :: pixels.every].copy(), space)
    if pixels.grey:
        env = GrayscaleObservation(env)
    if pixels.size:
        env = ResizeObservation(env, pixels.size)
    if pixels.stack > 1:
        env = FrameStackObservation(env, pixels.stack)
    if pixels.scale:
        space = Box(0, 1, env.observation_space.shape, np.float32)
        env = TransformObservation(env, lambda obs: obs.astype(np.float32) / np.float32(255), space)
    return env


def random_trace(envs: VectorEnv, seed: int, steps: int, overwrite: bool = False) -> list[dict[str, np.ndarray]]:
    """Return a trace of random actions in any autoreset mode, with partial and full resets in between.

    `overwrite` changes every observation once it was recorded, as the caller may.
    """
    random = np.random.default_rng(seed)
    trace: list[dict[str, np.ndarray]] = []

    def record(obs: np.ndarray, info: dict[str, Any], **rest: np.ndarray) -> None:
        trace.append({"obs": obs.copy(), **rest})
        if "final_obs" in info:
            ended = np.flatnonzero(info["_final_obs"])
            trace[-1] |= {"ended": ended, "final": np.stack([info["final_obs"][i] for i in ended])}
        if overwrite:
            obs[...] = 77
            if "final_obs" in info:
                info["final_obs"][...] = 77

    record(*envs.reset(seed=seed))
    for t in range(steps):
        obs, reward, terminated, truncated, info = envs.step(random.integers(2, size=envs.num_envs))
        record(obs, info, reward=reward, terminated=terminated, truncated=truncated)
        done = terminated | truncated
        if envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED and done.any():
            record(*envs.reset(options={"reset_mask": done}))
        mask = random.random(envs.num_envs) < 0.5
        if t % 11 == 7 and mask.any():
            record(*envs.reset(options={"reset_mask": mask}))
        if t == steps // 2:
            record(*envs.reset())
    return trace


def assert_equal(trace: list[dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]]) -> None:
    assert len(trace) == len(expected)
    for t, (one, other) in enumerate(zip(trace, expected, strict=True)):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name], err_msg=f"{name} at {t}", strict=True)


def trace_of(env: gym.Env, seed: int, steps: int) -> list[dict[str, np.ndarray]]:
    """Return a trace of one environment, reset where an episode ends."""
    trace = [{"obs": np.array(env.reset(seed=seed)[0])}]
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(1)
        ends = {"terminated": np.array(terminated), "truncated": np.array(truncated)}
        trace.append({"obs": np.array(obs), "reward": np.array(reward), "time": np.array(info["time"]), **ends})
        if terminated or truncated:
            trace.append({"obs": np.array(env.reset()[0])})
    return trace


# ---- one environment ----


def test_empty_declaration_returns_the_env_itself():
    env, envs = RandomFramesEnv(), sync(lambda env: env, AutoresetMode.NEXT_STEP)
    assert Pixels().wrap(env) is env
    assert Pixels().wrap_vec(envs) is envs
    skipping = RandomFramesVectorEnv(2, AutoresetMode.NEXT_STEP, frame_skip=4, max_pool=True)
    assert Pixels(skip=4, max_pool=True).wrap_vec(skipping) is skipping


@pytest.mark.parametrize("game", ["Cave", "CatchBall"])
def test_channel_axis_makes_pictures_of_our_grids(game: str):
    """As Gymnasium's ReshapeObservation does, for one and for many; Stable-Baselines3 takes them for pictures."""
    pixels = replace(default_pixels(game, {}), channel_axis=True)
    env, grid, envs = rlgames.make(game, pixels=pixels), rlgames.make(game), rlgames.make_vec(game, 2, pixels=pixels)
    assert isinstance(grid.observation_space, Box)
    oracle = ReshapeObservation(grid, (1, *grid.observation_space.shape))
    assert env.observation_space == envs.single_observation_space == oracle.observation_space
    assert is_image_space(env.observation_space)
    np.testing.assert_array_equal(env.reset(seed=3)[0], oracle.reset(seed=3)[0], strict=True)
    np.testing.assert_array_equal(envs.reset(seed=3)[0][0], env.reset(seed=3)[0], strict=True)
    for _ in range(5):
        np.testing.assert_array_equal(env.step(1)[0], oracle.step(1)[0], strict=True)


def test_cnn_policy_of_stable_baselines_takes_cave():
    env = rlgames.make("Cave", pixels=Pixels(channel_axis=True))
    model = SB3PPO("CnnPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(8)
    assert model.predict(env.reset(seed=0)[0])[0].shape == ()


@settings(max_examples=25, deadline=None)
@given(declarations.filter(lambda pixels: not pixels.difference), seeds)
def test_wrap_equals_gymnasium_wrappers(pixels: Pixels, seed: int):
    env, oracle = pixels.wrap(RandomFramesEnv()), by_gymnasium(RandomFramesEnv(), pixels)
    assert env.observation_space == oracle.observation_space
    assert_equal(trace_of(env, seed, 12), trace_of(oracle, seed, 12))


@pytest.mark.parametrize("scale", [False, True])
def test_difference_is_the_frame_minus_the_previous_one_and_zero_at_first(scale: bool):
    env = Pixels(difference=True, scale=scale).wrap(SharedArrayEnv())
    limit = 1 if scale else 255
    assert env.observation_space == Box(-limit, limit, (HEIGHT, WIDTH, 3), np.float32)
    expected, previous = [], None
    for step in trace_of(RandomFramesEnv(), 5, 30):
        previous = step["obs"] if "reward" not in step or previous is None else previous
        change = [[[int(a) - int(b) for a, b in zip(x, y, strict=True)] for x, y in zip(*rows, strict=True)]
                  for rows in zip(step["obs"], previous, strict=True)]  # fmt: skip
        expected.append({**step, "obs": np.array(change, np.float32) / np.float32(255 if scale else 1)})
        previous = step["obs"]
    assert sum("reward" not in step for step in expected) > 3
    assert_equal(trace_of(env, 5, 30), expected)


@pytest.mark.parametrize("max_pool", [False, True])
@settings(max_examples=15, deadline=None)
@given(seed=seeds, skip=st.integers(2, 5))
def test_skip_equals_a_loop_over_frames(max_pool: bool, seed: int, skip: int):
    """The oracle is made of all frames: those of each skip, their rewards, and where an episode ends within it."""
    expected: list[dict[str, np.ndarray]] = []
    skipped: list[dict[str, np.ndarray]] = []
    for step in trace_of(RandomFramesEnv(), seed, 60):
        if "reward" not in step:
            expected.append(step)
            continue
        skipped.append(step)
        if len(skipped) == skip or step["terminated"] or step["truncated"]:
            frames = [each["obs"] for each in skipped[-2:]] if max_pool else [step["obs"]]
            total = np.array(sum(float(each["reward"]) for each in skipped))
            expected.append({**step, "obs": np.max(frames, axis=0), "reward": total})
            skipped = []
    env = Pixels(skip=skip, max_pool=max_pool).wrap(SharedArrayEnv())
    assert env.observation_space == PICTURE
    assert_equal(trace_of(env, seed, 60)[: len(expected)], expected)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, skip=st.integers(2, 5), grey=st.booleans(), difference=st.booleans())
def test_stack_skipped_equals_a_loop_over_frames(seed: int, skip: int, grey: bool, difference: bool):
    """The oracle is made of all frames of the rest of the declaration."""
    expected: list[dict[str, np.ndarray]] = []
    frames: list[np.ndarray] = []
    total = 0.0
    for step in trace_of(Pixels(grey=grey, difference=difference).wrap(RandomFramesEnv()), seed, 60):
        if "reward" not in step:
            frames, total = [], 0.0
            expected.append({"obs": np.stack([step["obs"]] * skip)})
            continue
        frames, total = [*frames, step["obs"]], total + float(step["reward"])
        if len(frames) == skip or step["terminated"] or step["truncated"]:
            last = [frames[min(i, len(frames) - 1)] for i in range(skip)]
            expected.append({**step, "obs": np.stack(last), "reward": np.array(total)})
            frames, total = [], 0.0
    env = Pixels(skip=skip, stack_skipped=True, grey=grey, difference=difference).wrap(SharedArrayEnv())
    assert env.observation_space.shape == expected[0]["obs"].shape
    assert_equal(trace_of(env, seed, 60)[: len(expected)], expected)
    scaled = Pixels(skip=skip, stack_skipped=True, grey=grey, difference=difference, scale=True).wrap(RandomFramesEnv())
    for one, plain in zip(trace_of(scaled, seed, 5), expected, strict=False):
        np.testing.assert_array_equal(one["obs"], np.float32(plain["obs"]) / np.float32(255))


def test_vector_observations_can_be_skipped_but_not_stacked():
    env, frame_by_frame = Pixels(skip=3).wrap(gym.make("CartPole-v1")), gym.make("CartPole-v1")
    env.reset(seed=1)
    frame_by_frame.reset(seed=1)
    obs, reward, *_ = env.step(1)
    frames = [frame_by_frame.step(1) for _ in range(3)]
    assert np.array_equal(obs, frames[-1][0])
    assert reward == 3
    with pytest.raises(ValueError, match="Pixels is for games observed as pictures"):
        Pixels(skip=3, stack=2).wrap(gym.make("CartPole-v1"))


def test_skip_equals_max_and_skip_observation_unless_an_episode_ends_within_it():
    skip, ended, whole = 3, 0, 0
    ours = trace_of(FrameSkip(RandomFramesEnv(), skip, True), 3, 60)
    theirs = trace_of(MaxAndSkipObservation(RandomFramesEnv(), skip), 3, 60)
    for one, other in zip(ours, theirs, strict=True):
        if "time" in one and one["time"] % skip:  # frames of the episode: it ended within a skip
            ended += 1
            assert not np.array_equal(one.pop("obs"), other.pop("obs")), "Gymnasium's buffer holds older frames here"
        else:
            whole += 1
        assert_equal([one], [other])
    assert ended > 5
    assert whole > 30


def test_spec_of_a_wrapped_env_makes_it_again():
    gym.register(
        "RandomFrames-v0", entry_point=lambda **_: RandomFramesEnv(), disable_env_checker=True, order_enforce=False
    )
    try:
        env = Pixels(skip=2, max_pool=True, grey=True, difference=True, stack=2).wrap(gym.make("RandomFrames-v0"))
        assert env.spec is not None
        assert_equal(trace_of(gym.make(env.spec), 4, 9), trace_of(env, 4, 9))
    finally:
        del gym.registry["RandomFrames-v0"]


# ---- vector environments ----


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pixels", DECLARATIONS)
def test_wrap_vec_equals_wrap(pixels: Pixels, mode: AutoresetMode):
    check_wrap_vec(pixels, mode, seed=1)


@settings(max_examples=15, deadline=None)
@given(pixels=declarations, mode=st.sampled_from(MODES), seed=seeds)
def test_wrap_vec_equals_wrap_for_any_declaration(pixels: Pixels, mode: AutoresetMode, seed: int):
    check_wrap_vec(pixels, mode, seed)


def check_wrap_vec(pixels: Pixels, mode: AutoresetMode, seed: int) -> None:
    """Compare with SyncVectorEnv of wrapped environments.

    The `final_obs` of SyncVectorEnv is an array of objects, that of RandomFramesVectorEnv one array of frames.
    """
    oracle = sync(pixels.wrap, mode)
    expected = random_trace(oracle, seed, 25)
    assert any(step.get("terminated", step["obs"][:0]).any() for step in expected)
    assert any(step.get("truncated", step["obs"][:0]).any() for step in expected)
    for engine in (sync(lambda env: env, mode), RandomFramesVectorEnv(3, mode)):
        envs = pixels.wrap_vec(engine)
        assert envs.single_observation_space == oracle.single_observation_space
        assert envs.observation_space == oracle.observation_space
        assert envs.metadata["autoreset_mode"] is mode
        assert_equal(random_trace(envs, seed, 25), expected)


@pytest.mark.parametrize("mode", MODES)
def test_wrap_vec_of_a_skipping_engine_equals_wrap(mode: AutoresetMode):
    class Skipping(SyncVectorEnv):
        frame_skip, max_pool = 3, True

    pixels = Pixels(skip=3, max_pool=True, grey=True, stack=2)
    engine = Skipping([lambda: FrameSkip(RandomFramesEnv(), 3, True)] * 3, autoreset_mode=mode)
    assert_equal(random_trace(pixels.wrap_vec(engine), 2, 25), random_trace(sync(pixels.wrap, mode), 2, 25))


@pytest.mark.parametrize("pixels", [pixels for pixels in DECLARATIONS if pixels.stack > 1 or pixels.difference])
@pytest.mark.parametrize("mode", MODES)
def test_caller_may_overwrite_observations(pixels: Pixels, mode: AutoresetMode):
    expected = random_trace(pixels.wrap_vec(RandomFramesVectorEnv(3, mode)), 6, 25)
    assert_equal(random_trace(pixels.wrap_vec(RandomFramesVectorEnv(3, mode)), 6, 25, overwrite=True), expected)
    if mode is AutoresetMode.SAME_STEP:
        assert any("final" in step for step in expected)


def test_final_obs_is_zero_where_no_episode_ended():
    envs = Pixels(grey=True, stack=2).wrap_vec(RandomFramesVectorEnv(5, AutoresetMode.SAME_STEP))
    envs.reset(seed=0)
    checked = 0
    for _ in range(12):
        _, _, terminated, truncated, info = envs.step(np.ones(envs.num_envs, np.int64))
        done = terminated | truncated
        if done.any() and not done.all():
            checked += 1
            assert info["final_obs"].shape == envs.observation_space.shape
            assert info["final_obs"].dtype == np.uint8
            assert info["_final_obs"].dtype == np.bool_
            assert (info["final_obs"].any(axis=(1, 2, 3)) == done).all()
    assert checked > 3


def test_preprocessing_of_pong_tutorials():
    """Crop, every second pixel, red, no background, difference from the previous frame; compared with a plain loop."""
    pixels = Pixels(crop=(1, 8, 2, 11), every=2, channel=0, erase=tuple(range(60, 170)), difference=True, scale=True)
    env, raw = pixels.wrap(RandomFramesEnv()), RandomFramesEnv()

    def plain(picture: np.ndarray) -> np.ndarray:
        return np.array([[float(not 60 <= picture[y, x, 0] < 170) for x in range(2, 11, 2)] for y in range(1, 8, 2)])

    previous = plain(raw.reset(seed=4)[0])
    assert not env.reset(seed=4)[0].any()
    for _ in range(3):
        obs, _, terminated, truncated, _ = env.step(1)
        picture = plain(raw.step(1)[0])
        assert obs.dtype == np.float32
        assert np.array_equal(obs, picture - previous)
        assert set(np.unique(obs)) == {-1, 0, 1}
        assert obs in env.observation_space
        assert not terminated
        assert not truncated
        previous = picture


@pytest.mark.parametrize("reds", [range(0, 256, 15), pytest.param(range(256), marks=pytest.mark.slow)], ids=len)
def test_luminance_equals_gymnasium_grayscale(reds: range) -> None:
    """With all values of red, for every color."""
    grayscale = GrayscaleObservation(RandomFramesEnv()).func
    colors = np.empty((1, 256, 256, 3), np.uint8)
    colors[0, ..., 1], colors[0, ..., 2] = np.mgrid[:256, :256]
    for red in reds:
        colors[..., 0] = red
        assert np.array_equal(luminance(colors)[0], grayscale(colors[0]))


def test_only_the_pixels_module_reads_the_fields_of_its_operations() -> None:
    """So a new operation is added in one file; engines read the fields they take over, crop, grey and size."""
    package = Path(rlgames.__file__).parent
    readers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("every", "channel", "erase")
    }
    assert readers == {"wrappers/pixels.py"}


# ---- snapshots ----


def continue_trace(envs: VectorEnv, steps: int) -> list[dict[str, np.ndarray]]:
    trace = []
    for _ in range(steps):
        obs, reward, terminated, truncated, info = envs.step(np.ones(envs.num_envs, np.int64))
        done = terminated | truncated
        trace.append({"obs": obs.copy(), "reward": reward, "final": info.get("final_obs", obs)[done].copy()})
        if envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED and done.any():
            trace.append({"obs": envs.reset(options={"reset_mask": done})[0].copy()})
    return trace


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pixels", [pixels for pixels in DECLARATIONS if pixels.stack > 1 or pixels.difference])
def test_restore_continues_bit_for_bit(pixels: Pixels, mode: AutoresetMode):
    envs: list[Any] = [pixels.wrap_vec(RandomFramesVectorEnv(4, mode)) for _ in range(3)]
    uninterrupted, restored, new = envs
    uninterrupted.reset(seed=8)
    restored.reset(seed=8)
    for steps in (0, 1, 5, 6):  # after the reset, and where some episodes have ended
        assert_equal(continue_trace(restored, steps), continue_trace(uninterrupted, steps))
        state = restored.snapshot()
        assert leaves(state) <= {np.ndarray, int, bool, float}
        restored.reset()
        restored.restore(state)
        restored.reset()  # changes arrays, but not the state
        restored.restore(state)
        new.restore(state)  # the first time it was never reset
        expected = continue_trace(uninterrupted, 9)
        assert_equal(continue_trace(restored, 9), expected)
        assert_equal(continue_trace(new, 9), expected)


def leaves(state: Any) -> set[type]:
    return set.union(*map(leaves, state.values())) if isinstance(state, dict) else {type(state)}


def test_restore_rejects_the_state_of_other_frames():
    envs = Pixels(grey=True, stack=3).wrap_vec(RandomFramesVectorEnv(4, AutoresetMode.NEXT_STEP))
    state = envs.snapshot()  # pyright: ignore[reportAttributeAccessIssue]
    for pixels, n in ((Pixels(grey=True, stack=3), 5), (Pixels(grey=True, stack=2), 4), (Pixels(stack=3), 4)):
        with pytest.raises(ValueError, match=r"\(3, 4, 9, 11\).*num_envs and the Pixels"):
            pixels.wrap_vec(RandomFramesVectorEnv(n, AutoresetMode.NEXT_STEP)).restore(state)  # pyright: ignore[reportAttributeAccessIssue]


def test_snapshot_of_engines_without_it_raises():
    envs: Any = Pixels(stack=2).wrap_vec(sync(lambda env: env, AutoresetMode.NEXT_STEP))
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv.* has no snapshot"):
        envs.snapshot()
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv.* has no restore"):
        envs.restore({})


# ---- errors ----


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"skip": 0}, "skip to be an integer >= 1, got 0"),
        ({"max_pool": True}, "got skip=1: use skip >= 2 or max_pool=False"),
        ({"stack": 0}, "stack to be an integer >= 1, got 0"),
        ({"stack_skipped": True}, "expected skip >= 2, .* got skip=1"),
        ({"stack_skipped": True, "skip": 4, "stack": 4}, "stack=1, got .* stack=4"),
        ({"stack_skipped": True, "skip": 4, "max_pool": True}, "max_pool=False .* max_pool=True"),
        ({"size": (0, 5)}, r"size to be a tuple \(an integer >= 1, an integer >= 1\) or None, got \(0, 5\)"),
        ({"size": (5,)}, r"got \(5,\)"),
        ({"every": 0}, "every to be an integer >= 1, got 0"),
        ({"channel": -1}, "channel to be an integer >= 0 or None, got -1"),
        ({"channel_axis": True, "stack": 2}, "channel_axis is for single frames: expected stack=1 .* got stack=2"),
        ({"channel_axis": True, "stack_skipped": True, "skip": 2}, "stack_skipped=False, got .* stack_skipped=True"),
        ({"channel": 0, "grey": True}, "expected grey=True or a channel, got both, channel=0"),
        ({"erase": (3, 256)}, r"erase to be a tuple such as .* in 0..255, got \(3, 256\)"),
        ({"crop": (5, 5, 0, 3)}, r"top < bottom .* got \(5, 5, 0, 3\)"),
        ({"crop": (0, 5, 4, 3)}, r"left < right, got \(0, 5, 4, 3\)"),
        ({"crop": (-1, 5, 0, 3)}, r"0 <= top .* got \(-1, 5, 0, 3\)"),
        ({"crop": (0, 5)}, r"got \(0, 5\)"),
    ],
)
def test_contradictory_declaration(declaration: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Pixels(**declaration)


@pytest.mark.parametrize(
    "declaration",
    [{"skip": "4"}, {"stack": None}, {"crop": 5}, {"grey": 1}, {"erase": 87}, {"size": 84}, {"scale": "yes"}],
)
def test_settings_of_another_type_are_named(declaration: dict[str, Any]):
    [(name, value)] = declaration.items()
    with pytest.raises(InvalidTypeError, match=f"expected {name} to be .*, got {value!r}"):
        Pixels(**declaration)


def test_settings_become_plain():
    """As JSON and NumPy give them."""
    given: Any = {
        "crop": [0, 9, 0, np.int64(11)],
        "size": [4.0, 5],
        "skip": np.int32(2),
        "erase": [3],
        "grey": np.True_,
    }
    assert Pixels(**given) == Pixels(crop=(0, 9, 0, 11), size=(4, 5), skip=2, erase=(3,), grey=True)


@pytest.mark.parametrize(
    ("pixels", "space", "message"),
    [
        (Pixels(crop=(0, 10, 0, 5)), PICTURE, r"crop=\(0, 10, 0, 5\).*9 rows and 11 columns: keep bottom <= 9"),
        (Pixels(crop=(0, 9, 0, 12)), PICTURE, "right <= 11"),
        (Pixels(grey=True), Box(0, 255, (8, 8), np.uint8), r"\(H, W, 3\), got \(8, 8\): use grey=False"),
        (Pixels(grey=True), Box(0, 255, (8, 8, 4), np.uint8), r"got \(8, 8, 4\)"),
        (Pixels(channel=3), PICTURE, r"channel=3 needs frames .*got \(9, 11, 3\)"),
        (Pixels(erase=(0,)), PICTURE, r"erase needs one level a pixel, got frames \(9, 11, 3\)"),
        (
            Pixels(channel_axis=True),
            PICTURE,
            r"needs frames of shape \(H, W\), got \(9, 11, 3\): use grey=True or a channel",
        ),
        (Pixels(size=(4, 4)), Box(0, 2, (8, 8), np.uint8), r"from 0 to 255, got Box\(0, 2"),
        (Pixels(stack=2), Box(0, 1, (8, 8), np.float32), r"uint8 Box .* got Box\(0.0, 1.0, \(8, 8\), float32\)"),
        (Pixels(skip=2, stack=2), Box(0, 255, (8,), np.uint8), r"got Box\(0, 255, \(8,\)"),
        (Pixels(scale=True), Discrete(3), r"got Discrete\(3\)"),
    ],
)
def test_frames_that_do_not_fit_the_declaration(pixels: Pixels, space: gym.Space, message: str):
    env, envs = RandomFramesEnv(), RandomFramesVectorEnv(2, AutoresetMode.NEXT_STEP, frame_skip=pixels.skip)
    env.observation_space = envs.single_observation_space = space
    with pytest.raises(ValueError, match=message):
        pixels.wrap(env)
    if pixels.skip == 1:
        with pytest.raises(ValueError, match=message):
            pixels.wrap_vec(envs)


@pytest.mark.parametrize(
    ("pixels", "frame_skip", "max_pool"),
    [
        (Pixels(skip=4), 1, False),
        (Pixels(), 4, False),
        (Pixels(skip=4, max_pool=True), 4, False),
        (Pixels(skip=4, stack=2), 4, True),
    ],
)
def test_wrap_vec_rejects_an_engine_with_another_skip(pixels: Pixels, frame_skip: int, max_pool: bool):
    declared, found = (
        f"skip={pixels.skip} and max_pool={pixels.max_pool}",
        f"frame_skip={frame_skip} and max_pool={max_pool}",
    )
    remedy = r"pass \*\*engine_arguments\(\) .* Pixels\.wrap"
    with pytest.raises(ValueError, match=f"{declared}, but RandomFramesVectorEnv has {found}: {remedy}"):
        pixels.wrap_vec(RandomFramesVectorEnv(2, AutoresetMode.NEXT_STEP, frame_skip, max_pool))


def test_wrap_vec_rejects_stack_skipped():
    with pytest.raises(ValueError, match=r"which a vector environment does not return: use rlgames\.make_vec"):
        Pixels(skip=3, stack_skipped=True).wrap_vec(RandomFramesVectorEnv(2, AutoresetMode.NEXT_STEP))


def test_wrap_vec_needs_an_autoreset_mode():
    envs = RandomFramesVectorEnv(2, AutoresetMode.NEXT_STEP)
    envs.metadata = {}
    with pytest.raises(ValueError, match=r"RandomFramesVectorEnv.* has no metadata\['autoreset_mode'\]: set it"):
        Pixels(stack=2).wrap_vec(envs)


def test_engine_arguments_make_an_engine_that_wrap_vec_accepts():
    assert Pixels(stack=4).engine_arguments() == {}
    assert Pixels(skip=4).engine_arguments() == {"frame_skip": 4, "max_pool": False}
    assert Pixels(skip=4, stack_skipped=True).engine_arguments() == {}
    skipping = Pixels(skip=4, max_pool=True)
    assert (
        skipping.wrap_vec(RandomFramesVectorEnv(2, AutoresetMode.NEXT_STEP, **skipping.engine_arguments())).num_envs
        == 2
    )
