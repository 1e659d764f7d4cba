"""Pong: the batch against ale-py's own vector environment, against single environments, and against Gymnasium."""

from __future__ import annotations

import sys
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from gymnasium.error import ClosedEnvironmentError, DependencyNotInstalled, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

import rlgames
from rlgames.envs.atari import game as atari
from rlgames.envs.registry import load_game
from rlgames.wrappers import Pixels

NATURE = Pixels(size=(84, 84), grey=True, skip=4, max_pool=True, stack=4)
LIMIT = 400  # frames: enough for a few points, and an end every 100 steps


def sync(n: int, mode: AutoresetMode = AutoresetMode.SAME_STEP, **kwargs: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: solo(**kwargs)] * n, autoreset_mode=mode)


def solo(pixels: Pixels = NATURE, max_episode_steps: int | None = None, **options: Any) -> gym.Env:
    """As `rlgames.make`, with the engine's own time limit, which is in frames."""
    arguments, rest = atari.share(pixels, many=False)
    return rest.wrap(load_game("Pong", **options).solo(max_episode_steps=max_episode_steps, **arguments))


def batch(n: int, **kwargs: Any) -> Any:
    return rlgames.make_vec("Pong", n, **kwargs)


def walk(n: int, steps: int, actions: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(actions, size=(steps, n))


@pytest.mark.parametrize("sticky", [0.0, 0.25])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_plays_as_ales_vector_env(mode: AutoresetMode, sticky: float) -> None:
    """Everything but the first three pictures of an episode, which ale-py fills up with black."""
    ours = rlgames.make_vec("Pong", 3, autoreset_mode=mode, max_episode_steps=LIMIT, repeat_action_probability=sticky)
    theirs = AtariVectorEnv(
        *("pong", 3),
        use_fire_reset=False,
        reward_clipping=False,
        autoreset_mode=mode,
        num_threads=1,
        max_num_frames_per_episode=LIMIT,
        repeat_action_probability=sticky,
    )
    obs, expected = ours.reset(seed=5)[0], theirs.reset(seed=5)[0]
    rewards, ends = 0.0, 0
    for actions in walk(3, 250):
        filled = expected.max((2, 3)) > 0
        assert np.array_equal(obs[filled], expected[filled])
        obs, reward, terminated, truncated, _ = ours.step(actions)
        expected, their_reward, their_terminated, their_truncated, _ = theirs.step(actions)
        assert np.array_equal(reward, their_reward)
        assert np.array_equal(terminated, their_terminated)
        assert np.array_equal(truncated, their_truncated)
        rewards, ends = rewards + np.abs(reward).sum(), ends + truncated.sum()
    assert rewards > 3
    assert ends >= 6


def test_the_frames_are_gymnasiums() -> None:
    """One whole game through AtariPreprocessing and FrameStackObservation."""
    env = rlgames.make("Pong", noop_max=0)
    raw = ale_py.AtariEnv("pong", obs_type="grayscale", frameskip=1, repeat_action_probability=0.0)
    theirs = FrameStackObservation(AtariPreprocessing(raw, noop_max=0, frame_skip=4, screen_size=84), 4)
    obs, expected = env.reset(seed=1)[0], theirs.reset(seed=1)[0]
    terminated, info = False, {"score": 0.0}
    for action in walk(1, 1200)[:, 0]:
        assert np.array_equal(obs, expected)
        obs, reward, terminated, _, info = env.step(int(action))
        expected, their_reward, their_terminated, _, _ = theirs.step(int(action))
        assert (reward, terminated) == (their_reward, their_terminated)
        if terminated:
            break
    assert terminated
    assert np.array_equal(obs, expected)
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
def test_a_batch_is_single_environments(pixels: Pixels) -> None:
    ours = rlgames.make_vec("Pong", 2, pixels=pixels, max_episode_steps=120)
    theirs = sync(2, pixels=pixels, max_episode_steps=120)
    assert ours.observation_space == theirs.observation_space
    seeds: Any = [3, 3_000_000_000]
    obs, expected = ours.reset(seed=seeds)[0], theirs.reset(seed=seeds)[0]
    for actions in walk(2, 130):
        assert np.array_equal(obs, expected)
        obs, reward, *_ = ours.step(actions)
        expected, their_reward, *_ = theirs.step(actions)
        assert np.array_equal(reward, their_reward)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_restarts_as_gymnasiums_sync_vector_env(mode: AutoresetMode) -> None:
    ours = rlgames.make_vec("Pong", 3, autoreset_mode=mode, max_episode_steps=LIMIT)
    theirs = sync(3, mode, max_episode_steps=LIMIT)
    assert ours.metadata["autoreset_mode"] is mode
    obs, expected = ours.reset(seed=7)[0], theirs.reset(seed=7)[0]
    for t, actions in enumerate(walk(3, 230)):
        assert np.array_equal(obs, expected)
        obs, reward, terminated, truncated, info = ours.step(actions)
        expected, their_reward, their_terminated, their_truncated, their_info = theirs.step(actions)
        assert np.array_equal(reward, their_reward)
        assert np.array_equal(terminated, their_terminated)
        assert np.array_equal(truncated, their_truncated)
        assert np.array_equal(info["score"], their_info["score"])
        assert set(info) == set(their_info)
        done = terminated | truncated
        if "final_obs" in info:
            assert np.array_equal(info["_final_obs"], their_info["_final_obs"])
            assert np.array_equal(info["final_obs"][done], np.stack(list(their_info["final_obs"][done])))
            assert np.array_equal(info["final_info"]["score"][done], their_info["final_info"]["score"][done])
        if t == 30:  # one player starts anew in the middle of things
            done = np.array([False, True, False])
        if (mode is AutoresetMode.DISABLED or t == 30) and done.any():
            if t == 99:  # first one of those that are over, then the others, and a seed
                for mask in (np.array([True, False, False]), np.array([False, True, True])):
                    options = {"reset_mask": mask}
                    obs, expected = (
                        ours.reset(seed=9, options={**options})[0],
                        theirs.reset(seed=9, options={**options})[0],
                    )
                    assert np.array_equal(obs, expected)
            else:
                obs, info = ours.reset(options={"reset_mask": done.copy()})
                expected, _ = theirs.reset(options={"reset_mask": done.copy()})
                assert (info["score"][done] == 0).all()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_snapshot_goes_on_bit_for_bit(mode: AutoresetMode) -> None:
    """Also into environments that were never reset, with players of different ages."""

    def play(envs: gym.vector.VectorEnv, rows: np.ndarray) -> list[bytes]:
        seen = []
        for actions in rows:
            obs, reward, terminated, truncated, info = envs.step(actions)
            seen += [obs.tobytes(), reward.tobytes(), info["score"].tobytes()]
            done = terminated | truncated
            if mode is AutoresetMode.DISABLED and done.any():
                seen.append(envs.reset(options={"reset_mask": done})[0].tobytes())
        return seen

    def make() -> Any:
        return rlgames.make_vec("Pong", 3, autoreset_mode=mode, max_episode_steps=LIMIT)

    envs, rows = make(), walk(3, 300)
    envs.reset(seed=2)
    play(envs, rows[:40])
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    play(envs, rows[40:110])
    for at in (110, 140):  # 140: the second player's episode has just ended
        state = envs.snapshot()
        seen = play(envs, rows[at : at + 30])
        other = make()
        other.restore(state)
        assert play(other, rows[at : at + 30]) == seen


def test_a_single_snapshot_goes_on_bit_for_bit() -> None:
    env: Any = load_game("Pong", repeat_action_probability=0.25).solo(frame_skip=4, max_pool=True, grey=True)
    env.reset(seed=3)
    actions = walk(1, 1500)[:, 0].tolist()

    def play(env: Any, actions: list[int]) -> list[bytes]:
        seen = []
        for action in actions:
            obs, reward, terminated, *_ = env.step(action)
            seen += [obs.tobytes(), np.float64(reward).tobytes()]
            if terminated:
                seen.append(env.reset()[0].tobytes())
        return seen

    play(env, actions[:200])
    state = env.snapshot()
    seen = play(env, actions[200:])
    for other in (env, load_game("Pong", repeat_action_probability=0.25).solo(frame_skip=4, max_pool=True, grey=True)):
        other.restore(state)
        assert play(other, actions[200:]) == seen


def test_sticky_batches_say_that_they_have_no_snapshot() -> None:
    with pytest.raises(NotImplementedError, match="sticky"):
        batch(2, repeat_action_probability=0.25).snapshot()


def test_an_agent_has_two_actions_if_it_wants() -> None:
    two, six = rlgames.make("Pong", actions="minimal"), rlgames.make("Pong")
    assert (two.action_space.n, six.action_space.n) == (2, 6)  # pyright: ignore[reportAttributeAccessIssue]
    two.reset(seed=1)
    six.reset(seed=1)
    for action in walk(1, 60, actions=2)[:, 0]:
        assert np.array_equal(two.step(int(action))[0], six.step(2 + int(action))[0])


def test_keys_move_the_bat() -> None:
    """Up and down are what a person means by them."""
    env: Any = gym.make("rlgames/Pong-v0")
    keys = env.get_wrapper_attr("get_keys_to_action")()
    heights = {}
    for key in "ws":
        env.reset(seed=1)
        obs = [env.step(keys[key,])[0] for _ in range(100)][-1]
        green = np.all(obs[34:194] == (92, 186, 92), axis=2)
        heights[key] = np.flatnonzero(green.any(1)).mean()
    assert heights["w"] < 60 < 100 < heights["s"]


def test_the_default_start_differs_between_episodes() -> None:
    env = rlgames.make("Pong")
    first = env.reset(seed=1)[0]
    others = [env.reset()[0] for _ in range(5)]
    assert any(not np.array_equal(first, other) for other in others)
    assert np.array_equal(env.reset(seed=1)[0], first)
    assert all(np.array_equal(env.reset()[0], other) for other in others)


@pytest.mark.parametrize("make", [rlgames.make, lambda game, **kw: rlgames.make_vec(game, 2, **kw)])
class TestRefusals:
    def test_options(self, make: Any) -> None:
        with pytest.raises(ValueError, match=r"expected actions 'all' \(six\) or 'minimal' .*, got 'few'"):
            make("Pong", actions="few")
        with pytest.raises(ValueError, match=r"expected a repeat_action_probability in \[0, 1\), got 1.5"):
            make("Pong", repeat_action_probability=1.5)
        with pytest.raises(ValueError, match="expected noop_max >= 0, got -1"):
            make("Pong", noop_max=-1)
        with pytest.raises(ValueError, match="expected frame_skip >= 1, got 0"):
            make("Pong", frame_skip=0)
        with pytest.raises(TypeError, match="Pong has no option 'size'|Pong has no option 'colour'"):
            make("Pong", colour="red")

    def test_before_reset_and_after_close(self, make: Any) -> None:
        env = make("Pong")
        action = env.action_space.sample() * 0
        with pytest.raises(ResetNeeded):
            env.step(action)
        env.reset(seed=1)
        with pytest.raises(ValueError, match="no such action in Pong: got .*7.*, possible are 0 noop, 1 fire, 2 up"):
            env.step(action + 7)
        with pytest.raises(ValueError, match="no such action in Pong"):
            env.step(action - 1)
        env.close()
        env.close()
        with pytest.raises(ClosedEnvironmentError, match="Pong .*closed"):
            env.step(action)

    def test_without_ale_py(self, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ale_py", None)
        with pytest.raises(DependencyNotInstalled, match=r'pip install --upgrade "rlgames\[pong\]"'):
            make("Pong")

    def test_an_ale_py_that_is_too_old(self, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr("ale_py.vector_env.AutoresetMode")
        with pytest.raises(DependencyNotInstalled, match=r"need ale-py 0.12 or newer, found"):
            make("Pong")


def test_an_unknown_rom() -> None:
    game = atari.AtariGame("Tennis", "table_tennis", ("noop",), (0,))
    for make in (game.solo, lambda: game.batch(2)):
        with pytest.raises(ValueError, match="no ROM called 'table_tennis': it has .*pong"):
            make()
