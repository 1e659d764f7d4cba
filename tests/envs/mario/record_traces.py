"""Record episodes of the unmodified gym-super-mario-bros: traces.json, and flag_trace.json, an episode to the flag.

It needs old packages, hence a virtual environment of its own:

    python3.11 -m venv old
    old/bin/pip install "numpy==1.26.4" gym-super-mario-bros==7.4.0 nes-py==8.2.1 gym==0.26.2 pyglet==1.5.21
    old/bin/python tests/envs/mario/record_traces.py
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from gym_super_mario_bros.smb_env import SuperMarioBrosEnv

CODES = [0, 128, 129, 130, 131, 1, 64, 65, 66, 67, 32, 16]
CHANCES = [0.02, 0.2, 0.2, 0.2, 0.22, 0.02, 0.02, 0.02, 0.02, 0.02, 0.04, 0.02]
SIMPLE = [0, 128, 129, 130, 131, 1, 64]  # codes of SIMPLE_MOVEMENT's actions
GRAPHICS = ["vanilla", "downsample", "pixel", "rectangle"]  # of versions 0 to 3
OPTIONS = [
    *({"version": version} for version in range(4)),
    *({"world": world, "stage": stage} for world, stage in ((1, 1), (1, 2), (4, 1), (8, 4))),
    {"lost_levels": True},
    {"lost_levels": True, "world": 3, "stage": 2},
]


def record(options: dict, frames: int) -> dict:
    target = (options["world"], options["stage"]) if "world" in options else None
    env = SuperMarioBrosEnv(GRAPHICS[options.get("version", 0)], options.get("lost_levels", False), target)
    rng, digest = np.random.RandomState(0), hashlib.sha256()
    total, ends, held, info = 0, 0, 0, {}
    digest.update(np.ascontiguousarray(env.reset()).tobytes())
    for frame in range(frames):
        if frame % 6 == 0:
            held = CODES[int(rng.choice(12, p=CHANCES))]
        obs, reward, done, info = env.step(held)
        info = add_step(digest, reward, done, info)
        if frame % 10 == 0:
            digest.update(np.ascontiguousarray(obs).tobytes())
        total, ends = total + int(reward), ends + bool(done)
        if done:
            digest.update(np.ascontiguousarray(env.reset()).tobytes())
    env.close()
    results = {"reward": total, "ends": ends, "info": info, "sha256": digest.hexdigest()}
    return {"options": options, "frames": frames, **results}


def record_flag(path: Path) -> None:
    """Complete the trace of an episode to the flag; `held` are actions of SIMPLE_MOVEMENT, each for four frames."""
    trace = json.loads(path.read_text())
    env = SuperMarioBrosEnv("vanilla", False, (1, 1))
    digest, total, frames, done, info = hashlib.sha256(), 0, 0, False, {}
    obs = env.reset()
    digest.update(np.ascontiguousarray(obs).tobytes())
    for action in "".join(trace["held"]):
        for _ in range(4):
            if not done:
                obs, reward, done, info = env.step(SIMPLE[int(action)])
                info = add_step(digest, reward, done, info)
                total, frames = total + int(reward), frames + 1
    digest.update(np.ascontiguousarray(obs).tobytes())
    env.close()
    trace |= {"frames": frames, "reward": total, "info": info, "sha256": digest.hexdigest()}
    path.write_text(json.dumps(trace, indent=1) + "\n")


def add_step(digest: Any, reward: Any, done: Any, info: dict) -> dict:
    """Add a step to the digest; return its information with Python's numbers instead of NumPy's."""
    info = {key: to_python(key, value) for key, value in info.items()}
    digest.update(json.dumps([int(reward), bool(done), info], sort_keys=True).encode())
    return info


def to_python(key: str, value: Any) -> Any:
    if isinstance(value, str):
        return value
    return bool(value) if key == "flag_get" else int(value)


if __name__ == "__main__":
    record_flag(Path(__file__).with_name("flag_trace.json"))
    traces = [record(options, 4000 if options == {"version": 0} else 800) for options in OPTIONS]
    Path(__file__).with_name("traces.json").write_text(json.dumps(traces, indent=1))
