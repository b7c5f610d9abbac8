"""What takes long and is the same for every agent: done before there is one."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import threading
from collections.abc import Sequence

from guildhall_runner import rehearsal

_NEEDED = (
    "rustic_ai.core.guild.builders",
    "rustic_ai.core.guild.execution.utils",
    # Of the standard library, and found only when a name is looked up.
    "encodings.idna",
    "guildhall_runner.agent",
)

_USED_BY_MANY = (
    "rustic_ai.core.messaging.client.message_tracking_client",
    "rustic_ai.core.messaging.backend.in_memory_backend",
    "rustic_ai.core.agents.testutils.echo_agent",
)

_WHERE_INSTALLED = ("rustic_ai.redis.messaging.backend",)


class PreloadError(Exception):
    """A module of the operator's that cannot be imported."""


def prepare(preload: Sequence[str] = (), is_ahead: bool = True) -> None:
    """Imports the framework and `preload`. Ahead of a launch, there is time for what not all
    agents need, and to have the framework make what it makes on first use.

    Raises:
        PreloadError: when one of `preload` cannot be imported.
    """
    # Clients of Redis ask for their own version each time, which reads and parses files: 3 ms
    # of an agent's start. What is installed does not change while a process runs.
    importlib.metadata.version = functools.cache(importlib.metadata.version)
    for module in _NEEDED:
        importlib.import_module(module)
    for module in preload:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise PreloadError(f"--preload {module}: {type(error).__name__}: {error}") from error
    if not is_ahead:
        return
    for module in _USED_BY_MANY:
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
    """The threads that this process has besides its main one: by the names that Python has
    for them, or those that the system has for what a library started by itself."""
    pythons = {thread.native_id: thread.name for thread in threading.enumerate()}
    names = []
    for number in map(int, os.listdir("/proc/self/task")):
        if number != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/self/task/{number}/comm") as comm:
                names.append(pythons.get(number) or f"{comm.read().strip()} (not Python's)")
    return names
