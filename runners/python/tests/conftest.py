"""A real Redis, and this process in the place of a host."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 30.0
ECHO = "rustic_ai.core.agents.testutils.echo_agent.EchoAgent"
TESTS = Path(__file__).parent


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Waits for what is about to be; the tests are right however long it takes."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    server = shutil.which("redis-server")
    assert server is not None, "redis-server is needed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([server, *arguments], stdout=log, stderr=log)

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    wait_until(answers, "redis-server answers")
    yield port
    process.terminate()
    process.wait()


class Host:
    """What a host does for one process: pipes, a notification socket, a document."""

    def __init__(self, folder: Path, redis_port: int) -> None:
        self.folder = folder
        self.redis_port = redis_port
        self.said: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.socket.setblocking(False)
        self.env = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": str(folder / "notify"),
            "PYTHONPATH": str(TESTS),
            "MARK": str(folder),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        """Executes the runner."""
        process = subprocess.Popen(
            [sys.executable, "-m", "guildhall_runner", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env | env,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def document(self, class_name: str = ECHO, guild_id: str = "g", **more: Any) -> dict[str, Any]:
        agent = {"id": "a", "name": "Ann", "description": "A test's.", "class_name": class_name}
        agent |= more.pop("agent", {})
        return {
            "version": 1,
            "guild_id": guild_id,
            "agent_id": "a",
            "epoch": 7,
            "host_id": "h1",
            "organization_id": "org",
            "machine_id": 1,
            "agent_spec": agent,
            "guild_spec": {"id": guild_id, "name": "G", "description": "A test's.", "agents": [agent]},
            "messaging": {
                "backend_module": "rustic_ai.redis.messaging.backend",
                "backend_class": "RedisMessagingBackend",
                "backend_config": {"redis_client": {"host": "127.0.0.1", "port": self.redis_port}},
            },
            "client_type": "",
            "client_properties": {},
            "default_topic": "default_topic",
        } | more

    def launch(self, process: subprocess.Popen[bytes], document: dict[str, Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(document).encode() + b"\n")
        process.stdin.flush()

    def hear(self) -> list[str]:
        """All that was said so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.said.extend(self.socket.recv(4096).decode().split("\n"))
        return self.said

    def wait_ready(self, process: subprocess.Popen[bytes] | None = None) -> None:
        def is_ready() -> bool:
            if "READY=1" in self.hear():
                return True
            if process is not None and process.poll() is not None:
                assert process.stderr is not None
                pytest.fail(f"it ended with {process.returncode}: {process.stderr.read().decode()}")
            return False

        wait_until(is_ready, "READY=1")


@pytest.fixture
def host(tmp_path: Path, redis_port: int) -> Iterator[Host]:
    host = Host(tmp_path, redis_port)
    yield host
    for process in host.processes:
        process.kill()
        process.wait()


class Messages:
    """One who speaks to an agent through Rustic AI's own messaging."""

    def __init__(self, document: dict[str, Any]) -> None:
        from rustic_ai.core.messaging import MessagingConfig, MessagingInterface
        from rustic_ai.core.messaging.client.simple_client import SimpleClient

        self.received: list[Any] = []
        self.messaging = MessagingInterface(
            document["guild_id"], MessagingConfig.model_validate(document["messaging"])
        )
        self.client = SimpleClient("probe", "Probe", self.received.append)
        self.messaging.register_client(self.client)
        self.messaging.subscribe("default_topic", self.client)
        self.messaging.subscribe("answers", self.client)

    def send(self, payload: dict[str, Any]) -> int:
        from rustic_ai.core.messaging.core.message import AgentTag, Message
        from rustic_ai.core.utils import GemstoneGenerator, Priority

        message = Message(
            id_obj=GemstoneGenerator(99).get_id(Priority.NORMAL),
            topics="default_topic",
            sender=AgentTag(id="probe", name="Probe"),
            payload={"n": 0} | payload,
        )
        self.client.publish(message)
        number: int = message.id
        return number

    def answers(self, number: int) -> list[Any]:
        return [message for message in self.received if message.in_response_to == number]


@pytest.fixture
def messages() -> Iterator[Callable[[dict[str, Any]], Messages]]:
    made: list[Messages] = []

    def make(document: dict[str, Any]) -> Messages:
        made.append(Messages(document))
        return made[-1]

    yield make
    for one in made:
        one.messaging.shutdown()
