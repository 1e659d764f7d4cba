"""Search for settings of an agent on a game: `space` says which are tried, `study` tries them with Optuna.

`rlgames.tune(rlgames.Tuning("ppo", "CartPole", trials=50))` leaves a preset file, which `rlgames train --preset` takes.
"""
