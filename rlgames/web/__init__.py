"""Games and agents in a browser: rules and networks as WebAssembly (`wasm`, `network`), the page (`page`), and games
and trainings that are watched while they run (`live`, `training`, `server`)."""
