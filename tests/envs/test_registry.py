"""All functions that make a game make the same one, Gymnasium's checker accepts it, and options act on all engines."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from helpers.games import COMPILED, NAMES, random_actions, single

import rlgames
from rlgames.engine.single_env import GameEnv
from rlgames.engine.vector_env import GameVectorEnv
from rlgames.envs.registry import GAMES, WRAPPERS, Wrapper, default_pixels, parse
from rlgames.wrappers import Pixels

# Speeds are not bounded, so CartPole's space is not either, as in Gymnasium's own CartPole; the checker warns about it.
UNBOUNDED = "ignore:.*A Box observation space m.*imum value is -?infinity:UserWarning"


def trace_of(env: gym.Env, actions: np.ndarray) -> list[tuple]:
    """Return the results of these actions from seed 5 on, with a reset at each end."""
    trace: list[tuple] = [(env.reset(seed=5)[0].tolist(),)]
    for action in actions.tolist():
        obs, reward, terminated, truncated, info = env.step(action)
        trace.append((obs.tolist(), reward, terminated, truncated, info["score"]))
        if terminated or truncated:
            trace.append((env.reset()[0].tolist(),))
    return trace


def vector_trace_of(envs: VectorEnv, actions: np.ndarray) -> list[list]:
    trace = [envs.reset(seed=5)[0].tolist()]
    for row in actions:
        obs, reward, terminated, truncated, info = envs.step(row)
        trace += [obs.tolist(), reward.tolist(), terminated.tolist(), truncated.tolist(), info["score"].tolist()]
    return trace


def id_and_options(game: str) -> tuple[str, dict]:
    """Return Gymnasium's id, and options as keywords."""
    name, options = parse(game)
    return f"rlgames/{name}-v0", options


@pytest.mark.filterwarnings(UNBOUNDED)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasium_check_env(game: str, render_mode: str | None) -> None:
    env_id, options = id_and_options(game)
    check_env(gym.make(env_id, render_mode=render_mode, **options).unwrapped)


def test_single_env_is_the_same_by_any_name(game: str) -> None:
    env_id, options = id_and_options(game)
    actions = random_actions(game, 1, 60)
    made = [
        gym.make(env_id, **options),
        gym.make(f"rlgames:{env_id}", **options),
        rlgames.make(game, pixels=Pixels()),
        rlgames.make(game.replace(parse(game)[0], env_id), pixels=Pixels()),
        rlgames.make(env_id, pixels=Pixels(), **options),
    ]
    expected = trace_of(single(game), actions)
    assert all(isinstance(env.unwrapped, GameEnv) for env in made)
    assert all(trace_of(env, actions) == expected for env in made)


def test_vector_env_is_the_same_by_any_name(game: str) -> None:
    env_id, options = id_and_options(game)
    actions = random_actions(game, 2, (60, 3))
    made = [
        gym.make_vec(env_id, 3, **options),
        gym.make_vec(f"rlgames:{env_id}", 3, "vector_entry_point", **options),
        rlgames.make_vec(game, 3, autoreset_mode="NextStep", pixels=Pixels()),
        rlgames.make_vec(env_id, 3, autoreset_mode=AutoresetMode.NEXT_STEP, pixels=Pixels(), **options),
    ]
    expected = vector_trace_of(gym.make_vec(env_id, 3, "sync", **options), actions)
    assert all(isinstance(envs, GameVectorEnv) for envs in made)
    assert all(vector_trace_of(envs, actions) == expected for envs in made)


def test_make_and_make_vec_apply_the_default_preprocessing(game: str) -> None:
    pixels = default_pixels(*parse(game))
    env, envs = rlgames.make(game), rlgames.make_vec(game, 2)
    assert env.observation_space == pixels.wrap(single(game)).observation_space == envs.single_observation_space
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    actions = random_actions(game, 3, 10)
    obs, (batch, _) = env.reset(seed=8)[0], envs.reset(seed=8)
    assert np.array_equal(batch[0], obs)
    steps = 0
    for action in actions:
        obs, _, terminated, truncated, _ = env.step(action)
        batch, *_ = envs.step(np.array([action, 0]))
        if terminated or truncated:
            break
        steps += 1
        assert np.array_equal(batch[0], obs)
    assert steps > 2


