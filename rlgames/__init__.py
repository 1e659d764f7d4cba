"""rlgames: six games for Gymnasium, five learning algorithms and a random baseline, one interface.

    import rlgames
    agent = rlgames.PPO("CatchBall").learn(400_000)
    print(rlgames.evaluate(agent, "CatchBall"))

Importing rlgames registers the games ("rlgames/CatchBall-v0", ...) with Gymnasium and does not import torch: agents,
`load`, `evaluate` and `record` are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlgames.envs.registry import make, make_vec, register, register_game, register_wrapper
from rlgames.wrappers import Pixels, Rewards

if TYPE_CHECKING:
    from rlgames.agents.a3c import A3C as A3C
    from rlgames.agents.dqn import DDQN as DDQN
    from rlgames.agents.dqn import DQN as DQN
    from rlgames.agents.ppo import PPO as PPO
    from rlgames.agents.random import Random as Random
    from rlgames.agents.registry import load as load
    from rlgames.agents.registry import register_agent as register_agent
    from rlgames.agents.reinforce import REINFORCE as REINFORCE
    from rlgames.evaluation import evaluate as evaluate
    from rlgames.recording import record as record

__version__ = "0.1.0"

LAZY = {
    "A3C": "rlgames.agents.a3c",
    "DDQN": "rlgames.agents.dqn",
    "DQN": "rlgames.agents.dqn",
    "PPO": "rlgames.agents.ppo",
    "REINFORCE": "rlgames.agents.reinforce",
    "Random": "rlgames.agents.random",
    "evaluate": "rlgames.evaluation",
    "load": "rlgames.agents.registry",
    "record": "rlgames.recording",
    "register_agent": "rlgames.agents.registry",
}
__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]  the lazy ones are declared above for type checkers
    "Pixels",
    "Rewards",
    "make",
    "make_vec",
    "register_game",
    "register_wrapper",
    *LAZY,
]

register()


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module 'rlgames' has no attribute {name!r}")
    return getattr(import_module(LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *LAZY])
