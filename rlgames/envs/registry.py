"""Registry of games and wrappers by name, and the two functions that make games for an agent.

A game's module holds `game(**options)`, which returns the game as data, and optionally

    make_env(game, **settings)                    one environment; default: the compiled engine's
    make_vector_env(game, num_envs, **settings)   many; default: the compiled engine's
    vectorize(game, make, num_envs, **settings)   many environments made by `make`; default: ThreadedVectorEnv
    default_pixels(**options)                     preprocessing, where options of the game decide it
    split_pixels(pixels, vector)                  the makers' part of the preprocessing, as arguments, and the rest
    STORED_STRINGS                                {option: pattern} of the strings that a file may give for options

`games` has the table of them. Importing rlgames registers every game with Gymnasium as "rlgames/<name>-v0".
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from functools import lru_cache, partial
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.engine.game import Game
from rlgames.engine.ray_vector_env import SNAPSHOT_EVERY, RayVectorEnv
from rlgames.engine.single_env import make_env
from rlgames.engine.threaded import ThreadedVectorEnv
from rlgames.engine.validation import EnvSettings, VectorEnvSettings, as_autoreset_mode, check_count
from rlgames.engine.vector_env import make_vector_env
from rlgames.envs.games import GAMES, GameSpec, Wrap, Wrapper, WrapVec, register_with_gymnasium
from rlgames.errors import InvalidTypeError, InvalidValueError, brief, did_you_mean
from rlgames.imports import import_registering, is_missing
from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards
from rlgames.wrappers.training_episodes import TrainingEpisodes

STORED_STRINGS = {"wrappers": r"[A-Za-z][\w-]*(\+[A-Za-z][\w-]*)*"}  # that a checkpoint may give, for every game
SHARED_OPTIONS = ("frame_skip", "stack", "max_episode_steps", "wrappers")  # of `make` and `make_vec`, for every game
ON_RAY = ("engine", "actors", "address", "snapshot_every")  # of `make_vec`, with engine="ray"
WRAPPERS: dict[str, Wrapper] = {}  # by name, for the option wrappers=NAME or wrappers=NAME+NAME


# ---- finding games and their options ----


def canonical_name(game: str) -> str:
    """Return the short name of a game given as "Cave" or "rlgames/Cave-v0". Raises ValueError for an unknown one."""
    name = game.removeprefix("rlgames/").removesuffix("-v0")
    if name not in GAMES:
        raise InvalidValueError(f"unknown game {game!r}: {did_you_mean(name, GAMES)}the games are {', '.join(GAMES)}")
    return name


def take_module(game: str) -> str:
    """Import the module of an id in Gymnasium's form "module:id", and return the id; other names are returned as given.

    Processes that this one starts, such as A3C's workers, import the module with rlgames. Raises ValueError for a
    module that does not exist.
    """
    if not isinstance(game, str):
        raise InvalidTypeError(f"expected the name of a game, such as 'CatchBall', got {brief(game)}")
    module, colon, rest = game.partition(":")
    if not colon or "=" in rest.partition(":")[0] or not re.fullmatch(r"\w+(\.\w+)*", module) or module in GAMES:
        return game  # without a module, or a game with options
    try:
        import_registering(module)
    except ModuleNotFoundError as error:
        if not is_missing(module, error):
            raise
        raise InvalidValueError(
            f"unknown game {game!r}: there is no module {module!r} to import; the games are {', '.join(GAMES)}"
        ) from error
    return rest


def parse(game: str) -> tuple[str, dict[str, Any]]:
    """Parse "CatchBall:size=16" to ("CatchBall", {"size": 16}); numbers, true and false are read as such.

    Raises ValueError for an unknown game and for an option without a value.
    """
    name, _, text = take_module(game).partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise InvalidValueError(f"expected options as in 'CatchBall:size=16', got {part!r} in {game!r}")
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return canonical_name(name), options


def module_of(name: str) -> Any:
    return import_module(GAMES[name].module)


def game_options(name: str) -> tuple[str, ...]:
    """Return the options of a game's own, such as CatchBall's size."""
    return tuple(inspect.signature(module_of(name).game).parameters)


@lru_cache(maxsize=None, typed=True)  # 8.0 is not 8
def load_game(name: str, **options: Any) -> Any:
    """Return a game as its module makes it: a `Game`, an `AtariGame`, ...

    `options` are the arguments of the module's `game`. Raises TypeError for an unknown one.
    """
    known = game_options(name)
    if unknown := [option for option in options if option not in known]:
        if unknown[0] in SHARED_OPTIONS:
            raise InvalidTypeError(f"{unknown[0]!r} is an option of rlgames.make and make_vec, not of gymnasium's")
        allowed = ", ".join([*known, *SHARED_OPTIONS])
        raise InvalidTypeError(
            f"unknown option {unknown[0]!r} for {name}: expected one of {allowed} "
            f"(unexpected keyword argument {unknown[0]!r})"  # Python's words, which TorchRL looks for
        )
    game = module_of(name).game(**options)
    return replace(game, maker=partial(load_game, name, **options)) if isinstance(game, Game) else game


def check_stored_options(name: str, options: dict[str, Any]) -> None:
    """Raise UsageError for options of a game that a file may not give: see `Task.from_json`."""
    own, options = game_options(name), without_ray(options)
    patterns = {**getattr(module_of(name), "STORED_STRINGS", {}), **STORED_STRINGS}
    for key, value in options.items():
        if key not in (*own, *SHARED_OPTIONS, "threads"):
            raise InvalidTypeError(f"unknown option {brief(key)} for {name}: expected one of {', '.join(own)}")
        for each in value if isinstance(value, list) else [value]:
            listed = isinstance(each, str) and key in patterns and re.fullmatch(patterns[key], each, re.ASCII)
            if not listed and not isinstance(each, bool | int | float | None):
                raise InvalidValueError(f"a file may not give the option {key} of {name}, got {brief(value)}")
        if key not in own and key != "wrappers":
            check_count(key, value, or_none=True)
    load_game(name, **hashable({key: value for key, value in options.items() if key in own}))


def hashable(options: dict[str, Any]) -> dict[str, Any]:
    """Return a game's options with tuples for lists. Raises TypeError for a value that cannot be an option."""
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    for key, value in options.items():
        try:
            hash(value)
        except TypeError as error:
            raise InvalidTypeError(
                f"expected {key} to be a number, a string or a tuple of them, got {brief(value)}"
            ) from error
    return options


