"""Play an agent's game for the viewers of a page, and let them steer, pause, and take over."""

from __future__ import annotations

import queue
import time
from typing import Any

import gymnasium as gym
import numpy as np

from rlgames.agents.base import Agent
from rlgames.engine.rendering import action_names
from rlgames.envs.task import Task
from rlgames.errors import UsageError
from rlgames.web.frames import encode_frame
from rlgames.web.server import LiveServer, listen
from rlgames.web.thoughts import think

PAUSE_BETWEEN_GAMES = 1.2  # seconds
IDLE_INTERVAL = 0.1  # seconds between two looks for commands while nothing moves
FRAME_INTERVAL = 1 / 60  # seconds between two frames at least: more than a screen shows would keep viewers behind
SPEEDS = 1 / 16, 64.0  # slowest and fastest, times the game's own


class LivePlayer:
    """One game, played by an agent or by a viewer; `advance` does what is due and returns the seconds until the next.

    `seed` is that of the first episode, each later one has the next. The environment is closed by `close`.
    """

    def __init__(self, agent: Agent, server: LiveServer | None = None, *, seed: int = 0, deterministic: bool = True):
        task = agent.task
        if task is None:
            raise UsageError("this agent was not made from a game's name: say what to play with --game")
        self.env = Task(task.game, task.options, task.pixels).make(render_mode="rgb_array")
        self.agent, self.server, self.seed, self.deterministic = agent, server, seed, deterministic
        self.fps: float = self.env.metadata.get("render_fps") or 30
        self.score_key = self.env.metadata.get("score", "score")
        self.paused, self.speed, self.human, self.saliency = False, 1.0, False, False
        self.held = 0  # the viewer's action
        self.best: float | None = None
        self.due = 0.0  # time.monotonic() of the next step
        self.changed, self.next_frame = True, 0.0  # since the last frame; time.monotonic() of the next
        self.reset()

    def describe(self) -> dict[str, Any]:
        """Return what the page shows around the frames."""
        task = self.agent.task
        return {
            "name": str(task),
            "title": str(task),
            "actions": action_names(self.env),
            "keys": [[list(keys), action] for keys, action in keys_of(self.env).items()],
            "agent": f"{self.agent.name.upper()}, {self.agent.step:,} steps",
        }

    # ---- playing ----

    def reset(self) -> None:
        self.obs, self.info = self.env.reset(seed=self.seed)
        self.state, self.start, self.score, self.rewards, self.steps, self.over = None, True, 0.0, 0.0, 0, False
        self.decide()

    def decide(self) -> None:
        """Let the agent choose its action for the current observation."""
        before = self.state
        action, self.state = self.agent.predict(self.obs, before, np.array([self.start]), self.deterministic)
        self.chosen = int(action) - int(self.agent.action_space.start)
        self.thought = think(self.agent, self.obs, before, self.start, self.chosen, self.saliency)

    def step(self) -> None:
        action = self.held if self.human else self.chosen
        first = int(self.agent.action_space.start)
        self.obs, reward, terminated, truncated, self.info = self.env.step(action + first)
        self.rewards += float(reward)
        self.score, self.steps, self.start = float(self.info.get(self.score_key, self.rewards)), self.steps + 1, False
        self.over = terminated or truncated
        if self.over:
            self.best = self.score if self.best is None else max(self.best, self.score)
        self.decide()

    def advance(self) -> float:
        """Obey the viewers, step if it is due, publish what has changed; return the seconds until more is due."""
        self.changed |= self.obey()
        now = time.monotonic()
        if self.paused or now < self.due:
            pass
        elif self.over:
            self.seed += 1
            self.reset()
            self.changed, self.due = True, now + 1 / (self.fps * self.speed)
        else:
            self.step()
            self.changed = True
            pace = 1 / (self.fps * self.speed)
            self.due = max(self.due + pace, now) if not self.over else now + PAUSE_BETWEEN_GAMES / max(1.0, self.speed)
        if self.changed and now >= self.next_frame and self.server is not None:
            self.server.publish(self.frame())
            self.changed, self.next_frame = False, now + FRAME_INTERVAL
        due = [*([] if self.paused else [self.due]), *([self.next_frame] if self.changed else [])]
        return min(max(min(due, default=now + IDLE_INTERVAL) - time.monotonic(), 0.0), IDLE_INTERVAL)

    def frame(self) -> bytes:
        """Return the present frame."""
        thought = self.thought
        facts = {
            "score": self.score,
            "best": self.best,
            "seed": self.seed,
            "time": self.steps,
            "over": self.over,
            "kind": thought.kind,
            "outputs": thought.outputs,
            "value": thought.value,
            "action": self.chosen,
            "paused": self.paused,
            "speed": self.speed,
            "human": self.human,
            "agent": f"{self.agent.name.upper()}, {self.agent.step:,} steps",
        }
        picture = np.asarray(self.env.render())
        return encode_frame(facts, picture, {"obs": self.obs, "saliency": thought.saliency})

    # ---- commands ----

    def obey(self) -> bool:
        """Carry out what viewers have asked for; return whether anything may look different."""
        changed = False
        while self.server is not None:
            try:
                command = self.server.commands.get_nowait()
            except queue.Empty:
                break
            changed |= self.carry_out(command)
        return changed

    def carry_out(self, command: dict[str, Any]) -> bool:
        """Carry out one command, {"name": ..., "value": ...}; anything else is ignored."""
        name, value = command.get("name"), command.get("value")
        if name == "paused" and isinstance(value, bool):
            self.paused, self.due = value, time.monotonic()
        elif name == "human" and isinstance(value, bool):
            self.human = value
        elif name == "wantSaliency" and isinstance(value, bool):
            self.saliency = value
            self.thought = think(self.agent, self.obs, self.state, self.start, self.chosen, value)
        elif name == "held" and (value is None or type(value) is int):
            self.held = value if value is not None and 0 <= value < self.agent.action_space.n else 0
        elif name == "speed" and isinstance(value, int | float) and not isinstance(value, bool):
            self.speed = min(max(float(value), SPEEDS[0]), SPEEDS[1])
        elif name == "step":
            self.paused = True
            if not self.over:
                self.step()
        elif name == "restart" and (value is None or (type(value) is int and 0 <= value < 2**31)):
            self.seed = self.seed if value is None else value
            self.reset()
        elif name != "hello":  # a new viewer
            return False
        return True

    def close(self) -> None:
        self.env.close()


def keys_of(env: gym.Env) -> dict[tuple[str, ...], int]:
    """Return the keys that are pressed together for each action, as Gymnasium's `play` takes them."""
    if not env.has_wrapper_attr("get_keys_to_action"):
        return {}
    mapping = env.get_wrapper_attr("get_keys_to_action")()
    return {tuple(map(str, keys)): int(action) for keys, action in mapping.items()}


def watch_live(agent: Agent, *, host: str, port: int, seed: int, deterministic: bool) -> None:
    """Serve a page on which the agent plays until Ctrl-C; print its address."""
    player = LivePlayer(agent, seed=seed, deterministic=deterministic)
    try:
        player.server = server = LiveServer(player.describe(), listen(host, port))
        try:
            print(f"open {server.address}  (Ctrl-C ends it)", flush=True)
            while True:
                wait = player.advance() if server.viewers else IDLE_INTERVAL
                time.sleep(wait)
        finally:
            server.close()
    finally:
        player.close()
