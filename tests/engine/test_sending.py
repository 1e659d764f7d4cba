"""`send` and `recv`, the halves of a step, compared with `step`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError, NoAsyncCallError, ResetNeeded
from gymnasium.vector import AutoresetMode
from helpers.vector_envs import FAIL, FailingEnv, assert_equal, make_cart_pole

import rlgames
from rlgames.engine.processes import ProcessVectorEnv
from rlgames.engine.threaded import ThreadedVectorEnv

N = 4
MAKERS: dict[str, Callable[..., Any]] = {
    "compiled": partial(rlgames.make_vec, "CatchBall", N, max_episode_steps=9),
    "compiled, in threads": partial(rlgames.make_vec, "CatchBall", N, max_episode_steps=9, threads=2),
    "pixels and rewards": partial(
        rlgames.make_vec, "Cave", N, max_episode_steps=9, rewards=rlgames.Rewards(survival=1), stack=3
    ),
    "restarts": partial(
        rlgames.make_vec, "Cave", N, episodes=rlgames.TrainingEpisodes(max_episode_steps=9, restarts=0.5, interval=2)
    ),
    "threads": partial(ThreadedVectorEnv, make_cart_pole, N),
    "one thread": partial(ThreadedVectorEnv, make_cart_pole, N, threads=1),
    "ale-py": partial(rlgames.make_vec, "Pong", N, max_episode_steps=9),
}
every_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@every_maker
@pytest.mark.parametrize("mode", AutoresetMode)
def test_send_and_recv_are_a_step(make: Callable[..., Any], mode: AutoresetMode) -> None:
    if make is MAKERS["restarts"] and mode is not AutoresetMode.SAME_STEP:
        return  # in which it cannot be made
    check_halves(lambda: make(autoreset_mode=mode), mode, steps=30)


def test_send_and_recv_of_processes_are_a_step() -> None:
    check_halves(partial(ProcessVectorEnv, make_cart_pole, N), AutoresetMode.NEXT_STEP, steps=30)


def check_halves(make: Callable[[], Any], mode: AutoresetMode, steps: int) -> None:
    """Step one, and two others that are both in flight at times; compare all that they return."""
    stepped, halves = make(), (make(), make())
    expected = [stepped.reset(seed=5)[0], *(envs.reset(seed=5)[0] for envs in halves)]
    assert np.array_equal(expected[0], expected[2])
    rng, ended = np.random.default_rng(0), 0
    for _ in range(steps):
        actions = rng.integers(2, size=N)
        sent = actions.copy()
        for envs in halves:
            assert envs.send(sent) is None
        sent[:] = 99  # actions are read by send alone
        result = stepped.step(actions)
        for envs in halves:
            assert_equal(envs.recv(), result)
        done = result[2] | result[3]
        ended += int(done.sum())
        if mode is AutoresetMode.DISABLED and done.any():
            for envs in (stepped, *halves):
                envs.reset(options={"reset_mask": done.copy()})
    assert ended >= N
    for envs in (stepped, *halves):
        envs.close()


@every_maker
def test_misuse_raises_and_leaves_the_step_in_flight(make: Callable[..., Any]) -> None:
    envs, other = make(), make()
    actions = np.zeros(N, np.int64)
    with pytest.raises(ResetNeeded, match="before the first reset"):
        envs.send(actions)
    with pytest.raises(NoAsyncCallError, match=r"recv\(\) of .* without a step in flight: call send\(actions\) first"):
        envs.recv()
    for each in (envs, other):
        each.reset(seed=1)
    with pytest.raises(ValueError, match="action"):
        envs.send(np.full(N, 7))
    envs.send(actions)
    calls = {"send": lambda: envs.send(actions), "step": lambda: envs.step(actions), "reset": envs.reset}
    if hasattr(envs, "snapshot"):
        calls |= {"snapshot": envs.snapshot}
    for call in calls.values():
        with pytest.raises(AlreadyPendingCallError, match=r"\w+\(\) of .* while a step is in flight: call recv\(\)"):
            call()
    assert_equal(envs.recv(), other.step(actions))
    envs.send(actions)
    envs.close()
    with pytest.raises((NoAsyncCallError, ClosedEnvironmentError)):
        envs.recv()
    other.close()


def test_recv_raises_the_exception_of_an_env() -> None:
    envs = ThreadedVectorEnv(FailingEnv, 3, threads=2)
    envs.reset(seed=0)
    envs.send(np.array([0, FAIL, 0]))
    with pytest.raises(LookupError, match="the cartridge was removed"):
        envs.recv()
    with pytest.raises(ResetNeeded):
        envs.send(np.zeros(3, np.int64))
    envs.reset()
    envs.send(np.array([0, FAIL, 0]))
    envs.close()
