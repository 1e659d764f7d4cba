"""Configs of agents: each value is checked by its field's annotation, help texts, plain data, and schedules."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import numpy as np
import pytest
import tyro._docstrings

import rlgames
from rlgames.agents.config import change_config, linear_schedule, make_config
from rlgames.agents.random import Random
from rlgames.agents.registry import AGENTS, find
from rlgames.checkpoint.file import config_to_json
from rlgames.errors import InvalidTypeError, InvalidValueError, brief, did_you_mean
from rlgames.values import Count, Positive, Range, check_fields, check_seed, check_value

if TYPE_CHECKING:
    from collections.abc import Sequence

agents = pytest.mark.parametrize("name", AGENTS)


@dataclass(frozen=True)
class ExampleConfig:
    n_steps: Count = 8
    gamma: Annotated[float, Range(0, 1)] = 0.9
    clip_range_vf: Positive | None = None
    net_arch: tuple[Count, ...] = (64, 64)
    loss: Literal["huber", "squared"] = "huber"
    dueling: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


# ---- values ----


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"n_steps": np.int64(5)}, {"n_steps": 5}),
        ({"n_steps": 1e5}, {"n_steps": 100_000}),
        ({"n_steps": np.float32(16)}, {"n_steps": 16}),
        ({"gamma": 1}, {"gamma": 1.0}),
        ({"gamma": np.float64(0.5)}, {"gamma": 0.5}),
        ({"clip_range_vf": Fraction(1, 4)}, {"clip_range_vf": 0.25}),
        ({"clip_range_vf": None}, {"clip_range_vf": None}),
        ({"net_arch": [np.int32(5), 6.0]}, {"net_arch": (5, 6)}),
        ({"net_arch": ()}, {"net_arch": ()}),
        ({"dueling": np.True_}, {"dueling": True}),
    ],
    ids=str,
)
def test_values_become_plain(given: dict[str, Any], expected: dict[str, Any]):
    config = ExampleConfig(**given)
    assert config == replace(ExampleConfig(), **expected)
    for key, value in expected.items():
        assert type(getattr(config, key)) is type(value)
    assert all(type(each) is int for each in config.net_arch)
    config_to_json(config)


INF, NAN = math.inf, math.nan
FROM_ZERO = [-1, 0.5, NAN, "5", True, None]
COUNT = [0, -1, 1.5, NAN, INF, "5", True, None, [3], 1j]
FRACTION = [-0.1, 1.1, 5, -118, NAN, INF, "0.5", True, None, (0.5,), 10**400]
NUMBER = [-1e-9, -1, 1e300, NAN, INF, -INF, "1e-3", False, None, [0.1]]
POSITIVE = [0, 0.0, *NUMBER]
FLAG = [0, 1, "yes", None]
CHOICE = ["sgd", "", 3, None, ["adam"]]
LAYERS = [(0,), (64, -1), (64, 0.5), (10**9,), 64, "64", {"pi": [64]}, ("64",), True]
WRONG: dict[str, list[Any]] = {  # by field, of any agent
    **dict.fromkeys(("n_steps", "n_epochs", "num_minibatches", "n_threads", "n_episodes", "workers"), COUNT),
    **dict.fromkeys(("buffer_size", "train_freq", "gradient_steps", "batch_size", "target_update_interval"), COUNT),
    **dict.fromkeys(("lstm_hidden_size", "sequence_length"), COUNT),
    **dict.fromkeys(("learning_starts", "burn_in"), FROM_ZERO),
    **dict.fromkeys(("gamma", "gae_lambda", "exploration_initial_eps", "exploration_final_eps"), FRACTION),
    **dict.fromkeys(("exploration_fraction", "prioritized_alpha", "prioritized_beta"), FRACTION),
    "rollout_fraction": [0, 0.0, *FRACTION],
    **dict.fromkeys(("learning_rate", "clip_range", "ent_coef", "vf_coef"), NUMBER),
    **dict.fromkeys(("final_learning_rate", "final_clip_range", "final_ent_coef"), NUMBER),
    "target_kl": NUMBER,
    **dict.fromkeys(("max_grad_norm", "clip_range_vf"), POSITIVE),
    **dict.fromkeys(("recurrent", "dueling", "prioritized", "on_ray"), FLAG),
    **dict.fromkeys(("normalize_advantage", "baseline", "reset_on_reward"), FLAG),
    **dict.fromkeys(("optimizer", "loss", "encoder", "precision", "compiled", "activation"), CHOICE),
    "normalize_returns": CHOICE,
    "net_arch": LAYERS,
    "rollout_actors": [*FROM_ZERO, 10_000],
    "learners": [*COUNT, 10_000],
}
OPTIONAL = {"final_clip_range", "final_ent_coef", "clip_range_vf", "target_kl", "max_grad_norm", "net_arch"}


@agents
def test_every_field_refuses_what_it_cannot_mean(name: str):
    """In one line that names the field and the value, whether in the config or as a keyword of the agent."""
    config_class = find(name).Config
    optional = OPTIONAL | (set() if name in ("ppo", "a3c") else {"final_learning_rate"})
    for field in fields(config_class):
        for value in WRONG[field.name]:
            if value is None and field.name in optional:
                assert getattr(config_class(**{field.name: None}), field.name) is None
                continue
            for make in (config_class, lambda **settings: change_config(config_class(), settings)):
                with pytest.raises((InvalidValueError, InvalidTypeError)) as caught:
                    make(**{field.name: value})
                message = str(caught.value)
                assert message.startswith(f"expected {field.name} to be ")
                assert f", got {brief(value)}" in message
                assert "\n" not in message


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_steps": 0}, InvalidValueError, "expected n_steps to be an integer >= 1, got 0"),
        ({"n_steps": 1.5}, InvalidValueError, "expected n_steps to be an integer >= 1, got 1.5"),
        ({"n_steps": "5"}, InvalidTypeError, "an integer >= 1, got '5': write it without quotes"),
        ({"gamma": 5}, InvalidValueError, "expected gamma to be a number in 0..1, got 5"),
        ({"gamma": None}, InvalidTypeError, "expected gamma to be a number in 0..1, got None"),
        ({"clip_range_vf": INF}, InvalidValueError, "a number above 0 and up to 1000000 or None, got inf"),
        ({"net_arch": 64}, InvalidTypeError, r"a tuple such as \(64, 64\), each an integer >= 1, got 64"),
        ({"loss": "l1"}, InvalidValueError, "expected loss to be 'huber' or 'squared', got 'l1'"),
        ({"dueling": 1}, InvalidTypeError, "expected dueling to be True or False, got 1"),
    ],
)
def test_errors_say_what_is_allowed(settings: dict[str, Any], error: type, message: str):
    with pytest.raises(error, match=message):
        ExampleConfig(**settings)


# ---- configs of one's own ----


@dataclass
class PlainConfig:
    """A config without declared ranges or a check of its own."""

    n_steps: int = 4
    noise: float = 0.5
    depth: Optional[int] = None  # noqa: UP045  the older spelling is as good
    layers: tuple[int, ...] = ()
    names: Any = None
    limits: tuple[int, str] = (1, "a")


class PlainAgent(Random):
    name, Config = "plain", PlainConfig


def test_agents_of_ones_own_have_their_types_checked():
    make: Any = PlainAgent
    agent = make("CartPole", num_envs=1, n_steps=np.int64(3), layers=[1], names={"a"})
    assert agent.config == PlainConfig(3, layers=(1,), names={"a"})
    wrong: list[tuple[str, Any]] = [("n_steps", "4"), ("noise", None), ("noise", INF), ("layers", [0.5])]
    for field, value in wrong:
        expected = rf"expected {field} to be .*, got {re.escape(brief(value))}"
        with pytest.raises((InvalidTypeError, InvalidValueError), match=expected):
            make("CartPole", PlainConfig(**{field: value}), num_envs=1)
        with pytest.raises((InvalidTypeError, InvalidValueError), match=expected):
            make("CartPole", num_envs=1, **{field: value})


def test_annotations_that_cannot_be_resolved_are_not_checked():
    @dataclass
    class Config:
        pages: Sequence[int] = ()
        gamma: float = 0.9

    check_fields(Config(gamma="0.9"))  # type: ignore[arg-type]  # not checked
    with pytest.raises(InvalidValueError, match="expected gamma to be finite, got inf"):
        check_fields(Config(gamma=INF))


# ---- making configs ----


def test_make_config_turns_lists_into_tuples():
    assert make_config(ExampleConfig, {"net_arch": [5, 6], "gamma": 1.0}) == ExampleConfig(gamma=1.0, net_arch=(5, 6))
    assert make_config(ExampleConfig, {}) == ExampleConfig()


def test_change_config_keeps_the_other_fields():
    config = ExampleConfig(n_steps=3, gamma=0.5)
    assert change_config(config, {"gamma": 1}) == ExampleConfig(n_steps=3, gamma=1.0)
    assert change_config(config, {}) is config


@pytest.mark.parametrize("make", [lambda s: make_config(ExampleConfig, s), lambda s: change_config(ExampleConfig(), s)])
def test_unknown_fields_are_named_with_the_nearest(make: Any):
    known = "its fields are n_steps, gamma, clip_range_vf, net_arch, loss, dueling"
    with pytest.raises(InvalidTypeError, match=f"unknown field 'horizon' of ExampleConfig: {known}"):
        make({"gamma": 0.5, "horizon": 8})
    with pytest.raises(InvalidTypeError, match=f"unknown field 'Gama' of ExampleConfig: did you mean 'gamma'. {known}"):
        make({"Gama": 0.5})


@agents
def test_make_config_restores_what_a_checkpoint_holds(name: str):
    config = find(name).Config()
    assert make_config(find(name).Config, config_to_json(config)) == config


@agents
def test_every_field_has_a_help_text_that_is_a_sentence(name: str):
    config_class = find(name).Config
    for field in fields(config_class):
        text = tyro._docstrings.get_field_docstring(config_class, field.name, ())
        assert text is not None
        assert text[0].isupper(), (field.name, text)
        assert text.endswith("."), (field.name, text)
        assert len(text.split()) >= 5, (field.name, text)


def test_configs_are_exported():
    for name in AGENTS:
        config_class = find(name).Config
        assert getattr(rlgames, config_class.__name__) is config_class
        assert config_class.__name__ in dir(rlgames)
        assert config_class.__name__ in rlgames.__all__


# ---- seeds ----


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), np.uint8(7), 2**32 - 1])
def test_seeds_may_be_any_integer_type(seed: Any):
    assert check_seed(seed) == seed
    assert type(check_seed(seed)) is int


NO_SEEDS = [None, 1.0, 0.5, NAN, "7", True, -1, 2**32, 2**64, 10**5000, [1], np.ones(2)]


@pytest.mark.parametrize("seed", NO_SEEDS, ids=brief)
def test_what_is_no_seed_is_named(seed: Any):
    with pytest.raises((InvalidTypeError, InvalidValueError)) as caught:
        Random("CartPole", num_envs=1, seed=seed)
    assert str(caught.value).startswith(f"expected seed to be an integer in 0..4294967295, got {brief(seed)}")


def test_an_agent_with_a_numpy_seed_is_that_of_the_integer():
    seeds: list[Any] = [np.int64(5), 5]
    one, other = (Random("CartPole", num_envs=1, seed=seed) for seed in seeds)
    assert one.header() == other.header()
    assert one.start_training().obs.tolist() == other.start_training().obs.tolist()


# ---- errors ----


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "'a'"),
        (np.zeros((2, 2)), "array([[0., 0.], [0., 0.]])"),
        ("x" * 100, "'" + "x" * 76 + "..."),
        (10**5000, "an integer of 16,610 bits"),
        (None, "None"),
        (np.float32(0.5), "np.float32(0.5)"),
        (SimpleNamespace(a="\x1b[1m"), "namespace(a='\\x1b[1m')"),
        (type("Loud", (), {"__repr__": lambda self: "\x1b[1m\nA"})(), "?[1m A"),
    ],
    ids=brief,
)
def test_brief_is_one_short_line(value: Any, expected: str):
    assert brief(value) == expected


def test_did_you_mean_ignores_case():
    assert did_you_mean("LEARNING_RAT", ["gamma", "learning_rate"]) == "did you mean 'learning_rate'? "
    assert did_you_mean("zzz", ["gamma"]) == ""


def test_check_value_returns_what_is_allowed():
    assert check_value("n", 3, Count) == 3
    assert check_value("n", None, Count | None) is None


# ---- schedules ----


def test_linear_schedule_is_constant_outside_its_range():
    progress = np.linspace(-0.5, 1.5, 21)
    expected = np.interp(progress, [0, 1], [4.0, 1.0])
    assert [linear_schedule(4.0, 1.0, x) for x in progress] == pytest.approx(expected)
    assert [linear_schedule(4.0, None, x) for x in progress] == [4.0] * 21
