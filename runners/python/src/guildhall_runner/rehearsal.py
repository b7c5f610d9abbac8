"""A start that nobody sees, made while there is time.

What a start uses is then in the process's own memory. A fork copies each page of memory
when it is first written to, and Python writes to whatever it looks at: that took a third
of an agent's start. And what is computed on first use has been computed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


def guild() -> dict[str, object]:
    """The spec of a guild that is never run for anybody."""
    agent = {
        "id": "a",
        "name": "a",
        "description": "a",
        "class_name": "rustic_ai.core.agents.testutils.echo_agent.EchoAgent",
    }
    return {"id": "guildhall-rehearsal", "name": "g", "description": "g", "agents": [agent]}


def rehearse(until: Callable[[], bool]) -> None:
    """Starts and ends an agent whose messages go nowhere, and speaks to a Redis that has
    nothing; or less, when something else is to be done."""
    # One that fails has cost nothing but time: whatever it is, the start will say it.
    for part in (_rehearse_agent, _rehearse_redis):
        if until():
            return
        with contextlib.suppress(Exception):
            part()


def _rehearse_agent() -> None:
    from rustic_ai.core.guild.dsl import GuildSpec
    from rustic_ai.core.guild.execution.utils import build_agent_from_spec, subscribe_agent_with_messaging
    from rustic_ai.core.messaging import MessagingConfig, MessagingInterface, SimpleClient

    spec = GuildSpec.model_validate(guild())
    messaging = MessagingInterface(
        spec.id,
        MessagingConfig(
            backend_module="rustic_ai.core.messaging.backend.in_memory_backend",
            backend_class="InMemoryMessagingBackend",
            backend_config={},
        ),
    )
    agent = build_agent_from_spec(spec.agents[0], spec, {}, SimpleClient, {}, machine_id=0)
    subscribe_agent_with_messaging(agent, messaging)
    agent._notify_ready()
    for topic in agent.subscribed_topics:
        messaging.unsubscribe(topic, agent._get_client())
    messaging.unregister_client(agent._get_client())
    messaging.shutdown()


def _rehearse_redis() -> None:
    import redis

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_have_nothing, args=(server,), daemon=True).start()
        client = redis.StrictRedis(host="127.0.0.1", port=server.getsockname()[1], socket_timeout=1)
        with client, client.pubsub() as subscriber:  # type: ignore[no-untyped-call]
            subscriber.subscribe(rehearsal=print)
            subscriber.get_message(timeout=0.01)
            client.get("rehearsal")
            client.zrange("rehearsal", 0, -1)


def _have_nothing(server: socket.socket) -> None:
    """Answers each command of two clients, one after another, with nothing."""
    with contextlib.suppress(OSError):
        for _ in range(2):
            threading.Thread(target=_answer, args=(server.accept()[0],), daemon=True).start()


def _answer(client: socket.socket) -> None:
    with client, contextlib.suppress(OSError, ValueError):
        commands = client.makefile("rb")
        while head := commands.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int(commands.readline()[1:])
                words.append(commands.read(length + 2)[:-2])
            match words[0].upper():
                case b"HELLO":
                    client.sendall(b"%1\r\n$5\r\nproto\r\n:3\r\n")
                case b"SUBSCRIBE":
                    client.sendall(b">3\r\n$9\r\nsubscribe\r\n$9\r\nrehearsal\r\n:1\r\n")
                case b"GET":
                    client.sendall(b"_\r\n")
                case b"ZRANGE":
                    client.sendall(b"*0\r\n")
                case _:
                    client.sendall(b"+OK\r\n")
