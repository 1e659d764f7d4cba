"""Pong: Atari's table tennis against the machine, to 21 points; +1 for a point won, -1 for one lost.

The score is points won minus points lost, -21 to 21. `actions="minimal"` leaves the two that move the bat, up and down.
`noop_max` and `repeat_action_probability` are the emulator's; see `atari`.
"""

from rlgames.envs.atari.env import make_env
from rlgames.envs.atari.game import AtariGame, split_pixels
from rlgames.envs.atari.vector_env import make_vector_env
from rlgames.errors import InvalidValueError

__all__ = ["game", "make_env", "make_vector_env", "split_pixels"]

ACTIONS = {
    "all": ("noop", "fire", "up", "down", "up and fire", "down and fire"),  # the ROM's minimal set, in its order
    "minimal": ("up", "down"),
}


def game(actions: str = "all", noop_max: int = 30, repeat_action_probability: float = 0.0) -> AtariGame:
    """Raises ValueError for other actions than "all" and "minimal"."""
    if actions not in ACTIONS:
        raise InvalidValueError(f"expected actions 'all' (six) or 'minimal' (up and down), got {actions!r}")
    names = ACTIONS[actions]
    return AtariGame(
        name="Pong" if actions == "all" else f"Pong:actions={actions}",
        rom="pong",
        actions=names,
        codes=tuple(ACTIONS["all"].index(name) for name in names),
        keys={"w": names.index("up"), "s": names.index("down")},
        noop_max=noop_max,
        repeat_action_probability=repeat_action_probability,
    )
