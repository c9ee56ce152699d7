"""The command line: one module for each command, or group of them.

Nothing heavier than click is imported before a command needs it, so that `--help` answers at once:
each imports what it needs when it runs.
"""
