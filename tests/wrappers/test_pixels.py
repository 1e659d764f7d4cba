"""`Pixels`, held against Gymnasium's own wrappers where they exist and against plain loops where they do not."""

import subprocess
import sys
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
    ResizeObservation,
    TransformObservation,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.wrappers import Pixels
from rlgames.wrappers.frames import FrameSkip

HEIGHT, WIDTH = 9, 11
MODES = list(AutoresetMode)
PICTURE = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
WINDOW = (1, 8, 2, 11)
# one declaration for each step alone, then combinations
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


def frame(seed: int, episode: int, time: int) -> np.ndarray:
    return np.random.default_rng((seed, episode, time)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def outcome(seed: int, episode: int, time: int, action: int) -> tuple[float, bool, bool]:
    """Reward, terminated, truncated of step `time`, from 1; episodes last 1 to 9 steps, and end in one way or both."""
    length, end = np.random.default_rng((seed, episode)).integers((1, 1), (10, 4))
    reward = float(seed % 7 - 2.5 * time + 20 * action)
    return reward, bool(time == length and end & 1), bool(time == length and end & 2)


class Pictures(gym.Env):
    """Random pictures in episodes of random length."""

    observation_space = PICTURE
    action_space = Discrete(2)
    seed, episode, time = 0, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.seed, self.episode = (self.seed, self.episode + 1) if seed is None else (seed, 0)
        self.time = 0
        return self.look(), {"episode": self.episode}

    def step(self, action: int):
        self.time += 1
        return self.look(), *outcome(self.seed, self.episode, self.time, action), {"time": self.time}

    def look(self) -> np.ndarray:
        return frame(self.seed, self.episode, self.time)


class Emulator(Pictures):
    """The same, but every frame is drawn into the same array."""

    def __init__(self) -> None:
        self.screen = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    def look(self) -> np.ndarray:
        self.screen[:] = super().look()
        return self.screen


class Film(VectorEnv):
    """`Pictures` in a batch that reuses its arrays, can be snapshotted, and whose `final_obs` is one array."""

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
                self.restart(i, None if seed is None else seed + i)
        return self.screens, {}

    def restart(self, i: int, seed: int | None = None) -> None:
        self.clock[i] = (self.clock[i, 0], self.clock[i, 1] + 1, 0) if seed is None else (seed, 0, 0)
        self.over[i] = False
        self.screens[i] = frame(*self.clock[i].tolist())

    def step(self, actions: np.ndarray):
        reward, terminated, truncated = np.zeros(self.num_envs), self.over & False, self.over & False
        for i in range(self.num_envs):
            if self.over[i] and self.mode is AutoresetMode.NEXT_STEP:
                self.restart(i)
                continue
            self.clock[i, 2] += 1
            seed, episode, time = self.clock[i].tolist()
            reward[i], terminated[i], truncated[i] = outcome(seed, episode, time, actions[i])
            self.screens[i] = frame(seed, episode, time)
            self.over[i] = terminated[i] or truncated[i]
            if self.over[i] and self.mode is AutoresetMode.SAME_STEP:
                self.last[i] = self.screens[i]
                self.restart(i)
        done = terminated | truncated
        ends = self.mode is AutoresetMode.SAME_STEP and done.any()
        info = {"final_obs": self.last, "_final_obs": done} if ends else {}
        return self.screens, reward, terminated, truncated, info

    def snapshot(self) -> dict[str, Any]:
        return {"clock": self.clock.copy(), "over": self.over.copy(), "screens": self.screens.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        self.clock, self.over, self.screens = (state[name].copy() for name in ("clock", "over", "screens"))


def sync(wrap, mode: AutoresetMode, num_envs: int = 3) -> SyncVectorEnv:
    """Gymnasium's loop over single environments; copy=False: it hands out the same array in every step."""
    return SyncVectorEnv([lambda: wrap(Pictures())] * num_envs, copy=False, autoreset_mode=mode)


def by_gymnasium(env: gym.Env, pixels: Pixels) -> gym.Env:
    """The declaration without skip and difference, written out with Gymnasium's wrappers."""
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


def play(envs: VectorEnv, seed: int, steps: int, spoil: bool = False) -> list[dict[str, np.ndarray]]:
    """A trace of random play in any autoreset mode, with partial and full resets in between.

    `spoil` overwrites every observation after it was recorded, as its owner may.
    """
    random = np.random.default_rng(seed)
    trace: list[dict[str, np.ndarray]] = []

    def record(obs: np.ndarray, info: dict[str, Any], **rest: np.ndarray) -> None:
        trace.append({"obs": obs.copy(), **rest})
        if "final_obs" in info:
            ended = np.flatnonzero(info["_final_obs"])
            trace[-1] |= {"ended": ended, "final": np.stack([info["final_obs"][i] for i in ended])}
        if spoil:
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


def episodes(env: gym.Env, seed: int, steps: int) -> list[dict[str, np.ndarray]]:
    """A trace of one environment, restarted where an episode ends."""
    trace = [{"obs": np.array(env.reset(seed=seed)[0])}]
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(1)
        ends = {"terminated": np.array(terminated), "truncated": np.array(truncated)}
        trace.append({"obs": np.array(obs), "reward": np.array(reward), "time": np.array(info["time"]), **ends})
        if terminated or truncated:
            trace.append({"obs": np.array(env.reset()[0])})
    return trace


# --- one environment -------------------------------------------------------------------------------------------------


def test_the_empty_declaration_is_the_game_itself():
    env, envs = Pictures(), sync(lambda env: env, AutoresetMode.NEXT_STEP)
    assert Pixels().wrap(env) is env
    assert Pixels().wrap_vec(envs) is envs
    film = Film(2, AutoresetMode.NEXT_STEP, frame_skip=4, max_pool=True)
    assert Pixels(skip=4, max_pool=True).wrap_vec(film) is film


@settings(max_examples=40, deadline=None)
@given(declarations.filter(lambda pixels: not pixels.difference), seeds)
def test_one_game_equals_gymnasiums_wrappers(pixels: Pixels, seed: int):
    env, oracle = pixels.wrap(Pictures()), by_gymnasium(Pictures(), pixels)
    assert env.observation_space == oracle.observation_space
    assert_equal(episodes(env, seed, 12), episodes(oracle, seed, 12))


@pytest.mark.parametrize("scale", [False, True])
def test_difference_is_this_frame_minus_the_last_and_zero_at_first(scale: bool):
    env = Pixels(difference=True, scale=scale).wrap(Emulator())
    reach = 1 if scale else 255
    assert env.observation_space == Box(-reach, reach, (HEIGHT, WIDTH, 3), np.float32)
    expected, before = [], None
    for step in episodes(Pictures(), 5, 30):
        before = step["obs"] if "reward" not in step or before is None else before
        change = [[[int(a) - int(b) for a, b in zip(x, y, strict=True)] for x, y in zip(*rows, strict=True)]
                  for rows in zip(step["obs"], before, strict=True)]  # fmt: skip
        expected.append({**step, "obs": np.array(change, np.float32) / np.float32(reach * 255 if scale else 1)})
        before = step["obs"]
    assert sum("reward" not in step for step in expected) > 3
    assert_equal(episodes(env, 5, 30), expected)


@pytest.mark.parametrize("max_pool", [False, True])
@settings(max_examples=15, deadline=None)
@given(seed=seeds, skip=st.integers(2, 5))
def test_skip_equals_a_plain_loop(max_pool: bool, seed: int, skip: int):
    """Every frame of the game, and from it the oracle: which frames a skip saw, their rewards, where it was cut."""
    expected: list[dict[str, np.ndarray]] = []
    seen: list[dict[str, np.ndarray]] = []
    for step in episodes(Pictures(), seed, 60):
        if "reward" not in step:
            expected.append(step)
            continue
        seen.append(step)
        if len(seen) == skip or step["terminated"] or step["truncated"]:
            frames = [each["obs"] for each in seen[-2:]] if max_pool else [step["obs"]]
            total = np.array(sum(float(each["reward"]) for each in seen))
            expected.append({**step, "obs": np.max(frames, axis=0), "reward": total})
            seen = []
    env = Pixels(skip=skip, max_pool=max_pool).wrap(Emulator())
    assert env.observation_space == PICTURE
    assert_equal(episodes(env, seed, 60)[: len(expected)], expected)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, skip=st.integers(2, 5), grey=st.booleans(), difference=st.booleans())
def test_skipped_frames_equal_a_plain_loop(seed: int, skip: int, grey: bool, difference: bool):
    """Every frame as the rest of the declaration shows it, from it the oracle."""
    expected: list[dict[str, np.ndarray]] = []
    frames: list[np.ndarray] = []
    total = 0.0
    for step in episodes(Pixels(grey=grey, difference=difference).wrap(Pictures()), seed, 60):
        if "reward" not in step:
            frames, total = [], 0.0
            expected.append({"obs": np.stack([step["obs"]] * skip)})
            continue
        frames, total = [*frames, step["obs"]], total + float(step["reward"])
        if len(frames) == skip or step["terminated"] or step["truncated"]:
            shown = [frames[min(i, len(frames) - 1)] for i in range(skip)]
            expected.append({**step, "obs": np.stack(shown), "reward": np.array(total)})
            frames, total = [], 0.0
    env = Pixels(skip=skip, stack_skipped=True, grey=grey, difference=difference).wrap(Emulator())
    assert env.observation_space.shape == expected[0]["obs"].shape
    assert_equal(episodes(env, seed, 60)[: len(expected)], expected)
    scaled = Pixels(skip=skip, stack_skipped=True, grey=grey, difference=difference, scale=True).wrap(Pictures())
    for one, plain in zip(episodes(scaled, seed, 5), expected, strict=False):
        np.testing.assert_array_equal(one["obs"], np.float32(plain["obs"]) / np.float32(255))


def test_numbers_can_be_skipped_but_not_stacked():
    one, all_frames = Pixels(skip=3).wrap(gym.make("CartPole-v1")), gym.make("CartPole-v1")
    one.reset(seed=1)
    all_frames.reset(seed=1)
    obs, reward, *_ = one.step(1)
    frames = [all_frames.step(1) for _ in range(3)]
    assert np.array_equal(obs, frames[-1][0])
    assert reward == 3
    with pytest.raises(ValueError, match="Pixels is for games seen as pictures"):
        Pixels(skip=3, stack=2).wrap(gym.make("CartPole-v1"))


def test_skip_equals_gymnasium_but_where_an_episode_ends_within_a_skip():
    skip, cut, whole = 3, 0, 0
    ours = episodes(FrameSkip(Pictures(), skip, True), 3, 60)
    theirs = episodes(MaxAndSkipObservation(Pictures(), skip), 3, 60)
    for one, other in zip(ours, theirs, strict=True):
        if "time" in one and one["time"] % skip:  # frames of the episode, so a rest is a skip that was cut
            cut += 1
            assert not np.array_equal(one.pop("obs"), other.pop("obs")), "Gymnasium's buffer holds older frames here"
        else:
            whole += 1
        assert_equal([one], [other])
    assert cut > 5
    assert whole > 30


def test_a_declared_game_can_be_made_anew_from_its_spec():
    gym.register("Pictures-v0", entry_point=lambda **_: Pictures(), disable_env_checker=True, order_enforce=False)
    try:
        env = Pixels(skip=2, max_pool=True, grey=True, difference=True, stack=2).wrap(gym.make("Pictures-v0"))
        assert env.spec is not None
        assert_equal(episodes(gym.make(env.spec), 4, 9), episodes(env, 4, 9))
    finally:
        del gym.registry["Pictures-v0"]


# --- a batch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pixels", DECLARATIONS)
def test_a_batch_equals_its_rows(pixels: Pixels, mode: AutoresetMode):
    check_batch_equals_rows(pixels, mode, seed=1)


@settings(max_examples=25, deadline=None)
@given(pixels=declarations, mode=st.sampled_from(MODES), seed=seeds)
def test_a_batch_equals_its_rows_for_any_declaration(pixels: Pixels, mode: AutoresetMode, seed: int):
    check_batch_equals_rows(pixels, mode, seed)


def check_batch_equals_rows(pixels: Pixels, mode: AutoresetMode, seed: int) -> None:
    """Against Gymnasium's loop over wrapped rows; `final_obs` comes in as objects and, from Film, as one array."""
    oracle = sync(pixels.wrap, mode)
    expected = play(oracle, seed, 25)
    assert any(step.get("terminated", step["obs"][:0]).any() for step in expected)
    assert any(step.get("truncated", step["obs"][:0]).any() for step in expected)
    for engine in (sync(lambda env: env, mode), Film(3, mode)):
        envs = pixels.wrap_vec(engine)
        assert envs.single_observation_space == oracle.single_observation_space
        assert envs.observation_space == oracle.observation_space
        assert envs.metadata["autoreset_mode"] is mode
        assert_equal(play(envs, seed, 25), expected)


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_with_its_own_skip_equals_skipped_rows(mode: AutoresetMode):
    class Skipping(SyncVectorEnv):
        frame_skip, max_pool = 3, True

    pixels = Pixels(skip=3, max_pool=True, grey=True, stack=2)
    engine = Skipping([lambda: FrameSkip(Pictures(), 3, True)] * 3, autoreset_mode=mode)
    assert_equal(play(pixels.wrap_vec(engine), 2, 25), play(sync(pixels.wrap, mode), 2, 25))


@pytest.mark.parametrize("pixels", [pixels for pixels in DECLARATIONS if pixels.stack > 1 or pixels.difference])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_handed_out_is_the_callers(pixels: Pixels, mode: AutoresetMode):
    expected = play(pixels.wrap_vec(Film(3, mode)), 6, 25)
    assert_equal(play(pixels.wrap_vec(Film(3, mode)), 6, 25, spoil=True), expected)
    if mode is AutoresetMode.SAME_STEP:
        assert any("final" in step for step in expected)


def test_final_observations_are_one_array_that_is_zero_in_the_other_rows():
    envs = Pixels(grey=True, stack=2).wrap_vec(Film(5, AutoresetMode.SAME_STEP))
    envs.reset(seed=0)
    shown = 0
    for _ in range(12):
        _, _, terminated, truncated, info = envs.step(np.ones(envs.num_envs, np.int64))
        done = terminated | truncated
        if done.any() and not done.all():
            shown += 1
            assert info["final_obs"].shape == envs.observation_space.shape
            assert info["final_obs"].dtype == np.uint8
            assert info["_final_obs"].dtype == np.bool_
            assert (info["final_obs"].any(axis=(1, 2, 3)) == done).all()
    assert shown > 3


def test_the_picture_of_the_pong_tutorials():
    """The field, every second pixel, red alone, without the background, and what has changed; by a plain loop."""
    pixels = Pixels(crop=(1, 8, 2, 11), every=2, channel=0, erase=tuple(range(60, 170)), difference=True, scale=True)
    env, raw = pixels.wrap(Pictures()), Pictures()

    def plain(picture: np.ndarray) -> np.ndarray:
        return np.array([[float(not 60 <= picture[y, x, 0] < 170) for x in range(2, 11, 2)] for y in range(1, 8, 2)])

    before = plain(raw.reset(seed=4)[0])
    assert not env.reset(seed=4)[0].any()
    for _ in range(3):
        obs, _, terminated, truncated, _ = env.step(1)
        picture = plain(raw.step(1)[0])
        assert obs.dtype == np.float32
        assert np.array_equal(obs, picture - before)
        assert set(np.unique(obs)) == {-1, 0, 1}
        assert obs in env.observation_space
        assert not terminated
        assert not truncated
        before = picture


def test_grey_equals_gymnasiums_for_every_colour():
    from rlgames.wrappers.vector_pixels import framed

    gymnasiums = GrayscaleObservation(Pictures()).func
    colours = np.empty((1, 256, 256, 3), np.uint8)
    colours[0, ..., 1], colours[0, ..., 2] = np.mgrid[:256, :256]
    for red in range(256):
        colours[..., 0] = red
        assert np.array_equal(framed(colours, Pixels(grey=True)), gymnasiums(colours))


# --- snapshots -------------------------------------------------------------------------------------------------------


def goes_on(envs: VectorEnv, steps: int) -> list[dict[str, np.ndarray]]:
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
def test_a_restored_batch_goes_on_bit_for_bit(pixels: Pixels, mode: AutoresetMode):
    envs: list[Any] = [pixels.wrap_vec(Film(4, mode)) for _ in range(3)]
    unbroken, stopped, new = envs
    unbroken.reset(seed=8)
    stopped.reset(seed=8)
    for steps in (0, 1, 5, 6):  # right after the reset, and where some rows wait for theirs
        assert_equal(goes_on(stopped, steps), goes_on(unbroken, steps))
        state = stopped.snapshot()
        assert leaves(state) <= {np.ndarray, int, bool, float}
        stopped.reset()
        stopped.restore(state)
        stopped.reset()  # neither reset may show in the state
        stopped.restore(state)
        new.restore(state)  # at first, one that was never reset
        expected = goes_on(unbroken, 9)
        assert_equal(goes_on(stopped, 9), expected)
        assert_equal(goes_on(new, 9), expected)


def leaves(state: Any) -> set[type]:
    return set.union(*map(leaves, state.values())) if isinstance(state, dict) else {type(state)}


def test_a_state_of_other_frames_is_refused():
    envs = Pixels(grey=True, stack=3).wrap_vec(Film(4, AutoresetMode.NEXT_STEP))
    state = envs.snapshot()  # pyright: ignore[reportAttributeAccessIssue]
    for pixels, n in ((Pixels(grey=True, stack=3), 5), (Pixels(grey=True, stack=2), 4), (Pixels(stack=3), 4)):
        with pytest.raises(ValueError, match=r"\(3, 4, 9, 11\).*num_envs and the Pixels"):
            pixels.wrap_vec(Film(n, AutoresetMode.NEXT_STEP)).restore(state)  # pyright: ignore[reportAttributeAccessIssue]


def test_engines_without_snapshots_say_so():
    envs: Any = Pixels(stack=2).wrap_vec(sync(lambda env: env, AutoresetMode.NEXT_STEP))
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv.* has no snapshot"):
        envs.snapshot()
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv.* has no restore"):
        envs.restore({})


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"skip": 0}, "skip >= 1, got 0"),
        ({"max_pool": True}, "but got skip=1: pass skip >= 2"),
        ({"stack": 0}, "stack >= 1, got 0"),
        ({"stack_skipped": True}, "expected skip >= 2, .* got skip=1"),
        ({"stack_skipped": True, "skip": 4, "stack": 4}, "stack=1, got .* stack=4"),
        ({"stack_skipped": True, "skip": 4, "max_pool": True}, "max_pool=False .* max_pool=True"),
        ({"size": (0, 5)}, r"size=\(height, width\), both at least 1, got \(0, 5\)"),
        ({"size": (5,)}, r"got \(5,\)"),
        ({"every": 0}, "every >= 1, got 0"),
        ({"channel": 0, "grey": True}, "got channel=0 and grey=True"),
        ({"erase": (3, 256)}, r"levels in 0..255 to erase, got \(3, 256\)"),
        ({"crop": (5, 5, 0, 3)}, r"top < bottom .* got \(5, 5, 0, 3\)"),
        ({"crop": (0, 5, 4, 3)}, r"left < right, got \(0, 5, 4, 3\)"),
        ({"crop": (-1, 5, 0, 3)}, r"0 <= top .* got \(-1, 5, 0, 3\)"),
        ({"crop": (0, 5)}, r"got \(0, 5\)"),
    ],
)
def test_declarations_that_cannot_be_meant(declaration: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Pixels(**declaration)


@pytest.mark.parametrize(
    ("pixels", "space", "message"),
    [
        (Pixels(crop=(0, 10, 0, 5)), PICTURE, r"crop=\(0, 10, 0, 5\).*9 rows and 11 columns: keep bottom <= 9"),
        (Pixels(crop=(0, 9, 0, 12)), PICTURE, "right <= 11"),
        (Pixels(grey=True), Box(0, 255, (8, 8), np.uint8), r"\(H, W, 3\), got \(8, 8\): pass grey=False"),
        (Pixels(grey=True), Box(0, 255, (8, 8, 4), np.uint8), r"got \(8, 8, 4\)"),
        (Pixels(channel=3), PICTURE, r"channel=3 needs frames .*got \(9, 11, 3\)"),
        (Pixels(erase=(0,)), PICTURE, r"erase needs one level a pixel, got frames \(9, 11, 3\)"),
        (Pixels(size=(4, 4)), Box(0, 2, (8, 8), np.uint8), r"from 0 to 255, got Box\(0, 2"),
        (Pixels(stack=2), Box(0, 1, (8, 8), np.float32), r"uint8 Box .* got Box\(0.0, 1.0, \(8, 8\), float32\)"),
        (Pixels(skip=2, stack=2), Box(0, 255, (8,), np.uint8), r"got Box\(0, 255, \(8,\)"),
        (Pixels(scale=True), Discrete(3), r"got Discrete\(3\)"),
    ],
)
def test_frames_that_do_not_fit(pixels: Pixels, space: gym.Space, message: str):
    env, envs = Pictures(), Film(2, AutoresetMode.NEXT_STEP, frame_skip=pixels.skip)
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
def test_a_batch_that_skips_otherwise_than_declared(pixels: Pixels, frame_skip: int, max_pool: bool):
    ours, its = f"skip={pixels.skip} and max_pool={pixels.max_pool}", f"frame_skip={frame_skip} and max_pool={max_pool}"
    remedy = r"pass \*\*engine_arguments\(\) .* Pixels\.wrap"
    with pytest.raises(ValueError, match=f"{ours}, but Film has {its}: {remedy}"):
        pixels.wrap_vec(Film(2, AutoresetMode.NEXT_STEP, frame_skip, max_pool))


def test_a_batch_that_does_not_show_the_frames_of_a_skip():
    with pytest.raises(ValueError, match=r"frames that a batch does not show: rlgames\.make_vec"):
        Pixels(skip=3, stack_skipped=True).wrap_vec(Film(2, AutoresetMode.NEXT_STEP))


def test_a_batch_that_does_not_tell_how_it_restarts():
    film = Film(2, AutoresetMode.NEXT_STEP)
    film.metadata = {}
    with pytest.raises(ValueError, match=r"Film.* has no metadata\['autoreset_mode'\]: set it"):
        Pixels(stack=2).wrap_vec(film)


def test_engine_arguments():
    assert Pixels(stack=4).engine_arguments() == {}
    assert Pixels(skip=4).engine_arguments() == {"frame_skip": 4, "max_pool": False}
    assert Pixels(skip=4, stack_skipped=True).engine_arguments() == {}
    skipping = Pixels(skip=4, max_pool=True)
    assert skipping.wrap_vec(Film(2, AutoresetMode.NEXT_STEP, **skipping.engine_arguments())).num_envs == 2


def test_the_compiled_part_is_loaded_only_when_a_batch_is_wrapped():
    program = "import sys, rlgames.wrappers; print({'cv2', 'torch', 'rlgames.wrappers.vector_pixels'} & {*sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"
