"""Guildhall runs long-lived agent processes and lets a WebAssembly policy place them.

Begin with :func:`connect`, or, for Rustic AI guilds, with
:class:`guildhall.rustic.GuildhallExecutionEngine`.

| module | what it is for |
| --- | --- |
| ``guildhall`` | the asynchronous engine: the SDK's calls |
| ``guildhall.rustic`` | the execution engine of Rustic AI guilds |
| ``guildhall.errors`` | what can go wrong |
"""

import atexit as _atexit
import os as _os

from . import _guildhall
from ._guildhall import AgentEvent, AgentInfo, HostInfo, LastExit
from .engine import AgentOutcome, Engine, GuildOutcome, connect
from .errors import GuildhallError
from .settings import LaunchOptions, Settings, stock_runners

# Who does not shut down is shut down at exit: agents end in peace, files are removed.
_atexit.register(_guildhall.end_all)
_os.register_at_fork(after_in_child=_guildhall.after_fork)

__all__ = [
    "AgentEvent",
    "AgentInfo",
    "AgentOutcome",
    "Engine",
    "GuildOutcome",
    "GuildhallError",
    "HostInfo",
    "LastExit",
    "LaunchOptions",
    "Settings",
    "connect",
    "stock_runners",
]
