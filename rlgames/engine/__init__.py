"""The compiled batch engine: games as records and scalar rules, stepped one at a time or by the thousand.

A game's author needs `Game`, `CLOCK`, `uniform`, `below`, and `Canvas` or `Picture`; `make_env` and `make_vector_env`
turn a `Game` into Gymnasium environments. Any other Gymnasium environment is vectorized by `ThreadedVectorEnv` or
`ProcessVectorEnv`; `RayVectorEnv` steps batches on a cluster.
"""

from rlgames.engine.game import CLOCK, Game
from rlgames.engine.processes import ProcessVectorEnv
from rlgames.engine.ray_vector_env import RayVectorEnv
from rlgames.engine.rendering import Canvas
from rlgames.engine.rng import below, uniform
from rlgames.engine.shapes import Picture
from rlgames.engine.single_env import make_env
from rlgames.engine.threaded import ThreadedVectorEnv
from rlgames.engine.vector_env import make_vector_env

__all__ = [
    "CLOCK",
    "Canvas",
    "Game",
    "Picture",
    "ProcessVectorEnv",
    "RayVectorEnv",
    "ThreadedVectorEnv",
    "below",
    "make_env",
    "make_vector_env",
    "uniform",
]
