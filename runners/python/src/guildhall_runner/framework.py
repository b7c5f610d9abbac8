"""What takes long and is the same for every agent: done before there is one."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
from collections.abc import Sequence

from guildhall_runner import rehearsal

_MODULES = (
    "rustic_ai.core.guild.builders",
    "rustic_ai.core.guild.execution.agent_wrapper",
    "rustic_ai.core.messaging.client.message_tracking_client",
    "rustic_ai.core.messaging.client.simple_client",
    "rustic_ai.core.messaging.backend.in_memory_backend",
    "rustic_ai.core.agents.testutils.echo_agent",
    # Of the standard library, and found only when a name is looked up.
    "encodings.idna",
    "guildhall_runner.agent",
)

_WHERE_INSTALLED = ("rustic_ai.redis.messaging.backend",)


def prepare(preload: Sequence[str] = ()) -> None:
    """Imports the framework and `preload`, and has it make what it makes on first use."""
    # Clients of Redis ask for their own version each time, which reads and parses files: 3 ms
    # of an agent's start. What is installed does not change while a process runs.
    importlib.metadata.version = functools.cache(importlib.metadata.version)
    for module in (*_MODULES, *preload):
        importlib.import_module(module)
    for module in _WHERE_INSTALLED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    from rustic_ai.core.guild.dsl import GuildSpec
    from rustic_ai.core.messaging import MessagingConfig
    from rustic_ai.core.messaging.core.message import Message

    GuildSpec.model_validate(rehearsal.guild()).agents[0].model_dump_json()
    MessagingConfig.model_validate({"backend_module": "m", "backend_class": "C", "backend_config": {}})
    Message.model_rebuild()
    with contextlib.suppress(ImportError):
        import redis

        # Connects to nothing.
        redis.StrictRedis()


def threads() -> list[str]:
    """The threads that this process has besides its main one, by the names that the
    system has for them."""
    names = []
    for thread in os.listdir("/proc/self/task"):
        if int(thread) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/comm") as comm:
                names.append(comm.read().strip())
    return names
