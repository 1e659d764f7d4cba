"""EnvRunner against single environments stepped by hand, in every autoreset mode."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from gymnasium.vector import (
    AutoresetMode,
    SyncVectorEnv,
    VectorActionWrapper,
    VectorEnv,
    VectorObservationWrapper,
    VectorWrapper,
)
from gymnasium.wrappers import DtypeObservation, FlattenObservation
from helpers.toys import AUTORESET_MODES, RandomLengthEnv, sync_vector
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv

import rlgames
from rlgames.envs.registry import GAMES
from rlgames.errors import InvalidTypeError, InvalidValueError
from rlgames.experience.env_runner import (
    EnvRunner,
    Episode,
    Step,
    as_vector_env,
    episode_returns,
    single_spaces,
    stacked_frames,
)
from rlgames.wrappers import Rewards

all_modes = pytest.mark.parametrize("mode", AUTORESET_MODES, ids=lambda mode: mode.name)
MAX_EPISODE_STEPS = {"CartPole": 20, "CatchBall": 10, "Cave": 25, "Dino": 80}  # some episodes terminate before
LONG_GAMES = {"Pong", "Mario", "ChromeDino"}  # have tests of their own
SHAPING = Rewards(scale=0.5, survival=0.1)


class Transition(NamedTuple):
    obs: np.ndarray
    action: int
    reward: np.float32
    next_obs: np.ndarray
    terminated: bool
    done: bool
    episode: Episode | None  # where it ended


def scripted_action(env_index: int, transition: int, num_actions: int) -> int:
    """Return the action of an environment in its transition of that number, from 0."""
    return int(np.random.default_rng((env_index, transition)).integers(num_actions))


def step_by_hand(env: gym.Env, seed: int, env_index: int, shaping: Rewards | None) -> Iterator[Transition]:
    """Yield the transitions of a single environment."""
    space = env.action_space
    assert isinstance(space, Discrete)
    count, reset_seed = 0, seed
    while True:
        obs, _ = env.reset(seed=reset_seed)
        reset_seed, length, done = None, 0, False
        unshaped_return = shaped_return = 0.0
        while not done:
            action = scripted_action(env_index, count, int(space.n))
            next_obs, reward, terminated, truncated, info = env.step(action + space.start)
            unshaped_return, length, done = unshaped_return + float(reward), length + 1, bool(terminated or truncated)
            if shaping:
                reward = shaping.scale * float(reward) + shaping.survival * (not terminated)
            shaped_return += float(reward)
            episode = Episode(info.get("score", unshaped_return), shaped_return, length) if done else None
            yield Transition(obs, action, np.float32(reward), next_obs, bool(terminated), done, episode)
            obs, count = next_obs, count + 1


def assert_same_episodes(found: list[Episode], expected: list[Episode]) -> None:
    """Lengths are equal, scores and rewards but for the rounding of sums."""
    assert [episode.length for episode in found] == [episode.length for episode in expected]
    for name in ("score", "reward"):
        numbers = ([getattr(episode, name) for episode in episodes] for episodes in (found, expected))
        np.testing.assert_allclose(*numbers, rtol=1e-5, atol=1e-6, err_msg=name)


def run(envs: VectorEnv, seed: int, steps: int) -> tuple[list[list[Transition]], np.ndarray]:
    """Return the valid transitions of each environment, and which steps were valid [time, env]."""
    runner, num_actions = EnvRunner(envs, seed), int(single_spaces(envs)[1].n)
    transitions: list[list[Transition]] = [[] for _ in range(runner.num_envs)]
    valid = []
    for _ in range(steps):
        obs = runner.obs
        step = runner.step(np.array([scripted_action(i, len(own), num_actions) for i, own in enumerate(transitions)]))
        assert step.obs is obs
        assert step.reward.dtype == np.float32
        np.testing.assert_array_equal(runner.episode_start, step.done)
        finished = dict(runner.finished)
        assert list(finished) == np.flatnonzero(step.done & step.valid).tolist()
        assert runner.take_episodes() == list(finished.values())
        for i, own in enumerate(transitions):
            if step.valid[i]:
                fields = {name: getattr(step, name)[i] for name in Transition._fields[:-1]}
                own.append(Transition(**fields, episode=finished.get(i)))
            else:
                assert step.terminated[i]
                assert step.done[i]
                assert step.reward[i] == 0
        valid.append(step.valid)
    assert runner.take_episodes() == []
    envs.close()
    return transitions, np.stack(valid)


def check_against_single_envs(
    envs: VectorEnv, make_env: Callable[[], gym.Env], seed: int, steps: int, shaping: Rewards | None = None
) -> tuple[int, int]:
    """Compare each environment of `envs` with a single one; return how many episodes terminated and were truncated."""
    mode, num_terminated, num_truncated = envs.metadata["autoreset_mode"], 0, 0
    transitions, valid = run(envs, seed, steps)
    for i, found in enumerate(transitions):
        env = make_env()
        expected = list(islice(step_by_hand(env, seed + i, i, shaping), len(found)))
        env.close()
        for t, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            for name in Transition._fields[:-1]:
                message = f"{name} of environment {i}, transition {t}"
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=message)
        ended = [[each.episode for each in each_list if each.episode] for each_list in (found, expected)]
        assert_same_episodes(*ended)
        num_terminated += sum(each.terminated for each in expected)
        num_truncated += sum(each.done and not each.terminated for each in expected)
        resets, reset, rest = [], False, iter(found)
        for _ in range(steps):  # in NEXT_STEP the step after an episode's last one resets
            resets.append(reset)
            reset = mode is AutoresetMode.NEXT_STEP and not reset and next(rest).done
        np.testing.assert_array_equal(valid[:, i], ~np.array(resets))
    return num_terminated, num_truncated


@all_modes
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), reports=st.sampled_from(["never", "step", "end"]))
def test_step_equals_single_envs_stepped_by_hand(mode: AutoresetMode, seed: int, reports: str):
    envs = sync_vector(lambda: RandomLengthEnv(reports), 3, mode)
    assert sum(check_against_single_envs(envs, lambda: RandomLengthEnv(reports), seed, 30)) >= 12


@all_modes
@pytest.mark.parametrize("reports", ["never", "step", "end"])
def test_shaped_rewards_leave_the_scores_unchanged(mode: AutoresetMode, reports: str):
    shaping = Rewards(scale=-0.5, survival=0.1)
    envs = shaping.wrap_vec(sync_vector(lambda: RandomLengthEnv(reports), 3, mode))
    assert sum(check_against_single_envs(envs, lambda: RandomLengthEnv(reports), 7, 40, shaping)) >= 12


def test_every_other_game_is_stepped():
    assert set(MAX_EPISODE_STEPS) == set(GAMES) - LONG_GAMES


@all_modes
@pytest.mark.parametrize("game", MAX_EPISODE_STEPS)
def test_games_equal_single_envs_stepped_by_hand(game: str, mode: AutoresetMode):
    """Each pair of game, mode and shaped or plain rewards once."""
    shaping = SHAPING if (list(MAX_EPISODE_STEPS).index(game) + AUTORESET_MODES.index(mode)) % 2 else None
    limit = MAX_EPISODE_STEPS[game]
    envs = rlgames.make_vec(game, 3, autoreset_mode=mode, rewards=shaping, max_episode_steps=limit)
    terminated, truncated = check_against_single_envs(
        envs, lambda: rlgames.make(game, max_episode_steps=limit), 5, 200, shaping
    )
    assert terminated >= 3
    assert truncated >= 1


def test_native_vector_env_of_gymnasium_spends_steps_on_resets():
    """One random stream serves all its environments, so that no single one equals a row: only the physics are compared.

    The physics are CartPole's, and the step that resets is no transition.
    """
    runner = EnvRunner(gym.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point"), 0)
    assert runner.mode is AutoresetMode.NEXT_STEP
    single: Any = gym.make("CartPole-v1").unwrapped
    single.reset()
    num_episodes, previous = 0, None
    for t in range(120):
        step = runner.step(np.array([t % 2, 1, 0]))
        for i in np.flatnonzero(step.valid):
            single.state, single.steps_beyond_terminated = step.obs[i].astype(np.float64), None
            next_obs, reward, terminated, _, _ = single.step(int(step.action[i]))
            np.testing.assert_allclose(step.next_obs[i], next_obs, rtol=1e-4, atol=1e-5)
            assert (step.reward[i], step.terminated[i], step.done[i]) == (reward, terminated, terminated)
        if previous is not None:
            np.testing.assert_array_equal(step.valid, ~(previous.done & previous.valid))
            np.testing.assert_array_equal(step.obs, previous.next_obs)
        assert (np.abs(step.next_obs[~step.valid]) <= 0.05).all()  # initial states
        num_episodes, previous = num_episodes + int((step.done & step.valid).sum()), step
    episodes = runner.take_episodes()
    assert len(episodes) == num_episodes > 20
    assert all(8 <= length <= 60 and score == reward == length for score, reward, length in episodes)


class BonusWrapper(VectorWrapper):
    """Add 1 to the reward of every step, also of those that reset."""

    def step(self, actions: Any):
        obs, reward, *rest = self.env.step(actions)
        return obs, reward + 1.0, *rest


@all_modes
def test_steps_that_reset_are_not_rewarded(mode: AutoresetMode):
    runner, returns, expected = EnvRunner(BonusWrapper(sync_vector(RandomLengthEnv, 3, mode)), 0), np.zeros(3), []
    for _ in range(40):
        step = runner.step(np.zeros(3, np.int64))
        assert (step.reward[~step.valid] == 0).all()
        returns += step.reward
        expected += returns[[i for i, _ in runner.finished]].tolist()
        returns[step.done] = 0
    episodes = runner.take_episodes()
    assert [episode.reward for episode in episodes] == pytest.approx(expected, rel=1e-5)
    assert [episode.score for episode in episodes] == [episode.reward for episode in episodes]


@all_modes
@pytest.mark.parametrize("reports", ["never", "step"])
def test_running_episode_counts_from_the_last_reset(mode: AutoresetMode, reports: str):
    """The score is the game's own where it reports one, else the sum of the rewards; all is 0 right after a reset."""
    runner = EnvRunner(sync_vector(lambda: RandomLengthEnv(reports), 2, mode), 3)
    returns, lengths = np.zeros(2), np.zeros(2, int)
    for _ in range(30):
        step = runner.step(np.zeros(2, np.int64))
        returns, lengths = returns + step.reward, lengths + step.valid
        for i in range(2):
            running = runner.running_episode(i)
            if step.done[i]:
                assert running == Episode(0.0, 0.0, 0)
                continue
            episode, time = step.next_obs[i, :2]
            score = returns[i] if reports == "never" else 100.0 * episode + time
            assert running == pytest.approx((score, returns[i], lengths[i]), rel=1e-5)
        returns[step.done], lengths[step.done] = 0, 0