def test_frame_skip_and_stack_options_replace_those_of_pixels() -> None:
    """They are not applied on top of the default's skip of two frames."""
    by_name, declared = rlgames.make("Cave:frame_skip=4,stack=3"), rlgames.make("Cave", pixels=Pixels(skip=4, stack=3))
    envs = rlgames.make_vec("Cave", 2, frame_skip=4, stack=3)
    obs = [by_name.reset(seed=3)[0], declared.reset(seed=3)[0], envs.reset(seed=3)[0][0]]
    for action in (0, 1, 1, 0, 0, 1):
        assert np.array_equal(obs[0], obs[1])
        assert np.array_equal(obs[0], obs[2])
        obs = [by_name.step(action)[0], declared.step(action)[0], envs.step(np.array([action, 0]))[0][0]]
    with pytest.raises(ValueError, match="expected frame_skip >= 1, got 0"):
        rlgames.make_vec("Cave", 2, frame_skip=0)
    with pytest.raises(ValueError, match=r"expected stack >= 1, got 1\.5"):
        rlgames.make("Cave:stack=1.5")


@pytest.mark.parametrize(
    ("game", "mode"),
    [
        *((game, mode) for game in ("Cave", "CatchBall") for mode in AutoresetMode),
        ("Pong:max_episode_steps=20", AutoresetMode.SAME_STEP),
    ],
)
def test_make_vec_with_stack_skipped_equals_sync_vector_env(game: str, mode: AutoresetMode) -> None:
    if game.startswith("Pong"):
        pytest.importorskip("ale_py")
    pixels = Pixels(skip=3, stack_skipped=True, grey=game.startswith("Pong"), scale=True)
    envs = rlgames.make_vec(game, 2, pixels=pixels, autoreset_mode=mode)
    sync = SyncVectorEnv([lambda: rlgames.make(game, pixels=pixels)] * 2, autoreset_mode=mode)
    assert envs.single_observation_space == sync.single_observation_space
    assert np.array_equal(envs.reset(seed=5)[0], sync.reset(seed=5)[0])
    rng, ends = np.random.default_rng(0), 0
    for _ in range(50):
        actions = rng.integers(2, size=2)
        found, expected = envs.step(actions), sync.step(actions)
        assert all(np.array_equal(one, other) for one, other in zip(found[:4], expected[:4], strict=True))
        done = found[2] | found[3]
        ends += done.sum()
        if mode is AutoresetMode.DISABLED and done.any():
            options = {"reset_mask": done}
            assert np.array_equal(envs.reset(options=options)[0], sync.reset(options=dict(options))[0])
    assert ends > 1
    envs.close()
    sync.close()


# ---- max_episode_steps ----

LIMIT = 3  # agent steps; too few for any game to terminate
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "frame_skip": {"frame_skip": 2},
    "stack_skipped": {"pixels": Pixels(skip=2, stack_skipped=True)},
}
MARIO = "Mario:world=1,stage=1"  # takes long to start


def make_or_skip(game: str, **options: Any) -> gym.Env:
    try:
        return rlgames.make(game, **options)
    except DependencyNotInstalled as missing:
        pytest.skip(str(missing))


def steps_until_truncated(env: gym.Env | VectorEnv) -> int:
    """Return the number of steps of the first episode, which must not terminate, and close `env`."""
    action = np.zeros(env.num_envs, np.int64) if isinstance(env, VectorEnv) else 0
    env.reset(seed=0)
    steps, truncated = 0, False
    while not np.any(truncated):
        _, _, terminated, truncated, _ = env.step(action)
        assert not np.any(terminated)
        steps += 1
    env.close()
    return steps


class CountingEnv(gym.Wrapper):
    """Counts the steps since the last reset."""

    steps = 0

    def reset(self, **kwargs: Any) -> Any:
        self.steps = 0
        return super().reset(**kwargs)

    def step(self, action: Any) -> Any:
        self.steps += 1
        return super().step(action)


@pytest.mark.parametrize(
    ("game", "variant"),
    [
        *((game, variant) for game in (*NAMES, "Pong") for variant in ("default", "frame_skip")),
        *((game, "stack_skipped") for game in (*NAMES, "Pong") if game != "CartPole"),  # not observed as pictures
        (MARIO, "default"),
        pytest.param(MARIO, "frame_skip", marks=pytest.mark.slow),
        pytest.param(MARIO, "stack_skipped", marks=pytest.mark.slow),
    ],
)
def test_max_episode_steps_counts_agent_steps(game: str, variant: str) -> None:
    """In rlgames.make and make_vec, and in those of Gymnasium, which have no preprocessing."""
    options: dict[str, Any] = VARIANTS[variant] | {"max_episode_steps": LIMIT}
    env = make_or_skip(game, **options)
    assert steps_until_truncated(env) == LIMIT
    assert steps_until_truncated(rlgames.make_vec(game, 2, **options)) == LIMIT
    if variant != "stack_skipped":
        name, own = parse(game)
        assert steps_until_truncated(gym.make(f"rlgames/{name}-v0", **own, **options)) == LIMIT
        assert steps_until_truncated(gym.make_vec(f"rlgames/{name}-v0", 2, **own, **options)) == LIMIT


