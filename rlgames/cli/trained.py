"""`rlgames evaluate`, `export` and `watch`: the commands on trained agents; `commands` has their options."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from rlgames import go_explore as ways
from rlgames.agents.base import Agent
from rlgames.agents.registry import load
from rlgames.checkpoint import weights_sha256
from rlgames.cli.commands import Evaluate, Export, Page, Watch
from rlgames.cli.options import check_device
from rlgames.cli.terminal import status, wrap
from rlgames.errors import NotWritableError, UsageError
from rlgames.evaluation import UNSEEN_SEED, Evaluation, evaluate
from rlgames.networks.threads import torch_threads
from rlgames.recording import record, video_writer_class
from rlgames.runs.directory import EXPORTED, RunDirectory, find_checkpoint, read_rows, write_atomically
from rlgames.web.live import watch_live
from rlgames.web.page import build_page, zoo_agents


def evaluate_command(options: Evaluate) -> None:
    path, agent = load_trained(options.path, options.game, options.device)
    result, facts = evaluate_agent(agent, options)
    lengths = result.lengths
    if options.json:
        return print(json.dumps({"path": str(path), **facts, "lengths": lengths}))
    print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
    print_score(result)
    print(f"length  mean {sum(lengths) / len(lengths):,.1f} agent steps")


def evaluate_agent(agent: Agent, options: Evaluate | Export) -> tuple[Evaluation, dict[str, Any]]:
    """Evaluate an agent as the options say; return the results, and with the agent as JSON."""
    deterministic, limit = not options.sample, options.max_steps
    seed = UNSEEN_SEED if options.seed is None else options.seed
    with status("playing"), torch_threads(options.threads):
        result = evaluate(
            agent, episodes=options.episodes, seed=seed, deterministic=deterministic, max_episode_steps=limit
        )
    return result, evaluation_json(agent, result, seed, deterministic, limit)


def print_score(result: Evaluation) -> None:
    """Print the scores of an evaluation for people."""
    (low, high), n = result.interval, len(result.scores)
    print(f"score   mean {result.mean:,.1f}, 95% interval {low:,.1f} to {high:,.1f}, of {n} episodes")
    print(
        f"        median {result.median:,.1f}, worst tenth {result.worst_tenth:,.1f}, "
        f"lowest {min(result.scores):,.1f}, highest {max(result.scores):,.1f}"
    )
    if result.wins is not None:
        print(f"goal    reached in {result.wins} of {n} episodes ({result.goal_share:.0%})")
    if result.capped:
        print(f"limit   {result.capped} of {n} episodes ({result.limit_share:.0%}) truncated by --max-steps")


def evaluation_json(
    agent: Agent, result: Evaluation, seed: int, deterministic: bool, max_steps: int | None
) -> dict[str, Any]:
    """Return a trained agent and its evaluation as JSON."""
    return {
        "agent": agent.name,
        "game": str(agent.task),
        "step": agent.step,
        "episodes": len(result.scores),
        "seed": seed,
        "deterministic": deterministic,
        "max_steps": max_steps,
        "capped": result.capped,
        "wins": result.wins,
        "goal_share": result.goal_share,
        "limit_share": result.limit_share,
        "mean": result.mean,
        "interval": list(result.interval),
        "median": result.median,
        "worst_tenth": result.worst_tenth,
        "std": result.std,
        "min": min(result.scores),
        "max": max(result.scores),
        "scores": result.scores,
        "weights_sha256": weights_sha256(agent.net.state_dict()),
    }


def export_command(options: Export) -> None:
    path, agent = load_trained(options.path, None, options.device)
    if (options.out / EXPORTED).exists() and not options.overwrite:
        raise UsageError(f"{options.out} holds an agent already: choose another folder, or give --overwrite")
    result, facts = evaluate_agent(agent, options)
    card = agent.header() | {"evaluation": facts}
    times = read_rows(RunDirectory(path.resolve().parent.parent).times)  # empty outside of a run's directory
    if seconds := [row["seconds"] for row in times if row["step"] <= agent.step]:
        card["training_seconds"] = max(seconds)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        agent.save(options.out / EXPORTED, weights_only=True)
        write_atomically(options.out / "card.json", json.dumps(card, indent=2) + "\n")
    except OSError as error:
        raise NotWritableError(f"{options.out} cannot be written: {error}") from error
    print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
    print_score(result)
    print(f"weights {options.out / EXPORTED} ({(options.out / EXPORTED).stat().st_size / 1e3:,.0f} kB)")
    print(f"card    {options.out / 'card.json'}")


def watch_command(options: Watch) -> None:
    if options.path.suffix == ways.SUFFIX:
        return watch_way(options)
    path, agent = load_trained(options.path, options.game, options.device)
    if options.live:
        seed, deterministic = options.seed or 0, not options.sample
        with torch_threads(options.threads or 1):  # one observation at a time
            return watch_live(agent, host=options.host, port=options.port, seed=seed, deterministic=deterministic)
    out = options.film or (options.path / "film.gif" if options.path.is_dir() else path.with_suffix(".gif"))
    video_writer_class(out)
    with status("recording"), torch_threads(options.threads):
        recording = record(
            *(agent, out),
            episodes=options.episodes,
            seed=options.seed,
            deterministic=not options.sample,
            seconds=options.seconds,
            size=options.size,
            captions=not options.no_captions,
        )
    print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
    cut = f", cut off after {options.seconds:g} s: --seconds makes it longer" if recording.cut else ""
    print(f"score      {', '.join(f'{score:,.1f}' for score in recording.scores)}{cut}")
    if recording.candidates:
        played = ", ".join(f"{score:,.1f}" for score in recording.candidates)
        print(wrap(f"episode    seed {recording.seed}, the median of {played} with seeds 0 to 4", " " * 11))
    size = recording.path.stat().st_size / 1e3
    print(f"recording  {recording.path} ({recording.seconds:.1f} s, {size:,.0f} kB)")


def watch_way(options: Watch) -> None:
    """Record a way of `rlgames explore`; those options of `watch` that choose an agent's actions do not matter."""
    if options.live:
        raise UsageError(f"{options.path}: a way of rlgames explore plays as a film, not live: leave out --live")
    way = ways.Way.load(options.path)
    out = options.film or options.path.with_suffix(".gif")
    video_writer_class(out)
    with status("recording"):
        recording = record(
            *(ways.Replay(way), out, way.game),
            seed=way.seed,
            seconds=options.seconds,
            size=options.size,
            captions=not options.no_captions,
        )
    print(f"{options.path}: {len(way.actions):,} steps on {way.game}")
    print(f"score      {recording.scores[0]:,.1f}")
    print(f"recording  {recording.path} ({recording.seconds:.1f} s, {recording.path.stat().st_size / 1e3:,.0f} kB)")


def page_command(options: Page) -> None:
    for line in build_page(options.out, options.agents or zoo_agents()):
        print(wrap(line, "  "))
    print(f"serve it with: python -m http.server --directory {shlex.quote(str(options.out))}")


def load_trained(path: Path, game: str | None, device: str) -> tuple[Path, Agent]:
    """Return the checkpoint of `path`, and its agent with a game to play."""
    check_device(device)
    path = find_checkpoint(path)
    agent = load(path, game, device=device, weights_only=True)
    if agent.task is None:
        raise UsageError(f"{path}: its agent was not made from a game's name: say what to play with --game")
    return path, agent
