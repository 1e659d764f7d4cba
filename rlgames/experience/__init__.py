"""Experience that agents learn from: `EnvRunner` steps environments, rollouts and replay buffers keep the steps."""
