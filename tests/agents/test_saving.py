"""Agents are restored from checkpoints as they were, continue bit for bit, and name in one line what does not fit."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from helpers.toys import RandomLengthEnv, quick_config, state_sha256, sync_vector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rlgames
from rlgames.agents.registry import AGENTS, find, load
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import CheckpointError, weights_sha256
from rlgames.envs.task import Task
from rlgames.wrappers import Pixels, Rewards

agents = pytest.mark.parametrize("name", AGENTS)
STEPS = 160
SMALL_PONG = Pixels(size=(24, 24), grey=True, stack=2)


def catch_ball(mode: AutoresetMode, **settings: Any) -> Any:
    return rlgames.make_vec("CatchBall", 2, autoreset_mode=mode, **settings)


ENVS: dict[str, Callable[[], Any]] = {  # those with snapshots: a name, or environments to hand in
    **{game: lambda game=game: game for game in ("CatchBall", "CartPole", "Cave", "Dino:obs=state")},
    "Pong": lambda: rlgames.make_vec("Pong", 2, pixels=SMALL_PONG, max_episode_steps=60),
    "NEXT_STEP": lambda: catch_ball(AutoresetMode.NEXT_STEP),
    "DISABLED": lambda: catch_ball(AutoresetMode.DISABLED, rewards=Rewards(scale=0.5, survival=0.1)),
}
PAIRS = [  # each agent, each autoreset mode and each other game with some agent; slow: each agent with each mode
    *((name, "CatchBall") for name in AGENTS),
    *(("ppo", "NEXT_STEP"), ("dqn", "NEXT_STEP"), ("ppo", "DISABLED"), ("reinforce", "DISABLED")),
    *(
        pytest.param(name, mode, marks=pytest.mark.slow)
        for name, mode in product(AGENTS, ("NEXT_STEP", "DISABLED"))
        if name not in {"NEXT_STEP": ("ppo", "dqn"), "DISABLED": ("ppo", "reinforce")}[mode]
    ),
    ("a3c", "CartPole"),
    ("reinforce", "Cave"),
    ("ppo", "Dino:obs=state"),
    ("ddqn", "Pong"),
]


def make_agent(name: str, kind: str, **changes: Any) -> Any:
    env = ENVS[kind]()
    config = quick_config(name, pictures=kind in ("Cave", "Pong"), **changes)
    return find(name)(env, config, seed=3, num_envs=2 if isinstance(env, str) else None)


def train(agent: Any, updates: int) -> None:
    for _, _ in zip(range(updates), agent.train(STEPS), strict=False):
        pass


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_loaded_agent_continues_bit_for_bit(name: str, kind: str, tmp_path: Path):
    whole = make_agent(name, kind)
    expected = [(update.step, update.episodes, dict(update.scalars)) for update in whole.train(STEPS)]
    stops = (0, len(expected) // 2, len(expected)) if kind == "CatchBall" else (len(expected) // 2,)
    for stop in stops:
        agent = make_agent(name, kind)
        train(agent, stop)
        agent.save(tmp_path / "agent")
        env = ENVS[kind]()
        agent = load(tmp_path / "agent", **({} if isinstance(env, str) else {"env": env}))
        assert agent.step == (expected[stop - 1][0] if stop else 0)
        found = [(update.step, update.episodes, dict(update.scalars)) for update in agent.train(STEPS)]
        assert found == expected[stop:]  # numbers are equal to the last bit
        assert weights_sha256(agent.net.state_dict()) == weights_sha256(whole.net.state_dict())
        assert state_sha256(agent, tmp_path) == state_sha256(whole, tmp_path)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("ppo", "ddqn") else pytest.mark.slow) for name in AGENTS],
)
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_any_number_of_interruptions_changes_nothing(name: str, stops: list[int], tmp_path: Path):
    agent, whole = make_agent(name, "CatchBall"), make_agent(name, "CatchBall")
    train(whole, STEPS)
    for updates in stops:
        train(agent, updates)
        agent.save(tmp_path / "agent")
        agent = load(tmp_path / "agent")
    train(agent, STEPS)
    assert state_sha256(agent, tmp_path) == state_sha256(whole, tmp_path)


@agents
def test_saving_changes_nothing_and_loading_keeps_everything(name: str, tmp_path: Path):
    agent = make_agent(name, "CatchBall")
    for k, _ in enumerate(agent.train(STEPS)):
        agent.save(tmp_path / f"{k % 2}")
        state = state_sha256(agent, tmp_path)
        load(tmp_path / f"{k % 2}").save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / f"{k % 2}").read_bytes()
        assert state_sha256(agent, tmp_path) == state
    assert state_sha256(agent, tmp_path) == state_sha256(make_agent(name, "CatchBall").learn(STEPS), tmp_path)


@agents
def test_a_loaded_agent_predicts_as_the_saved_one(name: str, tmp_path: Path):
    agent = make_agent(name, "CatchBall").learn(STEPS)
    agent.predict(np.zeros((30, 8, 8), np.uint8), deterministic=False)  # predict's RNG is not a new one
    agent.save(tmp_path / "agent")
    obs = np.random.default_rng(0).integers(0, 256, size=(50, 8, 8)).astype(np.uint8)
    expected = [agent.predict(obs, deterministic=deterministic)[0].tolist() for deterministic in (True, False)]
    for loaded in (
        find(name).load(tmp_path / "agent"),
        rlgames.load(tmp_path / "agent"),
        load(str(tmp_path / "agent")),
        load(tmp_path / "agent", weights_only=True),
    ):
        assert type(loaded) is type(agent)
        assert [loaded.predict(obs, deterministic=kind)[0].tolist() for kind in (True, False)] == expected
        assert (loaded.config, loaded.seed, loaded.step, loaded.task) == (agent.config, 3, agent.step, agent.task)
        assert loaded.header() == agent.header()


@agents
def test_an_untrained_agent_keeps_its_number_of_environments(name: str, tmp_path: Path):
    find(name)("CatchBall", quick_config(name), num_envs=5).save(tmp_path / "agent")
    loaded = load(tmp_path / "agent")
    assert (loaded.envs, loaded.num_envs) == (None, 5)  # they are made when it learns
    assert loaded.learn(8).start_training().num_envs == 5


@agents
def test_save_with_weights_only(name: str, tmp_path: Path):
    """The file is smaller; the loaded agent predicts alike and learns on with a new optimizer and new episodes."""
    agent = make_agent(name, "CatchBall").learn(STEPS)
    agent.save(tmp_path / "all")
    agent.save(tmp_path / "weights", weights_only=True)
    assert (tmp_path / "weights").stat().st_size < (tmp_path / "all").stat().st_size
    loaded, obs = load(tmp_path / "weights"), np.random.default_rng(0).integers(0, 256, (50, 8, 8)).astype(np.uint8)
    assert loaded.runner is None
    assert loaded.header() == agent.header()
    assert loaded.predict(obs)[0].tolist() == agent.predict(obs)[0].tolist()
    weights = {key: value.clone() for key, value in loaded.net.state_dict().items()}
    loaded.learn(STEPS)
    assert loaded.step > agent.step
    for key, value in loaded.net.state_dict().items():
        assert (value - weights[key]).abs().mean() < 0.05  # other initial weights would be farther away


@agents
def test_start_from_takes_the_networks_alone(name: str, tmp_path: Path):
    """Also from another game of the same spaces; everything else stays as it was."""
    trained = make_agent(name, "CatchBall").learn(STEPS)
    trained.save(tmp_path / "trained", weights_only=True)
    env = rlgames.make_vec("CatchBall", 2, rewards=Rewards(scale=2.0))
    agent, other = (find(name)(env, quick_config(name), seed=4) for _ in range(2))
    agent.start_from(tmp_path / "trained")
    weights = trained.net.state_dict()
    for key, value in agent.net.state_dict().items():
        assert torch.equal(value, weights[key])
    with_weights = {*agent.networks(), "shared", "best_weights"}  # A3C has copies of the weights in these
    state, other_state = agent.state_dict(), other.state_dict()
    for key in state.keys() - with_weights:
        assert str(state[key]) == str(other_state[key]), key
    agent.learn(STEPS)
    assert agent.step < 2 * STEPS
    for key, value in agent.net.state_dict().items():
        assert (value - weights[key]).abs().mean() < 0.05  # other initial weights would be farther away


@agents
def test_start_from_rejects_other_agents_and_spaces(name: str, tmp_path: Path):
    agent, other = make_agent(name, "CatchBall"), next(kind for kind in AGENTS if kind != name)
    make_agent(other, "CatchBall").save(tmp_path / "other")
    find(name)("CatchBall:size=16", quick_config(name), num_envs=2).save(tmp_path / "larger")
    weights = weights_sha256(agent.net.state_dict())
    for file, message in (
        ("other", f"holds the agent '{other}', expected '{name}': networks are taken from an agent of the same kind"),
        ("larger", r"was saved with shape \[16, 16\], the environment has \[8, 8\]"),
        ("nothing", "no such file"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            agent.start_from(tmp_path / file)
        assert "\n" not in str(caught.value)
    assert weights_sha256(agent.net.state_dict()) == weights


@agents
def test_load_in_other_environments_of_the_same_spaces(name: str, tmp_path: Path):
    """The networks are those that were saved; without snapshots learning continues with new episodes."""
    agent = find(name)("CartPole", quick_config(name), num_envs=2).learn(64)
    agent.save(tmp_path / "agent")
    for env in ("CartPole-v1", sync_vector(lambda: gym.make("CartPole-v1"), 2)):
        loaded = load(tmp_path / "agent", env)
        assert weights_sha256(loaded.net.state_dict()) == weights_sha256(agent.net.state_dict())
        assert loaded.learn(8).step > agent.step
        assert not loaded.start_training().exact


def test_networks_of_another_size_are_rejected_in_one_line(tmp_path: Path):
    for name in ("ppo", "ddqn"):
        agent: Any = find(name)("CartPole", quick_config(name), num_envs=2)
        header, state = agent.header(), agent.state_dict()
        checkpoint.save(tmp_path / "agent", {**header, "config": {**header["config"], "net_arch": [5]}}, state)
        with pytest.raises(CheckpointError, match="does not fit: .*size mismatch") as caught:
            load(tmp_path / "agent")
        assert "\n" not in str(caught.value)


class TwoActionsEnv(gym.Env):
    observation_space, action_space = Box(0, 255, (8, 8), np.uint8), Discrete(2)


class ActionsFromOneEnv(gym.Env):
    observation_space, action_space = Box(0, 255, (8, 8), np.uint8), Discrete(3, start=1)


class FloatEnv(gym.Env):
    observation_space, action_space = Box(0, 255, (8, 8), np.float32), Discrete(3)


@agents
def test_load_rejects_in_one_line_what_does_not_fit(name: str, tmp_path: Path):
    path = tmp_path / "agent"
    agent = find(name)("CatchBall", quick_config(name), num_envs=2).learn(64)
    agent.save(path)
    other = next(kind for kind in AGENTS if kind != name)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: find(other).load(path), f"holds the agent '{name}', expected '{other}'"),
        (lambda: load(path, "CartPole"), r"was saved with shape \[8, 8\], the environment has \[4\]"),
        (lambda: load(path, "CatchBall:size=16"), r"was saved with shape \[8, 8\], the environment has \[16, 16\]"),
        (lambda: load(path, sync_vector(TwoActionsEnv, 2)), "was saved with actions 3, the environment has 2"),
        (lambda: load(path, sync_vector(ActionsFromOneEnv, 2)), "was saved with first 0, the environment has 1"),
        (lambda: load(path, sync_vector(FloatEnv, 2)), "was saved with dtype uint8, the environment has float32"),
        (lambda: load(tmp_path / "nothing"), "no such file"),
    ]
    header, state = checkpoint.load(path)
    for change, message in (
        ({"agent": "sarsa"}, "holds the unknown agent 'sarsa': known are dqn, "),
        ({"agent": None}, "its header: expected agent to be str, got None"),
        (
            {"config": {**header["config"], "color": 3}},
            f"{find(name).Config.__name__}: unknown field 'color', expected ",
        ),
    ):
        new = tmp_path / f"changed {len(cases)}"
        checkpoint.save(new, {**header, **change}, state)
        cases.append((lambda new=new: load(new), message))
    for damaged, message in (
        (path.read_bytes()[:-30], "damaged"),
        (b"", "is empty"),
        (b"hello", "is not a checkpoint"),
    ):
        new = tmp_path / f"damaged {len(cases)}"
        new.write_bytes(damaged)
        cases.append((lambda new=new: load(new), message))
    for attempt, message in cases:
        with pytest.raises(CheckpointError, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)


NUMBERS = [  # of environments, to learn on in
    *((name, {}) for name in AGENTS),
    ("ddqn", {"recurrent": True, "lstm_hidden_size": 8, "sequence_length": 4, "burn_in": 1}),
    pytest.param("ppo", {"recurrent": True, "lstm_hidden_size": 8}, marks=pytest.mark.slow),
    pytest.param("dqn", {"prioritized": True}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "changes"), NUMBERS)
def test_a_loaded_agent_learns_on_in_another_number_of_environments(name: str, changes: Any, tmp_path: Path):
    """With and without snapshots: with new episodes and an empty replay buffer, said once; the rest is as it was."""
    config = quick_config(name, **changes)
    with_snapshots = find(name)("CatchBall", config, num_envs=2).learn(64)
    without = find(name)(sync_vector(RandomLengthEnv, 2), config).learn(64)
    cases: tuple[tuple[Any, dict[str, Any]], ...] = (
        (with_snapshots, {"num_envs": 3}),
        (with_snapshots, {"env": "CatchBall", "num_envs": 5}),
        (with_snapshots, {"env": rlgames.make_vec("CatchBall", 3)}),
        (without, {"env": RandomLengthEnv()}),
    )
    for agent, where in cases:
        agent.save(tmp_path / "agent")
        with pytest.warns(UserWarning, match="^saved with 2 environments, learning on in .: with new episodes") as said:
            loaded: Any = load(tmp_path / "agent", **where)
        assert len(said) == 1
        runner = loaded.start_training()
        assert runner.num_envs == where.get("num_envs", getattr(where.get("env"), "num_envs", 1))
        assert not runner.exact
        assert runner.episode_start.all()
        before, after = agent.state_dict(), loaded.state_dict()
        for key in before.keys() - {"runner", "lstm_state", "replay"}:
            assert str(after[key]) == str(before[key]), key
        assert after.get("lstm_state") is None
        assert "replay" not in after or loaded.replay.num_steps == 0
        loaded.learn(64)
        loaded.save(tmp_path / "again")  # in its own number of environments it continues exactly
        again = load(tmp_path / "again", **({} if "num_envs" in where else where))
        assert state_sha256(again, tmp_path) == state_sha256(loaded, tmp_path) or agent is without


def test_num_envs_of_load_goes_with_a_name(tmp_path: Path):
    rlgames.PPO("CatchBall", quick_config("ppo"), num_envs=2).save(tmp_path / "agent")
    with pytest.raises(ValueError, match="num_envs=3 goes with the name of a game, got the environment "):
        load(tmp_path / "agent", rlgames.make_vec("CatchBall", 2), num_envs=3)
    assert load(tmp_path / "agent", num_envs=3).learn(8).start_training().num_envs == 3


def test_the_best_agent_of_loaded_networks_is_the_loaded_one(tmp_path: Path):
    """Also once an agent has learned: A3C keeps the best weights apart."""
    trained = rlgames.A3C("CartPole", quick_config("a3c"), num_envs=2).learn(STEPS)
    trained.save(tmp_path / "agent", weights_only=True)
    started, continued = (rlgames.A3C("CartPole", quick_config("a3c"), seed=1, num_envs=8) for _ in range(2))
    continued.learn(5_000)
    assert continued.best_weights.num_episodes > 100  # so many that it has a best
    for agent in (started, continued):
        agent.start_from(tmp_path / "agent")
    loaded: list[Any] = [load(tmp_path / "agent"), load(tmp_path / "agent", weights_only=True)]
    for agent in (*loaded, started, continued):
        for net in (agent.net, agent.best_agent.net):
            assert weights_sha256(net.state_dict()) == weights_sha256(trained.net.state_dict())


# ---- where a checkpoint is saved, and on which device it is loaded ----


def test_save_makes_folders_and_names_one(tmp_path: Path):
    agent = rlgames.PPO("CatchBall", quick_config("ppo"), num_envs=2)
    agent.save(tmp_path / "new" / "folder" / "agent.ckpt")
    assert load(tmp_path / "new" / "folder" / "agent.ckpt").num_envs == 2
    with pytest.raises(OSError, match=r"new is a folder: give a file, such as .*new/ppo\.ckpt$"):
        agent.save(tmp_path / "new")
    with pytest.raises(OSError, match="inside cannot be written: "):
        agent.save(tmp_path / "new" / "folder" / "agent.ckpt" / "deeper" / "inside")
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "folder", "agent.ckpt"]


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "", 7.5])
def test_a_device_that_is_not_there_is_named_in_one_line(device: Any, tmp_path: Path):
    rlgames.PPO("CatchBall", quick_config("ppo"), num_envs=2).save(tmp_path / "agent")
    for attempt in (
        lambda: rlgames.PPO("CatchBall", quick_config("ppo"), num_envs=2, device=device),
        lambda: load(tmp_path / "agent", device=device),
    ):
        with pytest.raises(ValueError, match=f"^no device {device!r} here .*: use 'auto' or 'cpu'$") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@agents
def test_load_on_another_device(name: str, tmp_path: Path):
    agent = find(name)("CatchBall", quick_config(name), num_envs=2, device="cpu").learn(64)
    agent.save(tmp_path / "agent")
    assert load(tmp_path / "agent", device="cpu").device == torch.device("cpu")
    if torch.cuda.is_available():
        loaded = load(tmp_path / "agent", device="cuda")
        assert weights_sha256(loaded.net.state_dict()) == weights_sha256(agent.net.state_dict())
        assert loaded.learn(8).step > agent.step


# ---- forged files ----

OTHER_VALUES: list[Any] = [None, True, -1, 0, 2**64, 1.5, "", "x\n\x1b[2J" * 99, [], [1], {}, {"a": 1}]
SECTIONS = ("", "task", "spaces", "config", "pixels", "rewards", "options")


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Any]:
    """Return header and state of an agent whose task has pixels, rewards and options."""
    path = tmp_path_factory.mktemp("genuine") / "agent"
    with rlgames.PPO("CatchBall:size=8,max_episode_steps=60", quick_config("ppo"), num_envs=1) as agent:
        header, state = agent.learn(8).header(), agent.state_dict()
    task = dataclasses.replace(Task.from_json(header["task"]), pixels=Pixels(), rewards=Rewards())
    checkpoint.save(path, header | {"task": task.to_json()}, state)
    return checkpoint.load(path)


def section_of(header: dict[str, Any], name: str) -> dict[str, Any]:
    return header["task"][name] if name in ("pixels", "rewards", "options") else header[name] if name else header


def forged_headers(genuine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield headers with each field missing, of another type and besides others, in every section, and the change."""
    for section in SECTIONS:
        for key in [*section_of(genuine, section), "extra"]:
            for value in ["missing", *OTHER_VALUES]:
                header = copy.deepcopy(genuine)
                fields = section_of(header, section)
                if value == "missing":
                    fields.pop(key, None)
                else:
                    fields[key] = value
                if header != genuine:
                    yield f"{section or 'header'}.{key} = {value!r:.30}", header


