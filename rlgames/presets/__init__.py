"""Tuned settings as plain data: for each agent and game the config, the number of environments, the training steps.

The presets of a game are in the module of its name; `lookup` finds them.
"""
