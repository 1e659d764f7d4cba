"""`Rewards`, held against a plain loop, and in a batch against Gymnasium's loop over wrapped rows."""

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


def outcome(seed: int, episode: int, time: int) -> tuple[float, bool, bool]:
    """Reward, terminated, truncated of step `time`, from 1; episodes last 1 to 9 steps, and end in one way or both."""
    length, end = np.random.default_rng((seed, episode)).integers((1, 1), (10, 4))
    return seed % 7 - 2.7 * time, bool(time == length and end & 1), bool(time == length and end & 2)


def flag(seed: int, time: int) -> bool:
    return (seed + time) % 2 == 0


class Points(gym.Env):
    """A game that `reports` a score, not the sum of its rewards: in "all" infos, in those of "steps", or "nothing".

    Or a "flag": in about every other step it says that the goal is reached.
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
        info |= {"flag_get": flag(self.seed, self.time)} if self.reports == "flag" else {}
        return np.full(1, self.time, float), *outcome(self.seed, self.episode, self.time), {"time": self.time, **info}


class Tally(VectorEnv):
    """`Points` in a batch that reports no scores and no `final_info`, reuses its arrays, and can be snapshotted."""

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
                self.restart(i, None if seed is None else seed + i)
        return self.clock[:, 2:].astype(float), {}

    def restart(self, i: int, seed: int | None = None) -> None:
        self.clock[i] = (self.clock[i, 0], self.clock[i, 1] + 1, 0) if seed is None else (seed, 0, 0)
        self.over[i] = False

    def step(self, actions: np.ndarray):
        terminated, truncated = self.over & False, self.over & False
        for i in range(self.num_envs):
            self.reward[i] = 0.0
            if self.over[i] and self.mode is AutoresetMode.NEXT_STEP:
                self.restart(i)
                continue
            self.clock[i, 2] += 1
            self.reward[i], terminated[i], truncated[i] = outcome(*self.clock[i].tolist())
            self.over[i] = terminated[i] or truncated[i]
            if self.over[i] and self.mode is AutoresetMode.SAME_STEP:
                self.restart(i)
        return self.clock[:, 2:].astype(float), self.reward, terminated, truncated, {}

    def snapshot(self) -> dict[str, Any]:
        return {"clock": self.clock.copy(), "over": self.over.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        self.clock, self.over = state["clock"].copy(), state["over"].copy()


def sync(wrap, mode: AutoresetMode, reports: list[str]) -> SyncVectorEnv:
    return SyncVectorEnv([lambda report=report: wrap(Points(report)) for report in reports], autoreset_mode=mode)


def play(envs: VectorEnv, seed: int, steps: int) -> list[dict[str, np.ndarray]]:
    """A trace of play in any autoreset mode, with partial and full resets in between.

    A row that Gymnasium's loop says no score of, because only others were reset, keeps the one it had.
    """
    random = np.random.default_rng(seed)
    actions = np.zeros(envs.num_envs, np.int64)
    trace: list[dict[str, np.ndarray]] = []

    def record(obs: np.ndarray, info: dict[str, Any], **rest: np.ndarray) -> None:
        had = trace[-1]["score"] if trace else np.zeros(envs.num_envs)
        trace.append({"obs": obs, "score": np.where(info["_score"], info["score"], had), **rest})
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
@settings(max_examples=20, deadline=None)
@given(seed=seeds, shaping=rewards)
def test_one_game_equals_a_plain_loop(reports: str, seed: int, shaping: Rewards):
    env, game = shaping.wrap(Points(reports)), Points(reports)
    for episode in range(4):
        again = None if episode else seed
        obs, info = env.reset(seed=again)
        assert info == {"episode": episode, "score": 0.0}
        game.reset(seed=again)
        time, score, over = 0, 0.0, False
        while not over:
            time += 1
            expected_obs, expected, terminated, truncated, _ = game.step(1)
            score = score + expected if reports in ("nothing", "flag") else 10.0 * time
            expected *= shaping.scale
            there = reports == "flag" and flag(seed, time)
            expected += shaping.survival if not terminated else shaping.won if there else shaping.lost
            obs, *rest, info = env.step(1)
            assert obs == expected_obs
            assert rest == [expected, terminated, truncated]
            told = {"flag_get": there} if reports == "flag" else {}
            assert info == {"time": time, "score": score, **told}
            over = terminated or truncated


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "reports", [["nothing"] * 3, ["steps"] * 3, ["all"] * 3, ["nothing", "flag", "all"], ["flag"] * 3]
)
@settings(max_examples=8, deadline=None)
@given(seed=seeds, shaping=rewards)
def test_a_batch_equals_its_rows(mode: AutoresetMode, reports: list[str], seed: int, shaping: Rewards):
    expected = play(sync(shaping.wrap, mode, reports), seed, 25)
    assert any(step.get("truncated", step["obs"]).any() for step in expected)
    envs = shaping.wrap_vec(sync(lambda env: env, mode, reports))
    assert envs.metadata["autoreset_mode"] is mode
    assert_equal(play(envs, seed, 25), expected)
    if reports == ["nothing"] * 3:
        assert_equal(play(shaping.wrap_vec(Tally(3, mode)), seed, 25), expected)


@pytest.mark.parametrize("mode", MODES)
def test_the_form_of_a_batchs_scores(mode: AutoresetMode):
    envs = Rewards(survival=1.0).wrap_vec(sync(lambda env: env, mode, ["all", "nothing", "steps"]))
    _, info = envs.reset(seed=3)
    restarted = np.zeros(3, np.bool_)
    ends = 0
    for _ in range(30):
        assert (info["score"].shape, info["score"].dtype) == ((3,), np.float64)
        assert info["_score"].tolist() == [True, True, True]
        _, reward, terminated, truncated, info = envs.step(np.zeros(3, np.int64))
        done = terminated | truncated
        ends += done.sum()
        if mode is AutoresetMode.NEXT_STEP:
            assert not reward[restarted].any()
            assert not info["score"][restarted].any()
            restarted = done
        elif mode is AutoresetMode.SAME_STEP:
            assert not info["score"][done].any()
            if done.any():
                final = info["final_info"]
                assert (final["score"].dtype, final["score"].shape) == (np.float64, (3,))
                assert (final["_score"] == done).all()
                assert (info["_final_info"] == done).all()
                assert final["score"][done].all(), "no episode here adds up to nothing"
        elif done.any():
            assert info["score"][done].all()
            _, info = envs.reset(options={"reset_mask": done})
            assert not info["score"][done].any()
    assert ends > 5


@pytest.mark.parametrize("mode", MODES)
def test_what_is_handed_out_is_the_callers(mode: AutoresetMode):
    envs, spoiled = (Rewards(2.0, 1.0).wrap_vec(Tally(4, mode)) for _ in range(2))
    envs.reset(seed=0)
    spoiled.reset(seed=0)[1]["score"][:] = 77
    for _ in range(20):
        one, other = envs.step(np.zeros(4)), spoiled.step(np.zeros(4))
        for array, again in zip((*one[1:4], one[4]["score"]), (*other[1:4], other[4]["score"]), strict=True):
            assert (array == again).all()
            again[:] = 77
        done = one[2] | one[3]
        if mode is AutoresetMode.DISABLED and done.any():
            envs.reset(options={"reset_mask": done})
            mask = done.copy()
            spoiled.reset(options={"reset_mask": mask})[1]["score"][:] = 77
            mask[:] = True


@pytest.mark.parametrize("mode", MODES)
def test_a_restored_batch_goes_on_bit_for_bit(mode: AutoresetMode):
    def go_on(envs: Any, steps: int) -> list[np.ndarray]:
        trace = []
        for _ in range(steps):
            _, reward, terminated, truncated, info = envs.step(np.zeros(4))
            done = terminated | truncated
            trace.append(np.stack([reward, info["score"], info.get("final_info", info)["score"]]))
            if mode is AutoresetMode.DISABLED and done.any():
                envs.reset(options={"reset_mask": done})
        return trace

    envs: list[Any] = [Rewards(0.1, 0.7).wrap_vec(Tally(4, mode)) for _ in range(3)]
    unbroken, stopped, new = envs
    unbroken.reset(seed=8)
    stopped.reset(seed=8)
    for steps in (0, 1, 5, 6):  # right after the reset, and where some rows wait for theirs
        np.testing.assert_array_equal(go_on(stopped, steps), go_on(unbroken, steps))
        state = stopped.snapshot()
        stopped.reset()
        stopped.restore(state)
        stopped.reset()  # neither reset may show in the state
        stopped.restore(state)
        new.restore(state)  # at first, one that was never reset
        expected = go_on(unbroken, 9)
        np.testing.assert_array_equal(go_on(stopped, 9), expected)
        np.testing.assert_array_equal(go_on(new, 9), expected)


def test_a_state_of_other_environments_is_refused():
    state = Rewards().wrap_vec(Tally(4, AutoresetMode.NEXT_STEP)).snapshot()  # pyright: ignore[reportAttributeAccessIssue]
    other: Any = Rewards().wrap_vec(Tally(5, AutoresetMode.NEXT_STEP))
    with pytest.raises(ValueError, match="state of 5 environments, got one of 4"):
        other.restore(state)


def test_engines_without_snapshots_say_so():
    envs: Any = Rewards().wrap_vec(sync(lambda env: env, AutoresetMode.NEXT_STEP, ["all"]))
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv.* has no snapshot"):
        envs.snapshot()
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv.* has no restore"):
        envs.restore({})


def test_a_batch_that_does_not_tell_how_it_restarts():
    tally = Tally(2, AutoresetMode.NEXT_STEP)
    tally.metadata = {}
    with pytest.raises(ValueError, match=r"Tally.* has no metadata\['autoreset_mode'\]: set it"):
        Rewards().wrap_vec(tally)


def test_a_replay_still_knows_of_the_frames_that_are_stacked():
    pixels = Pixels(skip=2, stack=3)
    for rewards in (None, Rewards(scale=0.5)):
        envs: Any = rlgames.make_vec("Cave", 2, pixels=pixels, rewards=rewards)
        assert envs.stacked == 3


@pytest.mark.parametrize("declaration", [{"scale": float("nan")}, {"survival": float("inf")}])
def test_factors_that_are_not_finite(declaration: dict[str, float]):
    ((name, value),) = declaration.items()
    with pytest.raises(ValueError, match=f"finite {name}, got {value}"):
        Rewards(**declaration)
