"""A3C: its optimisers and gradients beside plain ones, and what becomes of its processes, whatever becomes of one."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from helpers.toys import Bits, Dice, quick, several
from torch import Tensor, nn

from rlgames.agents.a3c import A3C, A3CConfig, ActorLearner, Job, work
from rlgames.agents.registry import load
from rlgames.agents.shared_optimizer import Record, SharedOptimizer, flatten_parameters
from rlgames.agents.workers import Workers
from rlgames.evaluation import evaluate
from rlgames.experience.env_runner import EnvRunner, single_spaces
from rlgames.networks.models import ActorCritic

TWO = quick("a3c", workers=2)
UPDATE = TWO.horizon * 2  # steps of one update of a worker with two players


# ---- one worker ----


def gradients(steps: int = 200) -> Iterator[Tensor]:
    dice = np.random.default_rng(0)
    return (torch.from_numpy(dice.normal(scale=0.1 + t / steps, size=11).astype(np.float32)) for t in range(steps))


def linear_and_shared() -> tuple[nn.Linear, Tensor, SharedOptimizer]:
    """A network, its flat parameters, and the same ones shared."""
    net = nn.Linear(10, 1)
    shared = SharedOptimizer(net, 1)
    return net, flatten_parameters(net)[0], shared


def test_adam_is_adam():
    net, weights, shared = linear_and_shared()
    adam = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-5)
    for gradient in gradients():
        net.weight.grad, net.bias.grad = gradient[None, :10].clone(), gradient[10:].clone()
        adam.step()
        shared.begun[0] += 1
        shared.adam(gradient, lr=0.01)
        torch.testing.assert_close(shared.weights, weights, rtol=1e-5, atol=1e-6)


def test_rmsprop_is_the_papers():
    """g <- a g + (1 - a) d^2, theta <- theta - eta d / sqrt(g + eps), in double precision."""
    _, weights, shared = linear_and_shared()
    theta, g = weights.double().numpy().copy(), np.zeros(11)
    for d in gradients():
        g = 0.99 * g + 0.01 * d.double().numpy() ** 2
        theta -= 0.01 * d.double().numpy() / np.sqrt(g + 0.1)
        shared.rmsprop(d, lr=0.01)
        np.testing.assert_allclose(shared.weights.numpy(), theta, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop"])
def test_the_learning_rate_falls_to_its_end(optimiser: str):
    agent = A3C(several(Bits, 2), quick("a3c", optimizer=optimiser, learning_rate=0.1, final_learning_rate=0.02))
    seen: list[float] = []
    step = getattr(agent.shared, optimiser)

    def watched(gradient: Tensor, lr: float) -> None:
        seen.append(lr)
        step(gradient, lr)

    setattr(agent.shared, optimiser, watched)
    agent.learn(8 * UPDATE)
    assert seen == pytest.approx(np.linspace(0.1, 0.02, 9)[:8])


def test_gradients_are_those_of_the_papers_loss():
    """EnvRunner by player and backwards in time, as in algorithm S3; episodes that ran out of time are bootstrapped."""
    config = A3CConfig(workers=1, n_steps=15, entropy=0.02, value=0.3, gamma=0.9, max_grad_norm=1e9, hidden=(16,))
    envs = several(Dice, 4)
    space, actions = single_spaces(envs)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ActorCritic(space, int(actions.n), "vector", (16,))
    player = EnvRunner(envs, seed=5)
    learner = ActorLearner(copy.deepcopy(net), SharedOptimizer(net, 1), 0, player, config, np.random.default_rng(0))
    steps, step = [], player.step
    player.step = lambda action: steps.append(step(action)) or steps[-1]  # type: ignore[method-assign]  # looks on
    learner.update(progress=0.0)
    assert any((s.done & ~s.terminated).any() for s in steps)
    assert any(s.terminated.any() for s in steps)
    net.zero_grad()
    for i in range(player.n):
        future = net(torch.from_numpy(steps[-1].after[i : i + 1]))[1][0].detach()
        for s in reversed(steps):
            if s.terminated[i]:
                future = torch.tensor(0.0)
            elif s.done[i]:
                future = net(torch.from_numpy(s.after[i : i + 1]))[1][0].detach()
            future = float(s.reward[i]) + config.gamma * future
            logits, value = net(torch.from_numpy(s.obs[i : i + 1]))
            pi = torch.distributions.Categorical(logits=logits[0])
            loss = -pi.log_prob(torch.tensor(s.action[i])) * (future - value[0]).detach()
            loss = loss + config.value * (future - value[0]) ** 2 - config.entropy * pi.entropy()
            (loss / (player.n * len(steps))).backward()
    expected = torch.cat([p.grad.reshape(-1) for p in net.parameters() if p.grad is not None])
    torch.testing.assert_close(learner.gradients, expected, rtol=1e-3, atol=1e-5)


def test_the_best_are_the_weights_of_the_highest_average():
    dice = np.random.default_rng(0)
    record, weights = Record(torch.zeros(1)), torch.zeros(1)
    average, averages = 0.0, []
    for t, score in enumerate(dice.normal(size=500) + 3 * np.sin(np.arange(500) / 100)):
        weights += 1
        record.see([float(score)], t, weights)
        average = 0.99 * average + 0.01 * score if t else score
        averages.append(average)
    assert record.average == pytest.approx(average)
    best = 99 + int(np.argmax(averages[99:]))
    assert (record.step, float(record.weights)) == (best, best + 1)
    again = Record(torch.zeros(1))
    again.load_state_dict(record.state_dict())
    assert again.state_dict() == record.state_dict()


def test_the_best_plays_and_is_saved(tmp_path: Path):
    agent = A3C("CatchBall", quick("a3c"), num_envs=2).learn(2_000)
    assert agent.record.episodes > 0
    agent.save(tmp_path / "agent")
    agent.best.save(tmp_path / "best")
    opened, best = load(tmp_path / "agent"), load(tmp_path / "best")
    assert isinstance(opened, A3C)
    assert best.step == agent.record.step == opened.best.step
    scores = [evaluate(each, "CatchBall", episodes=3).scores for each in (agent.best, opened.best, best)]
    assert scores[0] == scores[1] == scores[2]
    for each in (agent.best, best, opened.best):
        torch.testing.assert_close(flatten_parameters(each.net)[0], agent.record.weights, rtol=0, atol=0)
    assert best.learn(UPDATE).step == agent.record.step + UPDATE


# ---- several ----


def gone(pids: list[int]) -> bool:
    """Whether none of the processes runs any more, waited for up to 10 seconds; those not reaped yet are dead too."""
    end = time.monotonic() + 10
    while any(running(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(running(pid) for pid in pids)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def children() -> list[int]:
    return [process.pid for process in multiprocessing.active_children() if process.pid]


def check(agent: A3C, total: int) -> None:
    """What holds whenever nobody is at work: all steps counted, all that was learnt taken over, nobody left."""
    assert children() == []
    assert agent.step == agent.shared.updates() * UPDATE
    assert agent.step < total + 2 * UPDATE
    assert torch.equal(flatten_parameters(copy.deepcopy(agent.net))[0], agent.shared.weights)


def test_broken_off_saved_and_gone_on_with(tmp_path: Path):
    agent, total = A3C("CatchBall", TWO, seed=3, num_envs=4), 200_000
    before = agent.shared.weights.clone()
    pids: list[int] = []
    for update in agent.train(total):
        pids = children()
        assert 0 < update.step < total
        if update.step > 2_000:
            break
    assert len(pids) == 2
    assert gone(pids)
    check(agent, total)
    assert not torch.equal(agent.shared.weights, before)
    agent.save(tmp_path / "agent")

    opened = load(tmp_path / "agent")
    assert isinstance(opened, A3C)
    check(opened, total)
    for name in ("first", "second", "weights"):
        assert torch.equal(getattr(opened.shared, name), getattr(agent.shared, name))
    assert opened.record.state_dict()["average"] == agent.record.average
    total, episodes = opened.step + 6_000, opened.record.episodes
    updates = list(opened.train(total))
    assert all(first.step < second.step for first, second in pairwise(updates))
    assert [update.step >= total for update in updates] == [False] * (len(updates) - 1) + [True]
    assert updates[-1].step == opened.step
    assert sum(len(update.scores) for update in updates) == opened.record.episodes - episodes > 0
    check(opened, total)
    assert list(opened.train(total)) == []


@dataclass
class PolicyOutputs:
    """A game that notes the seeds it is played with."""

    seeds: list[int]

    def make_vec(self, n: int) -> VectorEnv:
        envs = several(Bits, n)
        reset = envs.reset

        def noted(*, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
            self.seeds.append(seed)
            return reset(seed=seed, options=options)

        envs.reset = noted  # type: ignore[method-assign]  # looks on
        return envs


def test_every_worker_and_every_start_plays_other_episodes():
    """The seeds depend on the agent's, on the step and on the worker, and on nothing else."""
    agent, found = A3C(several(Bits, 2), TWO), []
    for _ in range(2):
        seen = PolicyOutputs([])
        for seed, start, index in product((0, 1), (0, 64), (0, 1)):
            job = Job(seen, 2, agent.config, agent.shared, 0, seed, start, start)
            work(job, index, lambda report: None, lambda: True)
        found.append(seen.seeds)
    assert found[0] == found[1]
    assert len(set(found[0])) == 8


