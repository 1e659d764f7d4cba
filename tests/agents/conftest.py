"""Small networks are fastest on one thread, and several test processes need not fight for the cores."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)
