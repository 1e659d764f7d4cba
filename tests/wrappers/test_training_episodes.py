"""`TrainingEpisodes`: restarts from kept moments, the limit of training's episodes, and what evaluations get."""

import re
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import rlgames
from rlgames.envs.task import Task
from rlgames.experience.env_runner import EnvRunner
from rlgames.wrappers.training_episodes import TrainingEpisodes, VectorRestarts

GAME = "Dino:obs=state"  # whose observations differ from frame to frame
ALWAYS = TrainingEpisodes(restarts=1.0, interval=4, moments=3, capacity=5)


def make(episodes: TrainingEpisodes = ALWAYS, num_envs: int = 3) -> Any:
    return rlgames.make_vec(GAME, num_envs, episodes=episodes)


def jump(steps: int, seed: int, num_envs: int = 3) -> np.ndarray:
    """Return actions [steps, num_envs] that end most episodes early."""
    return np.random.default_rng(seed).integers(2, size=(steps, num_envs))


def play(envs: Any, actions: np.ndarray) -> list[Any]:
    return [envs.step(each) for each in actions]


def test_episodes_begin_in_kept_moments_of_failed_ones() -> None:
    """Compared with all observations so far: of every fourth step, one of the last three moments but the newest."""
    envs = make()
    obs = envs.reset(seed=0)[0]
    histories: list[list[np.ndarray]] = [[row] for row in obs]  # observations of the running episodes
    possible: list[np.ndarray] = []  # moments that episodes may begin in
    restarts = 0
    for actions in jump(600, seed=1):
        obs, _, terminated, _, _ = envs.step(actions)
        ended = np.flatnonzero(terminated)
        for i in ended:
            possible += histories[i][::4][-3:-1]
        for i in range(3):
            if i not in ended:
                histories[i].append(obs[i])
                continue
            assert any(np.array_equal(obs[i], moment) for moment in possible)
            histories[i] = [obs[i]]
            restarts += 1
    assert restarts > 10
    assert len({moment.tobytes() for moment in possible}) > 5


def test_information_and_score_are_those_of_the_moment() -> None:
    envs = make()
    envs.reset(seed=0)
    score = np.zeros(3)
    for actions in jump(300, seed=2):
        _, _, terminated, _, info = envs.step(actions)
        assert (info["score"][~terminated] >= score[~terminated]).all()  # also in the step after a restart
        score = info["score"]
    assert score.min() > 0


def test_a_part_of_the_episodes_begins_at_the_start() -> None:
    """As often as `restarts` says, within five standard deviations; final information tells them apart."""
    envs, restarted = make(TrainingEpisodes(restarts=0.3)), []
    envs.reset(seed=0)
    for *_, info in play(envs, jump(4_000, seed=3)):
        if "final_info" in info:
            restarted += info["final_info"]["restarted"][info["final_info"]["_restarted"]].tolist()
    assert abs(np.mean(restarted) - 0.3) < 5 * np.sqrt(0.3 * 0.7 / len(restarted))


def test_snapshot_continues_bit_for_bit() -> None:
    envs, other = make(), make()
    envs.reset(seed=0)
    play(envs, jump(250, seed=4))
    state = envs.snapshot()
    expected = play(envs, jump(250, seed=5))
    other.reset(seed=9)
    play(other, jump(100, seed=6))
    other.restore(state)
    for ours, theirs in zip(expected, play(other, jump(250, seed=5)), strict=True):
        np.testing.assert_equal(theirs, ours)


def test_same_seed_gives_the_same_episodes() -> None:
    envs = make()
    runs = []
    for _ in range(2):
        envs.reset(seed=7)
        runs.append(play(envs, jump(250, seed=8)))
    np.testing.assert_equal(runs[0], runs[1])


def test_a_snapshot_of_other_moments_is_refused() -> None:
    with pytest.raises(ValueError, match="3 environments with 3 moments each, got \\(2, 3\\)"):
        make().restore(make(num_envs=2).snapshot())


def test_scores_are_those_of_whole_episodes() -> None:
    """The runner of an agent leaves out episodes that did not begin at the start."""
    runner = EnvRunner(make(TrainingEpisodes(restarts=0.5)), 0)
    whole = 0
    for actions in jump(1_000, seed=10):
        runner.step(actions)
        final = runner._info.get("final_info")
        if final:
            whole += int((final["_restarted"] & ~final["restarted"]).sum())
    assert len(runner.take_episodes()) == whole > 0


def test_an_agent_learns_in_them_and_is_evaluated_without() -> None:
    agent = rlgames.PPO("Dino:obs=state", num_envs=2, n_steps=8).learn(32)
    assert agent.step == 32
    assert agent.task is not None
    assert agent.task.episodes == TrainingEpisodes(max_episode_steps=2_000)
    task = Task("CatchBall", episodes=ALWAYS)
    assert isinstance(task.make_vec(1, training=True), VectorRestarts)
    assert not isinstance(task.make_vec(1), VectorRestarts)
    assert Task.from_json(task.to_json()) == task


def test_the_limit_truncates_trainings_alone() -> None:
    task = Task.parse(GAME)
    task = Task(task.game, task.options, episodes=TrainingEpisodes(max_episode_steps=5))
    for training, expected in ((True, [False] * 4 + [True]), (False, [False] * 5)):
        envs = task.make_vec(1, training=training)
        envs.reset(seed=0)
        assert [bool(envs.step(np.array([0]))[3][0]) for _ in range(5)] == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainingEpisodes(restarts=2.0), "restarts to be a number in 0..1, got 2.0"),
        (lambda: TrainingEpisodes(moments=0), "moments to be an integer >= 1, got 0"),
        (lambda: rlgames.make_vec("Pong", 1, episodes=ALWAYS), "restarts=1 needs a game that Numba compiles, got"),
        (
            lambda: rlgames.make_vec(GAME, 1, episodes=ALWAYS, autoreset_mode=AutoresetMode.DISABLED),
            "restarts=1 needs autoreset_mode='SameStep', got AutoresetMode.DISABLED",
        ),
        (
            lambda: rlgames.make_vec("Cave", 1, episodes=ALWAYS, pixels=rlgames.Pixels(skip=2, stack_skipped=True)),
            "restarts=1 needs environments that are stepped as one batch: leave out stack_skipped",
        ),
    ],
)  # fmt: skip
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
