"""CartPole: seconds of training until the task is solved, our agents compared with Stable-Baselines3's.

    .venv/bin/python benchmarks/cart_pole.py [--agents ppo dqn a3c] [--seeds 5] [--threads N] [--markdown]

Ours have their presets; SB3's have the settings that RL Baselines3 Zoo tuned for them (hyperparams/ppo.yml, dqn.yml,
a2c.yml). All train on the CPU. Solved: a mean return of 475, Gymnasium's threshold for CartPole-v1. The peer of A3C is
A2C, its synchronous form. race.py says what is timed. (make bench; some minutes)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import stable_baselines3 as sb3
import tyro
from race import Race, compare
from stable_baselines3.common.env_util import make_vec_env

from rlgames.agents.base import Agent
from rlgames.agents.registry import find


def make_ppo(seed: int) -> Agent:
    return find("ppo")("CartPole", seed=seed, device="cpu")


def make_sb3_ppo(seed: int) -> sb3.PPO:
    return sb3.PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=8, seed=seed),
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        ent_coef=0.0,
        learning_rate=lambda remaining: 1e-3 * remaining,  # `remaining` falls from 1 to 0 during training
        clip_range=lambda remaining: 0.2 * remaining,
        seed=seed,
        device="cpu",
    )


def make_dqn(seed: int) -> Agent:
    return find("dqn")("CartPole", seed=seed, device="cpu")


def make_sb3_dqn(seed: int) -> sb3.DQN:
    return sb3.DQN(
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


def make_a3c(seed: int) -> Agent:
    return find("a3c")("CartPole", seed=seed, device="cpu")


def make_sb3_a2c(seed: int) -> sb3.A2C:
    envs = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    return sb3.A2C("MlpPolicy", envs, ent_coef=0.0, seed=seed, device="cpu")


RACES = {  # by our agent; the budgets are those of the presets
    "ppo": Race("PPO on CartPole", "SB3", "CartPole-v1", 475, 100_000, make_ppo, make_sb3_ppo),
    "dqn": Race("DQN on CartPole", "SB3", "CartPole-v1", 475, 60_000, make_dqn, make_sb3_dqn),
    "a3c": Race("A3C on CartPole", "SB3's A2C", "CartPole-v1", 475, 200_000, make_a3c, make_sb3_a2c),
}


def main(
    agents: Sequence[str] = tuple(RACES),
    seeds: int = 5,
    steps: int | None = None,
    threads: int | None = None,
    markdown: bool = False,
    json: Path | None = None,
) -> None:
    """Compare our agents with SB3's.

    Args:
        agents: some of ppo, dqn and a3c.
        seeds: number of runs a side, with the seeds 0, 1, ...
        steps: environment steps of each run; None: the preset's.
        threads: of torch, for both; None: torch's own choice.
        markdown: print tables as Markdown.
        json: write them into this file too, from which the documentation is made.
    """
    if unknown := [name for name in agents if name not in RACES]:
        raise SystemExit(f"unknown agent {unknown[0]!r}: expected one of {', '.join(RACES)}")
    for name in agents:
        race = RACES[name] if steps is None else dataclasses.replace(RACES[name], budget=steps)
        compare(race, seeds, threads, markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
