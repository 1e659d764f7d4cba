"""The games, registered with Gymnasium as `rlgames/<Name>-v0`, and the two functions that make them for an agent."""

from __future__ import annotations

import difflib
import inspect
import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards


@dataclass(frozen=True)
class Entry:
    """One row of the table of games."""

    module: str  # that holds `game(**options) -> Game`, and `share(pixels, many)` if its engines see to pixels
    summary: str
    pixels: Pixels = Pixels()  # what an agent sees, unless told otherwise; see `default_pixels`
    twin: str = ""  # a game by another name that agents cannot tell from this one


GAMES: dict[str, Entry] = {
    "CartPole": Entry("rlgames.envs.cart_pole", "keep the pole upright"),
    "CatchBall": Entry("rlgames.envs.catch_ball", "slide the bar under the falling balls (size=8 or 16)"),
    "Cave": Entry("rlgames.envs.cave", "fly through a narrowing cave full of blocks (antialias=true or false)"),
    "Dino": Entry(
        "rlgames.envs.dino.rules",
        "the T-Rex of chrome://dino, simulated to the last digit (obs=pixels or state)",
        twin="ChromeDino",
    ),
    "Pong": Entry(
        "rlgames.envs.pong",
        "Atari's Pong, to 21 points (extra pong)",
        Pixels(size=(84, 84), grey=True, skip=4, max_pool=True, stack=4),  # Mnih et al. 2015
    ),
    "Mario": Entry(
        "rlgames.envs.mario.game",
        "Super Mario Bros., a stage (world=1,stage=2) or all of them (extra mario)",
        Pixels(crop=(32, 240, 0, 256), grey=True, size=(84, 84), skip=4, stack=4),  # without the score board
    ),
    "ChromeDino": Entry(
        "rlgames.envs.chrome_dino.game",
        "chrome://dino in the real browser (obs=pixels or state; extra dino)",
        twin="Dino",
    ),
}


def name_of(game: str) -> str:
    """The short name of a game given as "Cave" or "rlgames/Cave-v0". Raises ValueError for an unknown one."""
    name = game.removeprefix("rlgames/").removesuffix("-v0")
    if name not in GAMES:
        near = difflib.get_close_matches(name.lower(), [known.lower() for known in GAMES], n=1)
        guess = "".join(f"did you mean {known!r}? " for known in GAMES if known.lower() in near)
        raise ValueError(f"no game is called {game!r}: {guess}the games are {', '.join(GAMES)}")
    return name


@lru_cache(maxsize=None, typed=True)  # 8.0 is no 8
def rules(name: str, **options: Any) -> Any:
    """A game as its module makes it: a `Game` or an `AtariGame`, both of which make their environments.

    `options` are the arguments of the module's `game`. Raises TypeError for an unknown one.
    """
    build, known = import_module(GAMES[name].module).game, own_options(name)
    if unknown := [option for option in options if option not in known]:
        raise TypeError(f"{name} has no option {unknown[0]!r}: its own options are {', '.join(known) or 'none'}")
    return build(**options)