def test_forged_headers_are_rejected_in_one_line(genuine: tuple[dict[str, Any], Any], tmp_path: Path):
    """A header that leaves out what it may is loaded; any other change raises one kind of error."""
    header, state = genuine
    loaded, messages = set(), []
    for what, forged in forged_headers(header):
        try:
            find("ppo").from_checkpoint(tmp_path / "agent", forged, state)
        except CheckpointError as error:
            messages.append(str(error))
        except Exception as error:
            raise AssertionError(what) from error
        else:
            loaded.add(what)
    for message in messages:
        assert message.startswith(f"{tmp_path / 'agent'}: ")
        assert message.isprintable()
        assert len(message) < len(str(tmp_path)) + 400
    assert len(messages) > 400
    assert not {what for what in loaded if what.startswith(("header", "spaces")) or "extra" in what} - {
        *("header.config = {}", "header.task = None")
    }


@pytest.mark.parametrize("net_arch", [[60_000, 60_000], [10**9], [1] * 100_000])
def test_settings_ask_for_no_more_than_the_file_holds(net_arch: list[int], tmp_path: Path):
    """A small file must not take the memory or the time of a network that is not in it."""
    agent = rlgames.PPO("CartPole", quick_config("ppo"), num_envs=2)
    header = agent.header()
    checkpoint.save(
        tmp_path / "agent", header | {"config": header["config"] | {"net_arch": net_arch}}, agent.state_dict()
    )
    with pytest.raises(CheckpointError, match="larger networks than it holds|can't allocate|in 1..65536"):
        load(tmp_path / "agent")
    with pytest.raises(CheckpointError, match="an observation, got the shape"):
        find("ppo").from_checkpoint(
            "agent", header | {"spaces": header["spaces"] | {"shape": [10**9]}}, agent.state_dict()
        )


