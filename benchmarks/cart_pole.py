"""CartPole: seconds of training until the task is solved, our agents beside Stable-Baselines3's.

    .venv/bin/python benchmarks/cart_pole.py [--agents ppo dqn a3c] [--seeds 5] [--threads N] [--markdown]

Ours have their presets; SB3's have the settings that RL Baselines3 Zoo tuned for them (hyperparams/ppo.yml, dqn.yml,
a2c.yml). All train on the CPU. Solved: a mean return of 475, Gymnasium's own mark for CartPole-v1. A3C's peer is A2C,
its synchronous form. What is timed is told in race.py. (make bench; some minutes)
"""

from __future__ import annotations

from collections.abc import Sequence

import stable_baselines3
import tyro
from race import Contest, race
from stable_baselines3.common.env_util import make_vec_env

from rlgames.agents.base import Agent
from rlgames.agents.registry import find


def ppo(seed: int) -> Agent:
    return find("ppo")("CartPole", seed=seed, device="cpu")


def zoo_ppo(seed: int) -> stable_baselines3.PPO:
    return stable_baselines3.PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=8, seed=seed),
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        ent_coef=0.0,
        learning_rate=lambda left: 1e-3 * left,  # `left` falls from 1 to 0 in the course of training
        clip_range=lambda left: 0.2 * left,
        seed=seed,
        device="cpu",
    )


def dqn(seed: int) -> Agent:
    return find("dqn")("CartPole", seed=seed, device="cpu")


def zoo_dqn(seed: int) -> stable_baselines3.DQN:
    return stable_baselines3.DQN(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=1, seed=seed),
        learning_rate=2.3e-3,
        batch_size=64,
        buffer_size=100_000,
        learning_starts=1_000,
        gamma=0.99,
        target_update_interval=10,
        train_freq=256,
        gradient_steps=128,
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )


def a3c(seed: int) -> Agent:
    return find("a3c")("CartPole", seed=seed, device="cpu")


def zoo_a2c(seed: int) -> stable_baselines3.A2C:
    envs = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    return stable_baselines3.A2C("MlpPolicy", envs, ent_coef=0.0, seed=seed, device="cpu")


CONTESTS = {  # by our agent: the budgets are those of the presets
    "ppo": Contest("PPO on CartPole", "SB3", "CartPole-v1", 475, 100_000, ppo, zoo_ppo),
    "dqn": Contest("DQN on CartPole", "SB3", "CartPole-v1", 475, 60_000, dqn, zoo_dqn),
    "a3c": Contest("A3C on CartPole", "SB3's A2C", "CartPole-v1", 475, 200_000, a3c, zoo_a2c),
}


def main(
    agents: Sequence[str] = tuple(CONTESTS), seeds: int = 5, threads: int | None = None, markdown: bool = False
) -> None:
    """Race our agents against SB3's.

    Args:
        agents: of ppo, dqn and a3c.
        seeds: how many runs a side, with the seeds 0, 1, ...
        threads: of torch, for both; None is torch's own choice.
        markdown: print tables for a README.
    """
    if unknown := [name for name in agents if name not in CONTESTS]:
        raise SystemExit(f"no contest for {unknown[0]!r}: there are {', '.join(CONTESTS)}")
    for name in agents:
        race(CONTESTS[name], seeds, threads, markdown)


if __name__ == "__main__":
    tyro.cli(main)
