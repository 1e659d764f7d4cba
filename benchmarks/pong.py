"""Pong from pixels: rates of steps and of learning, compared with ale-py, Gymnasium, EnvPool and Stable-Baselines3.

    .venv/bin/python benchmarks/pong.py [--markdown] [--rounds 5] [--seconds 3] [--tables step ppo dqn]

All have the same observations: 84 x 84 grey, the maximum of the last two of four frames, four of those stacked. The
sides take turns of `--seconds`; the first turn of each does not count. A rate is the median over the rounds, a ratio is
taken within a round.

Steps: 16 environments with random actions. Learning: PPO has on both sides 8 environments x 128 steps, 4 epochs of 4
minibatches of 256, and the network of Mnih et al. 2015; DQN makes one update of 32 transitions in 4 steps, ours with 16
environments and 4 updates in 16 steps. In one more row ours makes one update of 128 in 16 steps: as many transitions a
step, in batches as large as our presets have them. SB3 has the environments that its documentation recommends
(make_atari_env, VecFrameStack). Both may use all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import ale_py
import gymnasium as gym
import numpy as np
import torch
import tyro
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation
from side_by_side import Benchmark, format_rate, format_ratios, measure_in_turns, progress, steps_per_second
from tables import NONE, Table

import rlgames
from rlgames.agents.base import Agent
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.engine.vector_env import CORES

NUM_ENVS = 16
PONG = "Pong:noop_max=30"  # as the others begin their episodes


# ---- steps ----


def benchmark_steps(envs: Any) -> Benchmark:
    envs.reset(seed=0) if isinstance(envs, gym.vector.VectorEnv) else envs.reset()
    actions = np.random.default_rng(0).integers(6, size=(16, NUM_ENVS), dtype=np.int32)

    def step_through() -> int:
        for action in actions:
            _ = envs.step(action)
        return actions.size

    return lambda seconds: steps_per_second(step_through, seconds)


def step_ours() -> Benchmark:
    return benchmark_steps(rlgames.make_vec(PONG, NUM_ENVS, autoreset_mode=AutoresetMode.NEXT_STEP))


def step_ale() -> Benchmark:
    return benchmark_steps(AtariVectorEnv("pong", NUM_ENVS, num_threads=min(CORES, NUM_ENVS), reward_clipping=False))


def make_gymnasium_env() -> gym.Env:
    env = ale_py.AtariEnv("pong", obs_type="grayscale", frameskip=1, repeat_action_probability=0.0)
    return FrameStackObservation(AtariPreprocessing(env, frame_skip=4), 4)


def step_gymnasium() -> Benchmark:
    return benchmark_steps(SyncVectorEnv([make_gymnasium_env] * NUM_ENVS))


def step_envpool() -> Benchmark:
    import envpool  # noqa: PLC0415  optional

    envs = envpool.make("Pong-v5", env_type="gymnasium", num_envs=NUM_ENVS, num_threads=CORES, seed=0)
    return benchmark_steps(envs)


# ---- learning ----


def benchmark_agent(agent: Agent) -> Benchmark:
    updates = agent.train(10**9)
    while "train/loss" not in next(updates).scalars:  # DQN fills its replay buffer first
        pass

    def update() -> int:
        before = agent.step
        return next(updates).step - before

    return lambda seconds: steps_per_second(update, seconds)


def learn_ppo() -> Benchmark:
    config = PPOConfig(n_steps=128, n_epochs=4, num_minibatches=4, learning_rate=2.5e-4, n_threads=CORES)
    return benchmark_agent(rlgames.PPO(rlgames.make_vec(PONG, 8), config, device="cpu"))


def learn_dqn(batch_size: int = 32) -> Benchmark:
    config = DQNConfig(buffer_size=20_000, train_freq=16, gradient_steps=128 // batch_size, batch_size=batch_size)
    return benchmark_agent(rlgames.DQN(rlgames.make_vec(PONG, 16), config, device="cpu"))


def make_sb3_envs(n_envs: int) -> Any:
    from stable_baselines3.common.env_util import make_atari_env  # noqa: PLC0415  optional
    from stable_baselines3.common.vec_env import VecFrameStack  # noqa: PLC0415  optional

    gym.register_envs(ale_py)
    return VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=n_envs, seed=0), 4)


def benchmark_sb3(model: Any, total_timesteps: int) -> Benchmark:
    """`total_timesteps` are those of one call of `learn`."""
    model.learn(total_timesteps)

    def learn() -> int:
        before = model.num_timesteps
        model.learn(total_timesteps, reset_num_timesteps=False)
        return model.num_timesteps - before

    return lambda seconds: steps_per_second(learn, seconds)


def learn_sb3_ppo() -> Benchmark:
    from stable_baselines3 import PPO  # noqa: PLC0415  optional

    model = PPO("CnnPolicy", make_sb3_envs(8), n_steps=128, batch_size=256, n_epochs=4, device="cpu")
    return benchmark_sb3(model, 1024)


def learn_sb3_dqn() -> Benchmark:
    from stable_baselines3 import DQN  # noqa: PLC0415  optional

    model = DQN("CnnPolicy", make_sb3_envs(1), buffer_size=20_000, learning_starts=1_000, train_freq=4, device="cpu")
    return benchmark_sb3(model, 1_500)


# ---- the table ----


class Row(NamedTuple):
    title: str
    ours: Callable[[], Benchmark]
    peer_name: str
    peer: Callable[[], Benchmark]


STEPS, SB3 = f"{NUM_ENVS} envs step", "Stable-Baselines3"
TABLES = {  # parts of the table
    "step": (
        Row(STEPS, step_ours, "ale-py AtariVectorEnv", step_ale),
        Row(STEPS, step_ours, "Gymnasium SyncVectorEnv", step_gymnasium),
        Row(STEPS, step_ours, "EnvPool Pong-v5", step_envpool),
    ),
    "ppo": (Row("PPO learns", learn_ppo, SB3, learn_sb3_ppo),),
    "dqn": (
        Row("DQN learns", learn_dqn, SB3, learn_sb3_dqn),
        Row("DQN learns, batches of 128", lambda: learn_dqn(128), SB3, learn_sb3_dqn),
    ),
}


def measure(row: Row, rounds: int, seconds: float) -> tuple[str, ...]:
    """Return the cells of one row."""
    progress.print(f"{row.title}; peer: {row.peer_name}", highlight=False)
    try:
        benchmarks = [row.ours(), row.peer()]
    except ImportError as error:
        return row.title, NONE, row.peer_name, f"pip install {error.name}", NONE
    rates = measure_in_turns(benchmarks, rounds, seconds)
    ours, peer = (format_rate(median(side)) for side in zip(*rates, strict=True))
    return row.title, ours, row.peer_name, peer, format_ratios([mine / other for mine, other in rates], 2)


def main(
    rounds: int = 5,
    seconds: float = 3.0,
    tables: Sequence[str] = tuple(TABLES),
    markdown: bool = False,
    json: Path | None = None,
) -> None:
    """Measure Pong.

    Args:
        rounds: turns of each side.
        seconds: length of a turn.
        tables: some of step, ppo and dqn.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    torch.set_num_threads(CORES)
    Table(
        "Pong: agent steps a second, summed over the environments",
        {"what": "left", "ours": "right", "peer": "left", "peer's": "right", "ours / peer's": "right"},
        [measure(row, rounds, seconds) for table in tables for row in TABLES[table]],
        (f"Medians of {rounds} turns of {seconds:g} s a side.",),
        ("ale-py", "envpool", "stable-baselines3"),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
