"""A3C: the gradients of one worker against the paper's loss, and several workers in processes."""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from helpers.processes import TIMEOUT, wait_until_ended
from helpers.toys import GuessBitEnv, RandomLengthEnv, quick_config, sync_vector
from torch import Tensor

from rlgames.agents import workers as workers_module
from rlgames.agents.a3c import A3C, A3CConfig, ActorLearner, Report, WorkerArguments, run_worker
from rlgames.agents.registry import load
from rlgames.agents.shared_optimizer import SharedOptimizer, flatten_parameters
from rlgames.envs.task import Task
from rlgames.evaluation import evaluate
from rlgames.experience.env_runner import EnvRunner, single_spaces
from rlgames.networks.models import ActorCritic

TWO_WORKERS = quick_config("a3c", workers=2)
UPDATE_STEPS = TWO_WORKERS.n_steps * 2  # environment steps of one update of a worker with two environments


# ---- one worker ----


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_learning_rate_is_linear(optimizer: str):
    config = quick_config("a3c", optimizer=optimizer, learning_rate=0.1, final_learning_rate=0.02)
    agent = A3C(sync_vector(GuessBitEnv, 2), config)
    rates: list[float] = []
    step = getattr(agent.shared, optimizer)

    def recorded(gradient: Tensor, lr: float) -> None:
        rates.append(lr)
        step(gradient, lr)

    setattr(agent.shared, optimizer, recorded)
    agent.learn(8 * UPDATE_STEPS)
    assert rates == pytest.approx(np.linspace(0.1, 0.02, 9)[:8])


def test_gradients_are_those_of_the_papers_loss():
    """One environment at a time and backwards, as in algorithm S3; truncated episodes are bootstrapped."""
    config = A3CConfig(workers=1, n_steps=15, ent_coef=0.02, vf_coef=0.3, gamma=0.9, max_grad_norm=1e9, net_arch=(16,))
    envs = sync_vector(RandomLengthEnv, 4)
    space, actions = single_spaces(envs)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ActorCritic(space, int(actions.n), "vector", (16,))
    runner = EnvRunner(envs, seed=5)
    learner = ActorLearner(copy.deepcopy(net), SharedOptimizer(net, 1), 0, runner, config, np.random.default_rng(0))
    steps, step = [], runner.step
    runner.step = lambda action: steps.append(step(action)) or steps[-1]  # type: ignore[method-assign]  # records
    learner.update(progress=0.0)
    assert any((s.done & ~s.terminated).any() for s in steps)
    assert any(s.terminated.any() for s in steps)
    net.zero_grad()
    for i in range(runner.num_envs):
        returns = net(torch.from_numpy(steps[-1].next_obs[i : i + 1]))[1][0].detach()
        for s in reversed(steps):
            if s.terminated[i]:
                returns = torch.tensor(0.0)
            elif s.done[i]:
                returns = net(torch.from_numpy(s.next_obs[i : i + 1]))[1][0].detach()
            returns = float(s.reward[i]) + config.gamma * returns
            logits, value = net(torch.from_numpy(s.obs[i : i + 1]))
            pi = torch.distributions.Categorical(logits=logits[0])
            loss = -pi.log_prob(torch.tensor(s.action[i])) * (returns - value[0]).detach()
            loss = loss + config.vf_coef * (returns - value[0]) ** 2 - config.ent_coef * pi.entropy()
            (loss / (runner.num_envs * len(steps))).backward()
    expected = torch.cat([p.grad.reshape(-1) for p in net.parameters() if p.grad is not None])
    torch.testing.assert_close(learner.gradients, expected, rtol=1e-3, atol=1e-5)


