"""The information of vector environments equals that of Gymnasium's SyncVectorEnv, and its wrappers work on it.

In every autoreset mode, key by key, also outside of the masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import vector as wrappers
from helpers.vector_envs import assert_equal

import rlgames
from rlgames.wrappers import Pixels, Rewards

N = 3
REWARDS = Rewards(survival=0.5, lost=-2.0)
GAMES: dict[str, dict[str, Any]] = {  # with an episode end in a few steps
    "CatchBall": {"pixels": Pixels(stack=2)},
    "Cave": {"rewards": REWARDS},
    "Dino": {"max_episode_steps": 9},
    "CartPole": {"rewards": REWARDS, "max_episode_steps": 12},
}
STATISTICS = wrappers.RecordEpisodeStatistics
WRAPPERS: dict[str, Callable[[VectorEnv], VectorEnv]] = {
    "statistics": STATISTICS,
    "list": lambda envs: wrappers.DictInfoToList(STATISTICS(envs)),
    "normalized reward": lambda envs: wrappers.NormalizeReward(STATISTICS(envs)),
    "clipped reward": lambda envs: STATISTICS(wrappers.ClipReward(envs, 0.0, 0.5)),
}
OBSERVATION_WRAPPERS: dict[str, Callable[[VectorEnv], VectorEnv]] = {  # which Gymnasium refuses in SAME_STEP
    "flat": wrappers.FlattenObservation,
    "smaller": partial(wrappers.ResizeObservation, shape=(4, 5)),
    "floats": partial(wrappers.DtypeObservation, dtype=np.float32),
}


def drop_times(result: Any) -> Any:
    """Return a result of `reset` or `step` without the seconds of RecordEpisodeStatistics."""
    *arrays, info = result
    for each in info if isinstance(info, list) else [info]:
        if "episode" in each:
            each["episode"].pop("t")
            each["episode"].pop("_t", None)
    return (*arrays, info)


def compare(ours: VectorEnv, theirs: VectorEnv, rows: Sequence[np.ndarray]) -> int:
    """Compare all that the two return, and return how many episodes ended."""
    assert_equal(ours.reset(seed=5), theirs.reset(seed=5))
    ends = 0
    for row in rows:
        found, expected = drop_times(ours.step(row)), drop_times(theirs.step(row))
        assert_equal(found, expected)
        done = found[2] | found[3]
        ends += int(done.sum())
        if done.any() and ours.metadata["autoreset_mode"] is AutoresetMode.DISABLED:
            assert_equal(*(envs.reset(options={"reset_mask": done.copy()}) for envs in (ours, theirs)))
    return ends


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("game", GAMES)
def test_information_equals_that_of_sync_vector_env(game: str, mode: AutoresetMode) -> None:
    ours = rlgames.make_vec(game, N, autoreset_mode=mode, **GAMES[game])
    theirs = SyncVectorEnv([partial(rlgames.make, game, **GAMES[game])] * N, autoreset_mode=mode)
    rng = np.random.default_rng(0)
    assert compare(ours, theirs, [rng.integers(2, size=N) for _ in range(60)]) > 3
    ours.close()
    theirs.close()


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("name", WRAPPERS | OBSERVATION_WRAPPERS)
def test_vector_wrappers_of_gymnasium(name: str, mode: AutoresetMode) -> None:
    if mode is AutoresetMode.SAME_STEP and name in OBSERVATION_WRAPPERS:
        return
    if mode is AutoresetMode.DISABLED and name in WRAPPERS:
        return  # around SyncVectorEnv, which removes the mask from the options, statistics forget all running episodes
    wrap = (WRAPPERS | OBSERVATION_WRAPPERS)[name]
    ours = rlgames.make_vec("CatchBall", N, autoreset_mode=mode)
    theirs = SyncVectorEnv([partial(rlgames.make, "CatchBall")] * N, autoreset_mode=mode)
    rng = np.random.default_rng(1)
    rows = [rng.integers(3, size=N) for _ in range(60)]
    assert compare(wrap(ours), wrap(theirs), rows) > 5


@pytest.mark.parametrize("mode", AutoresetMode)
def test_vector_statistics_are_those_of_single_environments(mode: AutoresetMode) -> None:
    """RecordEpisodeStatistics around the vector environment, and around each single one."""
    envs = STATISTICS(rlgames.make_vec("CatchBall", N, autoreset_mode=mode))
    singles = [gym.wrappers.RecordEpisodeStatistics(rlgames.make("CatchBall")) for _ in range(N)]
    envs.reset(seed=3)
    for i, env in enumerate(singles):
        env.reset(seed=3 + i)
    rng, found, expected = np.random.default_rng(2), [], []
    over = np.zeros(N, np.bool_)
    for t in range(200):
        actions = rng.integers(3, size=N)
        _, _, terminated, truncated, infos = envs.step(actions)
        done = terminated | truncated
        found += [(t, i, infos["episode"]["r"][i], infos["episode"]["l"][i]) for i in np.flatnonzero(done).tolist()]
        for i, env in enumerate(singles):
            if over[i] and mode is AutoresetMode.NEXT_STEP:
                continue
            *_, ended, cut, info = env.step(int(actions[i]))
            if ended or cut:
                expected.append((t, i, info["episode"]["r"], info["episode"]["l"]))
                env.reset()
        over = done
        if done.any() and mode is AutoresetMode.DISABLED:
            envs.reset(options={"reset_mask": done})
    assert found == expected
    assert len(found) > 10


@pytest.mark.parametrize("vector", [False, True])
def test_record_video(vector: bool, tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    settings: dict[str, Any] = {"render_mode": "rgb_array", "max_episode_steps": 4}
    videos = str(tmp_path / "videos")
    if vector:
        envs = gym.make_vec("rlgames/CatchBall-v0", 2, **settings)
        recorder: Any = wrappers.RecordVideo(envs, videos, episode_trigger=lambda episode: episode == 0)
    else:
        env = gym.make("rlgames/CatchBall-v0", **settings)
        recorder = gym.wrappers.RecordVideo(env, videos, episode_trigger=lambda episode: episode == 0)
    recorder.reset(seed=0)
    for _ in range(6):
        *_, terminated, truncated, _ = recorder.step(np.zeros(2, np.int64) if vector else 0)
        if not vector and (terminated or truncated):
            recorder.reset()
    recorder.close()
    assert [path.suffix for path in (tmp_path / "videos").iterdir()] == [".mp4"]


def test_single_wrappers_of_gymnasium() -> None:
    """TimeLimit, Autoreset and RecordEpisodeStatistics around a game."""
    env = gym.wrappers.Autoreset(gym.wrappers.RecordEpisodeStatistics(rlgames.make("CartPole", max_episode_steps=7)))
    env.reset(seed=0)
    lengths = []
    for _ in range(40):
        *_, terminated, truncated, info = env.step(0)
        if terminated or truncated:
            lengths.append(info["episode"]["l"])
            assert info["episode"]["r"] == info["score"] == lengths[-1]
    assert max(lengths) <= 7
    assert len(lengths) >= 4
