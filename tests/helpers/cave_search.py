"""What is possible in a cave: an exact search over all (height, speed) that a player can reach, the whole cave known.

Heights and speeds are whole multiples of the thrust, so a set of heights is a Python integer used as a bit set: all
players of one speed move by one shift, and one mask takes those away who have crashed.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from helpers.games import game_of
from rlgames.engine.rng import stream
from rlgames.envs.cave import BLOCK_HEIGHT, BLOCK_WIDTH, EYE, PLAYER, SIZE, THRUST

FINE = round(1 / THRUST, 9)  # heights in a row: 12.5
TURNS = (+1, -1)  # what fall and rise add to the speed


class Gate(NamedTuple):
    """What the player's column leaves free at one step, in multiples of the thrust from the height at the start."""

    first: int
    last: int
    blocks: list[tuple[int, int]]  # first and last height of each block in it

    def free(self) -> int:
        """Bit i: height first + i is free."""
        bits = (1 << max(0, self.last - self.first + 1)) - 1
        for first, last in self.blocks:
            below, above = max(0, first - self.first), max(0, last + 1 - self.first)
            bits &= ~((1 << above) - (1 << below))
        return bits


class Reach(NamedTuple):
    """All states that can be reached; bit i of `heights[speed]` is height first + i."""

    first: int
    heights: dict[int, int]


def gates(seed: int, steps: int) -> list[Gate]:
    """The player's column at steps 1 to `steps` of the first episode of `seed`. The cave does not mind the player."""
    game = game_of("Cave")
    begin, _, play = game.loops
    records, picture = np.zeros(1, game.record), np.empty(game.observation.shape, np.uint8)
    records["rng"] = stream(seed)
    begin(records, np.ones(1, np.bool_), picture[None])
    cave = []
    for _ in range(steps):
        play(records, 0, 1, False, steps + 1, picture)
        records["over"] = 0  # a crash is no reason to stop looking
        s = records[0]
        here = (s["left"] + PLAYER) % SIZE
        column = PLAYER - s["block_column"]  # of the block, at the player
        tops = s["block_top"][(column >= 0) & (column < BLOCK_WIDTH)]
        cave.append(
            Gate(
                floor((s["ceiling"][here] - EYE) * FINE) + 1,
                ceil((s["floor"][here] - EYE) * FINE) - 1,
                [(ceil((top - EYE) * FINE), floor((top + BLOCK_HEIGHT - EYE) * FINE)) for top in tops.tolist()],
            )
        )
    return cave


def moved(states: Reach, turn: int, gate: Gate) -> Reach:
    """`states` one step later, without those who crashed."""
    free, heights = gate.free(), {}
    for speed, bits in states.heights.items():
        shift = states.first + speed + turn - gate.first
        if bits := (bits << shift if shift >= 0 else bits >> -shift) & free:
            heights[speed + turn] = bits
    return Reach(gate.first, heights)


def united(branches: list[Reach]) -> Reach:
    heights: dict[int, int] = {}
    for branch in branches:
        for speed, bits in branch.heights.items():
            heights[speed] = heights.get(speed, 0) | bits
    return Reach(branches[0].first, heights)


def reached(cave: list[Gate], skip: int) -> Iterator[Reach]:
    """What can be reached after each step, acting on every `skip`-th; ends with the last step that can be survived."""
    branches = [Reach(0, {0: 1})]
    for time, gate in enumerate(cave):
        if time % skip == 0:
            branches = [united(branches)] * len(TURNS)
        branches = [moved(branch, turn, gate) for branch, turn in zip(branches, TURNS, strict=True)]
        if not any(branch.heights for branch in branches):
            return
        yield united(branches)


def survival(cave: list[Gate], skip: int = 1) -> int:
    """The steps that the best player survives."""
    return sum(1 for _ in reached(cave, skip))


def plan(cave: list[Gate]) -> list[int]:
    """Actions for each step, by which a player survives as many steps as can be survived."""
    history = [Reach(0, {0: 1}), *reached(cave, 1)]
    speed, bits = next(iter(history[-1].heights.items()))
    height = history[-1].first + bits.bit_length() - 1
    actions = []
    for before in reversed(history[:-1]):
        height -= speed
        for action, turn in enumerate(TURNS):
            at = height - before.first
            if at >= 0 and before.heights.get(speed - turn, 0) >> at & 1:
                actions.append(action)
                speed -= turn
                break
    return actions[::-1]
