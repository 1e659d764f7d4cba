"""The methods of Agent: arguments of learn, close, the checks of predict, and load at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ClosedEnvironmentError
from gymnasium.spaces import Box, Discrete
from helpers.toys import RandomLengthEnv, quick_config, state_sha256, sync_vector
from stable_baselines3.common.callbacks import CheckpointCallback

import rlgames
from rlgames.agents import base
from rlgames.agents.base import Update
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.progress import Progress
from rlgames.agents.random import Random
from rlgames.agents.registry import AGENTS, find, load
from rlgames.checkpoint.file import CheckpointError, weights_sha256
from rlgames.errors import InvalidTypeError, InvalidValueError, UsageError
from rlgames.evaluation import evaluate
from rlgames.networks import threads

agents = pytest.mark.parametrize("name", AGENTS)
UPDATE_STEPS = 16  # environment steps of an update of PPO or Random: 8 steps of 2 environments


def make_agent(name: str, game: str = "CatchBall", **changes: Any) -> Any:
    return find(name)(game, quick_config(name, **changes), num_envs=2)


# ---- learn ----


def test_learn_calls_the_callback_after_each_update():
    agent, updates = make_agent("random"), []
    assert agent.learn(4 * UPDATE_STEPS, updates.append) is agent
    assert [update.step for update in updates] == [16, 32, 48, 64]
    assert all(isinstance(update, Update) for update in updates)


@pytest.mark.parametrize("result", [None, True, 0])
def test_learn_continues_unless_the_callback_returns_false(result: Any):
    assert make_agent("random").learn(4 * UPDATE_STEPS, lambda update: result).step == 4 * UPDATE_STEPS


def test_learn_stops_when_the_callback_returns_false(tmp_path: Path):
    whole, stopped = make_agent("ppo", final_learning_rate=2.5e-4), make_agent("ppo", final_learning_rate=2.5e-4)
    whole.learn(4 * UPDATE_STEPS)
    stopped.learn(100 * UPDATE_STEPS, callback=lambda update: update.step < 2 * UPDATE_STEPS)
    assert stopped.step == 2 * UPDATE_STEPS
    stopped.learn(2 * UPDATE_STEPS)
    assert state_sha256(stopped, tmp_path) == state_sha256(whole, tmp_path)


@pytest.mark.parametrize(
    "callback", [CheckpointCallback(10, "."), CheckpointCallback, [print], 3], ids=["instance", "class", "list", "int"]
)
def test_learn_rejects_callbacks_that_are_no_functions(callback: Any):
    agent = make_agent("random")
    with pytest.raises(InvalidTypeError, match="expected callback to be a function of one Update, got .*not supported"):
        agent.learn(UPDATE_STEPS, callback)
    assert agent.step == 0


def test_learn_rejects_unknown_keywords():
    with pytest.raises(TypeError, match="eval_env"):
        make_agent("random").learn(UPDATE_STEPS, eval_env=None)


@pytest.mark.parametrize("arguments", [{"total_timesteps": 0}, {"total_timesteps": 16, "log_interval": 0}])
def test_learn_rejects_counts_below_one(arguments: dict[str, int]):
    with pytest.raises(InvalidValueError, match="expected (total_timesteps|log_interval) to be an integer >= 1"):
        make_agent("random").learn(**arguments)


def test_learn_prints_metrics_every_log_interval_updates(capsys: pytest.CaptureFixture):
    agent = make_agent("ppo").learn(5 * UPDATE_STEPS, log_interval=2)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("step 32  episodes ")
    assert second.startswith("step 64  episodes ")
    for name in ("rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/score_mean", "train/loss"):
        assert f"  {name} " in second
    agent.learn(2 * UPDATE_STEPS)
    assert capsys.readouterr().out == ""


def test_learn_writes_tensorboard_events_to_a_new_folder_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    agent = make_agent("ppo").learn(4 * UPDATE_STEPS, tb_log_name="catch")
    agent.learn(2 * UPDATE_STEPS, tb_log_name="catch", log_interval=2)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["catch_1", "catch_2"]
    for folder, steps in (("catch_1", [16, 32, 48, 64]), ("catch_2", [96])):
        events = accumulator.EventAccumulator(str(tmp_path / "runs" / folder)).Reload()
        assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "train/loss"} <= set(events.Tags()["scalars"])
        assert [event.step for event in events.Scalars("train/loss")] == steps


def test_learn_closes_the_tensorboard_writer_when_training_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    closed = []

    class Writer:
        def __enter__(self) -> Writer:
            return self

        def __exit__(self, *_: object) -> None:
            closed.append(True)

        def add_scalar(self, *_: object) -> None:
            raise OSError("disk full")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "summary_writer", lambda folder, step: Writer())
    with pytest.raises(OSError, match="disk full"):
        make_agent("ppo").learn(UPDATE_STEPS, tb_log_name="catch")
    assert closed == [True]


@pytest.mark.parametrize("name", ["ppo", "a3c", "reinforce", "dqn", "ddqn"])
def test_learn_stops_when_training_diverges(name: str, tmp_path: Path):
    """In the update after the one in which a weight became NaN, not at the end; and such weights are not saved."""
    agent, updates = make_agent(name, "CartPole"), []

    def diverge(update: Update) -> None:
        if update.scalars:
            updates.append(update)
        if len(updates) == 3:
            weights = agent.shared.weights if name == "a3c" else next(agent.net.parameters())
            weights.data[0] = torch.nan

    (tmp_path / "agent").write_text("an older file")
    message = f"after .* steps {name} has weights that are not finite .net.*: training diverged; lower learning_rate"
    with pytest.raises(InvalidValueError, match=message):
        agent.learn(100_000, diverge)
    assert len(updates) == 3
    for weights_only in (False, True):
        with pytest.raises(InvalidValueError, match="has weights that are not finite"):
            agent.save(tmp_path / "agent", weights_only=weights_only)
    assert (tmp_path / "agent").read_text() == "an older file"


def test_scalars_that_are_not_finite_are_no_error_while_the_weights_are():
    """An agent of one's own may report what it likes."""

    class Reporting(Random):
        def train(self, total_timesteps: int) -> Any:
            for update in super().train(total_timesteps):
                yield update._replace(scalars={"train/explained_variance": torch.tensor(float("nan"))})

    assert Reporting("CartPole", num_envs=2, n_steps=8).learn(64).step == 64


