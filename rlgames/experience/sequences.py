"""Stretches of play drawn from a replay, for networks that remember (DRQN: Hausknecht & Stone 2015, section 4).

A stretch begins anywhere, with nothing remembered, and runs over the ends of episodes, where the memory is cleared. Its
first steps may serve to fill the memory alone (burn-in: Kapturowski et al. 2019).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from rlgames.experience.replay import LAST, OUT_OF_TIME, TERMINATED, Replay, stacked


class Sequences(NamedTuple):
    """Stretches of `time` slots and the observation behind them, one a row."""

    obs: np.ndarray  # (rows, time + 1, *shape)
    start: np.ndarray  # (rows, time + 1) bool, the memory is empty here
    action: np.ndarray  # (rows, time) int64
    reward: np.ndarray  # (rows, time) float32, the n-step return, of fewer steps where the stretch ends before
    discount: np.ndarray  # (rows, time) float32, of the value of the observation that follows those steps
    after: np.ndarray  # (rows, time) int64, which of `obs` that is
    real: np.ndarray  # (rows, time) bool: something was done, and the memory is filled


def check(replay: Replay, capacity: int, time: int) -> None:
    """Raises ValueError for a replay of `capacity` transitions that no sequence of `time` steps fits into."""
    if replay.length < time + replay.stack:
        raise ValueError(
            f"a replay of {capacity} transitions of {replay.n} players holds no sequence of {time} steps: "
            f"give capacity={replay.n * (time + replay.stack)} or more"
        )


def sequences(replay: Replay, rng: np.random.Generator, rows: int, time: int, burn_in: int = 0) -> Sequences:
    """`rows` stretches of `time` slots, drawn uniformly. Raises ValueError while no player has played that long."""
    slot, found = np.empty((rows, 2), np.int64), 0
    for _ in range(100):
        found = pick(slot, found, rng.random((2 * rows, 2)), replay.head, replay.age, time)
        if found == rows:
            break
    else:
        raise ValueError(
            f"no sequence of {time} steps in a replay of {len(replay)} slots yet: play more before learning"
        )
    obs = np.empty((rows, time + 1, replay.stack, replay.frame.shape[2]), replay.frame.dtype)
    start, real = np.zeros((rows, time + 1), np.bool_), np.zeros((rows, time), np.bool_)
    action, after = (np.zeros((rows, time), np.int64) for _ in range(2))
    reward, discount = (np.zeros((rows, time), np.float32) for _ in range(2))
    read(
        *(slot, replay.frame, replay.action, replay.reward, replay.fate, replay.age, replay.n_step, replay.gamma),
        *(burn_in, obs, start, action, reward, discount, after, real),
    )
    return Sequences(obs.reshape(rows, time + 1, *replay.shape), start, action, reward, discount, after, real)


@njit(cache=True, nogil=True)
def pick(chosen, found, dice, head, age, time) -> int:
    """Fill `chosen` from `found` on with (player, slot); rejected unless all slots and the first stack are there."""
    n, length = age.shape
    held = min(head.max(), length)  # by the player who holds most
    for k in range(len(dice)):
        if found == len(chosen):
            break
        i, back = int(dice[k, 0] * n), time + int(dice[k, 1] * (held - time))
        slot = head[i] - 1 - back
        if slot >= 0 and slot - age[i, slot % length] >= head[i] - length:
            chosen[found, 0], chosen[found, 1] = i, slot
            found += 1
    return found


@njit(cache=True, nogil=True)
def read(slots, frame, action, reward, fate, age, n_step, gamma, burn_in, obs, start, did, ret, discount, after, real):
    length, time = frame.shape[1], did.shape[1]
    for row in range(len(slots)):
        i, slot = slots[row, 0], slots[row, 1]
        start[row, 0] = True
        for t in range(time + 1):
            stacked(obs[row, t], frame, i, slot + t, age)
            at = (slot + t) % length
            if t < time:
                start[row, t + 1] = fate[i, at] == TERMINATED or fate[i, at] == LAST
                did[row, t] = action[i, at]
                real[row, t] = t >= burn_in and fate[i, at] != LAST
        for t in range(time):
            if not real[row, t]:
                continue
            total, factor, m = 0.0, 1.0, 0
            while True:
                at = (slot + t + m) % length
                total += factor * reward[i, at]
                factor *= gamma
                m += 1
                if fate[i, at] == TERMINATED:
                    factor = 0.0
                    break
                if fate[i, at] == OUT_OF_TIME or m == n_step or t + m == time:
                    break
            ret[row, t], discount[row, t], after[row, t] = total, factor, t + m