def test_best_agent_plays_and_is_saved(tmp_path: Path):
    agent = A3C("CatchBall", quick_config("a3c"), num_envs=2).learn(2_000)
    assert agent.best_weights.num_episodes > 0
    agent.save(tmp_path / "agent")
    agent.best_agent.save(tmp_path / "best")
    loaded, best = load(tmp_path / "agent"), load(tmp_path / "best")
    assert isinstance(loaded, A3C)
    assert best.step == agent.best_weights.step == loaded.best_agent.step
    scores = [evaluate(each, "CatchBall", episodes=3).scores for each in (agent.best_agent, loaded.best_agent, best)]
    assert scores[0] == scores[1] == scores[2]
    for each in (agent.best_agent, best, loaded.best_agent):
        torch.testing.assert_close(flatten_parameters(each.net)[0], agent.best_weights.weights, rtol=0, atol=0)
    assert best.learn(UPDATE_STEPS).step == agent.best_weights.step + UPDATE_STEPS


def test_best_agent_of_loaded_weights_has_these_weights(tmp_path: Path):
    """A file of weights alone does not hold the best ones; the initial weights are worse."""
    agent = A3C("CatchBall", quick_config("a3c"), num_envs=2).learn(4 * UPDATE_STEPS)
    agent.save(tmp_path / "agent", weights_only=True)
    loaded = A3C.load(tmp_path / "agent")
    assert loaded.best_agent.step == agent.step
    assert torch.equal(loaded.best_agent.weights, agent.weights)
    assert torch.equal(loaded.shared.weights, agent.weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "expected workers to be an integer in 1..1024, got 0"),
        ({"n_steps": 0}, "expected n_steps to be an integer >= 1, got 0"),
        ({"optimizer": "sgd"}, "expected optimizer to be 'adam' or 'rmsprop', got 'sgd'"),
    ],
)
def test_wrong_settings_are_rejected(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        A3CConfig(**changes)


# ---- several workers ----


def active_pids() -> list[int]:
    return [process.pid for process in multiprocessing.active_children() if process.pid]


def check_between_trainings(agent: A3C, total: int) -> None:
    """Assert what holds while no worker runs: all steps are counted, and the agent has the shared weights."""
    assert active_pids() == []
    assert agent.step == agent.shared.num_updates() * UPDATE_STEPS
    assert agent.step < total + 2 * UPDATE_STEPS
    assert torch.equal(flatten_parameters(copy.deepcopy(agent.net))[0], agent.shared.weights)


def check_training(agent: A3C, steps: int) -> None:
    """Train for `steps` steps; assert that steps and episodes are counted once, and that the last update is the end."""
    total, num_episodes = agent.step + steps, agent.best_weights.num_episodes
    updates = list(agent.train(total))
    assert all(first.step < second.step for first, second in pairwise(updates))
    assert [update.step >= total for update in updates] == [False] * (len(updates) - 1) + [True]
    assert updates[-1].step == agent.step
    assert sum(len(update.episodes) for update in updates) == agent.best_weights.num_episodes - num_episodes > 0
    check_between_trainings(agent, total)
    assert list(agent.train(total)) == []


def check_loaded(path: Path, agent: A3C) -> A3C:
    """Save and load the agent; assert that the shared weights and statistics are the same."""
    agent.save(path)
    loaded = load(path)
    assert isinstance(loaded, A3C)
    check_between_trainings(loaded, agent.step)
    for name in ("exp_avg", "exp_avg_sq", "weights"):
        assert torch.equal(getattr(loaded.shared, name), getattr(agent.shared, name))
    assert loaded.best_weights.state_dict()["average"] == agent.best_weights.average
    return loaded


def test_two_workers_train_to_the_total(tmp_path: Path):
    agent = A3C("CatchBall", TWO_WORKERS, seed=3, num_envs=4)
    check_training(agent, 6_000)
    check_loaded(tmp_path / "agent", agent)


@pytest.mark.slow
def test_training_with_workers_is_interrupted_saved_and_resumed(tmp_path: Path):
    agent, total = A3C("CatchBall", TWO_WORKERS, seed=3, num_envs=4), 10**9
    initial = agent.shared.weights.clone()
    pids: list[int] = []
    for update in agent.train(total):
        pids = active_pids()
        assert 0 < update.step < total
        if update.step > 2_000:
            break
    assert len(pids) == 2
    assert wait_until_ended(pids)
    check_between_trainings(agent, total)
    assert not torch.equal(agent.shared.weights, initial)
    check_training(check_loaded(tmp_path / "agent", agent), 6_000)


@dataclass
class SeedRecordingTask:
    """Task whose environments append the seeds of their resets to `seeds`."""

    seeds: list[int]

    def make_vec(self, num_envs: int, *, training: bool) -> VectorEnv:
        envs = sync_vector(GuessBitEnv, num_envs)
        reset = envs.reset

        def recorded(*, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
            self.seeds.append(seed)
            return reset(seed=seed, options=options)

        envs.reset = recorded  # type: ignore[method-assign]  # records
        return envs


def test_seeds_differ_by_agent_seed_step_and_worker():
    """They depend on nothing else."""
    agent, found = A3C(sync_vector(GuessBitEnv, 2), TWO_WORKERS), []
    for _ in range(2):
        task: Any = SeedRecordingTask([])
        for seed, start, index in product((0, 1), (0, 64), (0, 1)):
            arguments = WorkerArguments(task, 2, agent.config, agent.shared, 0, seed, start, start)
            run_worker(arguments, index, lambda report: None, lambda: True)
        found.append(task.seeds)
    assert found[0] == found[1]
    assert len(set(found[0])) == 8


def test_a_worker_starts_at_the_step_of_all_workers(monkeypatch: pytest.MonkeyPatch):
    """The number of remaining steps and the learning rate both continue from it."""
    agent = A3C(sync_vector(GuessBitEnv, 2), TWO_WORKERS)
    agent.shared.started[:] = torch.tensor([3, 4])
    rates, adam = [], SharedOptimizer.adam

    def recorded(shared: SharedOptimizer, gradient: Tensor, lr: float) -> None:
        rates.append(lr)
        adam(shared, gradient, lr)

    monkeypatch.setattr(SharedOptimizer, "adam", recorded)
    task: Any = SeedRecordingTask([])
    arguments = WorkerArguments(task, 2, agent.config, agent.shared, 7, 0, 2 * UPDATE_STEPS, 6 * UPDATE_STEPS)
    reports: list[Report] = []  # on a slow machine there are some before the last
    reports.append(run_worker(arguments, 1, reports.append, lambda: True))
    assert sum(len(report.scalars) for report in reports) == 4
    assert agent.shared.started.tolist() == [3, 8]
    assert rates == pytest.approx([1e-3 * (1 - done / 6) for done in (2, 3, 4, 5)])


def test_several_workers_need_the_name_of_a_game():
    for env in (gym.make("CartPole-v1"), sync_vector(RandomLengthEnv, 2)):
        with pytest.raises(ValueError, match="2 workers make their own environments: give A3C the name of a game, or"):
            A3C(env, TWO_WORKERS).learn(100)


def test_several_workers_leave_no_environments_to_the_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """It makes one for its spaces, and one to see that workers can, and never resets them; workers=1 plays here."""
    made: list[tuple[int, VectorEnv]] = []

    def recorded(task: Task, num_envs: int, *, training: bool) -> VectorEnv:
        made.append((num_envs, SyncVectorEnv([ResetFailsEnv] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)))
        return made[-1][1]

    monkeypatch.setattr(Task, "make_vec", recorded)
    agent = A3C("CatchBall", TWO_WORKERS, num_envs=6)
    assert not agent.restart_episodes()
    agent.save(tmp_path / "agent")
    assert load(tmp_path / "agent").num_envs == agent.num_envs == 6
    assert [num_envs for num_envs, _ in made] == [1, 1]
    assert all(envs.closed for _, envs in made)
    with pytest.raises(ValueError, match="expected num_envs to be an integer >= 1 or None, got 0"):
        A3C("CatchBall", TWO_WORKERS, num_envs=0)
    with pytest.raises(LookupError, match="reset"):
        A3C("CatchBall", quick_config("a3c"), num_envs=6).learn(1)
    assert [num_envs for num_envs, _ in made] == [1, 1, 6]


class ResetFailsEnv(GuessBitEnv):
    def reset(self, **_: Any) -> Any:
        raise LookupError("reset")


def test_several_workers_do_not_learn_after_close():
    agent = A3C("CatchBall", TWO_WORKERS, num_envs=2)
    agent.close()
    with pytest.raises(ClosedEnvironmentError, match="closed"):
        agent.learn(100)
    assert active_pids() == []


@dataclass
class FailingTask:
    """Task in which the first worker to reach its 3,000th step fails by `how`; `mark` is the file that says so."""

    how: str
    mark: Path

    def make_vec(self, num_envs: int) -> VectorEnv:
        envs = sync_vector(GuessBitEnv, num_envs)
        step, count = envs.step, iter(range(10**9))

        def failing(action: np.ndarray) -> Any:
            if next(count) >= 3000:
                with suppress(FileExistsError):
                    os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
                    self.fail()
            return step(action)

        envs.step = failing  # type: ignore[method-assign]  # fails on purpose
        return envs

    def fail(self) -> None:
        if self.how == "raise":
            raise ZeroDivisionError("the ball went through the floor")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "message", "exit_codes"),
    [
        ("raise", r"worker \d failed:\nTraceback(.|\n)*in fail(.|\n)*ZeroDivisionError: the ball went through", [0, 0]),
        pytest.param("kill", r"worker \d was killed by SIGKILL while", [-signal.SIGKILL, 0], marks=pytest.mark.slow),
    ],
    ids=["exception", "kill -9"],
)
@pytest.mark.slow
def test_a_failing_worker_raises_and_stops_the_other(
    how: str, message: str, exit_codes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(workers_module, "GRACE_PERIOD", TIMEOUT)  # the other one ends when asked to, it is not killed
    agent: Any = A3C(sync_vector(GuessBitEnv, 4), TWO_WORKERS)
    agent.task, updates = FailingTask(how, tmp_path / "mark"), agent.train(10**9)
    try:
        next(updates)
        processes = multiprocessing.active_children()
        assert len(processes) == 2
        with pytest.raises(RuntimeError, match=message):
            deque(updates, maxlen=0)
    finally:
        updates.close()
    assert sorted(process.exitcode for process in processes if process.exitcode is not None) == exit_codes
    assert active_pids() == []


PROGRAM = """
import contextlib, multiprocessing, signal
from rlgames.agents.a3c import A3C, A3CConfig
signal.signal(signal.SIGINT, signal.default_int_handler)  # may be inherited as ignored
agent = A3C("CatchBall", A3CConfig(workers=2, n_steps=8, net_arch=(16,)), num_envs=4)
try:
    with contextlib.closing(agent.train(10**9)) as updates:
        for update in updates:
            print(*(process.pid for process in multiprocessing.active_children()), flush=True)
finally:
    assert agent.step == agent.shared.num_updates() * 8 * 2  # all steps are counted
"""


@pytest.mark.parametrize(
    ("signal_number", "tracebacks"),
    [(signal.SIGINT, 1), pytest.param(signal.SIGKILL, 0, marks=pytest.mark.slow)],
    ids=["Ctrl-C", "kill -9"],
)
def test_no_worker_outlives_the_parent(signal_number: signal.Signals, tracebacks: int, tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stdout
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        if signal_number == signal.SIGINT:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        else:
            process.kill()
        _, errors = process.communicate(timeout=TIMEOUT)
        assert wait_until_ended(pids)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == -signal_number
    assert (errors.count("Traceback"), errors.count("KeyboardInterrupt")) == (tracebacks, tracebacks)
    assert list(tmp_path.iterdir()) == []
