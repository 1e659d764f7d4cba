"""Modules that register games, agents and wrappers: imported by name, and in the processes that this one starts."""

from __future__ import annotations

import os
from importlib import import_module

IMPORTED_MODULES = "RLGAMES_IMPORT"  # environment variable: modules to import with rlgames, separated by commas


def import_registering(module: str) -> None:
    """Import a module, and let processes that this one starts, such as A3C's workers, import it with rlgames."""
    import_module(module)
    imported = list(filter(None, os.environ.get(IMPORTED_MODULES, "").split(",")))
    if module not in (*imported, "rlgames"):
        os.environ[IMPORTED_MODULES] = ",".join([*imported, module])


def is_missing(module: str, error: ModuleNotFoundError) -> bool:
    """Return whether `module` itself was not found, rather than one that it imports."""
    return bool(error.name) and f"{module}.".startswith(f"{error.name}.")


def import_remembered() -> None:
    """Import what a process that started this one has imported by `import_registering`."""
    for module in filter(None, os.environ.get(IMPORTED_MODULES, "").split(",")):
        import_module(module)
