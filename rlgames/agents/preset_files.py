"""Presets as files: JSON with the fields of a `Preset`, and the agent that its config is of.

    {
      "agent": "ppo",
      "game": "CatchBall",
      "steps": 300000,
      "envs": 64,
      "config": {"n_steps": 64, "learning_rate": 0.001},
      "pixels": null,
      "episodes": null,
      "rewards": {"scale": 0.5}
    }

`rlgames presets ppo CatchBall --json` prints one to edit. All but agent and steps may be left out: the game is a note
of what it was made for, settings have the defaults of the agent's config, of `Preset`, `Pixels`, ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from os import PathLike
from pathlib import Path
from typing import Any

from rlgames.agents.config import make_config
from rlgames.agents.registry import find
from rlgames.checkpoint.file import CheckpointError, open_regular
from rlgames.errors import InvalidTypeError, InvalidValueError, NotWritableError, UsageError, brief
from rlgames.presets.preset import Preset
from rlgames.schema import check_fields, from_plain
from rlgames.values import Count, check_value
from rlgames.wrappers import Pixels, Rewards, TrainingEpisodes

LARGEST = 1_000_000  # bytes of a file
FIELDS: dict[str, Any] = {
    "agent": str,
    "game": str | None,
    "steps": Any,
    "envs": Any,
    "config": dict,
    "pixels": dict | None,
    "rewards": dict | None,
    "episodes": dict | None,
}
DECLARATIONS: dict[str, type] = {"pixels": Pixels, "rewards": Rewards, "episodes": TrainingEpisodes}
REQUIRED = ("agent", "steps")


def load_preset(path: str | Path, agent: str | None = None) -> Preset:
    """Read a preset from a file, for `PPO("CatchBall", preset=...)` or `Training(..., preset=...)`.

    With `agent` it must be one of that agent. Raises ValueError or TypeError, in one line that names the file, the
    field and what is allowed, for anything that a preset may not say.
    """
    if not isinstance(path, str | PathLike):
        raise InvalidTypeError(f"expected the path of a preset file, got {brief(path)}")
    data = read_json(Path(path))
    with said_by_file(path):
        return preset_from_json(data, agent)


def save_preset(path: str | Path, preset: Preset, agent: str, game: str) -> None:
    """Write a preset to a file, with all settings of the agent's config."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(preset_to_json(preset, agent, game), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error.strerror or error}") from error


def preset_to_json(preset: Preset, agent: str, game: str) -> dict[str, Any]:
    """Return a preset as `load_preset` reads it, with all settings of the agent's config."""
    config = asdict(make_config(find(agent).Config, preset.config))
    data = asdict(preset) | {"agent": agent, "game": game, "config": config}
    return json.loads(json.dumps({name: data[name] for name in FIELDS}))  # tuples become lists


def preset_from_json(data: Any, agent: str | None = None) -> Preset:
    """Return the preset of a file, or of a run's config.json. Raises UsageError for anything that it may not say."""
    check_fields("a preset", data, FIELDS, tuple(name for name in FIELDS if name not in REQUIRED))
    own = data["agent"].lower()
    config_class = find(own).Config
    if agent is not None and own != agent.lower():
        raise InvalidValueError(f"is a preset of {own}, expected one of {agent.lower()}")
    settings = data.get("config", {})
    config = make_config(config_class, settings)
    numbers = {name: check_value(name, data[name], Count) for name in ("steps", "envs") if name in data}
    declared = {name: from_plain(kind, data[name]) for name, kind in DECLARATIONS.items() if data.get(name) is not None}
    return Preset(
        {field.name: getattr(config, field.name) for field in fields(config_class) if field.name in settings},
        **numbers,
        **declared,
    )


def read_json(path: Path) -> Any:
    try:
        with open_regular(path) as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        return json.loads(text)
    except FileNotFoundError:
        raise InvalidValueError(
            f"{path}: no such file: expected a preset, such as rlgames presets ppo CatchBall --json prints"
        ) from None
    except CheckpointError:
        raise InvalidValueError(f"{path}: is no regular file: expected a preset file") from None
    except json.JSONDecodeError as error:
        raise InvalidValueError(f"{path}, line {error.lineno}: is no JSON ({error.msg}): correct it there") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError too
        raise InvalidValueError(f"{path}: is no preset file ({' '.join(str(error).split())})") from error
    except OSError as error:
        raise InvalidValueError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def said_by_file(path: str | Path) -> Iterator[None]:
    """Name the file in errors about what it says."""
    try:
        yield
    except UsageError as error:
        kind = InvalidTypeError if isinstance(error, TypeError) else InvalidValueError
        raise kind(f"{path}: {error}") from error