@all_modes
def test_restart_episodes_drops_running_episodes(mode: AutoresetMode):
    """They add nothing to the finished episodes nor to the next ones."""
    runner = EnvRunner(sync_vector(RandomLengthEnv, 4, mode), 3)
    returns, lengths, expected = np.zeros(4), np.zeros(4, int), []

    def step() -> Step:
        step = runner.step(np.zeros(4, np.int64))
        returns[:] += step.reward
        lengths[:] += step.valid
        expected.extend(Episode(returns[i], returns[i], int(lengths[i])) for i, _ in runner.finished)
        returns[step.done], lengths[step.done] = 0, 0
        return step

    for _ in range(20):
        done = step().done
        if done.any() and not done.all():
            episodes = runner.obs[:, 0].copy()
            runner.restart_episodes()
            returns[:], lengths[:] = 0, 0
            assert runner.episode_start.all()
            assert [runner.running_episode(i) for i in range(4)] == [Episode(0.0, 0.0, 0)] * 4
            assert (runner.obs[:, 1] == 0).all()
            assert (runner.obs[:, 0] > episodes).all()
            assert step().valid.all()
    assert_same_episodes(runner.take_episodes(), expected)
    assert len(expected) > 5


class GoalEnv(RandomLengthEnv):
    """Reach the goal in every other episode; without `has_goal` nothing is reported about it."""

    def __init__(self, has_goal: bool = True) -> None:
        super().__init__()
        self.has_goal = has_goal

    def step(self, action: int):
        *rest, info = super().step(action)
        return *rest, {**info, "flag_get": self.episode % 2 == 1} if self.has_goal else info


