"""Metrics under Stable-Baselines3's names: the rows of MetricsLog, and what every agent reports."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toys import RandomLengthEnv, quick_config, sync_vector

from rlgames.agents.metrics import WINDOW, MetricsLog, Update, write_scalars
from rlgames.agents.registry import find
from rlgames.experience.env_runner import Episode

LOSSES = {"train/policy_gradient_loss", "train/value_loss", "train/entropy_loss", "train/grad_norm"}
SCALARS: dict[str, set[str]] = {  # reported by every update, or by one of the first two
    "ppo": LOSSES
    | {"train/loss", "train/approx_kl", "train/clip_fraction", "train/value_grad_norm"}
    | {"train/learning_rate", "train/clip_range"},
    "a3c": LOSSES | {"train/value_grad_norm", "rollout/score_moving_average"},
    "reinforce": LOSSES | {"train/learning_rate"},
    "dqn": {"train/loss", "train/q_values", "train/grad_norm", "train/learning_rate", "rollout/exploration_rate"},
    "random": set(),
}


def random_updates(count: int) -> list[Update]:
    rng = np.random.default_rng(0)
    updates = []
    for i in range(count):
        episodes = [
            Episode(float(rng.normal()), float(rng.normal()), int(rng.integers(9))) for _ in range(rng.integers(8))
        ]
        scalars = {"train/loss": torch.tensor(float(i)), "train/x_max": torch.tensor(float(i))}
        scalars |= {"train/rare": torch.tensor(1.0)} if i % 3 == 0 else {}
        updates.append(Update(16 * (i + 1), scalars, episodes))
    return updates


def test_rows_hold_means_of_the_last_100_episodes_and_of_the_scalars_since_the_last_row():
    log, episodes, since = MetricsLog(), [], []
    for i, update in enumerate(random_updates(60)):
        log.add(update)
        episodes += update.episodes
        since.append(update)
        if i % 7 == 6:
            row, recent = log.row(update.step), episodes[-WINDOW:]
            assert list(row)[:2] == ["step", "episodes"]
            assert (row["step"], row["episodes"]) == (update.step, len(episodes))
            assert row["rollout/score_mean"] == log.score_mean == pytest.approx(np.mean([x.score for x in recent]))
            assert row["rollout/ep_rew_mean"] == pytest.approx(np.mean([x.reward for x in recent]))
            assert row["rollout/ep_len_mean"] == pytest.approx(np.mean([x.length for x in recent]))
            assert row["train/loss"] == pytest.approx(np.mean(range(i - 6, i + 1)))
            assert row["train/x_max"] == i
            assert row["train/rare"] == 1.0
            assert row["scores"] == [x.score for one in since for x in one.episodes]
            since = []
    assert len(episodes) > 2 * WINDOW


def test_a_row_before_the_first_episode_has_no_means_of_episodes():
    log = MetricsLog()
    assert log.score_mean is None
    log.add(Update(16, {"train/loss": torch.tensor(2.0)}, []))
    assert log.row(16) == {"step": 16, "episodes": 0, "train/loss": 2.0, "scores": []}


def test_a_restored_log_returns_the_same_rows():
    log, updates = MetricsLog(), random_updates(50)
    for update in updates[:40]:
        log.add(update)
    restored = MetricsLog()
    restored.load_state_dict(json.loads(json.dumps(log.state_dict())))
    for each in (log, restored):
        for update in updates[40:]:
            each.add(update)
    assert restored.row(800) == log.row(800)
    assert restored.state_dict() == log.state_dict()


def test_update_scores_are_those_of_its_episodes():
    assert Update(16, {}, [Episode(3.0, 1.0, 5), Episode(4.0, 2.0, 6)]).scores == [3.0, 4.0]


def test_write_scalars_writes_the_numbers_of_a_row():
    written: list[tuple[str, float, int]] = []

    class Writer:
        def add_scalar(self, *scalar: Any) -> None:
            written.append(scalar)

    row = {"step": 32, "episodes": 2, "rollout/ep_rew_mean": 1.5, "train/loss": 0.5, "scores": [1.0, 2.0]}
    write_scalars(Writer(), row)  # type: ignore[arg-type]  # stands in for TensorBoard's
    assert written == [("rollout/ep_rew_mean", 1.5, 32), ("train/loss", 0.5, 32)]


@pytest.mark.parametrize("name", SCALARS)
def test_agents_report_scalars_by_the_names_of_stable_baselines(name: str):
    agent = find(name)(sync_vector(RandomLengthEnv, 4), quick_config(name))
    names: set[str] = set()
    for update in agent.train(160):
        names |= set(update.scalars)
    assert names == SCALARS[name]


def test_entropy_loss_is_the_negative_entropy():
    """Of a uniform policy over 3 actions: -log 3."""
    for name in ("ppo", "a3c", "reinforce"):
        agent: Any = find(name)(sync_vector(RandomLengthEnv, 4), quick_config(name))
        with torch.no_grad():
            agent.net.policy.weight.zero_()
            if hasattr(agent, "shared"):
                agent.shared.weights.copy_(agent.weights)
        update = next(agent.train(1_000))
        assert float(update.scalars["train/entropy_loss"]) == pytest.approx(-np.log(3), abs=2e-3)
