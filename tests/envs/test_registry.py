"""All the ways to make a game lead to the same game, and Gymnasium's checker accepts it."""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from helpers.games import NAMES, random_actions, single

import rlgames
from rlgames.engine.single_env import GameEnv
from rlgames.engine.vector_env import GameVectorEnv
from rlgames.envs.registry import GAMES, default_pixels, parse
from rlgames.wrappers import Pixels

# Speeds have no bound, so CartPole's space has none, as in Gymnasium's own CartPole; the checker warns about both.
UNBOUNDED = "ignore:.*A Box observation space m.*imum value is -?infinity:UserWarning"


def play(env: gym.Env, actions: np.ndarray) -> list[tuple]:
    """What happens from seed 5 on, with a reset at each end."""
    seen: list[tuple] = [(env.reset(seed=5)[0].tolist(),)]
    for action in actions.tolist():
        obs, reward, terminated, truncated, info = env.step(action)
        seen.append((obs.tolist(), reward, terminated, truncated, info["score"]))
        if terminated or truncated:
            seen.append((env.reset()[0].tolist(),))
    return seen


def play_rows(envs: VectorEnv, actions: np.ndarray) -> list[list]:
    seen = [envs.reset(seed=5)[0].tolist()]
    for row in actions:
        obs, reward, terminated, truncated, info = envs.step(row)
        seen += [obs.tolist(), reward.tolist(), terminated.tolist(), truncated.tolist(), info["score"].tolist()]
    return seen


def whole(game: str) -> tuple[str, dict]:
    """Gymnasium's id, and options as keywords."""
    name, options = parse(game)
    return f"rlgames/{name}-v0", options


@pytest.mark.filterwarnings(UNBOUNDED)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasiums_checker_accepts_it(game: str, render_mode: str | None) -> None:
    id_, options = whole(game)
    check_env(gym.make(id_, render_mode=render_mode, **options).unwrapped)


def test_one_player_by_any_name(game: str) -> None:
    id_, options = whole(game)
    actions = random_actions(game, 1, 60)
    made = [
        gym.make(id_, **options),
        gym.make(f"rlgames:{id_}", **options),
        rlgames.make(game, pixels=Pixels()),
        rlgames.make(game.replace(parse(game)[0], id_), pixels=Pixels()),
        rlgames.make(id_, pixels=Pixels(), **options),
    ]
    expected = play(single(game), actions)
    assert all(isinstance(env.unwrapped, GameEnv) for env in made)
    assert all(play(env, actions) == expected for env in made)


def test_many_players_by_any_name(game: str) -> None:
    id_, options = whole(game)
    actions = random_actions(game, 2, (60, 3))
    made = [
        gym.make_vec(id_, 3, **options),
        gym.make_vec(f"rlgames:{id_}", 3, "vector_entry_point", **options),
        rlgames.make_vec(game, 3, autoreset_mode="NextStep", pixels=Pixels()),
        rlgames.make_vec(id_, 3, autoreset_mode=AutoresetMode.NEXT_STEP, pixels=Pixels(), **options),
    ]
    expected = play_rows(gym.make_vec(id_, 3, "sync", **options), actions)
    assert all(isinstance(envs, GameVectorEnv) for envs in made)
    assert all(play_rows(envs, actions) == expected for envs in made)


def test_as_an_agent_sees_it(game: str) -> None:
    """The game's own declaration of pixels, on both engines."""
    pixels = default_pixels(*parse(game))
    one, many = rlgames.make(game), rlgames.make_vec(game, 2)
    assert one.observation_space == pixels.wrap(single(game)).observation_space == many.single_observation_space
    assert many.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    actions = random_actions(game, 3, 10)
    frames, (rows, _) = [one.reset(seed=8)[0]], many.reset(seed=8)
    assert np.array_equal(rows[0], frames[0])
    for action in actions:
        frame, _, terminated, truncated, _ = one.step(action)
        rows, *_ = many.step(np.array([action, 0]))
        if terminated or truncated:
            break
        frames.append(frame)
        assert np.array_equal(rows[0], frame)
    assert len(frames) > 3


