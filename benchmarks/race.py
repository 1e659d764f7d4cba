"""Two implementations of one algorithm learn one task: how long until it is solved? Seed by seed, in turns.

What is timed is training alone. Each run has a process of its own. The clock starts at the first environment step, when
everything has been imported, built and reset (and, for our games, Numba's machine code has been loaded, by one step of
a spare environment), and stands still while a policy is judged. A policy is judged at the first end of an update at or
after every `every` environment steps: greedily, on Gymnasium's environment, over the first episodes of `EPISODES` rows
that are always seeded alike. The task is solved at the first mean that reaches `solved`. Training goes on to the end of
the budget, where the policy is judged once more, so that a quick start that does not last shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from multiprocessing import get_context
from statistics import median
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from side_by_side import machine, progress, rate, report
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from rlgames.agents.base import Agent

EPISODES, EVALUATION_SEED = 20, 1_000_000
NOT_SOLVED, NONE = "not solved", "—"
Learner = Agent | BaseAlgorithm


@dataclass(frozen=True)
class Contest:
    title: str
    peer_name: str
    task: str  # Gymnasium's id of the environment that judges
    solved: float  # mean return of the greedy policy
    budget: int  # environment steps
    ours: Callable[[int], Agent]  # seed -> the agent; a function of a module, so that a new process finds it
    peer: Callable[[int], BaseAlgorithm]
    every: int = 2048  # environment steps between two judgements


@dataclass(frozen=True)
class Run:
    """What became of one seed; `steps` and `seconds`, both until solved, are infinite if the task was not."""

    steps: float
    seconds: float  # of training
    rate: float  # environment steps a second, over the whole budget
    final: float  # mean return of the greedy policy at the end


class Referee:
    """Holds the clock. To be called when the first step is about to be made, and after every update."""

    def __init__(self, contest: Contest):
        self.contest, self.envs = contest, gym.make_vec(contest.task, EPISODES)
        self.running_since: float | None = None
        self.seconds, self.steps, self.due = 0.0, 0, contest.every
        self.solved_at = (math.inf, math.inf)  # steps, seconds

    def __call__(self, steps: int, learner: Learner) -> None:
        if self.running_since is not None:
            self.seconds += perf_counter() - self.running_since
        self.steps = steps
        if steps >= self.due and math.isinf(self.solved_at[0]):
            self.due = (steps // self.contest.every + 1) * self.contest.every
            if self.judge(learner) >= self.contest.solved:
                self.solved_at = (steps, self.seconds)
        self.running_since = perf_counter()

    def judge(self, learner: Learner) -> float:
        """The mean return of the greedy policy over the first episode of each row."""
        total, playing = np.zeros(EPISODES), np.ones(EPISODES, np.bool_)
        obs, _ = self.envs.reset(seed=EVALUATION_SEED)
        while playing.any():
            action, _ = learner.predict(obs, deterministic=True)
            obs, reward, terminated, truncated, _ = self.envs.step(action)
            total += reward * playing
            playing &= ~(terminated | truncated)
        return float(total.mean())


def train_ours(agent: Agent, steps: int, referee: Referee) -> None:
    """`agent` was made from a game's name: its `task` makes the spare environment that loads the machine code."""
    spare = agent.task.make_vec(agent.playing().n)  # `playing` resets the agent's own
    spare.reset(seed=0)
    spare.step(np.full(spare.num_envs, agent.action_space.start))
    spare.close()
    referee(0, agent)
    for update in agent.train(steps):
        referee(update.step, agent)


class UpdateEnds(BaseCallback):
    """Calls the referee where SB3 begins to play: before its first step, and after every update."""

    def __init__(self, referee: Referee):
        super().__init__()
        self.referee = referee

    def _on_rollout_start(self) -> None:
        self.referee(self.model.num_timesteps, self.model)

    def _on_training_end(self) -> None:
        self.referee(self.model.num_timesteps, self.model)

    def _on_step(self) -> bool:
        return True


def run(contest: Contest, build: Callable[[int], Learner], seed: int, threads: int) -> Run:
    torch.set_num_threads(threads)
    learner, referee = build(seed), Referee(contest)
    if isinstance(learner, Agent):
        train_ours(learner, contest.budget, referee)
    else:
        learner.learn(contest.budget, callback=UpdateEnds(referee))
    return Run(*referee.solved_at, referee.steps / referee.seconds, referee.judge(learner))


def in_new_process(function: Callable[..., Run], *arguments: Any) -> Run:
    """Its return value; raises what it raises, BrokenProcessPool if the process dies."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def race(contest: Contest, seeds: int, threads: int | None, markdown: bool) -> None:
    """Run every seed on both sides and print the table. `threads` of torch, for both; None: torch's own choice."""
    threads, pairs = threads or torch.get_num_threads(), []
    for seed in range(seeds):
        pair = []
        for name, build in (("rlgames", contest.ours), (contest.peer_name, contest.peer)):
            result = in_new_process(run, contest, build, seed, threads)
            progress.print(f"{name}, seed {seed}: {known(result.seconds, '{:.2f} s')}", style="dim", highlight=False)
            pair.append(result)
        pairs.append(pair)
    rows = [cells(str(seed), *pair) for seed, pair in enumerate(pairs)]
    heads = "steps to solved", "seconds to solved", "steps/s", "final mean"
    both = [f"{head}, {side}" for head in heads for side in ("ours", contest.peer_name)]
    report(
        f"{contest.title}: training until the greedy policy's mean return is {contest.solved:g}",
        dict.fromkeys(("seed", *both[:4], f"{contest.peer_name}'s seconds / ours", *both[4:]), "right"),
        [*rows, cells("median", *map(middle, zip(*pairs, strict=True)))],
        (
            f"Judged every {contest.every:,} steps over {EPISODES} episodes of {contest.task}.",
            f"Budget: {contest.budget:,} steps. Torch's threads: {threads}.",
            machine("gymnasium", "torch", "numba", "stable-baselines3"),
        ),
        markdown,
    )


def middle(runs: Sequence[Run]) -> Run:
    """The median of each field; a run that did not solve the task is slower than any that did."""
    return Run(*map(median, zip(*map(astuple, runs), strict=True)))


def cells(label: str, ours: Run, peer: Run) -> tuple[str, ...]:
    return (
        *(label, known(ours.steps, "{:,.0f}"), known(peer.steps, "{:,.0f}")),
        *(known(ours.seconds, "{:.2f}"), known(peer.seconds, "{:.2f}")),
        f"{peer.seconds / ours.seconds:.2f}" if math.isfinite(ours.seconds + peer.seconds) else NONE,
        *(rate(ours.rate), rate(peer.rate), f"{ours.final:.0f}", f"{peer.final:.0f}"),
    )


def known(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else NOT_SOLVED
