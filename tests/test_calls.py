"""Calls with any value for one of their arguments return, or raise one line that names the value.

Each call of `CALLS` has one argument that hypothesis draws; the others are as they should be. An error is one of
`rlgames.errors`, or of Gymnasium's own; any other exception, or an error that does not show the value, is a fault.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from helpers.toys import quick_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import rlgames
from rlgames.agents.registry import AGENTS, find
from rlgames.errors import UsageError, brief

DOCUMENTED = (UsageError, gym.error.Error)
PLAYED = ("CartPole", "CatchBall", "Cave", "Dino:obs=state")

# ---- values ----

small_integers = st.integers(-5, 9)
integers = small_integers | st.sampled_from([2**31, -(2**31), 2**32, 2**63, 2**64, 10**30, -(10**400)])
floats = st.floats(-4, 9) | st.sampled_from([np.nan, np.inf, -np.inf, 1e-320, 1e39, 1e300, 2.0, 1e5])
texts = st.sampled_from(["", "5", "1e-3", "nan", "auto", "None", "True", "cpu", "human", "Cave", "SameStep", "ä\n\x1b"])
numbers = st.none() | st.booleans() | integers | floats | st.complex_numbers(max_magnitude=9)
plain = numbers | texts | st.binary(max_size=2)
dtypes = st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_, np.complex64, "U2", object])
arrays: Any = nps.arrays(dtypes, nps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
scalars = st.sampled_from([np.int64(3), np.uint8(200), np.float32(0.5), np.str_("a"), torch.tensor(3)])
objects = st.sampled_from([object(), int, len, torch.ones(2), ..., range(3)])
lists = st.lists(plain, max_size=4)
anything = plain | arrays | scalars | objects | lists | lists.map(tuple) | st.dictionaries(texts, plain, max_size=2)


def is_small(value: Any) -> bool:
    return not isinstance(value, int | float | np.number) or not value > 9


bounded = anything.filter(is_small)  # for what takes all memory or time when it is large
short = plain.filter(is_small)  # for Gymnasium's functions, which add all arguments to the text of an error
games = st.builds(
    "{}:{}={}".format,
    st.sampled_from(["CatchBall", "Cave", "Dino", "CartPole", "CartPole-v1", "Chess", ""]),
    st.sampled_from(["size", "frame_skip", "stack", "obs", "wrappers", "max_episode_steps", "max_pool", "other", ""]),
    small_integers | floats.filter(is_small) | texts | st.sampled_from(["[8]", "{}", "null", "16,stack=2", "8,,"]),
)
observations = anything | nps.arrays(
    st.sampled_from([np.uint8, np.int64, np.float16, np.float32, np.float64, np.bool_]),
    st.sampled_from([(4,), (1, 4), (3, 4), (0, 4), (8, 8), (2, 8, 8)]),
)


# ---- calls ----


class World:
    """Agents that were trained a little, and a folder."""

    def __init__(self, folder: Path) -> None:
        self.film = folder / "film.gif"
        configs: dict[str, Any] = {name: (name, "CartPole", quick_config(name)) for name in AGENTS}
        configs["recurrent"] = "ppo", "CartPole", quick_config("ppo", recurrent=True, lstm_hidden_size=3)
        configs["pictures"] = "ppo", "CatchBall", quick_config("ppo", pictures=True)
        self.agents: dict[str, Any] = {
            key: find(name)(game, config, num_envs=2).learn(32) for key, (name, game, config) in configs.items()
        }

    def close(self) -> None:
        for agent in self.agents.values():
            agent.close()


CALLS: dict[str, tuple[Callable[[World, Any], Any], Any]] = {}  # by name: the function, and values to call it with


def add(name: str, values: Any, function: Callable[[World, Any], Any]) -> None:
    CALLS[name] = function, values


def play(env: gym.Env | VectorEnv, *actions: Any, **reset: Any) -> None:
    """Reset and step once, then reset with other arguments."""
    with closing(env):
        env.reset(seed=0)
        zeros = np.zeros(env.num_envs, np.int64) if isinstance(env, VectorEnv) else 0
        env.step(*(actions or (zeros,)))
        if reset:
            env.reset(**reset)


def learn(agent: Any) -> None:
    with agent:
        agent.learn(40)


def add_makers(make: Callable[..., Any], *counts: int) -> None:
    """Add calls of a function that makes environments, and of their methods."""
    ours = make.__module__.startswith("rlgames")
    name, any_value = (f"rlgames.{make.__name__}", anything) if ours else (f"gymnasium.{make.__name__}", short)
    game = "CatchBall" if ours else "rlgames/CatchBall-v0"
    options = {"frame_skip": bounded if ours else short, "max_pool": any_value, "size": any_value, "unknown": any_value}
    if counts:
        options |= {"threads": bounded if ours else short, "autoreset_mode": any_value}
        add(f"{name}(num_envs)", bounded, lambda _, x: play(make(game, x)))
    if ours:  # Gymnasium checks its own arguments
        options |= dict.fromkeys(("pixels", "rewards", "wrappers", "max_episode_steps"), anything) | {"stack": bounded}
        add(f"{name}(game)", games | anything, lambda _, x: play(make(x, *counts)))
        for g in PLAYED:
            add(f"{name}({g}).step(action)", anything, lambda _, x, g=g: play(make(g, *counts), x))
            add(f"{name}({g}).reset(seed)", anything, lambda _, x, g=g: play(make(g, *counts), seed=x))
            add(f"{name}({g}).reset(options)", anything, lambda _, x, g=g: play(make(g, *counts), options=x))
    for option, values in options.items():
        add(f"{name}({option})", values, lambda _, x, option=option: play(make(game, *counts, **{option: x})))


def add_declaration(declaration: type) -> None:
    """Add a call for each field of a dataclass."""
    for name in (field.name for field in fields(declaration)):
        add(f"{declaration.__name__}({name})", anything, lambda _, x, name=name: declaration(**{name: x}))


def add_agent(name: str) -> None:
    """Add calls of an agent's class and of its methods."""
    make: Any = find(name)
    quick = quick_config(name)
    add(f"{name}(env)", games | anything, lambda _, x: make(x, quick).close())
    add(f"{name}(config)", anything, lambda _, x: make("CartPole", x, num_envs=1).close())
    for argument, values in {"seed": anything, "device": anything, "num_envs": bounded, "unknown": anything}.items():
        add(
            f"{name}({argument})",
            values,
            lambda _, x, argument=argument: make("CartPole", quick, **({"num_envs": 1} | {argument: x})).close(),
        )
    for key in (field.name for field in fields(quick) if field.name != "workers"):  # which would start processes
        add(
            f"{name}({key}).learn",
            bounded,
            lambda _, x, key=key: learn(make("CartPole", quick, num_envs=2, **{key: x})),
        )
    others = dict.fromkeys(("callback", "log_interval", "reset_num_timesteps"), anything)
    for argument, values in {"total_timesteps": bounded, **others}.items():
        add(
            f"{name}.learn({argument})",
            values,
            lambda w, x, argument=argument: w.agents[name].learn(**({"total_timesteps": 1} | {argument: x})),
        )


