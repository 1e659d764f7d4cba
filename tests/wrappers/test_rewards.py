"""`Rewards`, compared with a plain loop, and for vector environments with SyncVectorEnv of wrapped environments."""

from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from hypothesis import given, settings
from hypothesis import strategies as st

import rlgames
from rlgames.wrappers import Pixels, Rewards

MODES = list(AutoresetMode)
SPACE = Box(0, 1000, (1,), np.float64)
seeds = st.integers(0, 2**32)
rewards = st.builds(
    Rewards,
    scale=st.sampled_from([1.0, 0.1, -3.0]),
    survival=st.sampled_from([0.0, 0.1, -2.0]),
    won=st.sampled_from([0.0, 5.0]),
    lost=st.sampled_from([0.0, -4.0]),
)


@cache
def outcome(seed: int, episode: int, time: int) -> tuple[float, bool, bool]:
    """Return reward, terminated, truncated of step `time`, from 1; episodes of 1 to 9 steps end in one way or both."""
    length, end = np.random.default_rng((seed, episode)).integers((1, 1), (10, 4))
    return seed % 7 - 2.7 * time, bool(time == length and end & 1), bool(time == length and end & 2)


def is_at_goal(seed: int, time: int) -> bool:
    return (seed + time) % 2 == 0


class ScoringEnv(gym.Env):
    """`reports`: a score that is not the sum of rewards, in "all" information, in that of "steps", or "nothing".

    With "flag" about every other step reports that it reached the goal.
    """

    observation_space = SPACE
    action_space = Discrete(2)

    def __init__(self, reports: str = "nothing") -> None:
        self.reports, self.seed, self.episode = reports, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.seed, self.episode = (self.seed, self.episode + 1) if seed is None else (seed, 0)
        self.time = 0
        return np.zeros(1), {"episode": self.episode} | ({"score": 0} if self.reports == "all" else {})

    def step(self, action: int):
        self.time += 1
        info: dict[str, Any] = {"score": 10 * self.time} if self.reports in ("steps", "all") else {}
        info |= {"flag_get": is_at_goal(self.seed, self.time)} if self.reports == "flag" else {}
        return np.full(1, self.time, float), *outcome(self.seed, self.episode, self.time), {"time": self.time, **info}


