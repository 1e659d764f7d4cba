"""Search spaces: sensible ranges around a preset, within what the fields take."""

from __future__ import annotations

import pytest

from rlgames.agents.config import make_config
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.registry import find
from rlgames.errors import UsageError
from rlgames.presets.lookup import PRESETS
from rlgames.tuning.space import Dimension, derive_space


def by_field(space: list[Dimension]) -> dict[str, Dimension]:
    return {each.field: each for each in space}


def test_ranges_are_around_the_preset() -> None:
    space = by_field(derive_space(PPOConfig, dict(n_steps=32, ent_coef=0.0, n_epochs=10, gamma=0.9)))
    assert space["learning_rate"] == Dimension("learning_rate", "float", 2.5e-5, 2.5e-3, log=True)
    assert space["n_steps"].describe() == "8, 16, 32, 64, 128"
    assert space["gamma"].name == "1 - gamma"
    assert space["gamma"].describe() == "0.5 to 0.98, logarithmic"
    assert space["ent_coef"].describe() == "0.0001 to 0.1, logarithmic"
    assert space["n_epochs"] == Dimension("n_epochs", "int", 3, 40, log=True)
    assert not {"n_threads", "encoder", "recurrent", "target_kl", "lstm_hidden_size"} & set(space)
    assert not {"rollout_actors", "learners"} & set(space)


@pytest.mark.parametrize(("agent", "game"), [key for key in PRESETS if key[0] != "random"])
def test_every_end_of_a_range_makes_a_config(agent: str, game: str) -> None:
    """The suggestion for the preset's own value is its value, or the nearest power of two."""
    config_class, settings = find(agent).Config, PRESETS[agent, game].config
    config = make_config(config_class, settings)
    for each in derive_space(config_class, settings):
        for end in (each.low, each.high):
            make_config(config_class, settings | {each.field: each.value(end)})
        own = getattr(config, each.field)
        if each.kind == "power":
            assert own / 1.5 <= each.value(each.suggestion(own)) <= own * 1.5
        elif own:
            assert each.value(each.suggestion(own)) == pytest.approx(own)


def test_fields_and_ranges_are_chosen() -> None:
    space = derive_space(
        DQNConfig, {}, ["learning_rate=1e-5:1e-2", "batch-size=20:300", "gamma=0.9:0.999", "dueling", "loss", "burn_in"]
    )
    found = by_field(space)
    assert found["learning_rate"] == Dimension("learning_rate", "float", 1e-5, 1e-2, log=True)
    assert found["batch_size"].describe() == "32, 64, 128, 256"
    assert found["gamma"].describe() == "0.9 to 0.999, logarithmic"
    assert found["dueling"].choices == (False, True)
    assert found["loss"].choices == ("huber", "squared")
    assert found["burn_in"] == Dimension("burn_in", "int", 1, 16, log=True)
    assert len(found) == 6
    with_none = derive_space(PPOConfig, {}, ["target_kl=0.01:0.1"])
    assert with_none == [Dimension("target_kl", "float", 0.01, 0.1, log=True)]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("learning_rte", "unknown field 'learning_rte' to search: did you mean 'learning_rate'?"),
        ("target_kl", "give one, --search target_kl=LOW:HIGH"),
        ("net_arch", "only numbers, names and booleans are searched"),
        ("gamma=0.9", "expected a range as in learning_rate=1e-5:1e-2"),
        ("gamma=0.9:0.5", "the lower end first"),
        ("gamma=a:b", "got 'gamma=a:b'"),
        ("gamma=0.5:1.5", "expected the range of gamma within a number in 0..1, got 0.5:1.5"),
        ("n_epochs=1.5:3", "from an integer to another"),
        ("n_steps=5:7", "expected a power of two in the range of n_steps"),
        ("recurrent=0:1", "recurrent is no number"),
        ("gamma,gamma", "got gamma twice"),
    ],
)
def test_other_searches_are_refused(search: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        derive_space(PPOConfig, {}, search.split(","))
    assert message in str(raised.value)
