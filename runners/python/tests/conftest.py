"""A real Redis, and this process in the place of a host."""

from __future__ import annotations

import array
import contextlib
import json
import os
import shutil
import signal
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


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A Redis of one's own: its port, and its process."""
    server = shutil.which("redis-server")
    assert server is not None, "redis-server is needed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([server, *arguments], stdout=log, stderr=log)

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        wait_until(answers, "redis-server answers")
        yield port, process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis")) as (port, _):
        yield port


class Fork:
    """A process that a zygote forked for this one, as `subprocess.Popen` has those that it
    started."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdin = os.fdopen(stdin, "wb", buffering=0)
        self.stdout = os.fdopen(stdout, "rb")
        self.stderr = os.fdopen(stderr, "rb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, _: float = PATIENCE) -> int:
        wait_until(lambda: self.poll() is not None, f"the end of {self.pid}")
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """A zygote. This process is the host: forks become its children."""

    def __init__(self, env: dict[str, str], *args: str) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        command = [sys.executable, "-m", "guildhall_runner", *args, "--zygote"]
        self.process = subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, env=env)
        theirs.close()
        self.asked = 0

    def hear(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.socket.recv(4096))
        return answer

    def ready(self) -> Zygote:
        answer = self.hear()
        assert answer["ready"] is True and answer["pid"] == self.process.pid
        assert answer["rss_bytes"] > 1_000_000
        return self

    def send(self, packet: bytes, *descriptors: int) -> None:
        rights = array.array("i", descriptors)
        self.socket.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def fork(self, env: dict[str, str], **more: Any) -> Fork:
        answer, fork = self.ask(env, **more)
        assert "pid" in answer, answer
        assert fork is not None
        return fork

    def ask(self, env: dict[str, str], **more: Any) -> tuple[dict[str, Any], Fork | None]:
        self.asked += 1
        request = {"fork": self.asked, "env": env, "host_pid": os.getpid()} | more
        request = {name: value for name, value in request.items() if value is not None}
        (stdin, to), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
        self.send(json.dumps(request).encode(), stdin, stdout, stderr)
        for theirs in (stdin, stdout, stderr):
            os.close(theirs)
        answer = self.hear()
        assert answer["fork"] == request["fork"]
        if "pid" not in answer:
            return answer, None
        return answer, Fork(answer["pid"], to, out, err)

    def end(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()


ALLOWED = ("rustic_ai.*", "agents.*")


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """One for all tests that need a process and don't care how it came to be."""
    allow = [argument for pattern in ALLOWED for argument in ("--allow", pattern)]
    zygote = Zygote(base_env(), *allow, "--preload", "agents").ready()
    yield zygote
    zygote.end()


def base_env() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(TESTS)}


Process = subprocess.Popen[bytes] | Fork


class Host:
    """What a host does for one process: pipes, a notification socket, a document."""

    def __init__(self, folder: Path, redis_port: int, zygote: Callable[[], Zygote]) -> None:
        self.folder = folder
        self._zygote = zygote
        self.redis_port = redis_port
        self.said: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.socket.setblocking(False)
        self.env = base_env() | {"NOTIFY_SOCKET": str(folder / "notify"), "MARK": str(folder)}
        self.processes: list[Process] = []

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

    def fork(self, **env: str) -> Fork:
        """Has a runner forked, which is quicker than to execute it."""
        fork = self._zygote().fork(self.env | env)
        self.processes.append(fork)
        return fork

    def document(self, class_name: str = ECHO, guild_id: str = "g", **more: Any) -> dict[str, Any]:
        agent = {"id": "a", "name": "Ann", "description": "A test's.", "class_name": class_name}
        agent |= more.pop("agent", {})
        redis_port = more.pop("redis_port", self.redis_port)
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
                "backend_config": {"redis_client": {"host": "127.0.0.1", "port": redis_port}},
            },
            "client_type": "",
            "client_properties": {},
            "default_topic": "default_topic",
        } | more

    def launch(self, process: Process, document: dict[str, Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(document).encode() + b"\n")
        process.stdin.flush()

    def hear(self) -> list[str]:
        """All that was said so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.said.extend(self.socket.recv(4096).decode().split("\n"))
        return self.said

    def refusal(self, process: Process) -> tuple[int, str]:
        """The exit code and the words of a process that ends, while its host lives on."""
        code = process.wait(PATIENCE)
        assert process.stderr is not None
        return code, process.stderr.read().decode()

    def wait_ready(self, process: Process | None = None) -> None:
        def is_ready() -> bool:
            if "READY=1" in self.hear():
                return True
            if process is not None and process.poll() is not None:
                assert process.stderr is not None
                pytest.fail(f"it ended with {process.returncode}: {process.stderr.read().decode()}")
            return False

        wait_until(is_ready, "READY=1")


@pytest.fixture
def host(tmp_path: Path, redis_port: int, request: pytest.FixtureRequest) -> Iterator[Host]:
    # Not every test needs a zygote.
    host = Host(tmp_path, redis_port, lambda: request.getfixturevalue("zygote"))
    yield host
    for process in host.processes:
        process.kill()
        process.wait()


class Messages:
    """One who speaks to an agent through Rustic AI's own messaging."""

    def __init__(self, document: dict[str, Any]) -> None:
        from rustic_ai.core.messaging import MessagingConfig, MessagingInterface
        from rustic_ai.core.messaging.client.simple_client import SimpleClient
        from rustic_ai.core.utils import GemstoneGenerator

        # One alone: two would give the same id within a millisecond.
        self.ids = GemstoneGenerator(99)
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
        from rustic_ai.core.utils import Priority

        message = Message(
            id_obj=self.ids.get_id(Priority.NORMAL),
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
