"""Settings that work: for each agent and game the config, the number of players, and the length of a whole training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from gymnasium.vector import VectorEnv

from rlgames.agents import find
from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.random import RandomConfig
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.envs.task import Task
from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards


@dataclass(frozen=True)
class Preset:
    """A tuned training; `rewards` shape what the agent learns from (scores stay the game's)."""

    config: Any
    steps: int  # environment steps, all players counted
    envs: int = 32  # players at once
    rewards: Rewards | None = None
    pixels: Pixels | None = None  # what the agent sees, where that is not the game's default


CART_POLE_VALUES = Preset(
    DQNConfig(
        update_every=32,
        updates=8,
        batch=128,
        target_every=32,
        learning_rate=3e-3,
        final_learning_rate=0.0,
        n_step=5,
        explore=0.16,
        final_epsilon=0.04,
        hidden=(128, 128),
    ),
    steps=60_000,
    envs=16,
)
CATCH_BALL_VALUES = Preset(
    DQNConfig(
        update_every=32,
        updates=4,
        batch=64,
        target_every=100,
        learning_rate=1e-3,
        final_learning_rate=0.0,
        gamma=0.95,
        n_step=5,
        explore=0.2,
        final_epsilon=0.02,
        encoder="vector",
        hidden=(256,),
    ),
    steps=40_000,
    envs=16,
)
LARGE_CATCH_BALL_VALUES = Preset(
    replace(
        CATCH_BALL_VALUES.config,
        updates=6,
        batch=128,
        target_every=200,
        n_step=10,
        explore=0.15,
        final_epsilon=0.005,
    ),
    steps=300_000,
    envs=16,
)
CAVE_VALUES = Preset(
    DQNConfig(
        capacity=200_000,
        update_every=16,
        updates=2,
        batch=128,
        target_every=500,
        learning_rate=5e-4,
        final_learning_rate=0.0,
        gamma=0.95,
        n_step=5,
        explore=0.1,
        final_epsilon=0.01,
    ),
    steps=300_000,
    envs=16,
)
BALL_AND_BATS = Pixels(  # 80 x 80: Pong's field, its background erased, and what has moved since the frame before
    crop=(35, 195, 0, 160), every=2, channel=0, erase=(144, 109), skip=4, difference=True, scale=True
)
FIELD = Pixels(  # the same field in two frames: on a grey background the networks take far longer to see the ball
    crop=(35, 195, 0, 160), every=2, grey=True, erase=(87,), skip=4, max_pool=True, stack=2
)
PONG_VALUES = Preset(
    DQNConfig(
        capacity=100_000,
        warmup=5_000,
        update_every=32,
        updates=8,
        target_every=500,
        learning_rate=3e-4,
        n_step=5,
        final_epsilon=0.01,
        encoder="nips",
    ),
    steps=500_000,
    envs=32,
    pixels=FIELD,
)
PRESETS: dict[tuple[str, str], Preset] = {
    ("dqn", "CartPole"): CART_POLE_VALUES,
    ("dqn", "CatchBall"): CATCH_BALL_VALUES,
    ("dqn", "CatchBall:size=16"): LARGE_CATCH_BALL_VALUES,
    ("dqn", "Cave"): CAVE_VALUES,
    ("dqn", "Pong"): PONG_VALUES,
    ("ddqn", "CartPole"): CART_POLE_VALUES,
    ("ddqn", "CatchBall"): CATCH_BALL_VALUES,
    ("ddqn", "CatchBall:size=16"): LARGE_CATCH_BALL_VALUES,
    ("ddqn", "Cave"): CAVE_VALUES,
    ("ddqn", "Pong"): PONG_VALUES,
    ("reinforce", "CartPole"): Preset(
        REINFORCEConfig(episodes=8, learning_rate=1e-2, final_learning_rate=0.0, baseline=True),
        steps=250_000,
        envs=8,
    ),
    ("reinforce", "CatchBall"): Preset(
        REINFORCEConfig(
            episodes=32,
            learning_rate=1e-2,
            final_learning_rate=0.0,
            gamma=0.85,
            baseline=True,
            entropy=0.01,
            encoder="vector",
            hidden=(128,),
        ),
        steps=600_000,
        envs=32,
    ),
    ("reinforce", "CatchBall:size=16"): Preset(
        REINFORCEConfig(learning_rate=3e-3, final_learning_rate=0.0, gamma=0.9, baseline=True),
        steps=2_000_000,
        envs=16,
    ),
    ("reinforce", "Cave"): Preset(
        REINFORCEConfig(learning_rate=1e-3, final_learning_rate=0.0, gamma=0.95, baseline=True, entropy=0.003),
        steps=1_500_000,
        envs=16,
        rewards=Rewards(survival=0.01),
    ),
    ("reinforce", "Pong"): Preset(  # the network, the picture and the returns of Karpathy 2016, "Pong from Pixels"
        REINFORCEConfig(
            episodes=8,
            optimiser="rmsprop",
            learning_rate=1e-3,
            reset_on_reward=True,
            standardise="episode",
            max_norm=math.inf,
            encoder="vector",
            hidden=(200,),
            activation="relu",
        ),
        steps=20_000_000,
        envs=8,
        pixels=BALL_AND_BATS,
    ),
    ("a3c", "CartPole"): Preset(
        A3CConfig(workers=1, horizon=5, learning_rate=1.5e-3, value=0.25, max_norm=0.5),
        steps=200_000,
        envs=8,
    ),
    ("a3c", "CatchBall"): Preset(
        A3CConfig(
            workers=1,
            horizon=16,
            learning_rate=2e-3,
            gamma=0.97,
            gae_lambda=0.95,
            entropy=0.005,
            max_norm=0.5,
            encoder="vector",
            hidden=(128,),
        ),
        steps=150_000,
        envs=16,
    ),
    ("a3c", "CatchBall:size=16"): Preset(
        A3CConfig(
            workers=1, horizon=16, learning_rate=1.5e-3, gamma=0.95, gae_lambda=0.95, entropy=0.003, max_norm=0.5
        ),
        steps=2_000_000,
        envs=16,
    ),
    ("a3c", "Pong"): Preset(
        A3CConfig(horizon=32, learning_rate=7e-4, gae_lambda=0.95, entropy=0.03, max_norm=0.5, encoder="nips"),
        steps=5_000_000,
        envs=32,
        pixels=FIELD,
    ),
    ("a3c", "Cave"): Preset(
        A3CConfig(
            workers=1,
            horizon=16,
            learning_rate=1e-3,
            gamma=0.95,
            gae_lambda=0.95,
            entropy=0.003,
            max_norm=0.5,
        ),
        steps=1_500_000,
        envs=16,
        rewards=Rewards(survival=0.01),
    ),
    ("ppo", "CartPole"): Preset(
        PPOConfig(horizon=32, epochs=10, minibatches=2, learning_rate=3e-3, gae_lambda=0.9, entropy=0.0),
        steps=100_000,
    ),
    ("ppo", "CatchBall"): Preset(
        PPOConfig(horizon=64, learning_rate=2e-3, encoder="vector"),
        steps=300_000,
        envs=64,
    ),
    ("ppo", "CatchBall:size=16"): Preset(
        PPOConfig(horizon=64, learning_rate=1e-3, threads=2),
        steps=1_500_000,
        envs=64,
    ),
    ("ppo", "Cave"): Preset(
        PPOConfig(horizon=64, epochs=3, sample=1 / 8, learning_rate=1.5e-3, gamma=0.95, entropy=0.003, threads=2),
        steps=110_000_000,
        envs=256,
        rewards=Rewards(survival=0.01),
    ),
    ("ppo", "Pong"): Preset(
        PPOConfig(horizon=64, sample=0.5, learning_rate=1e-3, entropy=0.03, encoder="nips"),  # less, and it gives up
        steps=1_500_000,
        envs=32,
        pixels=FIELD,
    ),
}
DEFAULTS: dict[str, Preset] = {
    "dqn": Preset(DQNConfig(), steps=1_000_000, envs=8),
    "ddqn": Preset(DQNConfig(), steps=1_000_000, envs=8),
    "reinforce": Preset(REINFORCEConfig(baseline=True), steps=1_000_000, envs=16),
    "a3c": Preset(A3CConfig(), steps=1_000_000, envs=16),
    "ppo": Preset(PPOConfig(), steps=1_000_000, envs=16),
    "random": Preset(RandomConfig(), steps=100_000, envs=16),
}


def preset(agent: str, task: Task) -> Preset:
    """The preset of a task, else of its game with other options, else the agent's defaults."""
    kind = find(agent)
    found = PRESETS.get((agent, str(task))) or PRESETS.get((agent, task.game)) or DEFAULTS.get(agent)
    return found or Preset(kind.Config(), steps=1_000_000, envs=16)  # an agent from elsewhere


def settle(agent: str, game: str, num_envs: int | None = None) -> tuple[VectorEnv, Any, Task]:
    """What `Agent(game)` means: the environments, the config, and the task they belong to."""
    task = Task.parse(game)
    chosen = preset(agent, task)
    task = Task(task.game, task.options, chosen.pixels, chosen.rewards)
    return task.make_vec(chosen.envs if num_envs is None else num_envs), chosen.config, task
