"""What `EnvRunner` makes of a batch, in each autoreset mode, against single environments stepped by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from helpers.toys import MODES, Dice, several
from hypothesis import given, settings
from hypothesis import strategies as st

import rlgames
from rlgames.envs.registry import GAMES
from rlgames.experience.env_runner import EnvRunner, Step, as_vector_env, single_spaces
from rlgames.wrappers import Rewards

modes = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)


class Transition(NamedTuple):
    obs: np.ndarray
    action: int
    reward: np.float32
    after: np.ndarray
    terminated: bool
    done: bool
    score: float | None  # of the episode, where it ended


def action_of(player: int, count: int, actions: int) -> int:
    """What player `player` does in its transition number `count`, from 0."""
    return int(np.random.default_rng((player, count)).integers(actions))


def by_hand(env: gym.Env, seed: int, player: int, shaping: Rewards | None = None) -> Iterator[Transition]:
    """The transitions of one player, one environment, one step at a time."""
    space = env.action_space
    assert isinstance(space, Discrete)
    count, again = 0, seed
    while True:
        obs, _ = env.reset(seed=again)
        again, total, over = None, 0.0, False
        while not over:
            action = action_of(player, count, int(space.n))
            after, reward, terminated, truncated, info = env.step(action + space.start)
            total, over = total + float(reward), bool(terminated or truncated)
            score = info.get("score", total) if over else None
            if shaping:
                reward = shaping.scale * float(reward) + shaping.survival * (not terminated)
            yield Transition(obs, action, np.float32(reward), after, bool(terminated), over, score)
            obs, count = after, count + 1


def played(envs: VectorEnv, seed: int, steps: int) -> tuple[list[list[Transition]], np.ndarray, list[float]]:
    """The real transitions of each player, which steps were real [time, player], and the scores as they were told."""
    player, actions = EnvRunner(envs, seed), int(single_spaces(envs)[1].n)
    found: list[list[Transition]] = [[] for _ in range(player.n)]
    real, scores = [], []
    for _ in range(steps):
        seen = player.obs
        step = player.step(np.array([action_of(i, len(own), actions) for i, own in enumerate(found)]))
        assert step.obs is seen
        assert step.reward.dtype == np.float32
        ended = dict(player.finished)
        assert set(ended) == set(np.flatnonzero(step.done & step.real))
        for i, own in enumerate(found):
            if step.real[i]:
                fields = {name: getattr(step, name)[i] for name in Transition._fields[:6]}
                own.append(Transition(**fields, score=ended.get(i)))
            else:  # the step was spent on restarting
                assert step.terminated[i]
                assert step.done[i]
                assert step.reward[i] == 0
        real.append(step.real)
        scores += player.scores()
        assert scores[len(scores) - len(ended) :] == [score for _, score in player.finished]
    envs.close()
    return found, np.stack(real), scores


def check(envs: VectorEnv, make: Callable[[], gym.Env], seed: int, steps: int, shaping: Rewards | None = None) -> int:
    """Hold the batch against one environment a player; returns the number of episodes that ended."""
    mode = envs.metadata["autoreset_mode"]
    found, real, scores = played(envs, seed, steps)
    ended = []
    for i, own in enumerate(found):
        expected = list(islice(by_hand(make(), seed + i, i, shaping), len(own)))
        for t, (one, other) in enumerate(zip(own, expected, strict=True)):
            for name, got, wanted in zip(Transition._fields, one, other, strict=True):
                np.testing.assert_array_equal(got, wanted, err_msg=f"{name} of player {i}, transition {t}")
        ended += [one.score for one in expected if one.done]
        waits, before = [], False
        rest = iter(own)
        for _ in range(steps):
            waits.append(before)
            before = mode is AutoresetMode.NEXT_STEP and not before and next(rest).done
        np.testing.assert_array_equal(real[:, i], ~np.array(waits))
    assert sorted(scores) == sorted(ended)
    return len(ended)


@modes
@pytest.mark.parametrize("reports", ["never", "step", "end"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_batch_equals_its_players_by_hand(mode: AutoresetMode, reports: str, seed: int):
    assert check(several(lambda: Dice(reports), 3, mode), lambda: Dice(reports), seed, 40) >= 12


@modes
@pytest.mark.parametrize("reports", ["never", "step"])
def test_shaped_rewards_leave_the_scores_alone(mode: AutoresetMode, reports: str):
    shaping = Rewards(scale=-0.5, survival=0.1)
    envs = shaping.wrap_vec(several(lambda: Dice(reports), 3, mode))
    assert check(envs, lambda: Dice(reports), 7, 60, shaping) >= 12


@modes
@pytest.mark.parametrize("shaping", [None, Rewards(scale=0.5, survival=0.1)], ids=["plain", "shaped"])
@pytest.mark.parametrize(
    "game", sorted(set(GAMES) - {"Pong", "Mario", "ChromeDino"})
)  # whose games are long: they have tests of their own
def test_games_equal_their_players_by_hand(game: str, shaping: Rewards | None, mode: AutoresetMode):
    envs = rlgames.make_vec(game, 3, autoreset_mode=mode, rewards=shaping)
    assert check(envs, lambda: rlgames.make(game), 5, 200, shaping) >= 3


def test_gymnasiums_native_batch_knows_its_restarts():
    """It has one random stream for all players, so no single environment equals a row; its physics are CartPole's."""
    player = EnvRunner(gym.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point"), 0)
    assert player.mode is AutoresetMode.NEXT_STEP
    alone: Any = gym.make("CartPole-v1").unwrapped
    alone.reset()
    fallen, before = 0, None
    for t in range(120):
        step = player.step(np.array([t % 2, 1, 0]))
        for i in np.flatnonzero(step.real):
            alone.state, alone.steps_beyond_terminated = step.obs[i].astype(np.float64), None
            after, reward, terminated, _, _ = alone.step(int(step.action[i]))
            np.testing.assert_allclose(step.after[i], after, rtol=1e-4, atol=1e-5)
            assert (step.reward[i], step.terminated[i], step.done[i]) == (reward, terminated, terminated)
        if before is not None:
            np.testing.assert_array_equal(step.real, ~(before.done & before.real))
            np.testing.assert_array_equal(step.obs, before.after)
        assert (np.abs(step.after[~step.real]) <= 0.05).all()  # where its episodes begin
        fallen, before = fallen + int((step.done & step.real).sum()), step
    scores = player.scores()
    assert len(scores) == fallen > 20
    assert all(8 <= score <= 60 and score == int(score) for score in scores)


class Bonus(VectorWrapper):
    """Thinks that every step deserves a little more, those spent on restarting too."""

    def step(self, actions: Any):
        obs, reward, *rest = self.env.step(actions)
        return obs, reward + 1.0, *rest


@modes
def test_restarts_are_not_rewarded(mode: AutoresetMode):
    player, total, expected = EnvRunner(Bonus(several(Dice, 3, mode)), 0), np.zeros(3), []
    for _ in range(40):
        step = player.step(np.zeros(3, np.int64))
        assert (step.reward[~step.real] == 0).all()
        total += step.reward
        expected += total[[i for i, _ in player.finished]].tolist()
        total[step.done] = 0
    assert player.scores() == pytest.approx(expected, rel=1e-5)


@modes
def test_running_scores(mode: AutoresetMode):
    """The score so far of episodes in flight: the game's own where it tells one, else the sum of rewards."""
    for reports in ("never", "step"):
        player = EnvRunner(several(lambda reports=reports: Dice(reports), 2, mode), 3)
        total = np.zeros(2)
        for _ in range(30):
            step = player.step(np.zeros(2, np.int64))
            total += step.reward
            for i in np.flatnonzero(step.real & ~step.done):
                expected = total[i] if reports == "never" else 100.0 * step.after[i, 0] + step.after[i, 1]
                assert player.running(int(i)) == pytest.approx(expected, rel=1e-5)
            total[step.done] = 0


@modes
def test_restart_begins_new_episodes_everywhere(mode: AutoresetMode):
    """Episodes that were cut off leave no score, and nothing to the scores of the next ones."""
    player, expected = EnvRunner(several(Dice, 4, mode), 3), []
    total = np.zeros(4)

    def step() -> Step:
        nonlocal total
        step = player.step(np.zeros(4, np.int64))
        total += step.reward
        expected.extend(total[[i for i, _ in player.finished]])
        total[step.done] = 0
        return step

    for _ in range(20):
        done = step().done
        if done.any() and not done.all():
            episodes = player.obs[:, 0].copy()
            player.restart()
            total[:] = 0
            assert (player.obs[:, 1] == 0).all()
            assert (player.obs[:, 0] > episodes).all()
            assert step().real.all()
    assert player.scores() == pytest.approx(expected, rel=1e-5)
    assert len(expected) > 5


class Silent(VectorWrapper):
    """Keeps the game's score to itself."""

    def step(self, actions: Any):
        *rest, info = self.env.step(actions)
        return *rest, {key: value for key, value in info.items() if key == "final_obs"}

    def snapshot(self) -> dict[str, Any]:
        return self.env.snapshot()  # type: ignore[attr-defined]  # GameVectorEnv has it

    def restore(self, state: dict[str, Any]) -> None:
        self.env.restore(state)  # type: ignore[attr-defined]


@modes
def test_the_place_in_the_game_can_be_kept(mode: AutoresetMode):
    """At every step, those between an end and a restart included, whether the game tells its score or not."""
    shaping = Rewards(scale=2.0)
    for wrap in (Silent, shaping.wrap_vec):
        one, other = (EnvRunner(wrap(rlgames.make_vec("CatchBall", 3, autoreset_mode=mode)), 0) for _ in range(2))
        ended = 0
        for action in np.random.default_rng(0).integers(3, size=(60, 3)):
            other.load_state_dict(one.state_dict())
            for found, expected in zip(one.step(action), other.step(action), strict=True):
                np.testing.assert_array_equal(found, expected)
            assert one.finished == other.finished
            ended += len(one.finished)
        assert one.scores() == other.scores()
        assert other.exact
        assert ended > 10


def test_the_place_is_not_taken_over_from_other_environments():
    state = EnvRunner(rlgames.make_vec("CatchBall", 3), 0).state_dict()
    with pytest.raises(ValueError, match="saved with 3 environments of .8, 8., got 2"):
        EnvRunner(rlgames.make_vec("CatchBall", 2), 0).load_state_dict(state)
    with pytest.raises(ValueError, match="other rewards or pixels"):
        EnvRunner(rlgames.make_vec("CatchBall", 3, rewards=Rewards(scale=2.0)), 0).load_state_dict(state)
    with pytest.raises(ValueError, match="saved with 3 environments of .8, 8., got 3 of .16, 16."):
        EnvRunner(rlgames.make_vec("CatchBall:size=16", 3), 0).load_state_dict(state)


def test_without_a_snapshot_nothing_is_exact():
    player = EnvRunner(several(Dice, 2), 0)
    state = player.state_dict()
    assert state["envs"] is None
    assert player.exact
    player.step(np.zeros(2, np.int64))
    player.load_state_dict(player.state_dict())
    assert not player.exact
    player = EnvRunner(Rewards().wrap_vec(several(Dice, 2)), 0)  # has the method, cannot answer
    assert player.snapshot() is None


class Renamed(Dice):
    """Says its score under another name; what it calls the score is something else."""

    metadata: ClassVar[dict[str, Any]] = {"score": "height"}

    def step(self, action: int):
        *rest, info = super().step(action)
        return *rest, {**info, "height": 7, "score": -1.0}


@modes
def test_environments_say_what_their_scores_are_called(mode: AutoresetMode):
    player = EnvRunner(Rewards(scale=0.5).wrap_vec(several(Renamed, 2, mode)), 0)
    while len(player.finished) < 1:
        player.step(np.zeros(2, np.int64))
    assert set(player.scores()) == {7.0}


def test_what_a_seed_has_begun_needs_no_snapshot():
    one, other = (
        EnvRunner(several(lambda: gym.make("CartPole-v1"), 2), 0),
        EnvRunner(several(lambda: gym.make("CartPole-v1"), 2), 1),
    )
    for seed in (0, 7):
        one.step(np.zeros(2, np.int64))
        one.restart(seed)
        other.load_state_dict(one.state_dict())
        assert other.exact
        assert other.start.all()
        for action in np.random.default_rng(0).integers(2, size=(60, 2)):
            for found, expected in zip(one.step(action), other.step(action), strict=True):
                np.testing.assert_array_equal(found, expected)
        assert one.scores() == other.scores()


def test_environments_that_write_over_their_observations_are_refused():
    player = EnvRunner(SyncVectorEnv([Dice, Dice], copy=False), 0)
    with pytest.raises(ValueError, match="copy=True"):
        player.step(np.zeros(2, np.int64))


class Named(gym.Env):
    observation_space = Discrete(3)
    action_space = Discrete(2)


class Continuous(gym.Env):
    observation_space = Box(0, 1, (2,))
    action_space = Box(0, 1, (1,))


@pytest.mark.parametrize("kind", [Named, Continuous])
def test_other_spaces_are_refused(kind: type[gym.Env]):
    with pytest.raises(TypeError, match="Box observations and Discrete actions, got"):
        single_spaces(as_vector_env(kind()))


def test_what_is_no_environment_is_refused():
    with pytest.raises(TypeError, match="got 3"):
        as_vector_env(3)  # type: ignore[arg-type]  # that is the test
    envs = several(Dice, 2)
    del envs.metadata["autoreset_mode"]
    with pytest.raises(ValueError, match="autoreset_mode"):
        EnvRunner(envs, 0)
