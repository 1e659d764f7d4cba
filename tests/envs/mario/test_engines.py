"""The engine "nes" equals "nes-py" after every frame: memory, picture, reward, termination, information.

Where nes-py is not installed, digests that it made stand in for it: `python tests/envs/mario/test_engines.py` records
them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlgames.envs.mario import game, make_env

DIGESTS = Path(__file__).with_name("digests.json")
STAGES = [f"{world}-{stage}" for world in range(1, 9) for stage in range(1, 5)]
LOST_STAGES = [f"{world}-{stage}" for world in range(1, 5) for stage in range(1, 5)]
STARTS: dict[str, dict[str, Any]] = {
    **{stage: {"stages": stage} for stage in STAGES},
    **{f"lost levels {stage}": {"stages": stage, "lost_levels": True} for stage in LOST_STAGES},
    **{f"version {version}": {"version": version} for version in range(4)},
    **{f"lost levels, version {version}": {"version": version, "lost_levels": True} for version in range(2)},
}
FRAMES = 150  # of a digest
needs_nes_py = pytest.mark.skipif(find_spec("nes_py") is None, reason="needs nes-py")

if find_spec("gym_super_mario_bros") is None:
    pytest.skip("needs the ROMs of gym-super-mario-bros", allow_module_level=True)


def play(options: dict[str, Any], engine: str, frames: int) -> Iterator[tuple[bytes, bytes, Any]]:
    """Yield memory, picture and results of every frame; buttons at random are held for 4 to 20 frames."""
    rng, held, action = np.random.default_rng(0), 0, 0
    with ExitStack() as stack:
        env: Any = make_env(game(**options, engine=engine, actions="complex"))
        stack.callback(env.close)
        obs, info = env.reset(seed=0)
        results: list[Any] = []
        for _ in range(frames):
            yield memory_of(env), obs.tobytes(), (results, sorted(info.items()))
            if held == 0:
                held, action = int(rng.integers(4, 20)), int(rng.choice([1, 2, 3, 4, 4, 4, 5, 6, 8, 10]))
            held -= 1
            obs, *results, info = env.step(action)
            if results[1]:
                obs, info = env.reset()


def memory_of(env: Any) -> bytes:
    if "engine=nes-py" in env.game.name:
        return bytes(env._mario.console.ram)
    return env._state.records["console"]["ram"][0].tobytes()


def digest(options: dict[str, Any], engine: str) -> str:
    digest = hashlib.sha256()
    for memory, picture, results in play(options, engine, FRAMES):
        digest.update(memory + picture + repr(results[0][:2]).encode())  # without the information, which may grow
    return digest.hexdigest()


@pytest.mark.parametrize("start", [s if s in STAGES else pytest.param(s, marks=pytest.mark.slow) for s in STARTS])
def test_frames_equal_recorded_ones(start: str) -> None:
    assert digest(STARTS[start], "nes") == json.loads(DIGESTS.read_text())[start]


@needs_nes_py
@pytest.mark.parametrize("stage", ["1-1", *(pytest.param(s, marks=pytest.mark.slow) for s in STAGES[1:])])
def test_frames_equal_those_of_nes_py(stage: str) -> None:
    """More than 20,000 frames in all; with an episode that begins again, so that the console is reset too."""
    frames = 150 if stage == "1-1" else 680
    sides = (play({"stages": stage}, engine, frames) for engine in ("nes", "nes-py"))
    for frame, (ours, theirs) in enumerate(zip(*sides, strict=True)):
        assert ours == theirs, f"frame {frame}"


if __name__ == "__main__":
    found = {start: digest(options, "nes-py") for start, options in STARTS.items()}
    DIGESTS.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(0)


@pytest.mark.parametrize("engine", ["nes", pytest.param("nes-py", marks=needs_nes_py)])
def test_noop_max_begins_with_frames_without_a_button(engine: str) -> None:
    options: dict[str, Any] = {"world": 1, "stage": 1, "engine": engine}
    with ExitStack() as stack:
        plain: Any = stack.enter_context(make_env(game(**options)))
        env: Any = stack.enter_context(make_env(game(**options, noop_max=5)))
        _, start = plain.reset(seed=0)
        moments = [memory_of(plain)]
        for _ in range(5):
            plain.step(0)
            moments.append(memory_of(plain))
        noops = []
        for seed in (*range(30), 0):
            assert env.reset(seed=seed)[1] == start
            noops.append(moments.index(memory_of(env)))
        assert set(noops) == set(range(6))
        assert noops[0] == noops[-1]
