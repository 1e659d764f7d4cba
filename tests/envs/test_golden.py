"""Recorded episodes of every game: a change of rules, random numbers or observations fails here, intended or not.

After an intended change, or for a new game: python tests/envs/test_golden.py
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.games import NAMES, random_actions, single

FILE = Path(__file__).parent / "golden_traces.json"
SEED, STEPS, CHECK_EVERY = 2024, 400, 50
LOOKAHEAD, ROLLOUTS = 30, 8


def trace(game: str, actions: list[int]) -> dict[str, Any]:
    """Return checksums of uint8 observations, and float observations rounded, for sines differ between processors."""
    env = single(game)
    obs, _ = env.reset(seed=SEED)
    observations, rewards, ends, scores, checksum = [], 0.0, [], [], 0
    is_float = np.issubdtype(obs.dtype, np.floating)
    for step, action in enumerate(actions, 1):
        obs, reward, terminated, truncated, info = env.step(action)
        rewards += float(reward)
        checksum = zlib.crc32(obs.tobytes(), checksum)
        if step % CHECK_EVERY == 0:
            observations.append([round(float(x), 5) for x in obs] if is_float else checksum)
        if terminated or truncated:
            ends.append(step)
            scores.append(info["score"])
            obs, _ = env.reset()
    return {"observations": observations, "rewards": rewards, "ends": ends, "scores": scores}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def test_game_equals_its_recorded_trace(game: str, golden: dict[str, Any]) -> None:
    assert game in golden, f"no trace of {game}: run python {Path(__file__).name}"
    actions, expected = [int(digit) for digit in golden[game]["actions"]], golden[game]["trace"]
    actual = trace(game, actions)
    for ours, recorded in zip(actual["observations"], expected["observations"], strict=True):
        assert ours == pytest.approx(recorded, rel=0, abs=2e-5)
    assert {**actual, "observations": None} == {**expected, "observations": None}


def test_traces_cover_exactly_the_games(golden: dict[str, Any]) -> None:
    assert set(golden) == set(NAMES)
    assert all(len(record["trace"]["observations"]) == STEPS // CHECK_EVERY for record in golden.values())


def choose_actions(game: str) -> list[int]:
    """Return actions that were best in random rollouts, so that a trace reaches more of a game than random ones."""
    env, lookahead, rng = single(game), single(game), np.random.default_rng(SEED)
    env.reset(seed=SEED)
    actions = []
    for _ in range(STEPS):
        returns = []
        for action in range(len(env.game.actions)):
            for _ in range(ROLLOUTS):
                lookahead.restore(env.snapshot())
                total, over = 0.0, False
                for later in [action, *random_actions(game, int(rng.integers(2**32)), LOOKAHEAD)]:
                    _, reward, over, truncated, _ = lookahead.step(int(later))
                    total += float(reward) + 0.01
                    if over or truncated:
                        break
                returns.append((total, action))
        actions.append(max(returns)[1])
        if any(env.step(actions[-1])[2:4]):
            env.reset()
    return actions


if __name__ == "__main__":
    records = {}
    for name in NAMES:
        chosen = choose_actions(name)
        records[name] = {"actions": "".join(map(str, chosen)), "trace": trace(name, chosen)}
        print(name, "ends", records[name]["trace"]["ends"])
    FILE.write_text(json.dumps(records, indent=1) + "\n")
