"""What a Ray cluster costs: steps of environments in actors, compared with the local engine on one core.

    .venv/bin/python benchmarks/ray_cost.py [--json benchmarks/results/ray_cost.json]

Each actor, and the local engine, step batches on one thread: of Cave (fast), Pong (medium) and Mario (slow, with its
ROM). The sides take turns, a step each; a time is the least tenth of the steps' times, so what else the machine does
matters little. All actors are on this machine: more of them than cores take turns, and no network is in the way, so
the overhead is that of processes and copies. Extra: ray. (3 minutes)

From batches of two sizes follows a line, overhead(n) = a + c n for n environments in an actor, and with t, the time
that the local engine takes for a step of one environment, the batch from which it is less than a tenth:
n = a / (0.1 t - c).

With M machines of 16 cores, an actor a core, steps a second are

    actors   16 M n / (t n + a + c n)   what environments could make
    network  1.25e9 / bytes             at 10 Gbit/s into the learner's machine, bytes of one environment's step
    learner  measured                   transitions a second of PPO's update on one core, with the preset's epochs

and the least of the three is what a cluster makes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import tyro
from side_by_side import format_rate, progress
from tables import NONE, Justify, Table

import rlgames
from rlgames.engine.ray_cluster import connect
from rlgames.experience.rollout import Rollout
from rlgames.networks.models import sample_actions

GAMES = {"Cave": (64, 1024), "Pong": (8, 32), "Mario:world=1,stage=1": (8, 64)}  # batches of an actor
ACTORS = (1, 2, 4)
CORES_A_MACHINE, NETWORK = 16, 1.25e9  # bytes a second
MACHINES = (10, 100, 1000)


class Cost(NamedTuple):
    """A game's times in seconds, and bytes."""

    step: float  # t, of one environment in the local engine
    fixed: float  # a, of an actor's step
    transfer: float  # c, of one environment in an actor
    nbytes: float  # that one environment sends a step
    learner: float  # transitions a second


def size(results: Any) -> int:
    """Return the bytes of all arrays in the results of a step."""
    if isinstance(results, np.ndarray):
        return results.nbytes
    values = results.values() if isinstance(results, dict) else results if isinstance(results, tuple) else ()
    return sum(map(size, values))


def least_times(sides: list[Callable[[], Any]], seconds: float) -> list[float]:
    """Return the time of each side's call, which take turns for so many seconds: the least tenth of the times."""
    times: list[list[float]] = [[] for _ in sides]
    end = perf_counter() + seconds
    while perf_counter() < end or len(times[0]) < 10:
        for side, own in zip(sides, times, strict=True):
            start = perf_counter()
            side()
            own.append(perf_counter() - start)
    return [float(np.quantile(own, 0.1)) for own in times]


def stepper(envs: Any) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    actions = rng.integers(envs.single_action_space.n, size=(64, envs.num_envs))
    envs.reset(seed=0)
    return lambda: envs.step(actions[rng.integers(64)])


def learner_rate(game: str) -> float:
    """Return transitions a second of PPO's update with the preset of the game, stepping not counted, on one core."""
    with rlgames.PPO(game, num_envs=8, n_steps=32, device="cpu") as agent:
        runner, n_steps = agent.start_training(), agent.config.n_steps
        rollout = Rollout(n_steps, 8, agent.observation_space, int(agent.action_space.n))
        times = []
        for _ in range(3):
            state = agent.lstm_state
            for t in range(n_steps):
                outputs = agent.policy_outputs(runner.obs, agent.lstm_state, runner.episode_start)
                rollout.add(t, runner.step(sample_actions(outputs.logits, agent.rng)), outputs)
                agent.lstm_state = outputs.lstm_state
            start = perf_counter()
            agent.train_on_rollout(rollout, 0.0, state)
            times.append(perf_counter() - start)
    return 8 * n_steps / min(times)