def test_learn_names_the_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "summary_writer", lambda folder, step: None)
    with pytest.raises(UsageError, match=r'needs TensorBoard: pip install "rlgames\[tensorboard\]"'):
        make_agent("random").learn(UPDATE_STEPS, tb_log_name="catch")


def test_learn_continues_the_count_of_steps_unless_it_is_reset():
    agent, rates = make_agent("ppo", learning_rate=0.01, final_learning_rate=0.0), []

    def record(update: Update) -> None:
        rates.append(float(update.scalars["train/learning_rate"]))

    agent.learn(2 * UPDATE_STEPS, record)
    assert agent.learn(2 * UPDATE_STEPS, record).step == 4 * UPDATE_STEPS
    assert agent.learn(2 * UPDATE_STEPS, record, reset_num_timesteps=True).step == 2 * UPDATE_STEPS
    assert rates == pytest.approx([0.01, 0.005, 0.005, 0.0025, 0.01, 0.005])


@agents
def test_a_progress_bar_changes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    completed: list[int] = []

    class RecordingProgress(Progress):
        def update(self, step: int, score: float | None) -> None:
            completed.append(step)
            super().update(step, score)

    monkeypatch.setattr(base, "Progress", RecordingProgress)
    plain, with_bar = make_agent(name), make_agent(name)
    plain.learn(64)
    assert completed == []
    assert state_sha256(with_bar.learn(64, progress_bar=True), tmp_path) == state_sha256(plain, tmp_path)
    assert completed[-1] == with_bar.step
    assert completed == sorted(completed)