def test_a_worker_begins_where_the_others_are(monkeypatch: pytest.MonkeyPatch):
    """Both the steps to be made and the learning rate go on from the step that the training goes on from."""
    agent = A3C(several(Bits, 2), TWO)
    agent.shared.begun[:] = torch.tensor([3, 4])
    rates, step = [], SharedOptimizer.adam

    def watched(shared: SharedOptimizer, gradient: Tensor, lr: float) -> None:
        rates.append(lr)
        step(shared, gradient, lr)

    monkeypatch.setattr(SharedOptimizer, "adam", watched)
    job = Job(PolicyOutputs([]), 2, agent.config, agent.shared, 7, 0, 2 * UPDATE, 6 * UPDATE)
    told = work(job, 1, lambda report: None, lambda: True)
    assert len(told.scalars) == 4
    assert agent.shared.begun.tolist() == [3, 8]
    assert rates == pytest.approx([1e-3 * (1 - done / 6) for done in (2, 3, 4, 5)])


def test_several_workers_need_a_name():
    for agent in (A3C(gym.make("CartPole-v1"), TWO), A3C(several(Dice, 2), TWO)):
        with pytest.raises(ValueError, match="2 workers make their own .*the name of a game, or workers=1"):
            agent.learn(100)


@dataclass
class Trouble:
    """A game in which the first of all players to come to its 3,000th step does `what`, once `mark` is there."""

    what: str
    mark: Path

    def make_vec(self, n: int) -> VectorEnv:
        envs = several(Bits, n)
        step, played = envs.step, iter(range(10**9))

        def troubled(action: np.ndarray) -> Any:
            if next(played) >= 3000:
                with suppress(FileExistsError):
                    os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
                    self.happen()
            return step(action)

        envs.step = troubled  # type: ignore[method-assign]  # that is the trouble
        return envs

    def happen(self) -> None:
        if self.what == "raise":
            raise ZeroDivisionError("the ball went through the floor")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("raise", r"worker \d failed:\nTraceback(.|\n)*in happen(.|\n)*ZeroDivisionError: the ball went through"),
        ("kill", r"worker \d was killed by SIGKILL in the middle of its work"),
    ],
)
def test_one_fails_while_the_other_goes_on(what: str, message: str, tmp_path: Path):
    agent = A3C(several(Bits, 4), TWO)
    agent.task, updates = Trouble(what, tmp_path / "mark"), agent.train(10**9)
    next(updates)
    pids = children()
    assert len(pids) == 2
    with pytest.raises(RuntimeError, match=message):
        deque(updates, maxlen=0)
    assert time.time() - (tmp_path / "mark").stat().st_mtime < 4  # seconds, in which the other one was stopped too
    assert gone(pids)
    assert children() == []


