"""ChromeDino, in the browser: equal to the simulator and to itself.

The tests share browsers, one for each kind of page: that nothing is left of the test before is among what is tested.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from helpers.chrome import assert_gone, profile_of, solo

import rlgames
from rlgames.envs.chrome_dino import page as chrome_dino_page
from rlgames.envs.chrome_dino.browser import Browser
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.chrome_dino.page import LISTS, NOOP, PLAIN, DinoPage, Order
from rlgames.envs.registry import load_game

JUMP = 1
N = 3
PAGES: dict[tuple[Any, ...], DinoPage] = {}


class Lent:
    """A page that is shared, hence not closed."""

    def __init__(self, page: DinoPage):
        self.step, self.colours, self.page = page.step, page.colours, page

    def close(self) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def returned() -> Iterator[None]:
    yield
    for page in PAGES.values():
        page.close()
    PAGES.clear()


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments of this test play in a browser that others have used."""
    start = ChromeDinoGame.page

    def lend(game: ChromeDinoGame, count: int, visible: bool = False, pool: bool = False) -> Any:
        key = (count, game.acceleration, game.pictures, pool)
        if key not in PAGES:
            PAGES[key] = start(game, count, visible, pool)
        return Lent(PAGES[key])

    monkeypatch.setattr(ChromeDinoGame, "page", lend)


def held(seed: int, frames: int, shape: int | None = None) -> np.ndarray:
    """Keys that are held for some frames, jump and none more often than duck."""
    dice = np.random.default_rng(seed)
    size = frames // 8 + 1 if shape is None else (frames // 8 + 1, shape)
    return dice.choice(3, p=[0.4, 0.4, 0.2], size=size).repeat(8, axis=0)[:frames]


@pytest.mark.parametrize("options", [{}, {"acceleration": False, "reward": "score"}], ids=str)
def test_plays_as_the_simulator(options: dict[str, Any], shared: None) -> None:
    """Number by number: observations, rewards, scores and all that the page tells of the game."""
    ours = solo(obs="state", **options)
    theirs: Any = load_game("Dino", obs="state", **options).solo()
    np.testing.assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    ends = 0
    for action in held(0, 1500):
        found, expected = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1:] == expected[1:]
        page, simulated = ours._players.records[0], theirs._players.records[0]
        for name in set(PLAIN) & set(simulated.dtype.names):
            assert page[name] == simulated[name], name
        for name in LISTS:
            np.testing.assert_array_equal(*(record[name][: record["obstacles"]] for record in (page, simulated)))
        if found[2]:
            ends += 1
            np.testing.assert_array_equal(ours.reset()[0], theirs.reset()[0])
    assert ends > 2
    if options:
        assert ours._players.records["speed"][0] == 6


@pytest.mark.parametrize("limit", [None, 30])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_batch_restarts_as_the_simulators(mode: AutoresetMode, limit: int | None, shared: None) -> None:
    """And that one restarts as Gymnasium's SyncVectorEnv does (test_autoreset.py)."""
    asked: dict[str, Any] = {"autoreset_mode": mode, "frame_skip": 4, "max_episode_steps": limit, "obs": "state"}
    ours, theirs = (gym.make_vec(f"rlgames/{name}-v0", N, **asked) for name in ("ChromeDino", "Dino"))
    np.testing.assert_array_equal(ours.reset(seed=11)[0], theirs.reset(seed=11)[0])
    ends = 0
    for row in held(1, 150 if limit is None else 30, N):
        (*found, info), (*expected, their_info) = ours.step(row), theirs.step(row)
        for mine, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, other)
        assert set(info) == set(their_info)
        np.testing.assert_array_equal(info["score"], their_info["score"])
        done = found[2] | found[3]
        ends += done.sum()
        if "final_obs" in info:
            np.testing.assert_array_equal(info["_final_obs"], done)
            np.testing.assert_array_equal(info["final_obs"][done], their_info["final_obs"][done])
            final, their_final = info["final_info"]["score"], their_info["final_info"]["score"]
            np.testing.assert_array_equal(final[done], their_final[done])
        if mode is AutoresetMode.DISABLED and done.any():
            with pytest.raises(ResetNeeded, match="over"):
                ours.step(row)
            obs, _ = ours.reset(options={"reset_mask": done})
            np.testing.assert_array_equal(obs, theirs.reset(options={"reset_mask": done})[0])
    assert ends >= N