@pytest.mark.parametrize(
    "name", ["ppo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dqn", "reinforce", "a3c"))]
)
def test_learn_and_evaluate_use_one_thread_for_a_small_network(name: str, monkeypatch: pytest.MonkeyPatch):
    """And more for a large one, and give torch back as many as it had."""
    used: list[int] = []
    for variable in threads.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(threads, "own_numbers", lambda: {2})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with make_agent(name) as agent:
            act = agent.act

            def noting(*args: Any) -> Any:
                used.append(torch.get_num_threads())
                return act(*args)

            monkeypatch.setattr(agent, "act", noting)
            for limit, expected in ((threads.ENOUGH_ARITHMETIC, 1), (1, 2)):
                monkeypatch.setattr(threads, "ENOUGH_ARITHMETIC", limit)
                agent.learn(64, lambda update: used.append(torch.get_num_threads()))
                evaluate(agent, episodes=1, max_episode_steps=2)
                assert set(used) == {expected}
                used.clear()
                assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_largest_batch_is_that_of_the_config():
    """Of a training; what is computed in slices counts as a slice."""
    batches = {
        ("ppo", 64): {"n_steps": 32, "num_minibatches": 4, "rollout_fraction": 0.5, "n_threads": 2},
        ("ppo", 16): {"n_steps": 8, "num_minibatches": 8},
        ("dqn", 96): {"batch_size": 96},
        ("dqn", 32 * 6): {"batch_size": 32, "recurrent": True, "sequence_length": 6, "burn_in": 2},
        ("a3c", 16 * 20): {"n_steps": 20, "workers": 1},
        ("reinforce", 1024): {},
    }
    for (name, expected), settings in batches.items():
        with find(name)(
            "CatchBall", find(name).Config(**settings), num_envs=32 if "n_threads" in settings else 16
        ) as agent:
            assert agent.largest_batch() == expected


# ---- close ----


@agents
def test_close_closes_environments_made_by_name(name: str, tmp_path: Path):
    with make_agent(name) as agent:
        envs = agent.learn(64).envs
        assert not envs.closed
    assert envs.closed
    agent.close()
    assert agent.predict(np.zeros((8, 8), np.uint8))[0].shape == ()
    assert len(evaluate(agent, episodes=2).scores) == 2
    agent.save(tmp_path / "agent")
    with pytest.raises(ClosedEnvironmentError, match="this agent is closed: load its checkpoint to learn on"):
        agent.learn(8)
    assert load(tmp_path / "agent").learn(8).step > agent.step


@agents
def test_close_leaves_environments_that_were_handed_in(name: str):
    envs = rlgames.make_vec("CatchBall", 2)
    with find(name)(envs, quick_config(name)) as agent:
        agent.learn(64)
    assert not envs.closed
    envs.step(np.zeros(2, np.int64))
    with pytest.raises(ClosedEnvironmentError, match="this agent is closed"):
        agent.learn(8)
    envs.close()


def test_close_closes_the_environments_of_a_loaded_agent(tmp_path: Path):
    make_agent("random").learn(UPDATE_STEPS).save(tmp_path / "agent")
    with load(tmp_path / "agent") as agent:
        envs = agent.envs
        assert envs is not None
        assert not envs.closed
    assert envs.closed


