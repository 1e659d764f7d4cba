"""DQN's settings do what they say."""

import numpy as np
import pytest
import torch
from helpers.toys import quick

import rlgames
from rlgames.agents.dqn import DQN, DQNConfig


@pytest.mark.parametrize(("loss", "expected"), [("huber", (0.125 + 2.5) / 2), ("squared", (0.125 + 4.5) / 2)])
def test_the_two_losses_part_at_an_error_of_one(loss: str, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = DQN("CatchBall", quick("dqn", loss=loss), num_envs=2, device="cpu")
    monkeypatch.setattr(agent, "errors", lambda batch: (q := agent.net(torch.zeros(2, 8, 8))[:, 0], q * 0 + errors))
    errors = torch.tensor([0.5, -3.0])
    update = next(agent.train(64))
    assert update.scalars["loss"].item() == pytest.approx(expected)


@pytest.mark.parametrize("game", ["Pong", "Cave:stack=4"])
@pytest.mark.parametrize("scale", [False, True])
def test_frames_are_kept_once_whoever_stacks_them(game: str, scale: bool) -> None:
    """The emulator's own stacks as well as the wrapper's: what is drawn is what was seen, over episodes' ends too."""
    if game == "Pong":
        pytest.importorskip("ale_py")
    pixels = rlgames.Pixels(size=(48, 48) if game == "Pong" else None, grey=game == "Pong", stack=4, scale=scale)
    envs = rlgames.make_vec(game, 2, pixels=pixels, max_episode_steps=70)
    agent = DQN(envs, DQNConfig(buffer_size=400, learning_starts=10_000), device="cpu")
    player, replay, seen = agent.playing(), agent.remembering(), set()
    for _ in range(150):
        seen |= {row.tobytes() for row in player.obs}
        replay.add(player.step(agent.rng.integers(agent.action_space.n, size=2)))
    assert replay.stack == 4
    assert replay.frame[0, 0].size == 48 * 48
    drawn = replay.sample(np.random.default_rng(0), 300).obs
    assert {row.tobytes() for row in drawn} <= seen
    envs.close()


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="expected loss huber or squared, got 'l1'"):
        DQNConfig(loss="l1")
