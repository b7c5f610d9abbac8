"""What a process tells its host: the sd_notify protocol, on the socket `NOTIFY_SOCKET`."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """One process's way to its host. Says nothing where nobody listens."""

    def __init__(self) -> None:
        path = os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract name.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket: socket.socket | None = None
        if path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def send(self, *lines: str) -> None:
        """Sends lines like `READY=1`. A host that is gone or busy does not hold an agent up."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)


def watchdog_interval() -> float | None:
    """How often to say `WATCHDOG=1`, seconds: twice as often as asked for. `None` when
    nobody watches."""
    micros = os.environ.get("WATCHDOG_USEC", "")
    return int(micros) / 2e6 if micros.isdigit() and int(micros) > 0 else None