QUICK = ("CartPole", "CatchBall", "Pong")


@pytest.mark.parametrize(
    "game", [*QUICK, *(pytest.param(game, marks=pytest.mark.slow) for game in (*COMPILED, MARIO) if game not in QUICK)]
)
def test_evaluate_and_record_count_agent_steps(game: str, tmp_path: Path) -> None:
    """With the default preprocessing, which skips frames in some games."""
    env = CountingEnv(make_or_skip(game, render_mode="rgb_array"))
    envs = rlgames.make_vec(game, 1)
    agent = rlgames.Random(envs)
    result = rlgames.evaluate(agent, envs, episodes=2, max_episode_steps=LIMIT)
    assert (result.lengths, result.capped) == ([LIMIT] * 2, 2)
    rlgames.record(agent, tmp_path / "episode.gif", env, max_episode_steps=LIMIT)
    assert env.steps == LIMIT
    env.close()
    envs.close()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["default", "frame_skip"])
def test_max_episode_steps_counts_agent_steps_in_the_browser(variant: str) -> None:
    """The limit of its environments alone has a quick test in chrome_dino."""
    options: dict[str, Any] = VARIANTS[variant] | {"max_episode_steps": LIMIT}
    env = make_or_skip("ChromeDino:obs=state", **options)
    assert steps_until_truncated(env) == LIMIT
    assert steps_until_truncated(rlgames.make_vec("ChromeDino:obs=state", 2, **options)) == LIMIT


def test_max_episode_steps_keeps_the_games_own_limit() -> None:
    """CartPole is truncated after 500 frames."""
    made = {
        "make": rlgames.make("CartPole", max_episode_steps=1000),
        "make_vec": rlgames.make_vec("CartPole", 1, max_episode_steps=1000),
        "gymnasium.make": gym.make("rlgames/CartPole-v0", max_episode_steps=1000),
        "frame_skip": rlgames.make("CartPole", frame_skip=2, max_episode_steps=1000),
    }
    lengths = {}
    for name, env in made.items():
        obs, _ = env.reset(seed=3)
        over, lengths[name] = False, 0
        while not over:
            push_right = obs[..., 2] + obs[..., 3] > 0  # angle and its speed: this balances the pole
            obs, _, terminated, truncated, _ = env.step(push_right.astype(int))
            over, lengths[name] = np.any(terminated | truncated), lengths[name] + 1
            assert not np.any(terminated)
    assert lengths == {"make": 500, "make_vec": 500, "gymnasium.make": 500, "frame_skip": 250}


@pytest.mark.parametrize("vector", [False, True])
def test_a_wrapper_that_fails_closes_the_environment(vector: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def fail(env: Any) -> Any:
        raise LookupError("no such wrapper")

    monkeypatch.setitem(WRAPPERS, "failing", Wrapper("failing", fail, fail))
    monkeypatch.setattr(GameVectorEnv if vector else GameEnv, "close", lambda self: closed.append(self))
    with pytest.raises(LookupError):
        (rlgames.make_vec if vector else rlgames.make)("CatchBall", wrappers="failing")
    assert len(closed) == 1


# ---- importing ----


def test_new_interpreter_imports_only_what_a_game_needs() -> None:
    """The module in the id is imported by Gymnasium; neither torch nor a window is needed, nor OpenCV."""
    script = (
        "import sys, gymnasium as gym\n"
        "env = gym.make('rlgames:rlgames/CatchBall-v0', size=16, render_mode='rgb_array')\n"
        "envs = gym.make_vec('rlgames:rlgames/CatchBall-v0', 2)\n"
        "print(env.reset(seed=1)[0].shape, envs.reset(seed=1)[0].shape, env.render().dtype)\n"
        "print([name for name in ('torch', 'pygame', 'matplotlib', 'cv2', 'ale_py') if name in sys.modules])\n"
    )
    root = Path(rlgames.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["(16, 16) (2, 8, 8) uint8", "[]"]


def test_all_games_are_registered_with_gymnasium() -> None:
    registered = {env_id for env_id in gym.registry if env_id.startswith("rlgames/")}
    assert registered == {f"rlgames/{name}-v0" for name in GAMES}
    assert {parse(game)[0] for game in NAMES} == set(GAMES) - {"Pong", "Mario", "ChromeDino"}
    assert all(spec.summary for spec in GAMES.values())