@all_modes
def test_success_tells_which_finished_episodes_reached_the_goal(mode: AutoresetMode):
    runner, found = EnvRunner(sync_vector(GoalEnv, 3, mode), 0), []
    while len(found) < 12:
        step = runner.step(np.zeros(3, np.int64))
        if runner.finished:
            assert runner.success is not None
            assert not runner.success[~(step.done & step.valid)].any()
            found += [(bool(runner.success[i]), step.next_obs[i, 0] % 2 == 1) for i, _ in runner.finished]
    assert all(success == expected for success, expected in found)
    assert {success for success, _ in found} == {True, False}
    runner = EnvRunner(sync_vector(lambda: GoalEnv(has_goal=False), 3, mode), 0)
    while not runner.finished:
        runner.step(np.zeros(3, np.int64))
    assert runner.success is None


class NoScoreWrapper(VectorWrapper):
    """Hide the game's score."""

    def step(self, actions: Any):
        *rest, info = self.env.step(actions)
        return *rest, {key: value for key, value in info.items() if key == "final_obs"}

    def snapshot(self) -> dict[str, Any]:
        return self.env.snapshot()  # type: ignore[attr-defined]  # GameVectorEnv has it

    def restore(self, state: dict[str, Any]) -> None:
        self.env.restore(state)  # type: ignore[attr-defined]