class ScoringVectorEnv(VectorEnv):
    """A batch of `ScoringEnv` that reports no scores and no `final_info`, reuses its arrays, and has snapshots."""

    def __init__(self, num_envs: int, mode: AutoresetMode) -> None:
        self.num_envs, self.mode = num_envs, mode
        self.metadata = {"autoreset_mode": mode}
        self.single_observation_space, self.single_action_space = SPACE, Discrete(2)
        self.observation_space, self.action_space = batch_space(SPACE, num_envs), batch_space(Discrete(2), num_envs)
        self.clock, self.reward = np.zeros((num_envs, 3), np.int64), np.zeros(num_envs)  # clock: seed, episode, time
        self.over = np.zeros(num_envs, np.bool_)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        for i in range(self.num_envs):
            if options is None or options["reset_mask"][i]:
                self.start_episode(i, None if seed is None else seed + i)
        return self.clock[:, 2:].astype(float), {}

    def start_episode(self, i: int, seed: int | None = None) -> None:
        self.clock[i] = (self.clock[i, 0], self.clock[i, 1] + 1, 0) if seed is None else (seed, 0, 0)
        self.over[i] = False

    def step(self, actions: np.ndarray):
        terminated, truncated = self.over & False, self.over & False
        for i in range(self.num_envs):
            self.reward[i] = 0.0
            if self.over[i] and self.mode is AutoresetMode.NEXT_STEP:
                self.start_episode(i)
                continue
            self.clock[i, 2] += 1
            self.reward[i], terminated[i], truncated[i] = outcome(*self.clock[i].tolist())
            self.over[i] = terminated[i] or truncated[i]
            if self.over[i] and self.mode is AutoresetMode.SAME_STEP:
                self.start_episode(i)
        return self.clock[:, 2:].astype(float), self.reward, terminated, truncated, {}

    def snapshot(self) -> dict[str, Any]:
        return {"clock": self.clock.copy(), "over": self.over.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        self.clock, self.over = state["clock"].copy(), state["over"].copy()


def sync(wrap, mode: AutoresetMode, reports: list[str]) -> SyncVectorEnv:
    return SyncVectorEnv([lambda report=report: wrap(ScoringEnv(report)) for report in reports], autoreset_mode=mode)


def trace_of(envs: VectorEnv, seed: int, steps: int) -> list[dict[str, np.ndarray]]:
    """Return a trace in any autoreset mode, with partial and full resets in between.

    An environment for which SyncVectorEnv reports no score, because only others were reset, keeps its last one.
    """
    random = np.random.default_rng(seed)
    actions = np.zeros(envs.num_envs, np.int64)
    trace: list[dict[str, np.ndarray]] = []

    def record(obs: np.ndarray, info: dict[str, Any], **rest: np.ndarray) -> None:
        last = trace[-1]["score"] if trace else np.zeros(envs.num_envs)
        trace.append({"obs": obs, "score": np.where(info["_score"], info["score"], last), **rest})
        if "final_info" in info:
            ended = info["_final_info"]
            assert (info["final_info"]["_score"] == ended).all()
            trace[-1] |= {"ended": ended.copy(), "final": info["final_info"]["score"][ended]}

    record(*envs.reset(seed=seed))
    for t in range(steps):
        obs, reward, terminated, truncated, info = envs.step(actions)
        record(obs, info, reward=reward.copy(), terminated=terminated, truncated=truncated)
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
            np.testing.assert_array_equal(one[name], other[name], err_msg=f"{name} at {t}", strict=True)


@pytest.mark.parametrize("reports", ["nothing", "steps", "all", "flag"])
@settings(max_examples=15, deadline=None)
@given(seed=seeds, shaping=rewards)
def test_wrap_equals_a_plain_loop(reports: str, seed: int, shaping: Rewards):
    env, game = shaping.wrap(ScoringEnv(reports)), ScoringEnv(reports)
    for episode in range(4):
        reset_seed = None if episode else seed
        obs, info = env.reset(seed=reset_seed)
        assert info == {"episode": episode, "score": 0.0}
        game.reset(seed=reset_seed)
        time, score, over = 0, 0.0, False
        while not over:
            time += 1
            expected_obs, expected, terminated, truncated, _ = game.step(1)
            score = score + expected if reports in ("nothing", "flag") else 10.0 * time
            expected *= shaping.scale
            at_goal = reports == "flag" and is_at_goal(seed, time)
            expected += shaping.survival if not terminated else shaping.won if at_goal else shaping.lost
            obs, *rest, info = env.step(1)
            assert obs == expected_obs
            assert rest == [expected, terminated, truncated]
            flag = {"flag_get": at_goal} if reports == "flag" else {}
            assert info == {"time": time, "score": score, **flag}
            over = terminated or truncated


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "reports", [["nothing"] * 3, ["steps"] * 3, ["all"] * 3, ["nothing", "flag", "all"], ["flag"] * 3]
)
@settings(max_examples=4, deadline=None)
@given(seed=seeds, shaping=rewards)
def test_wrap_vec_equals_wrap(mode: AutoresetMode, reports: list[str], seed: int, shaping: Rewards):
    expected = trace_of(sync(shaping.wrap, mode, reports), seed, 25)
    assert any(step.get("truncated", step["obs"]).any() for step in expected)
    envs = shaping.wrap_vec(sync(lambda env: env, mode, reports))
    assert envs.metadata["autoreset_mode"] is mode
    assert_equal(trace_of(envs, seed, 25), expected)
    if reports == ["nothing"] * 3:
        assert_equal(trace_of(shaping.wrap_vec(ScoringVectorEnv(3, mode)), seed, 25), expected)


@pytest.mark.parametrize("mode", MODES)
def test_wrap_vec_adds_scores_to_the_information(mode: AutoresetMode):
    envs = Rewards(survival=1.0).wrap_vec(sync(lambda env: env, mode, ["all", "nothing", "steps"]))
    _, info = envs.reset(seed=3)
    resetting, reported = np.zeros(3, np.bool_), np.ones(3, np.bool_)
    ends = 0
    for _ in range(30):
        assert (info["score"].shape, info["score"].dtype) == ((3,), np.float64)
        assert info["_score"].tolist() == reported.tolist()
        reported = np.ones(3, np.bool_)
        _, reward, terminated, truncated, info = envs.step(np.zeros(3, np.int64))
        done = terminated | truncated
        ends += done.sum()
        if mode is AutoresetMode.NEXT_STEP:
            assert not reward[resetting].any()
            assert not info["score"][resetting].any()
            resetting = done
        elif mode is AutoresetMode.SAME_STEP:
            assert not info["score"][done].any()
            if done.any():
                final = info["final_info"]
                assert (final["score"].dtype, final["score"].shape) == (np.float64, (3,))
                assert (final["_score"] == done).all()
                assert (info["_final_info"] == done).all()
                assert final["score"][done].all(), "no episode has the score 0"
        elif done.any():
            assert info["score"][done].all()
            _, info = envs.reset(options={"reset_mask": done})
            assert not info["score"].any()
            reported = done
    assert ends > 5