def leaves(report: Callable[[Any], None], going_on: Callable[[], bool]) -> None:
    sys.exit(0)


def test_one_leaves_without_having_done_its_work():
    workers = Workers(leaves, [()])
    with pytest.raises(RuntimeError, match="worker 0 ended with exit code 0 in the middle of its work"):
        list(workers.reports())
    workers.close()
    assert children() == []


def dies_in_the_middle_of_a_word(report: Callable[[Any], None], going_on: Callable[[], bool]) -> None:
    report("whole")
    pipe = inspect.getclosurevars(report).nonlocals["pipe"]
    os.write(pipe.fileno(), b"\0\0\1\0half a message")
    os.kill(os.getpid(), signal.SIGKILL)


def test_one_dies_in_the_middle_of_a_report():
    workers, heard = Workers(dies_in_the_middle_of_a_word, [()]), []
    with pytest.raises(RuntimeError, match="worker 0 was killed by SIGKILL"):
        heard.extend(workers.reports())
    assert workers.close() == workers.close() == []
    assert children() == []


PROGRAM = """
from rlgames.agents.a3c import A3C, A3CConfig
import multiprocessing
agent = A3C("CatchBall", A3CConfig(workers=2, n_steps=8, hidden=(16,)), num_envs=2)
for update in agent.train(10**9):
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
"""


@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
def test_nobody_outlives_the_parent(how: str, tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGINT if how == "Ctrl-C" else -signal.SIGKILL)
    assert (complaints.count("Traceback"), complaints.count("KeyboardInterrupt")) == (
        (1, 1) if how == "Ctrl-C" else (0, 0)
    )
    assert gone(pids)
    assert list(tmp_path.iterdir()) == []


def test_a_script_without_a_guard_is_told_so(tmp_path: Path):
    program = "from rlgames.agents.workers import Workers\nlist(Workers(print, [()]).reports())"
    (tmp_path / "script.py").write_text(program)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'before its work began: does the script guard it by if __name__ == "__main__"?' in done.stderr