def test_rows_of_a_batch_are_single_environments(shared: None) -> None:
    """Pictures too, as an agent sees them: four frames a step, four pictures."""
    batch = rlgames.make_vec("ChromeDino", N)
    first = batch.reset(seed=5)[0]
    assert first.shape == (N, 4, 84, 84)
    keys = held(2, 60, N)
    seen = [first.copy()]
    for row in keys:
        obs, _, terminated, *_ = batch.step(row)
        seen.append(np.where(terminated[:, None, None, None], 0, obs))
    assert all((before != after).any() for before, after in pairwise(seen))
    for i in range(N):
        one = rlgames.make("ChromeDino")
        np.testing.assert_array_equal(one.reset(seed=5 + i)[0], first[i])
        for t, action in enumerate(keys[:, i]):
            obs, _, terminated, *_ = one.step(int(action))
            if terminated:
                break
            np.testing.assert_array_equal(obs, seen[t + 1][i])


def digest(env: Any) -> str:
    found = hashlib.sha256()
    for seed in (7, None):
        found.update(env.reset(seed=seed)[0].tobytes())
        for action in held(4, 120):
            obs, reward, over, _, info = env.step(action)
            found.update(obs.tobytes() + json.dumps([reward, over, info]).encode())
            if over:
                break
    return found.hexdigest()