@pytest.mark.parametrize("mode", MODES)
def test_caller_may_overwrite_rewards_and_scores(mode: AutoresetMode):
    envs, overwritten = (Rewards(2.0, 1.0).wrap_vec(ScoringVectorEnv(4, mode)) for _ in range(2))
    envs.reset(seed=0)
    overwritten.reset(seed=0)[1]["score"][:] = 77
    for _ in range(20):
        one, other = envs.step(np.zeros(4)), overwritten.step(np.zeros(4))
        for array, same in zip((*one[1:4], one[4]["score"]), (*other[1:4], other[4]["score"]), strict=True):
            assert (array == same).all()
            same[:] = 77
        done = one[2] | one[3]
        if mode is AutoresetMode.DISABLED and done.any():
            envs.reset(options={"reset_mask": done})
            mask = done.copy()
            overwritten.reset(options={"reset_mask": mask})[1]["score"][:] = 77
            mask[:] = True


@pytest.mark.parametrize("mode", MODES)
def test_restore_continues_bit_for_bit(mode: AutoresetMode):
    def continue_trace(envs: Any, steps: int) -> list[np.ndarray]:
        trace = []
        for _ in range(steps):
            _, reward, terminated, truncated, info = envs.step(np.zeros(4))
            done = terminated | truncated
            trace.append(np.stack([reward, info["score"], info.get("final_info", info)["score"]]))
            if mode is AutoresetMode.DISABLED and done.any():
                envs.reset(options={"reset_mask": done})
        return trace

    envs: list[Any] = [Rewards(0.1, 0.7).wrap_vec(ScoringVectorEnv(4, mode)) for _ in range(3)]
    uninterrupted, restored, new = envs
    uninterrupted.reset(seed=8)
    restored.reset(seed=8)
    for steps in (0, 1, 5, 6):  # after the reset, and where some episodes have ended
        np.testing.assert_array_equal(continue_trace(restored, steps), continue_trace(uninterrupted, steps))
        state = restored.snapshot()
        restored.reset()
        restored.restore(state)
        restored.reset()  # changes arrays, but not the state
        restored.restore(state)
        new.restore(state)  # the first time it was never reset
        expected = continue_trace(uninterrupted, 9)
        np.testing.assert_array_equal(continue_trace(restored, 9), expected)
        np.testing.assert_array_equal(continue_trace(new, 9), expected)


def test_restore_rejects_the_state_of_another_number_of_envs():
    state = Rewards().wrap_vec(ScoringVectorEnv(4, AutoresetMode.NEXT_STEP)).snapshot()  # pyright: ignore[reportAttributeAccessIssue]
    other: Any = Rewards().wrap_vec(ScoringVectorEnv(5, AutoresetMode.NEXT_STEP))
    with pytest.raises(ValueError, match="state of 5 environments, got one of 4"):
        other.restore(state)


def test_snapshot_of_engines_without_it_raises():
    envs: Any = Rewards().wrap_vec(sync(lambda env: env, AutoresetMode.NEXT_STEP, ["all"]))
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv.* has no snapshot"):
        envs.snapshot()
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv.* has no restore"):
        envs.restore({})


def test_wrap_vec_needs_an_autoreset_mode():
    envs = ScoringVectorEnv(2, AutoresetMode.NEXT_STEP)
    envs.metadata = {}
    with pytest.raises(ValueError, match=r"ScoringVectorEnv.* has no metadata\['autoreset_mode'\]: set it"):
        Rewards().wrap_vec(envs)


def test_wrap_vec_keeps_frame_stack():
    pixels = Pixels(skip=2, stack=3)
    for rewards in (None, Rewards(scale=0.5)):
        envs: Any = rlgames.make_vec("Cave", 2, pixels=pixels, rewards=rewards)
        assert envs.frame_stack == 3


@pytest.mark.parametrize("declaration", [{"scale": float("nan")}, {"survival": float("inf")}])
def test_factors_must_be_finite(declaration: dict[str, float]):
    ((name, value),) = declaration.items()
    with pytest.raises(ValueError, match=f"expected {name} to be a finite number, got {value}"):
        Rewards(**declaration)
