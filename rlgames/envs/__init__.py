"""The games, one file or folder each, and how they are found: `registry` makes them, `task` describes them as data."""
