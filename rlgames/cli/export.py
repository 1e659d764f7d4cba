"""`rlgames export`: share a trained agent as a folder of its weights and a card, which says how it was trained.

Or as an ONNX file, for other programs.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlgames.agents.registry import load
from rlgames.checkpoint.file import config_to_json
from rlgames.cli.commands import Export
from rlgames.cli.terminal import status
from rlgames.cli.trained import evaluate_agent, load_trained, print_score
from rlgames.envs.task import Task
from rlgames.errors import NotWritableError, UsageError
from rlgames.networks.threads import torch_threads
from rlgames.onnx import export_onnx
from rlgames.presets.lookup import find_preset
from rlgames.runs.directory import EXPORTED, EXTENDED_FROM, MACHINES, RunDirectory, read_rows, write_atomically
from rlgames.runs.training import ResolvedTraining, Training
from rlgames.schema import fill_in_defaults
from rlgames.zoo.manifest import Card
from rlgames.zoo.weights import file_sha256

CARD = "card.json"
OPTIONS = (  # of `rlgames train`, besides agent, game and config; the settings of a run have their names
    *("steps", "envs", "seed", "device", "log_every", "evaluate_every", "evaluate_episodes", "evaluate_max_steps"),
    *("save_every", "start", "threads"),
)
ALWAYS = ("seed", "threads")  # are in every command


def export_command(options: Export, out: Path) -> None:
    path, agent, _ = load_trained(options.path, options.game, options.device)
    file = out / EXPORTED
    if file.exists() and not options.overwrite:
        raise UsageError(f"{out} holds an agent already: choose another folder, or give --overwrite")
    trained = load(path, device=options.device, weights_only=True)  # on the game that it was trained on
    facts = describe_training(path, trained.step)
    result, evaluation = evaluate_agent(agent, options)
    try:
        out.mkdir(parents=True, exist_ok=True)
        trained.save(file, weights_only=True)
        size, sha256 = file.stat().st_size, file_sha256(file)
        card = Card(**trained.header(), **facts, bytes=size, sha256=sha256, evaluation=evaluation)
        write_atomically(out / CARD, json.dumps(asdict(card), indent=2) + "\n")
    except OSError as error:
        raise NotWritableError(f"{out} cannot be written: {error}") from error
    print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
    print_score(result)
    print(f"weights {file} ({size / 1e3:,.0f} kB)")
    print(f"card    {out / CARD}")


def export_onnx_command(options: Export) -> None:
    path, agent, _ = load_trained(options.path, options.game, options.device)
    out = options.out or (options.path / "agent.onnx" if options.path.is_dir() else path.with_suffix(".onnx"))
    if out.suffix.lower() != ".onnx":
        raise UsageError(f"expected a file named *.onnx, got {str(out)!r}")
    if out.exists() and not options.overwrite:
        raise UsageError(f"{out} exists already: choose another file, or give --overwrite")
    with status("exporting and comparing with torch"), torch_threads(options.threads):
        exported = export_onnx(agent, out)
    print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
    print(f"network {out} ({out.stat().st_size / 1e3:,.0f} kB), with what it expects in its metadata")
    print(
        f"checked by ONNX Runtime on {exported.observations:,} observations of the game: differs from torch by"
        f" {exported.difference:.1e} at most"
    )


def describe_training(path: Path, step: int) -> dict[str, Any]:
    """Return what a card says of the training that led to the checkpoint `path`; None where nothing is known."""
    facts: dict[str, Any] = dict.fromkeys(("command", "checkpoint", "training", "training_seconds", "run_seconds"))
    facts[MACHINES], facts[EXTENDED_FROM] = [], []
    run, exported = RunDirectory(path.resolve().parent.parent), path.with_name(CARD)
    if run.config.exists():
        settings = fill_in_defaults(ResolvedTraining, run.read_config())
        times = read_rows(run.times)
        facts["command"] = training_command(settings)
        facts["checkpoint"] = path.stem if path.resolve() in (run.best, run.final) else None
        facts["training"] = {name: settings[name] for name in OPTIONS if name != "seed"}
        facts["training_seconds"] = max((row["seconds"] for row in times if row["step"] <= step), default=None)
        facts["run_seconds"] = max((row["seconds"] for row in times), default=None)
        facts[MACHINES], facts[EXTENDED_FROM] = settings.get(MACHINES, []), settings.get(EXTENDED_FROM, [])
    elif path.name == EXPORTED and exported.exists():
        card = json.loads(exported.read_text())
        facts |= {name: card[name] for name in facts if name in card}
    return facts


def training_command(settings: dict[str, Any]) -> str | None:
    """Return the command that repeats a run.

    None if none does: its steps were changed while it ran, or its preset has preprocessing, rewards or episodes that no
    option gives.
    """
    if settings.get(EXTENDED_FROM):
        return None
    training = Training(settings["agent"], settings["game"])
    default = config_to_json(training.resolve())
    if settings["preset"]:
        own = config_to_json(find_preset(training.agent, Task.parse(training.game)))
        if any(settings["preset"][name] != own[name] for name in ("pixels", "rewards", "episodes")):
            return None
    scheduled = config_to_json(Training(training.agent, training.game, steps=settings["steps"]).resolve())
    default |= {name: scheduled[name] for name in ("log_every", "evaluate_every", "save_every")}
    line = ["rlgames", "train", settings["agent"], settings["game"]]
    for name in OPTIONS:
        if name in ALWAYS or settings[name] != default[name]:
            line += [f"--{name.replace('_', '-')}", str(settings[name])]
    for name, value in settings["config"].items():
        if value != default["config"][name]:
            line += config_option(f"config.{name.replace('_', '-')}", value)
    return shlex.join(line)


def config_option(name: str, value: Any) -> list[str]:
    """Return the arguments that give a field of a config this value, which is not its default."""
    if isinstance(value, bool):
        parent, _, field = name.rpartition(".")
        return [f"--{name}"] if value else [f"--{parent}.no-{field}"]
    return [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
