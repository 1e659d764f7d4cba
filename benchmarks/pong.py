"""Pong from pixels: how fast it is played and learnt, beside ale-py, Gymnasium, EnvPool and Stable-Baselines3.

    .venv/bin/python benchmarks/pong.py [--markdown] [--rounds 5] [--seconds 3] [--parts play learn]

All see the same: 84 x 84 grey, the maximum of the last two of four frames, four of those stacked. Played by chance, the
sides take turns of `--seconds`; the first turn of each does not count. A rate is the median over the rounds, a ratio is
taken within a round.

PPO learns on both sides with 8 players x 128 steps, 4 epochs of 4 minibatches of 256, and the network of Mnih et al.
2015; DQN with one update of 32 transitions in 4 steps, ours with 16 players and 4 updates in 16. A row more has ours
make one update of 128 in 16 steps: as many transitions a step, in batches as our presets have them. SB3 has the
environments that its documentation recommends (make_atari_env, VecFrameStack). Both may use all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import torch
import tyro
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation
from side_by_side import Turn, machine, progress, rate, report, spread

import rlgames
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.engine.vector_env import CORES

PLAYERS = 16


def played(envs: Any) -> Turn:
    envs.reset(seed=0) if isinstance(envs, gym.vector.VectorEnv) else envs.reset()
    actions = np.random.default_rng(0).integers(6, size=(16, PLAYERS), dtype=np.int32)

    def turn(seconds: float) -> float:
        steps, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            for action in actions:
                _ = envs.step(action)
            steps += actions.size
        return steps / (perf_counter() - start)

    return turn


def ours() -> Any:
    return rlgames.make_vec("Pong", PLAYERS, autoreset_mode=AutoresetMode.NEXT_STEP)


def ale() -> Any:
    return AtariVectorEnv("pong", PLAYERS, num_threads=min(CORES, PLAYERS), reward_clipping=False)


def chain() -> gym.Env:
    raw = ale_py.AtariEnv("pong", obs_type="grayscale", frameskip=1, repeat_action_probability=0.0)
    return FrameStackObservation(AtariPreprocessing(raw, frame_skip=4), 4)


def envpool() -> Any:
    import envpool

    return envpool.make("Pong-v5", env_type="gymnasium", num_envs=PLAYERS, num_threads=CORES, seed=0)


def learnt(steps: Callable[[], int]) -> Turn:
    """Of a function that learns a little and says how many steps that took."""

    def turn(seconds: float) -> float:
        taken, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            taken += steps()
        return taken / (perf_counter() - start)

    return turn


def our_agent(agent: Any) -> Turn:
    updates = agent.train(10**9)
    while not next(updates).scalars:  # DQN fills its replay first
        pass

    def steps() -> int:
        before = agent.step
        return next(updates).step - before

    return learnt(steps)


def our_ppo() -> Turn:
    config = PPOConfig(n_steps=128, n_epochs=4, num_minibatches=4, learning_rate=2.5e-4, threads=CORES)
    return our_agent(rlgames.PPO(rlgames.make_vec("Pong", 8), config, device="cpu"))


def our_dqn(batch: int = 32) -> Turn:
    config = DQNConfig(buffer_size=20_000, train_freq=16, updates=128 // batch, batch=batch)
    return our_agent(rlgames.DQN(rlgames.make_vec("Pong", 16), config, device="cpu"))


def sb3_envs(n: int) -> Any:
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    gym.register_envs(ale_py)
    return VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=n, seed=0), 4)


def sb3(model: Any, chunk: int) -> Turn:
    model.learn(chunk)

    def steps() -> int:
        before = model.num_timesteps
        model.learn(chunk, reset_num_timesteps=False)
        return model.num_timesteps - before

    return learnt(steps)


def sb3_ppo() -> Turn:
    from stable_baselines3 import PPO

    return sb3(PPO("CnnPolicy", sb3_envs(8), n_steps=128, batch_size=256, n_epochs=4, device="cpu"), 1024)


def sb3_dqn() -> Turn:
    from stable_baselines3 import DQN

    model = DQN("CnnPolicy", sb3_envs(1), buffer_size=20_000, learning_starts=1_000, train_freq=4, device="cpu")
    return sb3(model, 1_500)


ROWS: dict[str, tuple[tuple[str, Callable[[], Turn], str, Callable[[], Turn]], ...]] = {
    "play": (
        ("16 players", lambda: played(ours()), "ale-py AtariVectorEnv", lambda: played(ale())),
        (
            "16 players",
            lambda: played(ours()),
            "Gymnasium SyncVectorEnv",
            lambda: played(SyncVectorEnv([chain] * PLAYERS)),
        ),
        ("16 players", lambda: played(ours()), "EnvPool Pong-v5", lambda: played(envpool())),
    ),
    "learn": (
        ("PPO learns", our_ppo, "Stable-Baselines3", sb3_ppo),
        ("DQN learns", our_dqn, "Stable-Baselines3", sb3_dqn),
        ("DQN learns, batches of 128", lambda: our_dqn(128), "Stable-Baselines3", sb3_dqn),
    ),
}


def measure(what: str, our: Callable[[], Turn], peer: str, their: Callable[[], Turn], rounds: int, seconds: float):
    """The cells of one row."""
    progress.print(f"{what}, beside {peer}", highlight=False)
    try:
        sides = [our(), their()]
    except ImportError as error:
        return what, "—", peer, f"pip install {error.name}", "—"
    for side in sides:
        side(seconds)
    rates = [[side(seconds) for side in sides] for _ in range(rounds)]
    ratios = [mine / other for mine, other in rates]
    mine, other = (median(column) for column in zip(*rates, strict=True))
    ratio = spread(ratios, 2)
    return what, rate(mine), peer, rate(other), ratio


def main(rounds: int = 5, seconds: float = 3.0, parts: Sequence[str] = tuple(ROWS), markdown: bool = False) -> None:
    """Measure Pong.

    Args:
        rounds: turns of each side.
        seconds: of each turn.
        parts: of play and learn.
        markdown: print a table for a README.
    """
    torch.set_num_threads(CORES)
    report(
        "Pong: steps of agents a second, all players counted",
        {"what": "left", "ours": "right", "peer": "left", "peer's": "right", "ours / peer's": "right"},
        [measure(*row, rounds, seconds) for part in parts for row in ROWS[part]],
        (machine("ale-py", "envpool", "gymnasium", "numpy", "torch", "stable-baselines3"),),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