def test_an_exception_leaves_with_and_closes():
    with pytest.raises(ZeroDivisionError), make_agent("random") as agent:
        agent.learn(UPDATE_STEPS, lambda update: 1 // 0)
    assert agent.envs.closed


def test_close_ends_the_threads_of_ppo():
    with make_agent("ppo", n_threads=2) as agent:
        agent.learn(UPDATE_STEPS)
        assert agent.parallel.pool is not None
    assert agent.parallel.pool is None
    assert agent.predict(np.zeros((4, 8, 8), np.uint8))[0].shape == (4,)
    agent.close()
    assert agent.parallel.pool is None


# ---- the observations of predict ----


class Int8Env(gym.Env):
    observation_space, action_space = Box(-100, 100, (2,), np.int8), Discrete(2)


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        (np.full((8, 8), 0.5), r"uint8 in 0\.\.255, got float64 in 0\.5\.\.0\.5: give them before any scaling; agent"),
        (np.zeros((8, 8), np.float32), r"uint8 in 0\.\.255, got float32 in 0\.0\.\.0\.0"),
        (np.full((2, 8, 8), -1), r"uint8 in 0\.\.255, got int64 in -1\.\.-1"),
        (np.full((8, 8), 256), r"uint8 in 0\.\.255, got int64 in 256\.\.256"),
        (np.full((8, 8), 300, np.uint16), r"uint8 in 0\.\.255, got uint16 in 300\.\.300"),
        (np.full((8, 8), -1, np.int8), r"uint8 in 0\.\.255, got int8 in -1\.\.-1"),
        (np.zeros((0, 8, 8)), r"uint8 in 0\.\.255, got float64: give"),
        (np.zeros((8, 8), np.complex64), r"uint8 in 0\.\.255, got complex64: give"),
    ],
)
def test_predict_rejects_what_uint8_cannot_hold(obs: np.ndarray, message: str):
    with pytest.raises(InvalidValueError, match=f"expected observations of dtype {message}"):
        make_agent("random").predict(obs)


@pytest.mark.parametrize("value", [200, -129, np.uint8(128), np.int16(1000)])
def test_predict_rejects_what_int8_cannot_hold(value: Any):
    agent = find("random")(sync_vector(Int8Env, 1))
    with pytest.raises(InvalidValueError, match=r"expected observations of dtype int8 in -100\.\.100, got u?int"):
        agent.predict(np.full(2, value))
    assert agent.predict(np.full(2, 100, type(value)))[0].shape == ()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int64])
def test_predict_takes_integers_that_uint8_can_hold(dtype: Any):
    agent = make_agent("ppo")
    obs = np.random.default_rng(0).integers(2, size=(40, 8, 8)).astype(np.uint8)
    expected = agent.predict(obs)[0].tolist()
    assert agent.predict(obs.astype(dtype))[0].tolist() == expected
    assert agent.predict(obs.tolist())[0].tolist() == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint8])
def test_predict_takes_real_numbers_for_float32(dtype: Any):
    agent = make_agent("ppo", "CartPole")
    obs = np.random.default_rng(0).integers(3, size=(40, 4)).astype(np.float32)
    assert agent.predict(obs.astype(dtype))[0].tolist() == agent.predict(obs)[0].tolist()
    with pytest.raises(InvalidValueError, match="expected observations of dtype float32 .*got complex128"):
        agent.predict(obs.astype(np.complex128))


@pytest.mark.parametrize("name", ["ppo", "dqn", "random"])
def test_predict_takes_tensors(name: str):
    """As PyTorch users hold them: with a gradient, of any float dtype, and without a batch."""
    agent = make_agent(name, "CartPole")
    obs = np.random.default_rng(0).integers(3, size=(40, 4)).astype(np.float32)
    agents = [make_agent(name, "CartPole") for _ in range(4)]
    expected = agent.predict(obs)[0].tolist()
    tensor = torch.from_numpy(obs)
    tensors = (tensor, tensor.clone().requires_grad_(), tensor.double(), tensor.bfloat16())
    for given, each in zip(tensors, agents, strict=True):
        assert each.predict(given)[0].tolist() == expected
    assert agent.predict(tensor[0])[0].shape == ()


