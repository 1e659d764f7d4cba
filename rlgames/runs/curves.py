"""`rlgames.plot`: learning curves of runs, the seeds of one agent as an interquartile mean with its interval."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from rlgames.envs.registry import GAMES
from rlgames.envs.task import preprocessing_options
from rlgames.errors import InvalidTypeError, InvalidValueError, NotWritableError, brief, did_you_mean
from rlgames.plots import STEPS, Curve, Panel, draw_panels
from rlgames.runs.directory import EXTENDED_FROM, MACHINES, RunDirectory, find_runs
from rlgames.runs.metrics import read_metrics
from rlgames.runs.statistics import interquartile_interval, interquartile_mean
from rlgames.values import check_value

METRICS = {"score": "rollout/score_mean", "eval": "eval/score_mean"}  # short names
LABELS = {"rollout/score_mean": "score, mean of 100 episodes", "eval/score_mean": "score of evaluations"}
NO_SETTING = (  # of config.json: two runs that differ in these alone are of one group
    *("agent", "game", "preset", "seed", "device", "threads", "track", EXTENDED_FROM, MACHINES),
    *("log_every", "evaluate_every", "evaluate_episodes", "evaluate_max_steps", "save_every"),
)
POINTS = 400  # of a curve at most
UNITS = (("seconds", 1, 180), ("minutes", 60, 180), ("hours", 3600, np.inf))  # name, seconds, the most that are shown
ENDINGS = (".png", ".svg")


def plot(
    runs: str | Path | Sequence[str | Path],
    picture: str | Path,
    *,
    y: str | Sequence[str] = "score",
    x: Literal["steps", "time"] = "steps",
    title: str | None = None,
) -> list[Path]:
    """Draw the learning curves of `runs` into `picture`, "*.png" or "*.svg"; return the runs that are in it.

    `runs` are directories of runs, folders of them, or patterns such as "runs/ppo-*"; runs in progress are drawn as far
    as they are, those that have not logged `y` yet are left out. Each game has a panel, and in it each agent a curve:
    the interquartile mean of the runs that differ in nothing but their seed, with its 95% bootstrap interval. The curve
    is dashed where not all of these runs have come so far. `y` is a metric, "score" (of training, rollout/score_mean),
    "eval" (eval/score_mean) or one in metrics.jsonl such as "train/loss", or several for several rows of panels; `x`
    the environment steps or the time of training.

    Raises FileNotFoundError where there is no run, ValueError for a metric that no run has logged, and OSError for a
    file that cannot be written.
    """
    check_value("x", x, Literal["steps", "time"])
    picture = check_picture(picture)
    metrics = [metric_name(name) for name in ([y] if isinstance(y, str) else y)]
    if not metrics:
        raise InvalidValueError("expected y to name a metric or several, got none: 'score' is the score of training")
    loaded = load_runs(runs)
    check_logged(loaded, metrics)
    loaded = [run for run in loaded if any(run.has(metric) for metric in metrics)]
    games = list(dict.fromkeys(run.played for run in loaded))
    unit, seconds = time_unit(loaded)
    xlabel = STEPS if x == "steps" else f"{unit} of training"
    panels: list[list[Panel]] = []
    for metric in metrics:
        row = []
        for game in games:
            groups = group([run for run in loaded if run.played == game])
            curves = [make_curve(name, own, metric, None if x == "steps" else seconds) for name, own in groups.items()]
            shown = [curve for curve in curves if len(curve.x)]
            row.append(Panel(game, xlabel, LABELS.get(metric, metric), shown))
        panels.append(row)
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_panels(panels, picture, title)
    except OSError as error:
        raise NotWritableError(f"{picture} cannot be written: {error.strerror or error}") from error
    return [run.path for run in loaded]


@dataclass(frozen=True)
class LoadedRun:
    path: Path
    settings: dict[str, Any]  # config.json
    columns: dict[str, np.ndarray]  # see `read_metrics`

    @property
    def played(self) -> str:
        """The game without the options that decide only how the agent sees it: scores of the same are comparable."""
        game, _, options = self.settings["game"].partition(":")
        seen = preprocessing_options(game) if game in GAMES else {"frame_skip", "stack", "wrappers"}
        kept = [option for option in options.split(",") if option and option.partition("=")[0] not in seen]
        return f"{game}:{','.join(kept)}" if kept else game

    @property
    def own_settings(self) -> dict[str, Any]:
        """All but what may differ between two runs of one curve; the agent's own beside the run's."""
        config = self.settings.get("config")
        own = {key: value for key, value in self.settings.items() if key not in (*NO_SETTING, "config")}
        preset = self.settings.get("preset")  # of a file; its config and steps are the run's
        preset = preset if isinstance(preset, dict) else {}
        declared = {key: preset[key] for key in ("pixels", "rewards", "episodes") if preset.get(key) is not None}
        return {"game": self.settings["game"], **own, **(config if isinstance(config, dict) else {}), **declared}

    @property
    def ended(self) -> bool:
        """True if the run has come to its last step."""
        steps = self.columns["step"]
        return len(steps) > 0 and steps[-1] >= self.settings.get("steps", np.inf)

    def has(self, metric: str) -> bool:
        return metric in self.columns and not np.isnan(self.columns[metric]).all()

    def points(self, metric: str, seconds: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return x (n,), steps or the time in units of `seconds`, and y (n,), where the metric was logged."""
        if not self.has(metric):
            return np.empty(0), np.empty(0)
        y = self.columns[metric]
        x = self.columns["step"] if seconds is None else self.columns["seconds"] / seconds
        logged = ~(np.isnan(y) | np.isnan(x))
        return x[logged].astype(np.float64), y[logged]