@all_modes
@pytest.mark.parametrize("wrap", [NoScoreWrapper, Rewards(scale=2.0).wrap_vec], ids=["no_score", "shaped"])
def test_load_state_dict_continues_exactly(mode: AutoresetMode, wrap: Callable[[VectorEnv], VectorEnv]):
    """After every step, also between the end of an episode and the reset."""
    one, other = (EnvRunner(wrap(rlgames.make_vec("CatchBall", 3, autoreset_mode=mode)), 0) for _ in range(2))
    num_episodes = 0
    for action in np.random.default_rng(0).integers(3, size=(50, 3)):
        other.load_state_dict(one.state_dict())
        for i in range(3):
            assert other.running_episode(i)[1:] == one.running_episode(i)[1:]
        for ours, theirs in zip(one.step(action), other.step(action), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert one.finished == other.finished
        num_episodes += len(one.finished)
    assert one.take_episodes() == other.take_episodes()
    assert other.exact
    assert num_episodes > 10


def test_load_state_dict_of_other_envs_raises():
    state = EnvRunner(rlgames.make_vec("CatchBall", 3), 0).state_dict()
    with pytest.raises(ValueError, match="saved with 3 environments of .8, 8., got 2"):
        EnvRunner(rlgames.make_vec("CatchBall", 2), 0).load_state_dict(state)
    with pytest.raises(ValueError, match="other rewards or pixels"):
        EnvRunner(rlgames.make_vec("CatchBall", 3, rewards=Rewards(scale=2.0)), 0).load_state_dict(state)
    with pytest.raises(ValueError, match="saved with 3 environments of .8, 8., got 3 of .16, 16."):
        EnvRunner(rlgames.make_vec("CatchBall:size=16", 3), 0).load_state_dict(state)


def test_load_state_dict_without_snapshot_is_not_exact():
    runner = EnvRunner(sync_vector(RandomLengthEnv, 2), 0)
    assert runner.state_dict()["envs"] is None
    assert runner.exact
    runner.step(np.zeros(2, np.int64))
    runner.load_state_dict(runner.state_dict())
    assert not runner.exact


def test_snapshot_is_none_where_wrapped_envs_have_none():
    runner = EnvRunner(Rewards().wrap_vec(sync_vector(RandomLengthEnv, 2)), 0)
    assert runner.snapshot() is None


class HeightEnv(RandomLengthEnv):
    """Report the score as "height"; its "score" is something else."""

    metadata: ClassVar[dict[str, Any]] = {"score": "height"}

    def step(self, action: int):
        *rest, info = super().step(action)
        return *rest, {**info, "height": 7, "score": -1.0}


@all_modes
def test_metadata_names_the_key_of_the_score(mode: AutoresetMode):
    runner = EnvRunner(Rewards(scale=0.5).wrap_vec(sync_vector(HeightEnv, 2, mode)), 0)
    while not runner.finished:
        runner.step(np.zeros(2, np.int64))
    assert {episode.score for episode in runner.take_episodes()} == {7.0}


def test_state_right_after_a_seeded_reset_needs_no_snapshot():
    one, other = (EnvRunner(sync_vector(lambda: gym.make("CartPole-v1"), 2), seed) for seed in (0, 1))
    for seed in (0, 7):
        one.step(np.zeros(2, np.int64))
        one.restart_episodes(seed)
        other.load_state_dict(one.state_dict())
        assert other.exact
        assert other.episode_start.all()
        for action in np.random.default_rng(0).integers(2, size=(60, 2)):
            for ours, theirs in zip(one.step(action), other.step(action), strict=True):
                np.testing.assert_array_equal(ours, theirs)
        assert one.take_episodes() == other.take_episodes() != []


def test_envs_that_overwrite_their_observations_raise():
    runner = EnvRunner(SyncVectorEnv([RandomLengthEnv, RandomLengthEnv], copy=False), 0)
    with pytest.raises(ValueError, match="copy=True"):
        runner.step(np.zeros(2, np.int64))


def test_envs_without_autoreset_mode_raise():
    envs = sync_vector(RandomLengthEnv, 2)
    del envs.metadata["autoreset_mode"]
    with pytest.raises(ValueError, match="autoreset_mode"):
        EnvRunner(envs, 0)


class DiscreteObsEnv(gym.Env):
    observation_space = Discrete(3)
    action_space = Discrete(2)


class DictObsEnv(gym.Env):
    observation_space = Dict({"position": Box(0, 1, (2,)), "door": Discrete(3)})
    action_space = Discrete(2)


class TupleObsEnv(gym.Env):
    observation_space = Tuple((Discrete(3), Discrete(2)))
    action_space = Discrete(2)


class ContinuousActionEnv(gym.Env):
    observation_space = Box(0, 1, (2,))
    action_space = Box(0, 1, (1,))


class HalfPrecisionEnv(gym.Env):
    observation_space = Box(0, 1, (2,), np.float16)
    action_space = Discrete(2)


@pytest.mark.parametrize(
    ("env_class", "message"),
    [
        (DiscreteObsEnv, r"expected Box observations, got Discrete\(3\): .*gymnasium.wrappers.FlattenObservation"),
        (DictObsEnv, r"expected Box observations, got Dict\(.*: .*gymnasium.wrappers.FlattenObservation"),
        (TupleObsEnv, r"expected Box observations, got Tuple\(.*: .*gymnasium.wrappers.FlattenObservation"),
        (ContinuousActionEnv, r"expected Discrete actions, got Box\(0.0, 1.0, \(1,\), float32\): .*TransformAction"),
        (HalfPrecisionEnv, "float32 or float64, got float16: .*gymnasium.wrappers.DtypeObservation"),
    ],
)
def test_single_spaces_of_other_spaces_raise(env_class: type[gym.Env], message: str):
    with pytest.raises(InvalidTypeError, match=message):
        single_spaces(as_vector_env(env_class()))


def test_single_spaces_of_a_flattened_observation_are_boxes():
    for env_class in (DiscreteObsEnv, DictObsEnv, TupleObsEnv):
        assert isinstance(single_spaces(as_vector_env(FlattenObservation(env_class())))[0], Box)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # Gymnasium compares bounds of two dtypes
def test_single_spaces_of_half_precision_may_be_converted():
    observation, _ = single_spaces(as_vector_env(DtypeObservation(HalfPrecisionEnv(), np.float32)))
    assert observation.dtype == np.float32


def test_as_vector_env_of_old_gym_says_how_to_convert():
    old_gym = pytest.importorskip("gym", exc_type=ImportError)  # Stable-Baselines3 imports it too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = old_gym.make("CartPole-v1")
    with pytest.raises(InvalidTypeError, match="got <TimeLimit.*: old Gym's are made with gymnasium.make instead, or"):
        as_vector_env(env)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (3, 'got 3: such as "CartPole"'),
        (None, 'got None: such as "CartPole"'),
        (DummyVecEnv([lambda: gym.make("CartPole-v1")]), "in place of Stable-Baselines3's use .*SyncVectorEnv"),
        (DiscreteObsEnv, "got <class .*DiscreteObsEnv'>: make one first"),
        (lambda: DiscreteObsEnv(), "got <function .*: make one first"),
        ([DiscreteObsEnv()], r"got \[<.*DiscreteObsEnv"),
    ],
    ids=["number", "none", "stable baselines", "class", "function", "list"],
)
def test_as_vector_env_of_anything_else_raises(env: Any, message: str):
    expected = f"expected the name of a game, a gymnasium.Env or a VectorEnv, .*{message}"
    with pytest.raises(InvalidTypeError, match=expected):
        as_vector_env(env)