def add_player(name: str) -> None:
    """Add calls of what an agent that is trained can do."""
    obs = np.zeros((2, 8, 8), np.uint8) if name == "pictures" else np.zeros((2, 4), np.float32)
    add(f"{name}.predict(observation)", observations, lambda w, x: w.agents[name].predict(x))
    for argument in ("state", "episode_start", "deterministic"):
        add(
            f"{name}.predict({argument})",
            anything,
            lambda w, x, argument=argument: w.agents[name].predict(obs, **{argument: x}),
        )
    add(f"{name}.make_env(render_mode)", anything, lambda w, x: w.agents[name].make_env(x).close())
    add(f"{name}.make_vec_env(num_envs)", bounded, lambda w, x: w.agents[name].make_vec_env(x).close())


def add_evaluations() -> None:
    evaluate: Any = rlgames.evaluate
    record: Any = rlgames.record
    limits = dict.fromkeys(("seed", "max_episode_steps", "deterministic"), anything) | {"episodes": bounded}
    add("evaluate(agent)", anything, lambda w, x: evaluate(x, "CartPole", episodes=1))
    add("evaluate(env)", games | anything, lambda w, x: evaluate(w.agents["random"], x, episodes=1))
    for argument, values in limits.items():
        add(
            f"evaluate({argument})",
            values,
            lambda w, x, argument=argument: evaluate(w.agents["random"], **({"episodes": 1} | {argument: x})),
        )
    film = {"seed": 0, "seconds": 0.2, "size": 40}
    add("record(agent)", anything, lambda w, x: record(x, w.film, "CatchBall", **film))
    add("record(path)", anything, lambda w, x: record(w.agents["random"], x, **film))
    add("record(env)", games | anything, lambda w, x: record(w.agents["random"], w.film, x, **film))
    for argument, values in (limits | {"seconds": bounded, "size": bounded, "captions": anything}).items():
        add(
            f"record({argument})",
            values,
            lambda w, x, argument=argument: record(w.agents["random"], w.film, **(film | {argument: x})),
        )


