"""The host, as an agent's process knows it: it lives as long as standard input is open."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal


def end_with_it() -> None:
    """Ends this process when the host's does, whatever this one is at: another may be
    starting the agent. So nothing is finished, and nobody is told.

    By a signal, since an agent that connects may wait long for what does not come. A thread
    would do as well, for 2 ms of each start.
    """
    signal.signal(signal.SIGIO, look)
    # What cannot signal is looked at when the agent runs.
    with contextlib.suppress(OSError):
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    look()


def look(*_: object) -> None:
    """Ends this process if the host has ended."""
    while select.select([0], [], [], 0)[0]:
        # A host writes nothing more.
        if not os.read(0, 4096):
            os._exit(0)
