"""Exact search in Cave: all (height, speed) that a player who knows the whole cave can reach at each step.

Heights and speeds are multiples of the thrust, so a set of heights is a Python integer used as a bit set: one shift
moves all states of one speed, and one mask removes those that crash.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from helpers.games import game_of
from rlgames.engine.rng import seed_stream
from rlgames.envs.cave import BLOCK_HEIGHT, BLOCK_WIDTH, PLAYER_COLUMN, PLAYER_ROW, SIZE, THRUST

UNITS = round(1 / THRUST, 9)  # heights in a row: 12.5
SPEED_CHANGES = (+1, -1)  # of fall and rise


class Gate(NamedTuple):
    """Open heights of the player's column at one step, in multiples of the thrust from the height at the start."""

    first: int
    last: int
    blocks: list[tuple[int, int]]  # first and last height of each block in the column

    def open_bits(self) -> int:
        """Return the bit set of open heights; bit i is height first + i."""
        bits = (1 << max(0, self.last - self.first + 1)) - 1
        for first, last in self.blocks:
            begin, end = max(0, first - self.first), max(0, last + 1 - self.first)
            bits &= ~((1 << end) - (1 << begin))
        return bits


class States(NamedTuple):
    """Set of states (height, speed); bit i of `heights[speed]` is height first + i."""

    first: int
    heights: dict[int, int]


START = States(0, {0: 1})


def gates(seed: int, steps: int) -> list[Gate]:
    """Return the gates of steps 1 to `steps` of the first episode of `seed`; they do not depend on the actions."""
    game = game_of("Cave")
    records, obs = np.zeros(1, game.record), np.empty(game.observation.shape, np.uint8)
    records["rng"] = seed_stream(seed)
    game.loops.reset(records, np.ones(1, np.bool_), obs[None])
    found = []
    for _ in range(steps):
        game.loops.step_single(records, 0, 1, False, steps + 1, obs)
        records["over"] = 0  # the cave continues after a crash
        s = records[0]
        i = (s["left"] + PLAYER_COLUMN) % SIZE
        column_in_block = PLAYER_COLUMN - s["block_column"]
        tops = s["block_top"][(column_in_block >= 0) & (column_in_block < BLOCK_WIDTH)]
        found.append(
            Gate(
                floor((s["ceiling"][i] - PLAYER_ROW) * UNITS) + 1,
                ceil((s["floor"][i] - PLAYER_ROW) * UNITS) - 1,
                [
                    (ceil((top - PLAYER_ROW) * UNITS), floor((top + BLOCK_HEIGHT - PLAYER_ROW) * UNITS))
                    for top in tops.tolist()
                ],
            )
        )
    return found


def moved(states: States, speed_change: int, gate: Gate) -> States:
    """Return the states one step later, without those that crash."""
    open_bits, heights = gate.open_bits(), {}
    for speed, bits in states.heights.items():
        shift = states.first + speed + speed_change - gate.first
        if bits := (bits << shift if shift >= 0 else bits >> -shift) & open_bits:
            heights[speed + speed_change] = bits
    return States(gate.first, heights)


def union(branches: list[States]) -> States:
    heights: dict[int, int] = {}
    for branch in branches:
        for speed, bits in branch.heights.items():
            heights[speed] = heights.get(speed, 0) | bits
    return States(branches[0].first, heights)


def reachable(cave: list[Gate], frame_skip: int) -> Iterator[States]:
    """Yield the states that can be reached after each step, up to the last step that can be survived."""
    branches = [START]
    for time, gate in enumerate(cave):
        if time % frame_skip == 0:
            branches = [union(branches)] * len(SPEED_CHANGES)
        branches = [moved(branch, change, gate) for branch, change in zip(branches, SPEED_CHANGES, strict=True)]
        if not any(branch.heights for branch in branches):
            return
        yield union(branches)


def longest_survival(cave: list[Gate], frame_skip: int = 1) -> int:
    """Return the most steps that any sequence of actions survives."""
    return sum(1 for _ in reachable(cave, frame_skip))


def best_actions(cave: list[Gate]) -> list[int]:
    """Return an action for each step, by which the player survives as long as possible."""
    history = [START, *reachable(cave, 1)]
    speed, bits = next(iter(history[-1].heights.items()))
    height = history[-1].first + bits.bit_length() - 1
    actions = []
    for states in reversed(history[:-1]):  # from the last step back to the first
        height -= speed
        for action, change in enumerate(SPEED_CHANGES):
            bit = height - states.first
            if bit >= 0 and states.heights.get(speed - change, 0) >> bit & 1:
                actions.append(action)
                speed -= change
                break
    return actions[::-1]