@pytest.mark.parametrize(
    ("obs", "error", "message"),
    [
        (
            (np.zeros(4), {"score": 0}),
            InvalidTypeError,
            r"got the pair \(observation, information\) that env.reset",
        ),
        (
            {"image": np.zeros(4)},
            InvalidTypeError,
            r"got a dictionary with the keys \['image'\]: wrap .*Flatten",
        ),
        (None, InvalidTypeError, "an array of numbers as the observation, got None"),
        ("left", InvalidTypeError, "an array of numbers as the observation, got 'left'"),
        (["a", "b", "c", "d"], InvalidTypeError, r"an array of numbers as the observation, got \['a', 'b', 'c', 'd'\]"),
        ([[1, 2, 3, 4], [1, 2]], InvalidValueError, r"got \[\[1, 2, 3, 4\], \[1, 2\]\]: its parts have unequal shapes"),
        ([0, np.nan, 0, 0], InvalidValueError, "finite as float32, got nan at index 1: agent.make_env"),
        ([[0, 0, 0, 0], [0, 0, -np.inf, 0]], InvalidValueError, "finite as float32, got -inf at index 1, 2"),
        ([0, 0, 0, 1e39], InvalidValueError, r"finite as float32, got 1e\+39 at index 3"),
        (
            np.zeros(3),
            InvalidValueError,
            r"shape \(4,\), or a batch of them, got \(3,\): agent.make_env",
        ),
    ],
    ids=repr,
)
@agents
def test_predict_names_what_is_no_observation(name: str, obs: Any, error: type, message: str):
    with pytest.raises(error, match=message):
        make_agent(name, "CartPole").predict(obs)


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_predict_names_what_is_no_lstm_state_or_episode_start(name: str):
    agent = make_agent(name, "CartPole", recurrent=True, lstm_hidden_size=3)
    obs = np.zeros((2, 4), np.float32)
    _, state = agent.predict(obs)
    actions, again = agent.predict(obs, state, [1, 0])  # a list is as good
    assert (actions.shape, again.shape) == ((2,), (2, 6))
    for wrong in (state[:1], state[:, :3], state > 0, state.tolist(), 7, "state"):
        with pytest.raises(InvalidValueError, match=r"expected an LSTM state of shape \(2, 6\), got .*: pass on"):
            agent.predict(obs, wrong)
    for wrong in (np.zeros(3), [[True, False]]):
        with pytest.raises(InvalidValueError, match="expected episode_start to be 2 bools, one an observation, got "):
            agent.predict(obs, state, wrong)


# ---- making agents ----


def test_settings_change_those_of_the_preset():
    preset = rlgames.preset("ppo", "CartPole")
    agent = rlgames.PPO("CartPole", learning_rate=1e-3, n_steps=64)
    assert agent.config == PPOConfig(**(preset.config | {"learning_rate": 1e-3, "n_steps": 64}))
    assert agent.num_envs == preset.envs
    assert rlgames.PPO("CartPole", num_envs=2).config == PPOConfig(**preset.config)


def test_settings_change_those_of_a_config():
    config = PPOConfig(n_epochs=7, gamma=0.5)
    assert rlgames.PPO("CartPole", config, gamma=0.9).config == PPOConfig(n_epochs=7, gamma=0.9)
    assert rlgames.PPO(gym.make("CartPole-v1"), n_steps=16).config == PPOConfig(n_steps=16)
    changed = rlgames.PPO(gym.make("CartPole-v1"), config, n_steps=16).config
    assert changed == PPOConfig(n_steps=16, n_epochs=7, gamma=0.5)
    assert config == PPOConfig(n_epochs=7, gamma=0.5)


def test_settings_are_checked_together():
    """Neither alone would be allowed with the other's default."""
    config = rlgames.DQN("CartPole", sequence_length=2, burn_in=1).config
    assert (config.sequence_length, config.burn_in) == (2, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"learning_rte": 1e-3},
            "unknown field 'learning_rte' of PPOConfig: did you mean 'learning_rate'",
        ),
        ({"verbose": 1}, r"PPO has no setting verbose=1: learn\(..., log_interval=1\) prints metrics"),
        ({"tensorboard_log": "runs"}, r"no setting tensorboard_log='runs': learn\(..., tb_log_name='run'\)"),
        ({"policy_kwargs": {"net_arch": [8]}}, "no setting policy_kwargs=.*: net_arch and encoder are settings"),
        ({"batch_size": 64}, "no setting batch_size=64: num_minibatches says"),
        ({"gamma": "0.9"}, "expected gamma to be a number in 0..1, got '0.9': write it without quotes"),
    ],
)
@pytest.mark.parametrize("config", [None, PPOConfig()])
def test_wrong_settings_are_named(settings: dict[str, Any], config: PPOConfig | None, message: str):
    with pytest.raises(InvalidTypeError, match=message):
        rlgames.PPO("CartPole", config, **settings)


