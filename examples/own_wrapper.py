"""A wrapper of your own: sticky actions (Machado et al. 2018, section 5.2): python examples/own_wrapper.py

With probability 0.25 a step repeats the previous action instead of the agent's, so that an agent cannot memorize a
sequence of actions. It is registered, so every game and the command line have it:
python examples/own_wrapper.py train a3c CatchBall:wrappers=sticky --config.workers 2, then evaluate, watch, ...
"""

import sys
from typing import Any

import numpy as np
from gymnasium.vector import VectorActionWrapper
from gymnasium.wrappers import StickyAction

import rlgames
from rlgames.cli.main import main as command_line

PROBABILITY = 0.25
NONE = -1  # no action yet in this episode


class VectorStickyAction(VectorActionWrapper):
    """Gymnasium's StickyAction for a vector environment that resets in the step in which an episode ends."""

    env: Any  # with snapshot() and restore(), which VectorEnv does not declare

    def __init__(self, env):
        super().__init__(env)
        self.rng, self.previous = np.random.default_rng(), np.full(env.num_envs, NONE)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.previous[:] = NONE
        return self.env.reset(seed=seed, options=options)

    def step(self, actions):
        results = super().step(actions)
        terminated, truncated = results[2:4]
        self.previous[terminated | truncated] = NONE
        return results

    def actions(self, actions):
        is_repeated = (self.previous != NONE) & (self.rng.random(self.num_envs) < PROBABILITY)
        self.previous = np.where(is_repeated, self.previous, actions)
        return self.previous

    def snapshot(self):  # with it and `restore` a run resumes bit for bit
        return {"env": self.env.snapshot(), "previous": self.previous.copy(), "rng": self.rng.bit_generator.state}

    def restore(self, state):
        self.env.restore(state["env"])
        self.previous, self.rng.bit_generator.state = state["previous"].copy(), state["rng"]


rlgames.register_wrapper("sticky", lambda env: StickyAction(env, PROBABILITY), VectorStickyAction)


def main(steps: int = 200_000) -> float:
    agent = rlgames.PPO("CatchBall:wrappers=sticky", seed=0).learn(steps, progress_bar=True)
    print("with sticky actions:", result := rlgames.evaluate(agent))
    print("without:", rlgames.evaluate(agent, "CatchBall:wrappers=null"))
    return result.mean


if __name__ == "__main__":
    sys.exit(command_line()) if sys.argv[1:] else main()
