"""The same agent class and the same Redis for whatever is measured."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from rustic_ai.core.guild.dsl import AgentSpec, GuildSpec
from rustic_ai.core.messaging import MessagingConfig

ECHO = "rustic_ai.core.agents.testutils.echo_agent.EchoAgent"


@contextlib.contextmanager
def redis_server() -> Iterator[int]:
    """A Redis of its own that keeps nothing; its port."""
    server = shutil.which("redis-server")
    assert server is not None, "redis-server is needed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as null:
        arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen([server, *arguments], stdout=null, stderr=null)
        try:
            until(lambda: _answers(port))
            yield port
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def until(done: Any, within: float = 120.0) -> None:
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.001)


class Workload:
    """Guilds and launches over one Redis."""

    def __init__(self, port: int) -> None:
        self.redis = redis.StrictRedis(port=port)
        self.messaging = MessagingConfig(
            backend_module="rustic_ai.redis.messaging.backend",
            backend_class="RedisMessagingBackend",
            backend_config={"redis_client": {"host": "127.0.0.1", "port": port}},
        )

    def guild(self, agents: int = 1) -> GuildSpec:
        """A guild that nobody has run before."""
        specs = [
            AgentSpec(id=f"a{n}", name=f"A{n}", description="A benchmark's.", class_name=ECHO)
            for n in range(agents)
        ]
        name = f"bench-{uuid.uuid4().hex}"
        return GuildSpec(id=name, name=name, description="A benchmark's.", agents=specs)

    def document(self, guild: GuildSpec, agent: AgentSpec[Any]) -> dict[str, Any]:
        """What a host would say of the launch."""
        return {
            "version": 1,
            "guild_id": guild.id,
            "agent_id": agent.id,
            "epoch": 1,
            "host_id": "bench",
            "organization_id": "bench",
            "machine_id": 1,
            "agent_spec": agent.model_dump(mode="json"),
            "guild_spec": guild.model_dump(mode="json"),
            "messaging": self.messaging.model_dump(mode="json"),
            "client_type": "",
            "client_properties": {},
            "default_topic": "default_topic",
        }

    def subscribed(self, guilds: list[GuildSpec], agents: int) -> bool:
        """Whether so many agents, in all, listen to their guilds."""
        topics = [f"{guild.id}:default_topic" for guild in guilds]
        return sum(count for _, count in self.redis.pubsub_numsub(*topics)) >= agents


def children() -> list[int]:
    """All processes below this one, whoever of them started which."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text().rsplit(") ", 1)[1].split()
                parents[int(entry)] = int(stat[1])
    below, found = {os.getpid()}, True
    while found:
        found = {pid for pid, parent in parents.items() if parent in below} - below
        below |= found
    return sorted(below - {os.getpid()})


def pss(pid: int) -> float:
    """Its share of memory, MB: pages that several have count for each in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pids: list[int]) -> float:
    """CPU time that these processes have taken since they began."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            ticks += int(stat[11]) + int(stat[12])
    return ticks / os.sysconf("SC_CLK_TCK")