def test_a_batch_size_has_a_remedy_where_there_are_minibatches_only():
    with pytest.raises(InvalidTypeError, match="unknown field 'batch_size' of A3CConfig: its fields are"):
        rlgames.A3C("CartPole", batch_size=64)


@agents
def test_the_arguments_of_stable_baselines_have_a_sentence(name: str):
    make: Any = find(name)
    with pytest.raises(InvalidTypeError, match=rf"got the policy 'MlpPolicy': leave it out, {make.__name__}\(env\)"):
        make("MlpPolicy", gym.make("CartPole-v1"))
    second = f"expected a {make.Config.__name__} as the second argument of {make.__name__}, got .*CartPole.*: an agent"
    for env in (gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", 2), "CartPole"):
        with pytest.raises(InvalidTypeError, match=second):
            make("CartPole", env)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x", "", "meta", None, 1.5, 0, b"cpu"])
def test_devices_that_are_not_here_are_named(device: Any):
    with pytest.raises(InvalidValueError, match="no device .* here .*: use 'auto' or 'cpu'") as caught:
        make_agent_on(device)
    assert repr(device) in str(caught.value)


def make_agent_on(device: Any) -> Any:
    return rlgames.PPO("CartPole", quick_config("ppo"), num_envs=1, device=device)


def test_the_repr_names_agent_game_steps_and_device():
    agent = make_agent("ppo", "CatchBall:size=16", n_steps=600).learn(1_000)
    assert repr(agent) == "<PPO on CatchBall:size=16: 1,200 steps, cpu>"
    assert repr(find("dqn")(gym.make("CartPole-v1"))) == "<DQN on CartPole-v1: 0 steps, cpu>"
    assert repr(find("random")(rlgames.make_vec("Cave", 2))) == "<Random on rlgames/Cave-v0: 0 steps, cpu>"
    assert repr(find("random")(sync_vector(RandomLengthEnv, 2))) == "<Random on RandomLengthEnv: 0 steps, cpu>"


# ---- the game as an agent sees it ----


@pytest.mark.parametrize("game", ["Dino", "Cave:stack=2", "CatchBall", "CartPole-v1", "Pong", "Cave:frame_skip=2"])
def test_make_env_makes_the_game_as_the_agent_sees_it(game: str):
    """With the preset's preprocessing, and the game's own rewards."""
    if game == "Pong":
        pytest.importorskip("ale_py")
    with find("ppo")(game, num_envs=1) as agent:
        assert agent.task is not None
        env, envs = agent.make_env(), agent.make_vec_env(3)
        assert env.observation_space == envs.single_observation_space == agent.observation_space
        assert envs.num_envs == 3
        obs, batch = env.reset(seed=0)[0], envs.reset(seed=0)[0]
        np.testing.assert_array_equal(obs, batch[0])
        assert agent.predict(obs)[0].shape == ()
        assert agent.predict(batch)[0].shape == (3,)
        own = replace(agent.task, rewards=None).make()
        own.reset(seed=0)
        for _ in range(20):
            (_, reward, ended, cut, _), (_, expected, *_) = env.step(0), own.step(0)
            assert reward == expected
            if ended or cut:
                break
        for each in (env, envs, own):
            each.close()


def test_make_env_renders():
    with make_agent("random", "Cave") as agent:
        env = agent.make_env(render_mode="rgb_array")
        env.reset(seed=0)
        assert np.asarray(env.render()).ndim == 3
        env.close()


def test_rewards_of_make_env_are_not_those_that_the_agent_learns_from():
    with find("ppo")("Dino:obs=state", num_envs=1) as agent:
        assert agent.task is not None
        assert agent.task.rewards is not None
        env = agent.make_env()
        env.reset(seed=0)
        assert env.step(0)[1] != agent.task.rewards.survival


def test_an_observation_of_another_look_names_make_env():
    """The preset of PPO on Dino crops the picture and erases its background."""
    with find("ppo")("Dino", quick_config("ppo"), num_envs=1) as agent:
        obs = rlgames.make("Dino").reset(seed=0)[0]
        with pytest.raises(InvalidValueError, match=r"agent.make_env\(\) and agent.make_vec_env\(n\) make the game as"):
            agent.predict(obs)
        assert agent.predict(agent.make_env().reset(seed=0)[0])[0].shape == ()


def test_an_agent_of_an_environment_makes_none():
    agent = find("random")(sync_vector(RandomLengthEnv, 2))
    for make in (agent.make_env, agent.make_vec_env):
        with pytest.raises(InvalidValueError, match="<Random on RandomLengthEnv.* was made of an environment, not of"):
            make()
    with pytest.raises(InvalidValueError, match="give them as the environment does that the agent was made for"):
        agent.predict(np.zeros(7))


# ---- load ----


@agents
def test_load_restores_everything_at_once(name: str, tmp_path: Path):
    agent = make_agent(name).learn(64)
    agent.save(tmp_path / "agent")
    loaded: Any = load(tmp_path / "agent")
    assert loaded.runner is not None
    np.testing.assert_array_equal(loaded.runner.obs, agent.runner.obs)
    assert loaded.runner.exact
    if hasattr(agent, "replay"):
        assert loaded.replay is not None
        assert (len(loaded.replay), loaded.replay.num_steps) == (len(agent.replay), agent.replay.num_steps)
        np.testing.assert_array_equal(loaded.replay.frames, agent.replay.frames)
    assert state_sha256(loaded, tmp_path) == state_sha256(agent, tmp_path)


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_load_restores_the_lstm_state(name: str, tmp_path: Path):
    agent = make_agent(name, recurrent=True, lstm_hidden_size=4).learn(64)
    agent.save(tmp_path / "agent")
    loaded: Any = load(tmp_path / "agent")
    assert agent.lstm_state.any()
    np.testing.assert_array_equal(loaded.lstm_state, agent.lstm_state)


@agents
def test_load_with_weights_only_makes_no_environments(name: str, tmp_path: Path):
    agent = make_agent(name).learn(64)
    agent.save(tmp_path / "agent")
    loaded: Any = load(tmp_path / "agent", weights_only=True)
    assert (loaded.runner, loaded.envs, loaded.num_envs) == (None, None, 2)
    assert getattr(loaded, "replay", None) is None
    assert loaded.step == agent.step
    assert weights_sha256(loaded.net.state_dict()) == weights_sha256(agent.net.state_dict())
    assert loaded.learn(8).step > agent.step


@agents
def test_load_without_environments_predicts_but_does_not_learn(name: str, tmp_path: Path):
    agent = find(name)(sync_vector(RandomLengthEnv, 2), quick_config(name)).learn(64)
    agent.save(tmp_path / "agent")
    loaded, obs = load(tmp_path / "agent"), np.random.default_rng(0).normal(size=(20, 3))
    assert loaded.predict(obs)[0].tolist() == agent.predict(obs)[0].tolist()
    with pytest.raises(InvalidValueError, match=r"loaded without an environment to learn in: load\(path, env=\.\.\.\)"):
        loaded.learn(8)
    loaded.save(tmp_path / "again")
    for file in ("agent", "again"):
        assert load(tmp_path / file, sync_vector(RandomLengthEnv, 2)).learn(8).step > agent.step


def test_load_in_environments_without_snapshots_starts_new_episodes(tmp_path: Path):
    """The replay ends the episodes that were running: DQN learns from no transition into a new one."""
    agent: Any = find("dqn")(sync_vector(RandomLengthEnv, 2), quick_config("dqn")).learn(64)
    agent.save(tmp_path / "agent")
    loaded: Any = load(tmp_path / "agent", sync_vector(RandomLengthEnv, 2))
    assert not loaded.runner.exact
    assert loaded.runner.episode_start.all()
    assert loaded.replay.episode_start.all()


def test_load_of_snapshots_after_an_inexact_load_keeps_the_running_episodes(tmp_path: Path):
    """`exact` stays False, but the episodes that the second file holds are restored in runner and replay alike."""
    agent: Any = find("dqn")("CartPole", quick_config("dqn"), num_envs=2).learn(64)
    agent.save(tmp_path / "first")
    in_gymnasium = load(tmp_path / "first", sync_vector(lambda: gym.make("CartPole-v1"), 2)).learn(8)
    in_gymnasium.save(tmp_path / "second")
    agent = load(tmp_path / "second", "CartPole").learn(8)
    assert not agent.runner.exact
    assert not agent.replay.episode_start.all()
    agent.save(tmp_path / "third")
    loaded: Any = load(tmp_path / "third", "CartPole")
    np.testing.assert_array_equal(loaded.replay.episode_start, agent.replay.episode_start)
    assert state_sha256(loaded.learn(64), tmp_path) == state_sha256(agent.learn(64), tmp_path)


@agents
def test_an_agent_saved_after_restart_episodes_continues_exactly(name: str, tmp_path: Path):
    """In environments without snapshots, from the seed of the new episodes."""
    agent = find(name)(sync_vector(RandomLengthEnv, 2), quick_config(name)).learn(64)
    assert agent.restart_episodes()
    agent.save(tmp_path / "agent")
    loaded: Any = load(tmp_path / "agent", sync_vector(RandomLengthEnv, 2))
    assert loaded.runner.exact
    assert state_sha256(loaded.learn(64), tmp_path) == state_sha256(agent.learn(64), tmp_path)


def test_restart_episodes_changes_nothing_where_there_are_snapshots(tmp_path: Path):
    agent = make_agent("dqn").learn(64)
    state = state_sha256(agent, tmp_path)
    assert not agent.restart_episodes()
    assert state_sha256(agent, tmp_path) == state


def test_load_state_dict_into_a_running_agent(tmp_path: Path):
    agent, other = make_agent("dqn").learn(64), make_agent("dqn").learn(16)
    agent.save(tmp_path / "agent")
    other.load_state_dict(agent.state_dict())
    assert state_sha256(other, tmp_path) == state_sha256(agent, tmp_path)
    for key, value in agent.target.state_dict().items():
        assert torch.equal(other.target.state_dict()[key], value)


@pytest.mark.parametrize("high", [1.0, np.inf])
def test_load_without_environments_knows_pictures_of_floats_by_their_bounds(high: float, tmp_path: Path):
    """A matrix of floats without bounds is a vector."""

    class Env(RandomLengthEnv):
        observation_space = Box(0, high, (40, 40), np.float32)

        def _observe(self) -> np.ndarray:
            return self.np_random.random((40, 40), np.float32)

    agent: Any = find("ppo")(sync_vector(Env, 2), quick_config("ppo", pictures=True)).learn(16)
    agent.save(tmp_path / "agent")
    obs = np.random.default_rng(0).random((5, 40, 40), np.float32)
    loaded: Any = rlgames.load(tmp_path / "agent")
    assert (loaded.net.critic is None) == (high == 1.0)  # pictures share an encoder
    assert loaded.predict(obs)[0].tolist() == agent.predict(obs)[0].tolist()
    assert rlgames.load(tmp_path / "agent", sync_vector(Env, 2)).learn(16).step == 32


def test_load_of_a_damaged_file_makes_no_agent(tmp_path: Path):
    (tmp_path / "agent").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        rlgames.load(tmp_path / "agent")
