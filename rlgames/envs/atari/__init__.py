"""Atari games through ale-py: `game` is a game as data, `env` and `vector_env` are its environments."""
