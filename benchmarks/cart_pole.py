"""PPO on CartPole: seconds of training until the task is solved, ours beside Stable-Baselines3's.

    .venv/bin/python benchmarks/cart_pole.py [--markdown] [--seeds 5] [--threads N]    (make bench; some minutes)

Ours has its preset; SB3 has the settings that RL Baselines3 Zoo tuned for it (hyperparams/ppo.yml). Both train on the
CPU for 100,000 environment steps. Solved: a mean return of 475, Gymnasium's own mark for CartPole-v1. What is timed is
told in race.py.
"""

from __future__ import annotations

import stable_baselines3
import tyro
from race import Contest, race
from stable_baselines3.common.env_util import make_vec_env

import rlgames


def ours(seed: int) -> rlgames.PPO:
    return rlgames.PPO("CartPole", seed=seed, device="cpu")


def zoo(seed: int) -> stable_baselines3.PPO:
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


def main(seeds: int = 5, steps: int = 100_000, threads: int | None = None, markdown: bool = False) -> None:
    """Race our PPO against SB3's.

    Args:
        seeds: how many runs a side, with the seeds 0, 1, ...
        steps: the budget of each run; schedules run over it.
        threads: of torch, for both; None is torch's own choice.
        markdown: print a table for a README.
    """
    race(Contest("PPO on CartPole", "SB3", "CartPole-v1", 475, steps, ours, zoo), seeds, threads, markdown)


if __name__ == "__main__":
    tyro.cli(main)