class StackedVectorEnv(SyncVectorEnv):
    frame_stack = 4


class DeclaringWrapper(VectorWrapper):
    frame_stack = 2


class DerivedWrapper(DeclaringWrapper):
    pass


def test_stacked_frames_holds_through_wrappers_of_rewards_and_actions_only():
    envs = StackedVectorEnv([RandomLengthEnv])
    assert stacked_frames(None) == 1
    assert stacked_frames(sync_vector(RandomLengthEnv, 1)) == 1
    assert stacked_frames(envs) == 4
    assert stacked_frames(Rewards().wrap_vec(envs)) == 4
    assert stacked_frames(gym.wrappers.vector.ClipReward(VectorActionWrapper(envs), max_reward=1.0)) == 4
    assert stacked_frames(VectorWrapper(envs)) == 1
    assert stacked_frames(VectorObservationWrapper(envs)) == 1
    assert stacked_frames(DeclaringWrapper(envs)) == 2
    assert stacked_frames(VectorActionWrapper(DerivedWrapper(envs))) == 2


# ---- statistics of wrapped rewards ----


def add_100(reward: Any) -> Any:
    return reward + 100


def single_statistics(mode: AutoresetMode, reports: str) -> VectorEnv:
    """RecordEpisodeStatistics in each environment, a wrapper of the rewards around it."""

    def make() -> gym.Env:
        return gym.wrappers.TransformReward(gym.wrappers.RecordEpisodeStatistics(RandomLengthEnv(reports)), add_100)

    return sync_vector(make, 3, mode)


