"""Games and agents in a browser: rules and networks as WebAssembly (`wasm`, `network`), and the page (`page`)."""