def test_the_same_in_a_fresh_browser(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    used = solo(frame_skip=4)
    first = digest(used)
    assert digest(used) == first
    monkeypatch.undo()
    fresh = solo(frame_skip=4)
    assert digest(fresh) == first
    assert_loopback(fresh)
    profile = profile_of(fresh)
    fresh.close()
    assert_gone(profile)


def assert_loopback(env: Any) -> None:
    """The debugger listens to this machine alone."""
    address = env._players.page.browser.driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
    port = f":{int(address.rpartition(':')[2]):04X}"
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    local = [row[1].removesuffix(port) for row in rows if row[1].endswith(port) and row[3] == "0A"]
    assert set(local) <= {"0100007F", "00000000000000000000000001000000"}


def test_pictures(shared: None) -> None:
    """Grey is the area mean of what a person sees; at night both are inverted."""
    env = solo(render_mode="rgb_array", frame_skip=4)
    assert env.metadata["render_fps"] == 15
    assert env.render() is None
    obs, _ = env.reset(seed=0)
    for _ in range(60):
        obs = env.step(NOOP)[0]
    colours = env.render()
    assert (colours.shape, colours.dtype) == ((150, 600, 3), np.uint8)
    assert np.median(colours) == 255
    mean = cv2.resize(colours[..., 0], (84, 84), interpolation=cv2.INTER_AREA)
    assert np.abs(obs.astype(int) - mean).max() <= 1
    page = env._players.page.page._page
    page.evaluate("Runner.getInstance().inverted = true")
    np.testing.assert_array_equal(env.render(), 255 - colours)
    env.reset(seed=0)
    assert np.median(env.render()) == 255


def test_pictures_of_sprites_are_those_of_the_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a whole game with a night, played twice: by itself, and by a page that lets the canvas paint everything."""
    code = chrome_dino_page.script()
    slow = code.replace("put(runner.canvasCtx.notes || [])", "-1")
    quick = code.replace("if (count < 0) {", "if (count < 0) {window.painted = (window.painted || 0) + 1;")
    assert slow != code != quick
    seen = []
    for version in (slow, quick):
        monkeypatch.setattr(chrome_dino_page, "script", lambda version=version: version)
        page = DinoPage(1)
        page.step([[-1, 7, None, None]])
        page._page.evaluate("Runner.getInstance().distanceRan = 690 / 0.025")  # the night is near
        orders: list[Order] = [[int(action), 2, 9 + t, 0] for t, action in enumerate(held(0, 400))]
        seen.append(np.concatenate([page.step([order])["picture"] for order in orders]))
        painted = page._page.evaluate("window.painted")
        page.close()
    np.testing.assert_array_equal(*seen)
    assert (seen[0].mean((1, 2)) < 128).sum() > 50
    assert 0 < painted < 60  # while the moon comes and goes


def test_seeing_all_frames_of_a_step(shared: None) -> None:
    """As one picture of several channels, from the wrappers."""
    plain, actions = solo(), held(1, 24)
    first, _ = plain.reset(seed=3)
    frames = [plain.step(action)[0] for action in actions[::8].repeat(3)]
    env = rlgames.make("ChromeDino", pixels=rlgames.Pixels(skip=3, stack_skipped=True))
    shown, _ = env.reset(seed=3)
    assert env.observation_space.contains(shown)
    np.testing.assert_array_equal(shown[-1], first)
    for t, action in enumerate(actions[::8]):
        np.testing.assert_array_equal(env.step(action)[0], frames[3 * t : 3 * t + 3])


def test_a_step_of_several_frames(shared: None) -> None:
    """The frames one by one are the oracle."""
    plain, pooled = solo(), solo(frame_skip=4, max_pool=True)
    plain.reset(seed=1)
    frames = []
    for _ in range(32):
        obs, reward, *_ = plain.step(JUMP)
        frames.append((obs, reward))
    pooled.reset(seed=1)
    for t in range(0, 32, 4):
        obs, reward, *_ = pooled.step(JUMP)
        np.testing.assert_array_equal(obs, np.maximum(frames[t + 2][0], frames[t + 3][0]))
        assert reward == sum(one[1] for one in frames[t : t + 4])


def test_keeps_gymnasiums_contract(shared: None) -> None:
    check_env(solo(), skip_render_check=True)
    assert rlgames.make("ChromeDino:obs=state").observation_space.shape == (24,)


def test_bad_steps(shared: None) -> None:
    env, envs = solo(obs="state"), gym.make_vec("rlgames/ChromeDino-v0", N, obs="state")
    for one, action in ((env, 0), (envs, np.zeros(N, np.int64))):
        with pytest.raises(ResetNeeded, match="before the first reset"):
            one.step(action)
        one.reset(seed=0)
    for action in (3, -1, 1.5, "jump"):
        with pytest.raises(ValueError, match=r"no such action in .*: got .*, possible are 0 noop, 1 jump, 2 duck"):
            env.step(action)
    with pytest.raises(ValueError, match="no such action"):
        envs.step(np.full(N, 3))
    while not env.step(NOOP)[2]:
        pass
    with pytest.raises(ResetNeeded, match="is over"):
        env.step(NOOP)
    for one in (env, envs):
        one.close()
        one.close()
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            one.reset()
        with pytest.raises(ClosedEnvironmentError, match="make another"):
            one.step(NOOP)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs": "sound"}, "obs to be 'pixels' or 'state', got 'sound'"),
        ({"reward": "fame"}, "reward to be 'survival' or 'score', got 'fame'"),
        ({"acceleration": 2}, "acceleration to be True or False, got 2"),
        ({"real_time": 1}, "real_time to be True or False, got 1"),
        ({"obs": "state", "max_pool": True, "frame_skip": 2}, "max_pool is for pictures"),
        ({"frame_skip": 0}, "frame_skip >= 1, got 0"),
    ],
)
def test_what_there_is_not(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solo(**options)


def test_a_person_looks_on(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the pace of the screen it is the same game. The window is left out: not every machine has a screen."""
    unseen = solo(frame_skip=4)
    expected = [unseen.reset(seed=6)[0], *(unseen.step(JUMP)[0] for _ in range(8))]
    monkeypatch.undo()
    monkeypatch.setattr(chrome_dino_page, "Browser", lambda code, headless, **paths: Browser(code, **paths))
    env = solo(frame_skip=4, render_mode="human")
    np.testing.assert_array_equal(env.reset(seed=6)[0], expected[0])
    for picture in expected[1:]:
        np.testing.assert_array_equal(env.step(JUMP)[0], picture)
    assert env.render() is None
    env.close()


def test_real_time() -> None:
    env = solo(real_time=True, frame_skip=4)
    obs, info = env.reset()
    total, scores = 0.0, [info["score"]]
    for t in range(20):
        obs, reward, terminated, _, info = env.step(JUMP if t % 10 == 5 else NOOP)
        assert env.observation_space.contains(obs)
        total += reward
        scores.append(info["score"])
        if terminated:  # on a slow machine: the first three seconds have no obstacles
            break
    assert total > 0
    assert scores == sorted(scores)
    assert scores[-1] > 0
    env.reset()
    env.close()
    with pytest.raises(ValueError, match="real_time=False for a batch"):
        load_game("ChromeDino", real_time=True).batch(2)
