"""What a process tells its host: the sd_notify protocol, on the socket `NOTIFY_SOCKET`."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

PATIENCE = 5
"""Seconds that a word which must arrive waits for room in the host's queue, which may have
as few as ten places."""


class Notifier:
    """One process's way to its host. Says nothing where nobody listens."""

    def __init__(self) -> None:
        path = os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract name.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket: socket.socket | None = None
        if path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            # Python's own timeout asks whether there is room, which a socket that is not
            # connected always says.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", PATIENCE, 0))

    def send(self, *lines: str) -> None:
        """Sends lines like `STATUS=…`. A host that is busy does not hold an agent up: then
        they are lost, and others will follow."""
        self._send(lines, socket.MSG_DONTWAIT)

    def send_surely(self, *lines: str) -> None:
        """Sends lines like `READY=1`, which are said once. A host that is gone misses them."""
        self._send(lines, 0)

    def _send(self, lines: tuple[str, ...], flags: int) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), flags, self._address)


def watchdog_interval() -> float | None:
    """How often to say `WATCHDOG=1`, seconds: twice as often as asked for. `None` when
    nobody watches."""
    micros = os.environ.get("WATCHDOG_USEC", "")
    return int(micros) / 2e6 if micros.isdigit() and int(micros) > 0 else None