add_makers(rlgames.make)
add_makers(rlgames.make_vec, 2)
add_makers(gym.make)
add_makers(gym.make_vec, 2)
for each in (rlgames.Pixels, rlgames.Rewards, *dict.fromkeys(find(name).Config for name in AGENTS)):
    add_declaration(each)
for each in AGENTS:
    add_agent(each)
for each in (*AGENTS, "recurrent", "pictures"):
    add_player(each)
add_evaluations()
add("preset(agent)", anything, lambda _, x: rlgames.preset(x, "CartPole"))
add("preset(game)", games | anything, lambda _, x: rlgames.preset("ppo", x))


# ---- the test ----


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with closing(World(tmp_path_factory.mktemp("calls"))) as made:
        yield made


def whole(value: Any) -> Any:
    """Return a whole float as the integer that it is taken for."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parts(value: Any) -> Iterator[Any]:
    """Yield a value, and what of it may be wrong alone."""
    yield from (value, whole(value))
    if isinstance(value, str):  # a game's name, an option, and its value
        yield from (part or "''" for part in re.split("[:=,]", value))
        yield "".join(each if each.isprintable() else "?" for each in value)  # a path
    elif isinstance(value, np.ndarray | torch.Tensor):
        yield from (
            tuple(value.shape),
            str(value.dtype),
            *np.asarray(value).reshape(-1),
            *(value if value.ndim else ()),
        )
    elif isinstance(value, dict):
        yield from (list(value), *value, *value.values())
    elif isinstance(value, list | tuple):
        yield from (tuple(value), tuple(map(whole, value)), list(map(whole, value)), *value)


def check(world: World, name: str, value: Any) -> None:
    function, _ = CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium warns of much
        try:
            function(world, value)
        except DOCUMENTED as error:
            message = str(error).partition(" was raised from the environment creator")[
                0
            ]  # Gymnasium adds the arguments
        else:
            return
    assert message.isprintable()
    assert len(message) < 500
    shown = any(brief(part) in message or (str(part) and str(part) in message) for part in parts(value))
    argument = name.rpartition("(")[2].rstrip(")")
    contradiction = argument in message and value is True  # max_pool without frame_skip, for example
    assert shown or contradiction or "'unknown'" in message, message


cases = st.sampled_from(sorted(CALLS)).flatmap(lambda name: st.tuples(st.just(name), CALLS[name][1]))
slow_or_large = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
calls = settings(deadline=None, suppress_health_check=slow_or_large)


@settings(calls, max_examples=300)
@given(cases)
def test_a_call_returns_or_names_the_value(world: World, case: tuple[str, Any]) -> None:
    check(world, *case)


@pytest.mark.slow
@settings(calls, max_examples=10_000)
@given(cases)
def test_ten_thousand_calls_return_or_name_the_value(world: World, case: tuple[str, Any]) -> None:
    check(world, *case)