def maker_options(name: str, maker: Callable, settings: type[EnvSettings]) -> set[str]:
    """Return the keyword arguments of a maker that are not options of the game."""
    own = [p.name for p in inspect.signature(maker).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {*own, *(field.name for field in fields(settings))} - set(game_options(name))


def split_options(
    name: str, options: dict[str, Any], maker: Callable, settings: type[EnvSettings]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split options into those of the game, with tuples for lists, and the keyword arguments of its maker."""
    names = maker_options(name, maker, settings)
    own = hashable({key: value for key, value in options.items() if key not in names})
    return own, {key: value for key, value in options.items() if key in names}


def check_game(name: str, options: dict[str, Any], vector: bool) -> None:
    """Check all options, and load the game, before Gymnasium adds all arguments to the text of an error."""
    maker_name, settings = ("make_vector_env", VectorEnvSettings) if vector else ("make_env", EnvSettings)
    maker = getattr(module_of(name), maker_name, make_vector_env if vector else make_env)
    gymnasium_own = inspect.signature(gym.make_vec if vector else gym.make).parameters
    given = {key: value for key, value in options.items() if key not in gymnasium_own}
    own, rest = split_options(name, given, maker, settings)
    settings(**{field.name: rest[field.name] for field in fields(settings) if field.name in rest})
    load_game(name, **own)


# ---- Gymnasium's entry points ----


def single_env(game: str, **kwargs: Any) -> gym.Env:
    """Make one environment; `kwargs` are `EnvSettings`, the maker's arguments and the game's options."""
    maker = getattr(module_of(game), "make_env", make_env)
    own, settings = split_options(game, kwargs, maker, EnvSettings)
    return maker(load_game(game, **own), **settings)


def vector_env(game: str, num_envs: int = 1, **kwargs: Any) -> VectorEnv:
    """Make many environments; `kwargs` are `VectorEnvSettings`, the maker's arguments and the game's options."""
    maker = getattr(module_of(game), "make_vector_env", make_vector_env)
    own, settings = split_options(game, kwargs, maker, VectorEnvSettings)
    return maker(load_game(game, **own), num_envs, **settings)


# ---- preprocessing ----


def ray_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return those options that have environments stepped on a cluster, with engine="ray"."""
    return {key: options[key] for key in ON_RAY if key in options} if options.get("engine") == "ray" else {}


def without_ray(options: dict[str, Any]) -> dict[str, Any]:
    """Return options without those that have environments stepped on a cluster; another `engine` is the game's own."""
    if options.get("engine") != "ray":
        return options
    return {key: value for key, value in options.items() if key not in ON_RAY}


def observation_options(name: str) -> set[str]:
    """Return those of a game's options that decide its default preprocessing, such as Dino's obs."""
    decide = getattr(module_of(name), "default_pixels", None)
    return set(inspect.signature(decide).parameters) if decide else set()


def default_pixels(name: str, options: dict[str, Any]) -> Pixels:
    """Return the default preprocessing of a game with these options."""
    decide = getattr(module_of(name), "default_pixels", None)
    if decide is None:
        return GAMES[name].pixels or Pixels()
    return decide(**{key: options[key] for key in observation_options(name) & set(options)})


def take_pixels(name: str, pixels: Pixels | None, options: dict[str, Any]) -> Pixels:
    """Return the preprocessing: `pixels` or the default, with the frame_skip and stack of `options`.

    Those two are removed from `options`, so that nothing skips or stacks a second time.
    """
    pixels = default_pixels(name, options) if pixels is None else pixels
    for option, field in (("frame_skip", "skip"), ("stack", "stack")):
        if option in options:
            value = options.pop(option)
            check_count(option, value)
            pixels = replace(pixels, **{field: value})
    return pixels


def split_pixels(name: str, pixels: Pixels, vector: bool) -> tuple[dict[str, Any], Pixels]:
    """Split the preprocessing between engine, as arguments, and wrappers."""
    split = getattr(module_of(name), "split_pixels", None)
    if split:
        return split(pixels, vector)
    return pixels.engine_arguments(), pixels if vector else pixels.after_skip()


def take_wrappers(name: str, options: dict[str, Any]) -> list[Wrapper]:
    """Return the game's own wrapper and those named by the option `wrappers`, which is removed from `options`.

    Raises ValueError for a name that is not registered, TypeError for anything but names.
    """
    names = options.pop("wrappers", None)
    if not isinstance(names, str | None):
        raise InvalidTypeError(f"expected wrappers to be names as in 'a+b', or None, got {brief(names)}")
    own = GAMES[name].wrapper
    return [*([own] if own else []), *(find_wrapper(each) for each in (names.split("+") if names else []))]


def find_wrapper(name: str) -> Wrapper:
    if name not in WRAPPERS:
        known = f"the wrappers are {', '.join(WRAPPERS)}" if WRAPPERS else "no wrapper is registered"
        raise InvalidValueError(
            f"unknown wrapper {name!r}: {known}; run the script or import the module that calls"
            f" rlgames.register_wrapper({name!r}, ...)"
        )
    return WRAPPERS[name]


# ---- making and registering games and wrappers ----


def check_declarations(pixels: Any, rewards: Any, episodes: Any = None) -> None:
    declarations = ("pixels", pixels, Pixels), ("rewards", rewards, Rewards), ("episodes", episodes, TrainingEpisodes)
    for name, value, kind in declarations:
        if not isinstance(value, kind | None):
            raise InvalidTypeError(f"expected {name} to be rlgames.{kind.__name__}(...) or None, got {brief(value)}")


def make(game: str, *, pixels: Pixels | None = None, rewards: Rewards | None = None, **kwargs: Any) -> gym.Env:
    """Make one environment of a game for an agent, with the game's default preprocessing.

    `game` is "Cave" or "rlgames/Cave-v0", with options as in "CatchBall:size=16". `pixels` replaces the default
    preprocessing (`Pixels()`: none), the options `frame_skip` and `stack` change it, `rewards` shapes the reward,
    `max_episode_steps` truncates episodes after so many agent steps, `wrappers` names registered wrappers. All other
    keywords go to `gymnasium.make` (render_mode, the game's own options).

    Wrappers are applied in this order: preprocessing, rewards, the game's own wrapper, those named, "a" of "a+b" first.

    Raises ValueError for an unknown game or an option's bad value, TypeError for an unknown option.
    """
    name, options = parse(game)
    options = without_ray(options | kwargs)
    check_declarations(pixels, rewards)
    wrappers, pixels = take_wrappers(name, options), take_pixels(name, pixels, options)
    if missing := [wrapper.name for wrapper in wrappers if wrapper.wrap is None]:
        raise InvalidValueError(
            f"the wrapper {missing[0]!r} has only a `wrap_vec`: single environments need a `wrap`, and so do vector"
            " environments with stack_skipped or with another wrapper that has only a `wrap`"
        )
    limit = options.pop("max_episode_steps", None)
    check_count("max_episode_steps", limit, or_none=True)
    limit = None if limit is None else int(limit)  # Gymnasium takes no integers of NumPy
    if limit is not None and pixels.stack_skipped:
        limit *= pixels.skip  # the wrapper skips, outside of Gymnasium's TimeLimit
    arguments, rest = split_pixels(name, pixels, vector=False)
    check_game(name, {**arguments, **options}, vector=False)
    env = made = gym.make(f"rlgames/{name}-v0", max_episode_steps=limit, **{**arguments, **options})
    try:
        env = rest.wrap(env)
        env = env if rewards is None else rewards.wrap(env)
        for wrapper in wrappers:
            assert wrapper.wrap is not None  # checked above
            env = wrapper.wrap(env)
    except BaseException:
        made.close()
        raise
    return env


def make_vec(
    game: str,
    num_envs: int = 1,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    pixels: Pixels | None = None,
    rewards: Rewards | None = None,
    episodes: TrainingEpisodes | None = None,
    **kwargs: Any,
) -> VectorEnv:
    """Make `num_envs` environments of a game for an agent, on the fastest engine; arguments as in `make`.

    By default they reset in the step in which an episode ends (SAME_STEP); the default of `gymnasium.make_vec` is
    NEXT_STEP. `episodes` changes length and beginning of the episodes, for training.

    `engine="ray"` has them stepped by `actors=k` processes (default 1) of the cluster at `address`, or of a local one,
    each with a batch of its own, with the same results: see `rlgames.engine.RayVectorEnv`. Every `snapshot_every` steps
    (default 1,000; None: never) a snapshot is taken, from which the environments of an actor that dies continue.
    """
    name, options = parse(game)
    if cluster := ray_options(options) | ray_options(kwargs):
        local = without_ray(options) | without_ray(kwargs)
        settings = {"autoreset_mode": autoreset_mode, "pixels": pixels, "rewards": rewards, "episodes": episodes}
        return make_on_ray(name, num_envs, cluster, local | settings)
    options |= kwargs
    check_declarations(pixels, rewards, episodes)
    if episodes is not None and episodes.max_episode_steps is not None:
        options.setdefault("max_episode_steps", episodes.max_episode_steps)
    given = dict(options)
    wrappers, resolved = take_wrappers(name, options), take_pixels(name, pixels, options)
    if resolved.stack_skipped or any(wrapper.wrap_vec is None for wrapper in wrappers):
        if episodes is not None and episodes.restarts:
            raise InvalidValueError(
                f"restarts={episodes.restarts:g} needs environments that are stepped as one batch: leave out"
                " stack_skipped, and wrappers that have only a `wrap`"
            )
        threads = given.pop("threads", None)
        make_one = partial(make, name, pixels=pixels, rewards=rewards, **given)
        own = {key: options[key] for key in game_options(name) if key in options}
        return vectorize(name, own, make_one, num_envs, autoreset_mode=autoreset_mode, threads=threads)
    arguments, rest = split_pixels(name, resolved, vector=True)
    options = {"autoreset_mode": autoreset_mode, **arguments, **options}
    check_game(name, options, vector=True)
    envs = made = gym.make_vec(f"rlgames/{name}-v0", num_envs, **options)
    try:
        envs = envs if episodes is None else episodes.wrap_vec(envs)
        envs = rest.wrap_vec(envs)
        envs = envs if rewards is None else rewards.wrap_vec(envs)
        for wrapper in wrappers:
            assert wrapper.wrap_vec is not None  # checked above
            envs = wrapper.wrap_vec(envs)
    except BaseException:
        made.close()
        raise
    return envs


def make_on_ray(name: str, num_envs: int, cluster: dict[str, Any], settings: dict[str, Any]) -> RayVectorEnv:
    """Make environments on a cluster by `make_vec` with these settings; an actor steps its batch on `threads` cores."""
    as_autoreset_mode(settings["autoreset_mode"])
    check_declarations(settings["pixels"], settings["rewards"], settings["episodes"])
    threads = settings.setdefault("threads", 1)
    arguments = {"actors": 1, "address": None, "snapshot_every": SNAPSHOT_EVERY} | cluster
    del arguments["engine"]
    return RayVectorEnv(partial(make_vec, name, **settings), num_envs, threads=threads, **arguments)


def vectorize(
    name: str, options: dict[str, Any], make: Callable[[], gym.Env], num_envs: int, **settings: Any
) -> VectorEnv:
    """Step environments of the game with these options, which `make` makes one by one, in parallel."""
    module_vectorize = getattr(module_of(name), "vectorize", None)
    if module_vectorize:
        return module_vectorize(load_game(name, **hashable(options)), make, num_envs, **settings)
    return ThreadedVectorEnv(make, num_envs, **settings)


def register_game(
    name: str,
    module: str,
    summary: str,
    pixels: Pixels = Pixels(),
    *,
    wrap: Wrap | None = None,
    wrap_vec: WrapVec | None = None,
) -> None:
    """Add a game of your own: its name, and "rlgames/<name>-v0", then work wherever those of rlgames do.

    `module` holds `game(**options) -> Game`; the module that calls this passes its own `__name__`. If options are
    strings, a dictionary `STORED_STRINGS` in it lists those that a checkpoint may choose, as {"mode": "easy|hard"}; any
    other string must be given by name, as in `load(path, "Game:mode=mine")`. `pixels` is the default preprocessing for
    agents. `wrap` and `wrap_vec` wrap every environment and vector environment that `make`
    and `make_vec` return; they are as in `register_wrapper`.

    Raises ValueError for a name that is taken or has characters other than letters, digits and underscores.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise InvalidValueError(f"expected a game's name of letters, digits and underscores, got {name!r}")
    if name in GAMES and GAMES[name].module != module:
        raise InvalidValueError(f"the name {name!r} is taken by {GAMES[name].module}: choose another")
    wrapper = Wrapper(name, wrap, wrap_vec) if wrap or wrap_vec else None
    GAMES[name] = GameSpec(module, summary, pixels, wrapper=wrapper)
    load_game.cache_clear()  # the module may have been reloaded
    if f"rlgames/{name}-v0" not in gym.registry:
        register_with_gymnasium(name)


def register_wrapper(name: str, wrap: Wrap | None = None, wrap_vec: WrapVec | None = None) -> None:
    """Add a wrapper of your own by name: "Pong:wrappers=NAME" then applies it, on the command line and in workers too.

    `wrap` takes and returns a `gymnasium.Env`, `wrap_vec` a `gymnasium.vector.VectorEnv`, after preprocessing and
    reward shaping. `make` and recordings need `wrap`. With `wrap` alone, vector environments consist of environments
    that are wrapped one by one and stepped by threads: slower, without `snapshot()`, and a replay buffer stores whole
    stacks of frames.

    A run resumes bit for bit if its vector wrappers have `snapshot()` and `restore(state)`. Without state of their own
    they are `return self.env.snapshot()` and `self.env.restore(state)`; examples/own_wrapper.py shows one with state.
    Otherwise new episodes are started at every checkpoint.

    A checkpoint names its wrappers. A process that loads one, or works for A3C, must have called this too: workers
    import the script that started them. "Pong:wrappers=null" evaluates without them. The last registration of a name
    counts.

    Raises ValueError for a name with characters other than letters, digits, underscores and hyphens, and without both.
    """
    if not re.fullmatch(r"[A-Za-z][\w-]*", name) or name in ("null", "true", "false"):  # which options read as values
        raise InvalidValueError(f"expected a wrapper's name of letters, digits, underscores and hyphens, got {name!r}")
    if wrap is None and wrap_vec is None:
        raise InvalidValueError(f"expected `wrap`, `wrap_vec` or both for the wrapper {name!r}, got neither")
    WRAPPERS[name] = Wrapper(name, wrap, wrap_vec)
