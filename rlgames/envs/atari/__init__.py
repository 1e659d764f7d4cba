"""Atari games through ale-py: `game` is one as data, `env` and `vector_env` are its environments."""