class MaskKeepingVectorEnv(SyncVectorEnv):
    """Leaves the mask in the options, where RecordEpisodeStatistics looks for it."""

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None):
        return super().reset(seed=seed, options=options and dict(options))


def vector_statistics(mode: AutoresetMode, reports: str) -> VectorEnv:
    envs = MaskKeepingVectorEnv([lambda: RandomLengthEnv(reports)] * 3, autoreset_mode=mode)
    return gym.wrappers.vector.TransformReward(gym.wrappers.vector.RecordEpisodeStatistics(envs), add_100)


@all_modes
@pytest.mark.parametrize("reports", ["never", "end"])
@pytest.mark.parametrize("wrap", [single_statistics, vector_statistics])
def test_returns_are_those_of_record_episode_statistics(wrap: Any, reports: str, mode: AutoresetMode) -> None:
    """As in Stable-Baselines3's evaluate_policy; a score that the environment reports stays the score."""
    plain = EnvRunner(sync_vector(lambda: RandomLengthEnv(reports), 3, mode), 0)
    wrapped = EnvRunner(wrap(mode, reports), 0)
    for _ in range(60):
        step = plain.step(np.zeros(3, np.int64))
        wrapped_step = wrapped.step(np.zeros(3, np.int64))
        np.testing.assert_allclose(wrapped_step.reward, step.reward + 100 * step.valid, rtol=1e-5)
        assert [i for i, _ in wrapped.finished] == [i for i, _ in plain.finished]
        for (_, episode), (_, expected) in zip(wrapped.finished, plain.finished, strict=True):
            assert episode == pytest.approx(expected, abs=1e-4)
    assert len(plain.take_episodes()) > 20


