"""Pong: Atari's table tennis against the machine, to 21 points; needs ale-py (extra `pong`).

Observation space: the screen, (210, 160, 3) uint8. By default agents observe the last four frames, 84 x 84 and grey,
and act on every fourth frame (Mnih et al. 2015).
Action space: 0 noop, 1 fire, 2 up, 3 down, 4 up and fire, 5 down and fire; with `actions="minimal"` 0 up, 1 down.
Rewards: +1 for a point won, -1 for a point lost, otherwise 0. The score is their sum, -21 to 21.
Termination: one side has 21 points.
Truncation: 108,000 frames, half an hour.

The game has no chance of its own. An episode begins with 0 to `noop_max` frames without an action, 30 by default as in
published results; `repeat_action_probability=0.25` repeats actions; see `atari.game`.
"""

from rlgames.envs.atari.env import make_env
from rlgames.envs.atari.game import AtariGame, split_pixels
from rlgames.envs.atari.vector_env import make_vector_env
from rlgames.errors import InvalidValueError, brief
from rlgames.wrappers.pixels import Pixels

__all__ = ["STORED_STRINGS", "default_pixels", "game", "make_env", "make_vector_env", "split_pixels"]

ACTIONS = {
    "all": ("noop", "fire", "up", "down", "up and fire", "down and fire"),  # the ROM's minimal set, in its order
    "minimal": ("up", "down"),
}
STORED_STRINGS = {"actions": "|".join(ACTIONS)}


def game(actions: str = "all", noop_max: int = 30, repeat_action_probability: float = 0.0) -> AtariGame:
    """Return Pong with these options. Raises ValueError for `actions` other than "all" and "minimal"."""
    if actions not in ACTIONS:
        raise InvalidValueError(f"expected actions 'all' (six) or 'minimal' (up and down), got {brief(actions)}")
    names = ACTIONS[actions]
    return AtariGame(
        name="Pong" if actions == "all" else f"Pong:actions={actions}",
        rom="pong",
        actions=names,
        codes=tuple(ACTIONS["all"].index(name) for name in names),
        keys={"w": names.index("up"), "s": names.index("down")},
        best_score=21.0,
        noop_max=noop_max,
        repeat_action_probability=repeat_action_probability,
    )


def default_pixels() -> Pixels:
    """Return the preprocessing of Mnih et al. 2015."""
    return Pixels(size=(84, 84), grey=True, skip=4, max_pool=True, stack=4)
