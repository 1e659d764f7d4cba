"""Sequences sampled from a replay buffer, for recurrent networks (DRQN: Hausknecht & Stone 2015, section 4).

A sequence starts anywhere, with the initial LSTM state, and runs over the ends of episodes, where the state is reset.
Its first steps may serve to fill the LSTM state alone (burn-in: Kapturowski et al. 2019).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rlgames.compilation import njit_cached
from rlgames.errors import InvalidValueError
from rlgames.experience.replay import FINAL_OBS, TERMINATED, ReplayBuffer, n_step_return, read_stack, rejection_sample


class Sequences(NamedTuple):
    """Sequences of `time` slots and the observation after them, one a row."""

    obs: np.ndarray  # (rows, time + 1, *shape)
    episode_start: np.ndarray  # (rows, time + 1) bool: the LSTM state is reset here
    actions: np.ndarray  # (rows, time) int64
    rewards: np.ndarray  # (rows, time) float32, n-step returns, of fewer steps where the sequence ends before
    discounts: np.ndarray  # (rows, time) float32, of the value of the observation after those steps
    next_index: np.ndarray  # (rows, time) int64, index of that observation in `obs`
    valid: np.ndarray  # (rows, time) bool: a transition after the burn-in


def check_sequence_length(replay: ReplayBuffer, buffer_size: int, length: int) -> None:
    """Raises ValueError if a replay of `buffer_size` transitions cannot hold a sequence of `length` steps."""
    if replay.length < length + replay.stack:
        raise InvalidValueError(
            f"buffer_size={buffer_size} of {replay.num_envs} environments holds no sequence of {length} steps: "
            f"use {replay.num_envs * (length + replay.stack)} or more"
        )


def sample_sequences(
    replay: ReplayBuffer, rng: np.random.Generator, batch_size: int, length: int, burn_in: int = 0
) -> Sequences:
    """Sample sequences of `length` slots uniformly. Raises ValueError while no environment has stepped that often."""

    def attempt(slots: np.ndarray, found: int) -> int:
        candidates = rng.random((2 * batch_size, 2))
        return sample_starts(slots, found, candidates, replay.head, replay.history, length)

    problem = f"no sequence of {length} steps in a replay of {len(replay)} slots yet"
    slots = rejection_sample(attempt, batch_size, problem)
    shape = (batch_size, length)
    obs = np.empty((batch_size, length + 1, replay.stack, replay.frames.shape[2]), replay.frames.dtype)
    episode_start, valid = np.zeros((batch_size, length + 1), np.bool_), np.zeros(shape, np.bool_)
    actions, next_index = (np.zeros(shape, np.int64) for _ in range(2))
    rewards, discounts = (np.zeros(shape, np.float32) for _ in range(2))
    read_sequences(
        *(slots, replay.frames, replay.actions, replay.rewards, replay.status, replay.history),
        *(replay.n_steps, replay.gamma, burn_in),
        *(obs, episode_start, actions, rewards, discounts, next_index, valid),
    )
    obs = obs.reshape(batch_size, length + 1, *replay.shape)
    return Sequences(obs, episode_start, actions, rewards, discounts, next_index, valid)


@njit_cached("the replay buffer", nogil=True)
def sample_starts(slots, found, candidates, head, history, sequence_length) -> int:
    """Fill `slots` from `found` on with starts whose slots and first stack are in the ring; return how many."""
    num_envs, length = history.shape
    most = min(head.max(), length)  # slots in use by the environment with most of them
    for k in range(len(candidates)):
        if found == len(slots):
            break
        i = int(candidates[k, 0] * num_envs)
        slot = head[i] - 1 - (sequence_length + int(candidates[k, 1] * (most - sequence_length)))
        if slot >= 0 and slot - history[i, slot % length] >= head[i] - length:
            slots[found, 0], slots[found, 1] = i, slot
            found += 1
    return found


@njit_cached("the replay buffer", nogil=True)
def read_sequences(
    slots, frames, actions, rewards, status, history, n_steps, gamma, burn_in,
    obs, episode_start, batch_actions, batch_returns, discounts, next_index, valid,
):  # fmt: skip
    length, time = frames.shape[1], batch_actions.shape[1]
    for row in range(len(slots)):
        i, slot = slots[row, 0], slots[row, 1]
        episode_start[row, 0] = True
        for t in range(time + 1):
            read_stack(obs[row, t], frames, i, slot + t, history)
            at = (slot + t) % length
            if t < time:
                episode_start[row, t + 1] = status[i, at] == TERMINATED or status[i, at] == FINAL_OBS
                batch_actions[row, t] = actions[i, at]
                valid[row, t] = t >= burn_in and status[i, at] != FINAL_OBS
        for t in range(time):
            if valid[row, t]:
                steps = min(n_steps, time - t)
                batch_returns[row, t], discounts[row, t], m = n_step_return(rewards, status, i, slot + t, steps, gamma)
                next_index[row, t] = t + m
