"""The handling of messages, looked at: so that a watchdog can tell an agent that hangs, and
an end can wait for the message in hand and let no other begin.

A backend calls an agent's handler in a thread of its own, for one message at a time. That
thread waits inside the backend between messages, where nothing of ours can speak for it.
So what is known is: since when it has had a message in hand, and whether the handler ended
the thread. That a thread waits for the next message is the backend's word, not ours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

SETTLES_WITHIN = 1.0
"""Seconds after a message was handled within which the backend may still be noting that."""


class Handling:
    """Which message an agent has in hand, and since when."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._idle = threading.Condition()
        # By the thread that handles it.
        self._in_hand: dict[int, tuple[str, float]] = {}
        self._last_end = float("-inf")
        self._ending = False
        self._failure: BaseException | None = None

    def watch(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        """The same handler, looked at."""

        def handle(message: Any) -> None:
            thread = threading.get_ident()
            with self._idle:
                # A backend that delivers at once has an agent's message to itself handled
                # within the one that it is sent from: that is the same piece of work.
                outer = self._in_hand.get(thread)
                if self._ending and outer is None:
                    # Ends the backend's thread, and leaves the message unacknowledged: it
                    # is the next incarnation's.
                    raise SystemExit
                since = time.monotonic() if outer is None else outer[1]
                self._in_hand[thread] = (f"{message.format} {message.id}", since)
            self._changed()
            try:
                handler(message)
            except Exception:
                # The backend's to note.
                raise
            except BaseException as error:
                # `sys.exit()` and the like end the backend's thread, and with it all
                # handling, in a process that goes on.
                self.fail(error)
                raise
            finally:
                with self._idle:
                    if outer is None:
                        del self._in_hand[thread]
                    else:
                        self._in_hand[thread] = outer
                    self._last_end = time.monotonic()
                    self._idle.notify_all()
                self._changed()

        return handle

    def fail(self, error: BaseException) -> None:
        """Notes that no message will be handled any more."""
        self._failure = self._failure or error
        self._changed()

    @property
    def failure(self) -> BaseException | None:
        """Why no message will be handled any more."""
        return self._failure

    def status(self) -> str:
        """In words."""
        with self._idle:
            messages = [message for message, _ in self._in_hand.values()]
        return f"processing {', '.join(messages)}" if messages else "idle"

    def in_hand_for(self) -> float:
        """Seconds that the longest message has been in hand; 0 when none is."""
        with self._idle:
            since = min((since for _, since in self._in_hand.values()), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def end(self) -> bool:
        """Lets no message begin, and waits for those in hand. Answers whether one ended of
        late."""
        with self._idle:
            self._ending = True
            self._idle.wait_for(lambda: not self._in_hand)
            return time.monotonic() - self._last_end < SETTLES_WITHIN