def measure(game: str, sizes: tuple[int, int], seconds: float) -> tuple[list[tuple[str, ...]], Cost]:
    """Return the rows of a game's table, and its cost."""
    rows, overheads, local_times, nbytes = [], [], [], 0.0
    for n in sizes:
        progress.print(f"{game}, batches of {n}", style="dim", highlight=False)
        local = rlgames.make_vec(game, n, threads=1)
        actors = ACTORS if n == sizes[-1] else (1,)
        remote = [rlgames.make_vec(game, k * n, engine="ray", actors=k, snapshot_every=None) for k in actors]
        nbytes = size(local.reset(seed=0)) / n  # as a step's, but for rewards and ends
        here, *there = least_times([stepper(envs) for envs in (local, *remote)], seconds)
        overheads.append(there[0] - here)
        local_times.append(here)
        rows.append((game, f"{n:,}", NONE, format_rate(n / here), f"{here * 1e3:.2f}", f"{nbytes:,.0f}", NONE))
        for k, time in zip(actors, there, strict=True):
            overhead = f"{time / here - 1:+.0%}" if k == 1 else NONE
            rows.append(
                (game, f"{n:,}", f"{k}", format_rate(k * n / time), f"{time * 1e3:.2f}", f"{nbytes:,.0f}", overhead)
            )
        for envs in (local, *remote):
            envs.close()
    (small, large), (low, high) = sizes, overheads
    transfer = max(0.0, (high - low) / (large - small))
    fixed = max(0.0, low - transfer * small)
    return rows, Cost(local_times[-1] / large, fixed, transfer, nbytes, learner_rate(game))


def suitable_batch(cost: Cost) -> float | None:
    """Return the batch of an actor from which its overhead is less than a tenth; None: it never is."""
    gain = 0.1 * cost.step - cost.transfer
    return cost.fixed / gain if gain > 0 else None


def project(cost: Cost, machines: int, batch: int) -> tuple[str, str, str, str]:
    """Return what actors, network and learner allow with so many machines, and which of them is the limit."""
    actors = CORES_A_MACHINE * machines * batch / (cost.step * batch + cost.fixed + cost.transfer * batch)
    limits = {"actors": actors, "network": NETWORK / cost.nbytes, "learner": cost.learner}
    actors_rate, network_rate, learner_rate = map(format_rate, limits.values())
    return actors_rate, network_rate, learner_rate, min(limits, key=lambda name: limits[name])


def columns(*heads: str) -> dict[str, Justify]:
    """Return the justification of columns: of words left, of numbers right."""
    return {head: "left" if head in ("game", "limit") else "right" for head in heads}


def main(seconds: float = 8.0, markdown: bool = False, json: Path | None = None) -> None:
    """Measure the games.

    Args:
        seconds: length of a measurement, of which each game has two.
        markdown: print tables as Markdown.
        json: write them into this file too, from which the documentation is made.
    """
    rows, costs = [], {}
    with connect():  # one cluster for all
        for game, sizes in GAMES.items():
            lines, costs[game] = measure(game, sizes, seconds)
            rows += lines
    notes = ("Least tenth of the times of steps in turns, upper bounds where other programs ran. All on this machine.",)
    heads = ("game", "envs an actor", "actors", "steps/s", "ms a step", "bytes an env", "overhead")
    Table(
        "Environments in Ray actors, and in this process (no actors)",
        columns(*heads),
        rows,
        notes,
        ("ray",),
    ).show(markdown, json)
    lines = []
    for game, cost in costs.items():
        batch = suitable_batch(cost)
        times = (f"{1e6 * each:.1f}" for each in (cost.step, cost.fixed, cost.transfer))
        lines.append((game, *times, NONE if batch is None else f"{batch:,.0f}", format_rate(cost.learner)))
    Table(
        "Cost of an actor in microseconds, and the batch from which it is less than a tenth",
        columns("game", "t, an env", "a, an actor's step", "c, an env", "batch", "PPO learns/s"),
        lines,
        ("PPO learns: transitions a second of one core with the preset's epochs, without stepping.",),
        ("ray",),
    ).show(markdown, json)
    Table(
        "Steps a second that 10, 100 and 1,000 machines of 16 cores allow",
        columns("game", "machines", "actors", "network", "learner", "limit"),
        [
            (game, f"{machines:,}", *project(cost, machines, GAMES[game][1]))
            for game, cost in costs.items()
            for machines in MACHINES
        ],
        ("The network takes 10 Gbit/s into the learner's machine; the learner has one core.",),
        ("ray",),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