def load_runs(runs: str | Path | Sequence[str | Path]) -> list[LoadedRun]:
    """Read the runs of paths, each once; see `find_runs`."""
    paths = [runs] if isinstance(runs, str | os.PathLike) else list(runs) if isinstance(runs, Sequence) else [runs]
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise InvalidTypeError(f"expected the directory of a run, or several, got {brief(path)}")
    if not paths:
        raise InvalidValueError("expected the directory of a run, or several, got none")
    found = {run.resolve(): run for path in paths for run in find_runs(Path(path))}
    loaded = []
    for run in found.values():
        directory = RunDirectory(run)
        settings = directory.read_config()
        for name in ("agent", "game"):
            if not isinstance(settings.get(name), str):
                raise InvalidValueError(
                    f"{directory.config}: expected {name} to be a name, got {brief(settings.get(name))}: it is not of a"
                    " run of rlgames train"
                )
        loaded.append(LoadedRun(run, settings, read_metrics(run)))
    return loaded


def metric_name(name: Any) -> str:
    """Return the name of a metric in metrics.jsonl. Raises TypeError for what is no string."""
    if not isinstance(name, str):
        raise InvalidTypeError(f"expected the name of a metric such as 'score' or 'train/loss', got {brief(name)}")
    return METRICS.get(name, name)


def check_logged(runs: Sequence[LoadedRun], metrics: Sequence[str]) -> None:
    """Raise ValueError for a metric that none of the runs has logged."""
    known = list(dict.fromkeys(name for run in runs for name in run.columns if name != "step" and run.has(name)))
    if not known:
        which = f"{runs[0].path} has" + (f", as the other {len(runs) - 1} runs, " if len(runs) > 1 else " ")
        raise InvalidValueError(f"{which}logged nothing yet: wait for the first row of metrics.jsonl")
    for metric in metrics:
        if metric not in known:
            short = [name for name, full in METRICS.items() if full in known]
            names = [*short, *known]
            raise InvalidValueError(
                f"no metric {brief(metric)} is logged: {did_you_mean(metric, names)}the metrics are {', '.join(names)}"
            )


class Group(NamedTuple):
    agent: str
    settings: dict[str, Any]
    runs: list[LoadedRun]


def group(runs: Sequence[LoadedRun]) -> dict[str, list[LoadedRun]]:
    """Return the runs by agent and settings, each group named by its agent and what it has unlike the others of it."""
    groups: list[Group] = []
    for run in runs:
        agent, settings = run.settings["agent"], run.own_settings
        own = next((each for each in groups if (each.agent, each.settings) == (agent, settings)), None)
        if own is None:
            groups.append(own := Group(agent, settings, []))
        own.runs.append(run)
    named: dict[str, list[LoadedRun]] = {}
    for each in groups:
        others = [other.settings for other in groups if other.agent == each.agent]
        differing = [key for key in each.settings if any(each.settings[key] != o.get(key) for o in others)]
        parts = [f"{key}={brief_setting(each.settings[key])}" for key in differing]
        named.setdefault(", ".join([each.agent, *parts]), []).extend(each.runs)
    return named


def brief_setting(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else brief(value)


def make_curve(name: str, runs: Sequence[LoadedRun], metric: str, seconds: float | None) -> Curve:
    """Return the interquartile mean of runs, from where all have logged the metric to where the last one is.

    A run that has ended keeps its last value; one in progress is left out beyond it.
    """
    logging = [run for run in runs if run.has(metric)]
    points = [run.points(metric, seconds) for run in logging]
    x = np.unique(np.concatenate([own for own, _ in points])) if points else np.empty(0)
    x = x[x >= max((own[0] for own, _ in points), default=0)]
    if len(x) > POINTS:
        x = x[np.linspace(0, len(x) - 1, POINTS).astype(int)]
    columns = [
        np.interp(x, *own, right=own[1][-1] if run.ended else np.nan) for run, own in zip(logging, points, strict=True)
    ]
    y = np.array(columns).reshape(len(points), len(x)).T
    mean, low, high = (np.full(len(x), np.nan) for _ in range(3))
    present = ~np.isnan(y)
    for who in np.unique(present, axis=0):  # which runs are there: few sets, as each run in progress ends once
        at = (present == who).all(1)
        if who.any():
            mean[at] = interquartile_mean(y[at][:, who])
            low[at], high[at] = interquartile_interval(y[at][:, who])
    return Curve(name, len(points), x, mean, low, high, np.all(present, axis=1))


def time_unit(runs: Sequence[LoadedRun]) -> tuple[str, float]:
    """Return the name of the unit in which the longest training is shown, and its seconds."""
    longest = max((np.nanmax(run.columns["seconds"]) for run in runs if run.has("seconds")), default=0.0)
    return next((name, size) for name, size, most in UNITS if longest <= most * size)


def check_picture(path: str | Path) -> Path:
    """Return the path of a picture. Raises ValueError for another ending, OSError where it cannot be written."""
    if not isinstance(path, str | os.PathLike):
        raise InvalidTypeError(f"expected the path of a picture, named *.png or *.svg, got {brief(path)}")
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InvalidValueError(f"expected a picture named *.png or *.svg, got {brief(str(path))}")
    if path.is_dir():
        raise NotWritableError(f"{path} is a folder: choose another file for the picture")
    return path