def hashable(options: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


def own_options(name: str) -> tuple[str, ...]:
    return tuple(inspect.signature(import_module(GAMES[name].module).game).parameters)


def engine_options(name: str, many: bool) -> set[str]:
    """The arguments of a game's environments, beside the options of its own (CatchBall's size is one of those)."""
    known = {"render_mode", "frame_skip", "max_pool", "max_episode_steps"}
    if many:
        known |= {"autoreset_mode", "threads"}
    if share := getattr(import_module(GAMES[name].module), "share", None):
        known |= set(share(Pixels(size=(84, 84)), many)[0])  # of a declaration of which an engine can do all
    return known - set(own_options(name))


def solo_env(game: str, **kwargs: Any) -> gym.Env:
    """Gymnasium's entry point: one player. `kwargs` are `SoloEnv`'s arguments and the game's options."""
    engine = {key: kwargs.pop(key) for key in engine_options(game, many=False) & set(kwargs)}
    return rules(game, **hashable(kwargs)).solo(**engine)


def batch_env(game: str, num_envs: int = 1, **kwargs: Any) -> VectorEnv:
    """Gymnasium's vector entry point. `kwargs` are `BatchEnv`'s arguments and the game's options."""
    engine = {key: kwargs.pop(key) for key in engine_options(game, many=True) & set(kwargs)}
    return rules(game, **hashable(kwargs)).batch(num_envs, **engine)


def parse(game: str) -> tuple[str, dict[str, Any]]:
    """ "CatchBall:size=16" -> ("CatchBall", {"size": 16}); numbers, true and false are read as such.

    Raises ValueError for an unknown game and for an option without a value.
    """
    name, _, text = game.removeprefix("rlgames:").partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise ValueError(f"expected options as in 'CatchBall:size=16', got {part!r} in {game!r}")
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return name_of(name), options


def default_pixels(name: str, options: dict[str, Any]) -> Pixels:
    """What an agent sees unless told otherwise; where the game's options decide, its module has a `default_pixels` too.

    The module's function has some of the arguments of its `game`, with the same defaults, and returns a declaration.
    """
    decide = getattr(import_module(GAMES[name].module), "default_pixels", None)
    return decide(**{key: options[key] for key in deciding(name) & set(options)}) if decide else GAMES[name].pixels


def deciding(name: str) -> set[str]:
    """Those of a game's own options that decide what is seen, such as Dino's obs."""
    decide = getattr(import_module(GAMES[name].module), "default_pixels", None)
    return set(inspect.signature(decide).parameters) if decide else set()


def seen(name: str, pixels: Pixels | None, options: dict[str, Any]) -> Pixels:
    """What an agent sees: the game's default declaration, or `pixels`; `options` may change its skip and stack.

    Those two are taken out of `options`: the engine and the wrappers below must not skip a second time.
    """
    pixels = default_pixels(name, options) if pixels is None else pixels
    for option, field in (("frame_skip", "skip"), ("stack", "stack")):
        if option in options:
            value = options.pop(option)
            if type(value) is not int or value < 1:
                raise ValueError(f"expected {option} >= 1, got {value!r}")
            pixels = replace(pixels, **{field: value})
    return pixels


def shared(name: str, pixels: Pixels, many: bool) -> tuple[dict[str, Any], Pixels]:
    """What the game's engine does of a declaration by itself, as arguments, and what is left for wrappers."""
    share = getattr(import_module(GAMES[name].module), "share", None)
    if share:
        return share(pixels, many)
    return pixels.engine_arguments() if many else {}, pixels


def make(game: str, *, pixels: Pixels | None = None, rewards: Rewards | None = None, **kwargs: Any) -> gym.Env:
    """One player of a game as an agent sees it: the game's default pixel declaration applied.

    `game` is "Cave" or "rlgames/Cave-v0", with options of its own as in "CatchBall:size=16"; `pixels` replaces the
    default declaration (`Pixels()`: the game as it is), `frame_skip` and `stack` change it, `rewards` shapes the
    reward; the rest goes to `gymnasium.make` (render_mode, the game's own options such as size).

    Raises ValueError for an unknown game or a bad option's value, TypeError for an unknown option.
    """
    name, options = parse(game)
    options |= kwargs
    arguments, pixels = shared(name, seen(name, pixels, options), many=False)
    env = pixels.wrap(gym.make(f"rlgames/{name}-v0", **{**arguments, **options}))
    return env if rewards is None else rewards.wrap(env)


def make_vec(
    game: str,
    num_envs: int = 1,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    pixels: Pixels | None = None,
    rewards: Rewards | None = None,
    **kwargs: Any,
) -> VectorEnv:
    """`num_envs` players of a game as an agent sees it, on the fastest engine there is; arguments as in `make`.

    Restarts in the step an episode ends (SAME_STEP) unless told otherwise, where `gymnasium.make_vec` keeps Gymnasium's
    own default, NEXT_STEP.
    """
    name, options = parse(game)
    options |= kwargs
    pixels = seen(name, pixels, options)
    if pixels.stack_skipped:
        envs = one_by_one(name, num_envs, pixels, autoreset_mode, options)
        return envs if rewards is None else rewards.wrap_vec(envs)
    arguments, pixels = shared(name, pixels, many=True)
    options = {"autoreset_mode": autoreset_mode, **arguments, **options}
    envs = pixels.wrap_vec(gym.make_vec(f"rlgames/{name}-v0", num_envs, **options))
    return envs if rewards is None else rewards.wrap_vec(envs)


def one_by_one(
    name: str, num_envs: int, pixels: Pixels, autoreset_mode: AutoresetMode | str, options: dict[str, Any]
) -> VectorEnv:
    """Environments each with wrappers of its own, side by side."""
    from rlgames.engine.threaded import ThreadedEnv

    outer = {"autoreset_mode": autoreset_mode, "threads": options.pop("threads", None)}
    own = {key: options[key] for key in own_options(name) if key in options}
    beside = getattr(rules(name, **hashable(own)), "beside", ThreadedEnv)
    return beside(partial(make, name, pixels=pixels, **options), num_envs, **outer)


def register() -> None:
    for name in GAMES:
        enter(name)


def enter(name: str) -> None:
    gym.register(
        f"rlgames/{name}-v0",
        entry_point="rlgames.envs.registry:solo_env",
        vector_entry_point="rlgames.envs.registry:batch_env",
        kwargs={"game": name},
    )


def register_game(name: str, module: str, summary: str, pixels: Pixels = Pixels()) -> None:
    """Add a game of your own: from now on its name, and "rlgames/<name>-v0", mean it wherever CatchBall's do.

    `module` holds `game(**options) -> Game`; the module that calls this names itself, `__name__`. `pixels` is what
    agents see unless told otherwise. Raises ValueError for a name that is taken or has other signs than letters,
    digits and underscores.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise ValueError(f"expected a game's name of letters, digits and underscores, got {name!r}")
    if name in GAMES and GAMES[name].module != module:
        raise ValueError(f"the name {name!r} is taken by {GAMES[name].module}: choose another")
    GAMES[name] = Entry(module, summary, pixels)
    rules.cache_clear()  # the module may have been loaded anew
    if f"rlgames/{name}-v0" not in gym.registry:
        enter(name)
