"""Runs one Rustic AI agent as a process that Guildhall supervises.

Read `cli.py` first: it is the life of a process, from its start to its end.
"""

from guildhall_runner.launch import Launch, current

__all__ = ["Launch", "current"]
