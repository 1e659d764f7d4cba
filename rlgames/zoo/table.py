"""The scores of the trained agents as a table: `rlgames zoo`, and Markdown in zoo/README.md."""

from __future__ import annotations

from collections.abc import Mapping

from rlgames.zoo.manifest import Card

HEADER: tuple[str, ...] = (
    "name",
    "agent",
    "game",
    "steps",
    "time",
    "mean",
    "95% interval",
    "median",
    "worst 10%",
    "goal",
    "limit",
)
RIGHT = HEADER[3:]  # columns of numbers


def table_rows(cards: Mapping[str, Card]) -> list[tuple[str, ...]]:
    """Return a row of cells for each agent."""
    return [(name, *cells(card)) for name, card in cards.items()]


def cells(card: Card) -> tuple[str, ...]:
    played = card.evaluation
    low, high = played["interval"]
    agent = card.agent if played["deterministic"] else f"{card.agent}, sampled"
    return (
        agent,
        card.game,
        f"{card.step:,}",
        duration(card.training_seconds),
        number(played["mean"]),
        f"{number(low)} to {number(high)}",
        number(played["median"]),
        number(played["worst_tenth"]),
        share(played["goal_share"]),
        share(played["limit_share"] if played["max_steps"] else None),
    )


def number(value: float) -> str:
    """Return a score with one decimal, without it from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.1f}"


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def duration(seconds: float | None) -> str:
    """Return seconds as people say them: "40 s", "12 min", "1.5 h"."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"


def markdown_table(cards: Mapping[str, Card]) -> str:
    """Return the scores, and then the commands that train the agents, as tables in Markdown."""
    marks = " | ".join("---:" if column in RIGHT else "---" for column in HEADER)
    lines = [f"| {' | '.join(HEADER)} |", f"| {marks} |"]
    lines += [f"| {' | '.join((f'`{name}`', *row))} |" for name, *row in table_rows(cards)]
    lines += ["", "| name | command | checkpoint | machine |", "| --- | --- | --- | --- |"]
    for name, card in cards.items():
        again = f"`rlgames reproduce {name}`" if card.training else "how it was trained is not recorded"
        command = f"`{card.command}`" if card.command else again
        machines = "; ".join(f"{m['processor']}, {m['instruction_set']}, torch {m['torch']}" for m in card.machines)
        lines.append(f"| `{name}` | {command} | {card.checkpoint or ''} | {machines} |")
    return "\n".join(lines) + "\n"
