"""DQN's settings do what they say."""

import pytest
import torch
from toys import quick

from rlgames.agents.dqn import DQN, DQNConfig


@pytest.mark.parametrize(("loss", "expected"), [("huber", (0.125 + 2.5) / 2), ("squared", (0.125 + 4.5) / 2)])
def test_the_two_losses_part_at_an_error_of_one(loss: str, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = DQN("CatchBall", quick("dqn", loss=loss), num_envs=2, device="cpu")
    monkeypatch.setattr(agent, "errors", lambda batch: (q := agent.net(torch.zeros(2, 8, 8))[:, 0], q * 0 + errors))
    errors = torch.tensor([0.5, -3.0])
    update = next(agent.train(64))
    assert update.scalars["loss"].item() == pytest.approx(expected)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="expected loss huber or squared, got 'l1'"):
        DQNConfig(loss="l1")
