"""What of rlgames works on this machine, what is missing, and the command that brings it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from rlgames.engine.rendering import has_display
from rlgames.envs.chrome_dino.browser import BROWSERS, DEBIAN, DRIVERS
from rlgames.envs.mario import retro as nes_retro

CORE = {  # distribution -> the module that it brings
    "gymnasium": "gymnasium",
    "numpy": "numpy",
    "numba": "numba",
    "torch": "torch",
    "opencv-python-headless": "cv2",
    "tyro": "tyro",
    "rich": "rich",
    "matplotlib": "matplotlib",
    "pillow": "PIL",
    "safetensors": "safetensors",
}
EXTRAS = {
    "pong": {"ale-py": "ale_py"},
    "mario": {"gym-super-mario-bros": "gym_super_mario_bros", "nes-py": "nes_py"},
    "retro": {"gym-super-mario-bros": "gym_super_mario_bros", "stable-retro": "stable_retro"},
    "dino": {"selenium": "selenium", "websocket-client": "websocket"},
    "tensorboard": {"tensorboard": "tensorboard"},
    "video": {"imageio": "imageio", "imageio-ffmpeg": "imageio_ffmpeg", "moviepy": "moviepy"},
    "ray": {"ray": "ray"},
    "play": {"pygame-ce": "pygame"},
}
REMEDIES = {"stable-retro": nes_retro.REMEDY}  # where it is not the extra


class Finding(NamedTuple):
    name: str
    found: str
    remedy: str = ""
    broken: bool = False  # without it nothing works


def examine() -> Iterator[Finding]:
    yield Finding("rlgames", version("rlgames") or f"not installed: runs from {Path(__file__).parent}")
    yield Finding("python", f"{platform.python_version()} in {sys.prefix}")
    core = [dependency(name, module) for name, module in CORE.items()]
    yield from core
    for extra, modules in EXTRAS.items():
        yield from (optional(extra, name, module) for name, module in modules.items())
    yield from (program(what, names) for what, names in (("browser", BROWSERS), ("driver of the browser", DRIVERS)))
    if not any(finding.broken for finding in core):
        yield from machine()
    yield display()


def dependency(name: str, module: str) -> Finding:
    try:
        loaded = import_module(module)
    except Exception as error:  # noqa: BLE001  whatever an import fails with, the installation is broken
        reason = "missing" if find_spec(module) is None else f"broken: {type(error).__name__}: {error}"
        return Finding(name, " ".join(reason.split()), f"pip install --force-reinstall {name}", broken=True)
    return Finding(name, version(name) or getattr(loaded, "__version__", "found"))


def optional(extra: str, name: str, module: str) -> Finding:
    label = f"{name} (extra {extra})"
    if find_spec(module) is None:
        return Finding(label, "missing", REMEDIES.get(name) or f'pip install "rlgames[{extra}]"')
    return Finding(label, version(name) or "found")


def program(what: str, names: Sequence[str]) -> Finding:
    found = next(filter(None, map(shutil.which, names)), None)
    return Finding(f"{what} (extra dino)", found or "missing", "" if found else DEBIAN)


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None  # the module came with another distribution


def machine() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cores", f"{cores}, torch uses {torch.get_num_threads()} threads")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    yield Finding("device", f"GPU, {gpu}" if gpu else "CPU, torch sees no GPU")
    yield Finding("bfloat16", bfloat16())
    yield cache()


def bfloat16() -> str:
    from rlgames.networks.precision import CPUINFO, fast

    if fast(CPUINFO):
        return "faster than float32 on this CPU: what networks for large pictures compute in"
    return "works, but is not known to be faster than float32 on this CPU"


def cache() -> Finding:
    """Where Numba keeps the compiled games; without such a folder each start compiles them anew."""
    from rlgames.envs.registry import rules

    try:
        folder = rules("CartPole").loops[0].stats.cache_path  # pyright: ignore[reportFunctionMemberAccess]  Numba's
    except RuntimeError:  # Numba's, when it finds no folder that it may write
        return Finding(
            "compiled games", "cannot be kept: no folder may be written", "export NUMBA_CACHE_DIR=~/.cache/numba"
        )
    return Finding("compiled games", f"kept in {folder}")


def display() -> Finding:
    if has_display():
        return Finding("display", "there is one")
    return Finding("display", "none: no windows, so no rlgames play", "rlgames watch writes films")