def test_returns_of_a_list_of_information() -> None:
    infos = [{"episode": {"r": 7.0}}, {}, None]
    assert episode_returns(infos, np.array([1.0, 2.0, 3.0])).tolist() == [7.0, 2.0, 3.0]


# ---- numbers that are not finite ----


class FaultyEnv(gym.Env):
    """Episodes of 4 steps; in the third episode, if `faulty`, the reward or observation at `step` is `value`."""

    action_space = Discrete(2)

    def __init__(self, what: str, value: Any, step: int, faulty: bool, dtype: Any = np.float32) -> None:
        self.what, self.value, self.step_of_fault, self.faulty = what, value, step, faulty
        self.observation_space = Box(-np.inf, np.inf, (2, 3), dtype)
        self.episode = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self.observe(), {}

    def is_due(self, what: str) -> bool:
        return self.faulty and self.what == what and self.episode == 3 and self.time == self.step_of_fault

    def observe(self) -> np.ndarray:
        obs = np.full((2, 3), 1e30, np.float64)  # sums of large numbers overflow, and are no fault
        if self.is_due("observation"):
            obs[1, 2] = self.value
        with np.errstate(over="ignore"):
            return obs.astype(self.observation_space.dtype)

    def step(self, action: int):
        self.time += 1
        reward = self.value if self.is_due("reward") else 3e38
        return self.observe(), reward, self.time == 4, False, {}


@all_modes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("what", "value", "step"),
    [
        *(("reward", value, 2) for value in (np.nan, np.inf, -np.inf, None, 1e39, -1e300)),
        ("reward", np.nan, 4),
        *(("observation", value, 2) for value in (np.nan, -np.inf, 1e39)),
        *(("observation", np.nan, step) for step in (0, 1, 4)),
    ],
)
def test_what_is_not_finite_is_named_in_its_step(what: str, value: Any, step: int, dtype: Any, mode: AutoresetMode):
    """Which environment, which number, and where; the steps before it are as always."""
    makers = [lambda i=i: FaultyEnv(what, value, step, i == 1, dtype) for i in range(3)]
    runner, taken = EnvRunner(SyncVectorEnv(makers, autoreset_mode=mode), 0), 0
    error = None
    while error is None and taken < 100:
        try:
            assert np.isfinite(runner.step(np.zeros(3, np.int64)).reward).all()
            taken += 1
        except InvalidValueError as raised:
            error = str(raised)
    resets = 2 * (mode is AutoresetMode.NEXT_STEP)  # steps that were used to reset
    assert taken == 2 * 4 + resets + step - 1
    with np.errstate(over="ignore"):
        shown = np.array(value, np.float64).astype(dtype if what == "observation" else np.float64)
    place = " at index 1, 2" if what == "observation" else ""
    where = f"step {step} of an episode" if step else "(the reset|step 4 of an episode)"
    found = f"environment 1 returned .*{what}.* {re.escape(str(shown))}{place} in {where}: expected finite float32"
    assert re.match(found, str(error))


def test_a_first_observation_that_is_not_finite_is_named():
    envs: Any = sync_vector(lambda: FaultyEnv("observation", np.nan, 0, True), 2)
    for each in envs.envs:
        each.episode = 2  # the first reset starts the third
    with pytest.raises(InvalidValueError, match="environment 0 returned an observation with nan at .* in the reset"):
        EnvRunner(envs, 0)


class BytesEnv(gym.Env):
    observation_space, action_space = Box(0, 255, (3,), np.uint8), Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return np.full(3, 255, np.uint8), {}

    def step(self, action: int):
        return np.full(3, 255, np.uint8), 1, False, False, {}


def test_integers_are_finite():
    runner = EnvRunner(sync_vector(BytesEnv, 2), 0)
    assert runner.step(np.zeros(2, np.int64)).reward.tolist() == [1.0, 1.0]