def test_state_of_another_header_is_rejected(tmp_path: Path):
    """It has other steps, or observations of other environments."""
    agent = rlgames.PPO("CartPole", quick_config("ppo"), num_envs=2).learn(16)
    header, state = agent.header(), agent.state_dict()
    other = {**state, "runner": state["runner"] | {"obs": np.zeros((9, 4), np.float32)}}
    for bad, message in (
        (None, "its state is of step None, its header of step 16"),
        ({**state, "step": 15}, "its state is of step 15, its header of step 16"),
        ({**state, "step": 16.0}, r"its state is of step 16\.0"),
        (other, r"its state has observations \(9, 4\), its header \(2, 4\)"),
        ({**state, "runner": [1]}, "its state has observations None"),
        ({**state, "net": {}}, "does not fit: .*Missing key"),
        ({**state, "net": 3}, "does not fit: "),
        ({**state, "optimizer": {"a": 3}}, "does not fit: "),
        ({**state, "rng": "junk"}, "does not fit: "),
        ({**state, "predict_rng": None}, "does not fit: "),
        ({"step": 16, "predict_rng": state["predict_rng"]}, "does not fit: 'net'"),
    ):
        with pytest.raises(CheckpointError, match=f"^agent: {message}") as caught:
            find("ppo").from_checkpoint("agent", header, bad)
        assert str(caught.value).isprintable()