def test_skip_and_stack_by_name() -> None:
    """As if they had been declared: one action in four frames, not one in four of the default's two."""
    by_name, declared = rlgames.make("Cave:frame_skip=4,stack=3"), rlgames.make("Cave", pixels=Pixels(skip=4, stack=3))
    many = rlgames.make_vec("Cave", 2, frame_skip=4, stack=3)
    frames = [by_name.reset(seed=3)[0], declared.reset(seed=3)[0], many.reset(seed=3)[0][0]]
    for action in (0, 1, 1, 0, 0, 1):
        assert np.array_equal(frames[0], frames[1])
        assert np.array_equal(frames[0], frames[2])
        frames = [by_name.step(action)[0], declared.step(action)[0], many.step(np.array([action, 0]))[0][0]]
    with pytest.raises(ValueError, match="expected frame_skip >= 1, got 0"):
        rlgames.make_vec("Cave", 2, frame_skip=0)
    with pytest.raises(ValueError, match=r"expected stack >= 1, got 1\.5"):
        rlgames.make("Cave:stack=1.5")


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("game", ["Cave", "CatchBall", "Pong:max_episode_steps=90"])
def test_a_batch_that_sees_all_frames_of_a_skip(game: str, mode: AutoresetMode) -> None:
    """As Gymnasium's loop over single environments has it."""
    if game.startswith("Pong"):
        pytest.importorskip("ale_py")
    pixels = Pixels(skip=3, stack_skipped=True, grey=game.startswith("Pong"), scale=True)
    envs = rlgames.make_vec(game, 2, pixels=pixels, autoreset_mode=mode)
    plain = SyncVectorEnv([lambda: rlgames.make(game, pixels=pixels)] * 2, autoreset_mode=mode)
    assert envs.single_observation_space == plain.single_observation_space
    assert np.array_equal(envs.reset(seed=5)[0], plain.reset(seed=5)[0])
    rng, ends = np.random.default_rng(0), 0
    for _ in range(60):
        actions = rng.integers(2, size=2)
        found, expected = envs.step(actions), plain.step(actions)
        assert all(np.array_equal(one, other) for one, other in zip(found[:4], expected[:4], strict=True))
        done = found[2] | found[3]
        ends += done.sum()
        if mode is AutoresetMode.DISABLED and done.any():
            again = {"reset_mask": done}
            assert np.array_equal(envs.reset(options=again)[0], plain.reset(options=dict(again))[0])
    assert ends > 1
    envs.close()
    plain.close()


def test_the_time_limit_counts_frames(game: str) -> None:
    """Gymnasium's TimeLimit inside `make`'s skip, our own limit inside the batch's."""
    picture = single(game).observation_space.dtype == np.uint8
    for pixels in [Pixels(), Pixels(skip=2)] if picture else [Pixels()]:
        one = rlgames.make(game, pixels=pixels, max_episode_steps=5)
        many = rlgames.make_vec(game, 1, pixels=pixels, max_episode_steps=5)
        one.reset(seed=0)
        many.reset(seed=0)
        for frames in range(pixels.skip, 5 + pixels.skip, pixels.skip):
            _, _, terminated, truncated, _ = one.step(0)
            _, _, _, ended, _ = many.step(np.zeros(1, np.int64))
            assert not terminated
            assert truncated == ended[0] == (frames >= 5)


def test_from_a_bare_interpreter() -> None:
    """Naming the module in the id is enough, and neither torch nor a window comes along."""
    script = (
        "import sys, gymnasium as gym\n"
        "env = gym.make('rlgames:rlgames/CatchBall-v0', size=16)\n"
        "envs = gym.make_vec('rlgames:rlgames/CatchBall-v0', 2)\n"
        "print(env.reset(seed=1)[0].shape, envs.reset(seed=1)[0].shape)\n"
        "print([name for name in ('torch', 'pygame', 'matplotlib', 'cv2', 'ale_py') if name in sys.modules])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(rlgames.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == ["(16, 16) (2, 8, 8)", "[]"]


def test_the_table_is_registered() -> None:
    registered = {id_ for id_ in gym.registry if id_.startswith("rlgames/")}
    assert registered == {f"rlgames/{name}-v0" for name in GAMES}
    assert {parse(game)[0] for game in NAMES} == set(GAMES) - {"Pong", "Mario", "ChromeDino"}
    assert all(entry.summary for entry in GAMES.values())
