"""`rlgames doctor`: check the installation: versions, missing extras, and how to install them.

Only the standard library is imported before the packages that rlgames requires have been found.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from rlgames.cli.main import describe
from rlgames.cli.terminal import print_entries
from rlgames.errors import PACKAGES, UsageError

MODULES = {name: module for module, name in PACKAGES.items()} | {  # by distribution, where the names differ
    "pygame-ce": "pygame",
}
FOR_DEVELOPERS = ("all", "bench", "dev", "docs", "nes-py")  # extras that are not listed


def doctor(argv: list[str], _: list[str]) -> int | None:
    """Run the command, which has no options; its exit status is 1 if rlgames cannot work here."""
    if argv[:1] in (["-h"], ["--help"]):
        return print(f"usage: rlgames doctor [-h]\n\n{describe('doctor')}")
    if argv:
        raise UsageError(f"Unrecognized options: {' '.join(argv)} (see rlgames doctor --help)")
    findings = list(examine())
    print_entries("This machine", [(f.name, f.found, f.remedy and f"-> {f.remedy}") for f in findings])
    return int(any(finding.broken for finding in findings))


class Finding(NamedTuple):
    name: str
    found: str
    remedy: str = ""
    broken: bool = False  # nothing works without it


def examine() -> Iterator[Finding]:
    """Yield what is installed and what is missing, with its remedy."""
    yield Finding("rlgames", version("rlgames") or f"not installed: runs from {Path(__file__).parents[1]}")
    yield Finding("python", f"{platform.python_version()} in {sys.prefix}")
    required = requirements()
    core = [dependency(name) for name, extra in required if extra is None]
    core = core or [dependency(name) for name in PACKAGES.values()]  # rlgames is not installed
    yield from core
    extras = [(name, extra) for name, extra in required if extra is not None]
    if any(finding.broken for finding in core):
        yield from (optional(name, extra) for name, extra in extras)
    else:
        yield from machine(extras)


def requirements() -> list[tuple[str, str | None]]:
    """Return the distributions that rlgames requires, each with its extra, if any; nothing if it is not installed."""
    try:
        required = importlib.metadata.requires("rlgames") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for requirement in required:
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()
        extra = re.search(r"extra == [\'\"]([\w-]+)[\'\"]", requirement)
        if name != "rlgames" and (extra is None or extra[1] not in FOR_DEVELOPERS):
            found.append((name, extra and extra[1]))
    return found


def module_name(distribution: str) -> str:
    return MODULES.get(distribution, distribution.replace("-", "_"))


def dependency(name: str) -> Finding:
    module = module_name(name)
    try:
        loaded = import_module(module)
    except Exception as error:  # noqa: BLE001  any exception of an import means that the installation is broken
        reason = "missing" if find_spec(module) is None else f"broken: {type(error).__name__}: {error}"
        return Finding(name, " ".join(reason.split()), f"pip install --force-reinstall {name}", broken=True)
    return Finding(name, version(name) or getattr(loaded, "__version__", "found"))


def optional(name: str, extra: str) -> Finding:
    label = f"{name} (extra {extra})"
    if find_spec(module_name(name)) is None:
        return Finding(label, "missing", f'pip install "rlgames[{extra}]"')
    return Finding(label, version(name) or "found")


def browser() -> Finding:
    chrome_dino = import_module("rlgames.envs.chrome_dino.browser")
    found = next(filter(None, map(shutil.which, chrome_dino.BROWSERS)), None)
    return Finding("browser (ChromeDino)", found or "missing", "" if found else chrome_dino.DEBIAN)


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None  # its module may come with another distribution


def machine(extras: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Yield what rlgames itself, torch and Numba find here; all that is required is installed."""
    yield from (optional(name, extra) for name, extra in extras)
    yield rom()
    yield browser()
    torch = import_module("torch")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cores", f"{cores}; torch's threads: 1 for small networks, {torch.get_num_threads()} for large ones")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    yield Finding("device", f"GPU, {gpu}" if gpu else "CPU, torch sees no GPU")
    precision = import_module("rlgames.networks.precision")
    if precision.bfloat16_is_fast(precision.CPUINFO):
        yield Finding("bfloat16", "faster than float32 on this CPU: used by networks for large pictures")
    else:
        yield Finding("bfloat16", "works, but is not known to be faster than float32 on this CPU")
    yield numba_cache()
    yield display()


def rom() -> Finding:
    """Find the ROM that Mario needs."""
    remedy = import_module("rlgames.envs.mario.cartridge").REMEDY
    missing = find_spec("gym_super_mario_bros") is None
    return Finding("Mario's ROM", "missing" if missing else "found", remedy if missing else "")


def numba_cache() -> Finding:
    """Find where Numba keeps the compiled games; without such a folder every start compiles them again."""
    folder = import_module("rlgames.envs.registry").load_game("CartPole").loops.reset.stats.cache_path
    if folder is None:
        return Finding("compiled games", "not kept: no folder is writable", "export NUMBA_CACHE_DIR=~/.cache/numba")
    return Finding("compiled games", f"kept in {folder}")


def display() -> Finding:
    if import_module("rlgames.engine.rendering").has_display():
        return Finding("display", "found")
    return Finding("display", "none: no windows, so no rlgames play", "rlgames watch writes recordings")
