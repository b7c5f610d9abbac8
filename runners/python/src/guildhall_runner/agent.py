"""The agent: built, connected and ended by Rustic AI's own means.

What is added is a look at the handling of each message, `Handling`: so that a watchdog can
tell an agent that hangs, and an end can wait for the message in hand and for no other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rustic_ai.core.guild.agent import Agent, AgentSpec
from rustic_ai.core.guild.builders import GuildHelper
from rustic_ai.core.guild.dsl import GuildSpec
from rustic_ai.core.guild.execution.utils import build_agent_from_spec, subscribe_agent_with_messaging
from rustic_ai.core.messaging import MessagingConfig, MessagingInterface
from rustic_ai.core.utils.class_utils import get_client_class

from guildhall_runner.allow import AllowList
from guildhall_runner.document import Document

SETTLES_WITHIN = 1.0
"""Seconds after a message was handled within which the backend may still be noting that."""


class Handling:
    """Which message an agent handles, since when. A backend calls a handler for one message
    at a time, in a thread of its own."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._idle = threading.Condition()
        self._in_hand: dict[int, tuple[str, float]] = {}
        self._last_end = float("-inf")
        self._ending = False

    def watch(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        """The same handler, looked at."""

        def handle(message: Any) -> None:
            thread = threading.get_ident()
            with self._idle:
                if self._ending:
                    # Ends the backend's thread, and leaves the message unacknowledged: it
                    # is the next incarnation's.
                    raise SystemExit
                self._in_hand[thread] = (f"{message.format} {message.id}", time.monotonic())
            self._changed()
            try:
                handler(message)
            finally:
                with self._idle:
                    del self._in_hand[thread]
                    self._last_end = time.monotonic()
                    self._idle.notify_all()
                self._changed()

        return handle

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


class RunningAgent:
    """An agent that is connected, and would handle a message."""

    def __init__(self, document: Document, allow: AllowList, changed: Callable[[], None]) -> None:
        allow.check(document.agent_spec["class_name"])
        guild_spec = GuildSpec.model_validate(document.guild_spec)
        agent_spec = AgentSpec.model_validate(document.agent_spec, context={"require_agent_class": True})
        messaging = (
            MessagingConfig.model_validate(document.messaging)
            if document.messaging
            else GuildHelper.get_messaging_config(guild_spec)
        )
        allow.check(f"{messaging.backend_module}.{messaging.backend_class}")
        client_class = (
            get_client_class(document.client_type)
            if document.client_type
            else GuildHelper.get_messaging_client(guild_spec)
        )
        self.handling = Handling(changed)
        self._messaging = MessagingInterface(guild_spec.id, messaging)
        self.agent: Agent = build_agent_from_spec(
            agent_spec=agent_spec,
            guild_spec=guild_spec,
            dependencies=guild_spec.dependency_map | agent_spec.dependency_map,
            client_class=client_class,
            client_props=dict(document.client_properties),
            machine_id=document.machine_id,
            organization_id=document.organization_id,
        )
        self._client = self.agent._get_client()
        self._client._message_handler = self.handling.watch(self._client._message_handler)
        # The Redis backend asks for what came before right after it subscribed, and has its
        # answer when this returns: so Redis has the subscription as well.
        subscribe_agent_with_messaging(self.agent, self._messaging, document.organization_id)
        self.agent._notify_ready()

    def end(self) -> None:
        """Finishes the message in hand, if there is one."""
        if self.handling.end():
            # Waits for the backend's threads, which note what was handled. One that has been
            # idle has nothing to note, and its connections end with the process.
            self._messaging.shutdown()
