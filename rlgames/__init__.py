"""rlgames: six games for Gymnasium, five learning algorithms and a random baseline, one interface.

    import rlgames
    agent = rlgames.PPO("CatchBall").learn(400_000)
    print(rlgames.evaluate(agent, "CatchBall"))

Importing rlgames registers the games ("rlgames/CatchBall-v0", ...) with Gymnasium and imports neither torch nor Numba:
every public name is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlgames.errors import missing_package
from rlgames.imports import IMPORTED_MODULES as IMPORTED_MODULES
from rlgames.imports import import_remembered

try:
    from rlgames.envs.games import register

    register()
except ModuleNotFoundError as error:  # of a required package: `rlgames doctor` must run, all else names it when used
    if missing_package(error) is None:
        raise

if TYPE_CHECKING:
    from rlgames.agents.a3c import A3C as A3C
    from rlgames.agents.a3c import A3CConfig as A3CConfig
    from rlgames.agents.dqn import DDQN as DDQN
    from rlgames.agents.dqn import DQN as DQN
    from rlgames.agents.dqn import DQNConfig as DQNConfig
    from rlgames.agents.ppo import PPO as PPO
    from rlgames.agents.ppo import PPOConfig as PPOConfig
    from rlgames.agents.preset_files import load_preset as load_preset
    from rlgames.agents.random import Random as Random
    from rlgames.agents.random import RandomConfig as RandomConfig
    from rlgames.agents.registry import load as load
    from rlgames.agents.registry import preset as preset
    from rlgames.agents.registry import register_agent as register_agent
    from rlgames.agents.reinforce import REINFORCE as REINFORCE
    from rlgames.agents.reinforce import REINFORCEConfig as REINFORCEConfig
    from rlgames.envs.registry import make as make
    from rlgames.envs.registry import make_vec as make_vec
    from rlgames.envs.registry import register_game as register_game
    from rlgames.envs.registry import register_wrapper as register_wrapper
    from rlgames.evaluation import evaluate as evaluate
    from rlgames.recording import record as record
    from rlgames.runs.comparison import compare as compare
    from rlgames.runs.curves import plot as plot
    from rlgames.runs.many import RunSummary as RunSummary
    from rlgames.runs.many import train_many as train_many
    from rlgames.runs.metrics import read_metrics as read_metrics
    from rlgames.runs.training import Training as Training
    from rlgames.tuning.study import Tuning as Tuning
    from rlgames.tuning.study import TuningResult as TuningResult
    from rlgames.tuning.study import tune as tune
    from rlgames.wrappers import Pixels as Pixels
    from rlgames.wrappers import Rewards as Rewards
    from rlgames.wrappers import TrainingEpisodes as TrainingEpisodes

__version__ = "0.1.0"

LAZY = {
    "A3C": "rlgames.agents.a3c",
    "A3CConfig": "rlgames.agents.a3c",
    "DDQN": "rlgames.agents.dqn",
    "DQN": "rlgames.agents.dqn",
    "DQNConfig": "rlgames.agents.dqn",
    "PPO": "rlgames.agents.ppo",
    "PPOConfig": "rlgames.agents.ppo",
    "Pixels": "rlgames.wrappers",
    "REINFORCE": "rlgames.agents.reinforce",
    "REINFORCEConfig": "rlgames.agents.reinforce",
    "Random": "rlgames.agents.random",
    "RandomConfig": "rlgames.agents.random",
    "Rewards": "rlgames.wrappers",
    "TrainingEpisodes": "rlgames.wrappers",
    "RunSummary": "rlgames.runs.many",
    "Training": "rlgames.runs.training",
    "Tuning": "rlgames.tuning.study",
    "TuningResult": "rlgames.tuning.study",
    "compare": "rlgames.runs.comparison",
    "evaluate": "rlgames.evaluation",
    "load": "rlgames.agents.registry",
    "load_preset": "rlgames.agents.preset_files",
    "make": "rlgames.envs.registry",
    "make_vec": "rlgames.envs.registry",
    "plot": "rlgames.runs.curves",
    "preset": "rlgames.agents.registry",
    "read_metrics": "rlgames.runs.metrics",
    "record": "rlgames.recording",
    "register_agent": "rlgames.agents.registry",
    "register_game": "rlgames.envs.registry",
    "register_wrapper": "rlgames.envs.registry",
    "train_many": "rlgames.runs.many",
    "tune": "rlgames.tuning.study",
}
__all__ = [*LAZY]  # pyright: ignore[reportUnsupportedDunderAll]  they are declared above for type checkers


def __getattr__(name: str) -> Any:
    module = LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'rlgames' has no attribute {name!r}")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from None


def __dir__() -> list[str]:
    return sorted([*globals(), *LAZY])


import_remembered()
