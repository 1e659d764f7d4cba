"""Training runs on disk: `training` drives an agent, logs, evaluates, saves and resumes; `directory` is the layout."""
