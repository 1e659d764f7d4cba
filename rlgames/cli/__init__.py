"""The command line: `main` dispatches; `commands` and `train` have the options, other modules do the work.

`options` parses and checks them, `terminal` prints, `output` handles a closed or full standard output. What loads torch
is imported when a command does its work.
"""
