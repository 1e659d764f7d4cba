"""`rlgames reproduce`: train an agent of the zoo again, and say whether the same comes out."""

from __future__ import annotations

import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rlgames.agents.registry import find, load
from rlgames.checkpoint import weights_sha256
from rlgames.cli.commands import Reproduce
from rlgames.cli.terminal import print_fields, status
from rlgames.envs.task import Task
from rlgames.errors import UsageError
from rlgames.evaluation import evaluate
from rlgames.presets.lookup import resolve
from rlgames.presets.preset import Preset
from rlgames.runs.directory import RunDirectory
from rlgames.runs.machine import describe_machine
from rlgames.runs.training import Training, open_session
from rlgames.schema import from_plain
from rlgames.zoo.manifest import Card, find_card
from rlgames.zoo.table import number


def reproduce_command(options: Reproduce) -> int:
    """Return 0 if the weights are the same, or else the mean score lies within the recorded interval; else 1."""
    name, card = options.name, find_card(options.name)
    training = as_training(name, card)
    out = options.out or Path("runs") / f"reproduce-{name}"
    run, seconds = RunDirectory(out), 0.0
    print(card.command or "training with the recorded settings,", flush=True)
    for steps in remaining_steps(card, training, run):
        resume = run.config.exists()
        with status("making the environments", options.quiet):
            session = open_session(replace(training, steps=steps), out, resume=resume, quiet=options.quiet)
        with closing(session):
            print(f"in {out}" + (f", resuming at step {session.agent.step:,}" if resume else ""), flush=True)
            result = session.run()
        if result.stopped:
            print(f"stopped by {result.stopped} at step {result.agent.step:,}; rlgames reproduce {name} continues")
            return 128 + signal.Signals[result.stopped]
        seconds += result.seconds
    return compare(card, run, seconds)


def remaining_steps(card: Card, training: Training, run: RunDirectory) -> list[int]:
    """Return the steps of the run, those from which it was extended first; of a run that was begun those to come."""
    steps = [*card.extended_from, training.steps or 0]
    begun = run.read_config().get("steps") if run.config.exists() else None
    return steps[steps.index(begun) :] if begun in steps else steps


def as_training(name: str, card: Card) -> Training:
    """Return the training that led to an agent of the zoo. Raises UsageError if it is not recorded."""
    if card.training is None or card.checkpoint is None:
        raise UsageError(f"{name} cannot be trained again: how it was trained is not recorded")
    config, task = from_plain(find(card.agent).Config, card.config), Task.from_json(card.task)
    preset = None
    if resolve(card.agent, str(task))[1] != task:  # this version's preset has other preprocessing, rewards or episodes
        declared = {"pixels": task.pixels, "rewards": task.rewards, "episodes": task.episodes}
        preset = Preset(card.config, card.training["steps"], card.num_envs, **declared)
    return Training(card.agent, str(task), config, seed=card.seed, preset=preset, **card.training)


def compare(card: Card, run: RunDirectory, seconds: float) -> int:
    """Compare the checkpoint of a run with the agent of the zoo, and print what agrees."""
    path = run.best if card.checkpoint == "best" else run.final
    agent = load(path, card.game, weights_only=True)
    sha256, recorded = weights_sha256(agent.net.state_dict()), card.evaluation
    if sha256 == recorded["weights_sha256"]:
        print_fields(weights=f"the same, sha256 {sha256}", training_time=f"{seconds:,.1f} s")
        return 0
    with status(f"playing {recorded['episodes']} episodes"):
        result = evaluate(
            agent,
            episodes=recorded["episodes"],
            seed=recorded["seed"],
            deterministic=recorded["deterministic"],
            max_episode_steps=recorded["max_steps"],
        )
    (low, high), within = recorded["interval"], recorded["interval"][0] <= result.mean <= recorded["interval"][1]
    print_fields(
        weights=f"others: sha256 {sha256}, recorded {recorded['weights_sha256']}",
        reason=explain(card, describe_machine(agent.device)),
        score=f"mean {number(result.mean)} of {len(result.scores)} episodes, recorded {number(recorded['mean'])}",
        verdict=f"{'within' if within else 'outside of'} the recorded interval, {number(low)} to {number(high)}",
    )
    return 0 if within else 1


def explain(card: Card, machine: dict[str, str]) -> str:
    """Return why weights may differ from those of the zoo."""
    if not card.reproducible:
        return f"{card.config['workers']} workers are not reproducible"
    if not card.machines:
        return "the machine that trained it is not recorded"
    before = card.machines[-1]
    differs = [f"{key} {machine.get(key)}, not {value}" for key, value in before.items() if machine.get(key) != value]
    return f"another machine: {'; '.join(differs)}" if differs else "none in the machine: this version trains otherwise"
