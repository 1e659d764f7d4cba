"""Imports only point down: rlgames is built in floors, and no module knows of one above its own.

    5  rlgames/__init__.py                 the public face: anything, but the floors above 0 only on demand
    4  cli  commands  terminal  demo ...   what people type
    3  train  evaluate  plots  runs ...    drive agents: log, evaluate, checkpoint, resume, record, draw
    2  presets
    1  agents  checkpoint                  torch lives here and above only
    0  envs  wrappers                      heavy third parties only inside the function that needs them

`envs` and `agents` never import each other: they meet through Gymnasium's interface. `wrappers` stands alone. Imports
inside functions and under TYPE_CHECKING count like any other, and so does importlib.import_module on a literal; names
put together at run time are not seen.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "rlgames").rglob("*.py"))

FACE = "__init__"
FLOORS = {
    "envs": 0,
    "wrappers": 0,
    "agents": 1,
    "checkpoint": 1,
    "encoding": 1,
    "presets": 2,
    "train": 3,
    "evaluation": 3,
    "plots": 3,
    "runs": 3,
    "segments": 3,
    "journal": 3,
    "progress": 3,
    "recording": 3,
    "human": 3,
    "doctor": 3,
    "demo": 4,
    "terminal": 4,
    "commands": 4,
    "cli": 4,
    "__main__": 4,
    FACE: 5,
}
EXCEPTIONS = {  # (module, what it may import inside a function): why
    ("rlgames/agents/base.py", "presets"): "an id given instead of an environment is settled by the presets above",
    ("rlgames/agents/loading.py", "presets"): "as in base.py, and a checkpoint's task is read by the presets above",
    ("rlgames/cli.py", FACE): "its version",
}
HEAVY = {"ale_py", "cv2", "nes_py", "selenium", "stable_retro", "websocket"}


class Import(NamedTuple):
    name: str  # absolute and dotted, with the imported name at its end: rlgames.engine.vector_env.GameVectorEnv
    line: int
    eager: bool  # runs when the module is imported: not in a function, not under TYPE_CHECKING


def imports(tree: ast.AST, package: list[str], eager: bool = True) -> Iterator[Import]:
    """Every import below `tree`, a part of a module that lies in `package`."""
    match tree:
        case ast.Import(names=names, lineno=line):
            yield from (Import(alias.name, line, eager) for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level, lineno=line):
            origin = absolute("." * level + (module or ""), package)
            yield from (Import(f"{origin}.{alias.name}", line, eager) for alias in names)
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
            lineno=line,
        ):
            yield Import(absolute(name, package), line, eager)
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), body=body, orelse=orelse):
            for statement in body:
                yield from imports(statement, package, eager=False)
            for statement in orelse:
                yield from imports(statement, package, eager)
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            eager = False
    for child in ast.iter_child_nodes(tree):
        yield from imports(child, package, eager)


def absolute(name: str, package: list[str]) -> str:
    """`name` with its leading dots, if any, replaced by the package that they stand for."""
    bare = name.lstrip(".")
    dots = len(name) - len(bare)
    above = package[: len(package) - dots + 1] if dots else []
    return ".".join([*above, bare] if bare else above)


def room(parts: list[str]) -> str:
    """What FLOORS knows a dotted name of rlgames by; the face for what is no module, such as rlgames.PPO."""
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else FACE


def violations(module: str, source: str) -> list[str]:
    """What `source` imports against the rules above if it stands in `module`, such as "rlgames/envs/batch.py"."""
    *package, stem = Path(module).with_suffix("").parts
    here = package[1] if len(package) > 1 else stem
    if here not in FLOORS:
        return [f"{module} stands on no floor yet: place {here!r} in FLOORS of tests/test_floors.py"]
    floor = FLOORS[here]

    def offence(there: str, eager: bool) -> str | None:
        if (module, there) in EXCEPTIONS:
            return "only inside a function" if eager else None
        if here == FACE:
            return "only on demand: importing rlgames stays light" if eager and FLOORS[there] > 0 else None
        if FLOORS[there] > floor:
            return f"imports point down, and {there} is on floor {FLOORS[there]}, {here} on {floor}"
        if here == "wrappers" and there != "wrappers":
            return "wrappers import no other part of rlgames"
        if {here, there} == {"envs", "agents"}:
            return "games and agents never import each other"
        return None

    found = []
    for name, line, eager in imports(ast.parse(source), package):
        top, *_ = parts = name.split(".")
        if top == "rlgames":
            reason = offence(room(parts), eager)
        elif floor == 0 and top == "torch":
            reason = "torch lives on floor 1 and above"
        elif floor == 0 and top in HEAVY and eager:
            reason = "only inside the function that needs it"
        else:
            reason = None
        if reason:
            found.append(f"{module}:{line} imports {name}: {reason}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str):
    assert not violations(module, (ROOT / module).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("module", "name"), EXCEPTIONS)
def test_each_exception_is_still_needed(module: str, name: str):
    source = (ROOT / module).read_text(encoding="utf-8")
    found = imports(ast.parse(source), list(Path(module).parent.parts))
    assert name in {room(entry.name.split(".")) for entry in found if entry.name.startswith("rlgames.")}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rlgames/envs/cave.py", "from rlgames.engine.vector_env import Game\nfrom . import screen\nimport numpy"),
        ("rlgames/envs/__init__.py", "from rlgames.wrappers.pixels import Pixels\nfrom . import cave"),
        ("rlgames/envs/pong.py", "def make():\n    import ale_py"),
        ("rlgames/envs/pong.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ale_py"),
        ("rlgames/wrappers/pixels.py", "from . import rewards\nimport gymnasium"),
        (
            "rlgames/agents/ppo.py",
            "import torch, cv2\nfrom rlgames.agents.base import Agent\nfrom .. import checkpoint",
        ),
        ("rlgames/agents/base.py", "def settle(id):\n    from rlgames.presets import preset"),
        ("rlgames/presets/__init__.py", "from rlgames.agents.ppo import PPOConfig\nfrom rlgames import envs"),
        ("rlgames/train.py", "from rlgames import agents, envs, presets\nfrom .evaluation import evaluate"),
        ("rlgames/cli.py", "from rlgames.runs.training import train"),
        (
            "rlgames/__init__.py",
            "from rlgames.envs import make\ndef __getattr__(name):\n    from .agents.ppo import PPO",
        ),
        ("rlgames/__init__.py", "import typing\nif typing.TYPE_CHECKING:\n    from rlgames.runs.training import train"),
    ],
)
def test_the_checker_lets_pass(module: str, source: str):
    assert violations(module, source) == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        (
            "rlgames/envs/cave.py",
            "from rlgames.agents.base import Agent",
            "cave.py:1 imports rlgames.agents.base.Agent",
        ),
        (
            "rlgames/envs/cave.py",
            "def f():\n    from rlgames import agents",
            ":2 imports rlgames.agents: imports point",
        ),
        ("rlgames/envs/cave.py", "import rlgames.runs.training as t", "train is on floor 3, envs on 0"),
        ("rlgames/envs/cave.py", "from ..presets import preset", "presets is on floor 2"),
        ("rlgames/envs/__init__.py", "from .. import train", "train is on floor 3"),
        ("rlgames/envs/cave.py", "from rlgames import make", "__init__ is on floor 5"),
        ("rlgames/envs/cave.py", "import rlgames", "__init__ is on floor 5"),
        ("rlgames/envs/cave.py", "def f():\n    import torch.nn", "torch lives on floor 1"),
        ("rlgames/wrappers/pixels.py", "from torch import nn", "torch lives on floor 1"),
        ("rlgames/wrappers/pixels.py", "import cv2", "only inside the function"),
        ("rlgames/envs/dino.py", "class Dino:\n    from selenium import webdriver", "only inside the function"),
        (
            "rlgames/envs/dino.py",
            "try:\n    import websocket\nexcept ImportError:\n    pass",
            "only inside the function",
        ),
        ("rlgames/wrappers/pixels.py", "from rlgames.envs import batch", "wrappers import no other part"),
        ("rlgames/agents/ppo.py", "import rlgames.engine.vector_env", "never import each other"),
        ("rlgames/agents/ppo.py", "def f():\n    from ..envs import make", "never import each other"),
        ("rlgames/agents/ppo.py", "def f():\n    from rlgames.presets import preset", "presets is on floor 2"),
        ("rlgames/agents/base.py", "from rlgames.presets import preset", "only inside a function"),
        ("rlgames/agents/base.py", "def f():\n    from rlgames.runs.training import train", "train is on floor 3"),
        ("rlgames/checkpoint.py", "if True:\n    from . import cli", "cli is on floor 4"),
        (
            "rlgames/presets/cave.py",
            "import importlib\nimportlib.import_module('rlgames.runs.training')",
            "train is on floor 3",
        ),
        ("rlgames/presets/cave.py", "f = lambda: __import__('rlgames.cli.main')", "cli is on floor 4"),
        ("rlgames/presets/cave.py", "import_module('..cli', __package__)", "cli is on floor 4"),
        (
            "rlgames/presets/cave.py",
            "if TYPE_CHECKING:\n    from rlgames.runs.training import train",
            "train is on floor 3",
        ),
        ("rlgames/__init__.py", "from rlgames.agents.ppo import PPO", "only on demand"),
        ("rlgames/__init__.py", "if TYPE_CHECKING:\n    pass\nelse:\n    from .train import train", "only on demand"),
        ("rlgames/utils.py", "", "place 'utils' in FLOORS"),
        ("rlgames/misc/tools.py", "", "place 'misc' in FLOORS"),
    ],
)
def test_the_checker_objects(module: str, source: str, expected: str):
    [message] = violations(module, source)
    assert expected in message


def test_importing_rlgames_stays_light():
    heavy = {*HEAVY, "torch", "matplotlib"}
    script = f"import rlgames, sys; print(*sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr
