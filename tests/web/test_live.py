"""A live game: what viewers do to it, and what they are shown."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

import rlgames
from rlgames.agents.base import Agent
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.web.live import LivePlayer
from rlgames.web.thoughts import think


@pytest.fixture(scope="module")
def agent() -> Agent:
    return rlgames.PPO("CatchBall", num_envs=1)


@pytest.fixture
def player(agent: Agent) -> Iterator[LivePlayer]:
    player = LivePlayer(agent, seed=5)
    yield player
    player.close()


def decode(frame: bytes) -> tuple[dict, dict[str, bytes]]:
    length = int.from_bytes(frame[:4], "little")
    facts = json.loads(frame[4 : 4 + length])
    body = frame[4 + length :]
    return facts, {name: body[x["offset"] : x["offset"] + x["length"]] for name, x in facts["parts"].items()}


def test_the_agent_plays_the_episode_that_evaluation_plays(player: LivePlayer, agent: Agent) -> None:
    while not player.over:
        player.step()
    assert player.score == player.best == rlgames.evaluate(agent, episodes=1, seed=5).scores[0]


def test_a_frame_holds_what_the_player_sees(player: LivePlayer) -> None:
    player.carry_out({"name": "wantSaliency", "value": True})
    facts, parts = decode(player.frame())
    shown = np.asarray(Image.open(io.BytesIO(parts["picture"])))
    assert np.array_equal(shown, np.asarray(player.env.render()))
    assert np.array_equal(np.frombuffer(parts["obs"], np.uint8).reshape(8, 8), player.obs)
    saliency = np.frombuffer(parts["saliency"], "<f4")
    assert saliency.shape == (64,)
    assert saliency.any()
    assert (facts["kind"], facts["score"], facts["seed"], facts["best"]) == ("policy", 0.0, 5, None)
    assert int(np.argmax(facts["outputs"])) == facts["action"]
    assert player.describe()["actions"] == ["stay", "left", "right"]
    assert player.describe()["keys"] == [[["a"], 1], [["d"], 2]]


def bar_of(player: LivePlayer) -> int:
    """Return the leftmost cell of CatchBall's bar."""
    env: Any = player.env.unwrapped
    return int(env._state.records["bar"][0])


def test_a_viewer_takes_over_and_hands_back(player: LivePlayer) -> None:
    start = bar_of(player)
    player.carry_out({"name": "human", "value": True})
    player.carry_out({"name": "held", "value": 1 if start > 2 else 2})
    player.step()
    player.step()
    assert bar_of(player) == start + (-2 if start > 2 else 2)
    player.carry_out({"name": "human", "value": False})
    chosen = player.chosen
    bar = bar_of(player)
    player.step()
    assert bar_of(player) == np.clip(bar + (0, -1, 1)[chosen], 0, 5)


def test_pause_step_speed_and_restart(player: LivePlayer) -> None:
    player.carry_out({"name": "paused", "value": True})
    player.advance()
    assert player.steps == 0
    player.carry_out({"name": "step"})
    assert (player.steps, player.paused) == (1, True)
    player.carry_out({"name": "paused", "value": False})
    player.carry_out({"name": "speed", "value": 1000})
    assert player.speed == 64
    player.advance()
    assert player.steps == 2
    player.carry_out({"name": "restart", "value": 9})
    assert (player.seed, player.steps) == (9, 0)


@pytest.mark.parametrize(
    "command",
    [
        *({}, {"name": "restart", "value": -1}, {"name": "restart", "value": "1"}, {"name": "speed", "value": "fast"}),
        *({"name": "speed", "value": True}, {"name": "paused", "value": 1}, {"name": ["step"]}, {"name": "exec"}),
        {"name": "restart", "value": 2**70},
    ],
)
def test_nonsense_changes_nothing(player: LivePlayer, command: dict) -> None:
    before = (player.seed, player.steps, player.paused, player.speed, player.human)
    assert not player.carry_out(command)
    assert (player.seed, player.steps, player.paused, player.speed, player.human) == before


def test_the_next_episode_has_the_next_seed(player: LivePlayer) -> None:
    while not player.over:
        player.step()
    player.due = 0.0
    player.advance()
    assert (player.seed, player.steps, player.over) == (6, 0, False)


@pytest.mark.parametrize(
    ("agent_class", "config", "kind"),
    [
        (rlgames.PPO, PPOConfig(recurrent=True, encoder="grid"), "policy"),
        (rlgames.DQN, DQNConfig(dueling=True, buffer_size=1000), "q"),
        (rlgames.DQN, DQNConfig(recurrent=True, buffer_size=1000), "q"),
    ],
)
def test_thoughts_are_those_that_predict_acts_on(agent_class: type[Agent], config: object, kind: str) -> None:
    """Over a few steps of a game, the LSTM's state included."""
    with agent_class("CatchBall", config, num_envs=1) as agent, rlgames.make("CatchBall") as env:
        obs, _ = env.reset(seed=0)
        state, start = None, True
        for _ in range(4):
            action, after = agent.predict(obs, state, np.array([start]))
            thought = think(agent, obs, state, start, int(action), saliency=True)
            assert thought.kind == kind
            assert int(np.argmax(thought.outputs)) == action
            obs, *_ = env.step(action)
            state, start = after, False
            assert thought.saliency is not None
            assert thought.saliency.shape == (8, 8)
            assert np.isfinite(thought.outputs).all()
            assert thought.value is not None
