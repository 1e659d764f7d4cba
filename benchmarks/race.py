"""Compare two implementations of an algorithm: seconds of training until a task is solved, seed by seed, in turns.

Training alone is timed. Each run has a process of its own. The clock starts at the first environment step, when
everything was imported, built and reset (and, for ours, Numba's machine code was loaded by one update of a spare
agent), and stops during evaluations. A policy is evaluated at the first end of an update at or after each multiple of
`eval_freq` environment steps: greedily, on Gymnasium's environment, over the first episode of each of
`EVAL_EPISODES` environments with the same seeds each time. The task is solved at the first mean that reaches `solved`.
Training continues to the end of the budget, where the policy is evaluated once more, so that an early success that
does not last shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from side_by_side import format_rate, progress
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from tables import NONE, Table

from rlgames.agents.base import Agent

EVAL_EPISODES, EVAL_SEED = 20, 1_000_000
NOT_SOLVED = "not solved"


@dataclass(frozen=True)
class Race:
    title: str
    peer_name: str
    env_id: str  # of Gymnasium's environment for evaluations
    solved: float  # mean return of the greedy policy
    budget: int  # environment steps
    make_ours: Callable[[int], Agent]  # seed -> agent; a function of a module, so that a new process finds it
    make_peer: Callable[[int], BaseAlgorithm]
    eval_freq: int = 2048  # environment steps between two evaluations


@dataclass(frozen=True)
class Result:
    """Result of one seed; `steps` and `seconds`, both until solved, are infinite if the task was not."""

    steps: float
    seconds: float  # of training
    rate: float  # environment steps a second, over the whole budget
    final_mean: float  # return of the greedy policy at the end


class SolveTimer:
    """Times the training and evaluates the policy; call it before the first step, and after every update."""

    def __init__(self, race: Race):
        self.race, self.envs = race, gym.make_vec(race.env_id, EVAL_EPISODES)
        self.started: float | None = None  # when the clock was started last
        self.seconds, self.steps, self.next_evaluation = 0.0, 0, race.eval_freq
        self.solved_steps = self.solved_seconds = math.inf

    def __call__(self, steps: int, agent: Agent | BaseAlgorithm) -> None:
        if self.started is not None:
            self.seconds += perf_counter() - self.started
        self.steps = steps
        if steps >= self.next_evaluation and math.isinf(self.solved_steps):
            self.next_evaluation = (steps // self.race.eval_freq + 1) * self.race.eval_freq
            if self.evaluate(agent) >= self.race.solved:
                self.solved_steps, self.solved_seconds = steps, self.seconds
        self.started = perf_counter()

    def evaluate(self, agent: Agent | BaseAlgorithm) -> float:
        """Return the mean return of the greedy policy over the first episode of each environment."""
        returns, running = np.zeros(EVAL_EPISODES), np.ones(EVAL_EPISODES, np.bool_)
        obs, _ = self.envs.reset(seed=EVAL_SEED)
        while running.any():
            actions, _ = agent.predict(obs, deterministic=True)
            obs, rewards, terminated, truncated, _ = self.envs.step(actions)
            returns += rewards * running
            running &= ~(terminated | truncated)
        return float(returns.mean())

    def result(self, agent: Agent | BaseAlgorithm) -> Result:
        return Result(self.solved_steps, self.solved_seconds, self.steps / self.seconds, self.evaluate(agent))


class UpdateCallback(BaseCallback):
    """Calls the timer before SB3's first step and after every update."""

    def __init__(self, timer: SolveTimer):
        super().__init__()
        self.timer = timer

    def _on_rollout_start(self) -> None:
        self.timer(self.model.num_timesteps, self.model)

    def _on_training_end(self) -> None:
        self.timer(self.model.num_timesteps, self.model)

    def _on_step(self) -> bool:
        return True


def load_machine_code(agent: Agent) -> None:
    """Train a spare agent for one update; the agent was made from a game's name."""
    with type(agent)(str(agent.task), agent.config, num_envs=agent.num_envs, device="cpu") as spare:
        spare.learn(1)
    agent.start_training()  # which resets its environments


def run(race: Race, make_agent: Callable[[int], Agent | BaseAlgorithm], seed: int, threads: int) -> Result:
    torch.set_num_threads(threads)
    agent, timer = make_agent(seed), SolveTimer(race)
    if isinstance(agent, Agent):
        load_machine_code(agent)
        timer(0, agent)
        for update in agent.train(race.budget):
            timer(update.step, agent)
    else:
        agent.learn(race.budget, callback=UpdateCallback(timer))
    return timer.result(agent)


def call_in_new_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return the function's result; raises what it raises, BrokenProcessPool if the process dies."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def compare(race: Race, seeds: int, threads: int | None, markdown: bool, json: Path | None) -> None:
    """Run every seed on both sides and print the table; `threads` of torch, None: torch's own choice."""
    threads, pairs = threads or torch.get_num_threads(), []
    for seed in range(seeds):
        pair = []
        for name, make_agent in (("rlgames", race.make_ours), (race.peer_name, race.make_peer)):
            result = call_in_new_process(run, race, make_agent, seed, threads)
            solved = format_finite(result.seconds, "{:.2f} s")
            progress.print(f"{name}, seed {seed}: {solved}", style="dim", highlight=False)
            pair.append(result)
        pairs.append(pair)
    rows = [cells(str(seed), *pair) for seed, pair in enumerate(pairs)]
    heads = "steps to solved", "seconds to solved", "steps/s", "final mean"
    both = [f"{head}, {side}" for head in heads for side in ("ours", race.peer_name)]
    Table(
        f"{race.title}: training until the greedy policy's mean return is {race.solved:g}",
        dict.fromkeys(("seed", *both[:4], f"{race.peer_name}'s seconds / ours", *both[4:]), "right"),
        [*rows, cells("median", *map(median_result, zip(*pairs, strict=True)))],
        (
            f"Evaluated every {race.eval_freq:,} steps over {EVAL_EPISODES} episodes of {race.env_id}.",
            f"Budget: {race.budget:,} steps. Threads of torch: {threads}.",
        ),
        ("stable-baselines3",),
        seeds=range(seeds),
        episodes=EVAL_EPISODES,
    ).show(markdown, json)


def median_result(results: Sequence[Result]) -> Result:
    """Return the median of each field; a run that did not solve the task counts as slower than any that did."""
    return Result(*map(median, zip(*map(astuple, results), strict=True)))


def cells(label: str, ours: Result, peer: Result) -> tuple[str, ...]:
    """Return the cells of one row."""
    return (
        *(label, format_finite(ours.steps, "{:,.0f}"), format_finite(peer.steps, "{:,.0f}")),
        *(format_finite(ours.seconds, "{:.2f}"), format_finite(peer.seconds, "{:.2f}")),
        f"{peer.seconds / ours.seconds:.2f}" if math.isfinite(ours.seconds + peer.seconds) else NONE,
        *(format_rate(ours.rate), format_rate(peer.rate), f"{ours.final_mean:.0f}", f"{peer.final_mean:.0f}"),
    )


def format_finite(value: float, template: str) -> str:
    return template.format(value) if math.isfinite(value) else NOT_SOLVED
