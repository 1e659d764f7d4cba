"""Recorded games: they fail when a rule, the random stream or a picture changes, meant or not.

After a change that is meant, or for a new game: python tests/envs/test_golden.py
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.games import NAMES, random_actions, single

FILE = Path(__file__).parent / "golden_traces.json"
SEED, STEPS, EVERY = 2024, 400, 50  # a checksum for so many steps
LOOK_AHEAD, TRIES = 30, 8


def trace(game: str, actions: list[int]) -> dict[str, Any]:
    """Checksums of pictures; numbers as they are, because the last digit of a sine is the processor's own."""
    env = single(game)
    obs, _ = env.reset(seed=SEED)
    pictures, rewards, ends, scores, checksum = [], 0.0, [], [], 0
    numbers = np.issubdtype(obs.dtype, np.floating)
    for step, action in enumerate(actions, 1):
        obs, reward, terminated, truncated, info = env.step(action)
        rewards += float(reward)
        checksum = zlib.crc32(obs.tobytes(), checksum)
        if step % EVERY == 0:
            pictures.append([round(float(x), 5) for x in obs] if numbers else checksum)
        if terminated or truncated:
            ends.append(step)
            scores.append(info["score"])
            obs, _ = env.reset()
    return {"observations": pictures, "rewards": rewards, "ends": ends, "scores": scores}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def test_the_game_is_the_recorded_one(game: str, golden: dict[str, Any]) -> None:
    assert game in golden, f"no recording of {game}: run python {Path(__file__).name}"
    actions, expected = [int(digit) for digit in golden[game]["actions"]], golden[game]["trace"]
    seen = trace(game, actions)
    for ours, recorded in zip(seen["observations"], expected["observations"], strict=True):
        assert ours == pytest.approx(recorded, rel=0, abs=2e-5)
    assert {**seen, "observations": None} == {**expected, "observations": None}


def test_all_recordings_are_of_games(golden: dict[str, Any]) -> None:
    assert set(golden) == set(NAMES)
    assert all(len(record["trace"]["observations"]) == STEPS // EVERY for record in golden.values())


def skilled(game: str) -> list[int]:
    """Actions of a player who tries each one and then plays on at random, so that the recording gets somewhere."""
    env, ahead, chance = single(game), single(game), np.random.default_rng(SEED)
    env.reset(seed=SEED)
    actions = []
    for _ in range(STEPS):
        best = []
        for action in range(len(env.game.actions)):
            for _ in range(TRIES):
                ahead.restore(env.snapshot())
                total, over = 0.0, False
                for later in [action, *random_actions(game, int(chance.integers(2**32)), LOOK_AHEAD)]:
                    _, reward, over, truncated, _ = ahead.step(int(later))
                    total += float(reward) + 0.01
                    if over or truncated:
                        break
                best.append((total, action))
        actions.append(max(best)[1])
        if any(env.step(actions[-1])[2:4]):
            env.reset()
    return actions


if __name__ == "__main__":
    records = {}
    for name in NAMES:
        chosen = skilled(name)
        records[name] = {"actions": "".join(map(str, chosen)), "trace": trace(name, chosen)}
        print(name, "ends", records[name]["trace"]["ends"])
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(records, indent=1) + "\n")
