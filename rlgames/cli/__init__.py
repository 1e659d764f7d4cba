"""The command line: `main` dispatches to a module a command; `terminal` parses options and prints errors and tables."""
