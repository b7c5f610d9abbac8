"""A real Redis, a runner table, and a look at this process's threads."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import guildhall
from guildhall import _guildhall, rustic

TESTS = Path(__file__).parent
STAND_IN = TESTS / "stand_in_runner.py"
PATIENCE = 30.0


def wait_until(condition, what: str, within: float = PATIENCE) -> None:
    """Wait for what is about to be; the tests are right however long it takes."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.005)


def table(*args: str, **env: str) -> str:
    """A runner table whose agents are made by the stand-in."""
    variables = ", ".join(f"{name} = {json.dumps(value)}" for name, value in env.items())
    return "\n".join(
        [
            "[runner.stand-in]",
            f"command = {json.dumps(sys.executable)}",
            f"args = {json.dumps([str(STAND_IN), *args])}",
            'class_name = "*"',
            f"env = {{ {variables} }}",
        ]
    )


def spec(agent_id: str, **more: object) -> dict[str, object]:
    return {
        "id": agent_id,
        "name": agent_id.title(),
        "description": "A test's agent.",
        "class_name": "tests.Agent",
        **more,
    }


def threads() -> list[str]:
    names = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):
            names.append(Path(f"/proc/self/task/{task}/comm").read_text().strip())
    return names


def children() -> list[int]:
    """Processes that this one's threads started and that have not been reaped, but for Redis."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):
            for pid in Path(f"/proc/self/task/{task}/children").read_text().split():
                if Path(f"/proc/{pid}/comm").read_text().strip() != "redis-server":
                    found.append(int(pid))
    return found


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory) -> Iterator[int]:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([server, *arguments], stdout=log, stderr=log)
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        wait_until(answers, "redis-server answers")
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def redis_url(redis_port: int) -> str:
    return f"redis://127.0.0.1:{redis_port}"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Where the stand-in writes down what it was told."""
    folder = tmp_path / "record"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(record: Path) -> guildhall.Settings:
    return guildhall.Settings(url=None, hosts=2, runners=table(TEST_RECORD_DIR=str(record)))


@pytest.fixture
def rustic_settings(record: Path) -> Iterator[guildhall.Settings]:
    """An embedded fleet, for every Rustic AI engine that is made within the test."""
    settings = guildhall.Settings(url=None, runners=rustic_runners(record))
    rustic.configure(settings)
    yield settings
    rustic.configure(None)


@pytest.fixture
def three_hosts(redis_url: str, record: Path) -> Iterator[None]:
    """Three `agent-host` processes, for every Rustic AI engine that is made within the test."""
    url = f"{redis_url}/2"
    with agent_hosts(3, url, rustic_runners(record), record):
        rustic.configure(guildhall.Settings(url=url))
        yield
        rustic.configure(None)


def rustic_runners(record: Path) -> str:
    """Real agents by the real runner, or else by the stand-in."""
    if find_spec("guildhall_runner") is not None:
        return guildhall.stock_runners()
    return table(TEST_RECORD_DIR=str(record))


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After each test no connection, no thread of ours and no child is left."""
    before = len(children())
    yield
    assert _guildhall.open_connections() == 0
    ours = {"guildhall", "tokio-rt-worker", "spawner", "fence", "policy-ticker"}
    wait_until(lambda: not ours & set(threads()), "our threads have ended", 5)
    assert len(children()) <= before


def agent_host() -> str | None:
    """The binary: as told, or where cargo puts it."""
    if told := os.environ.get("GUILDHALL_AGENT_HOST"):
        return told
    target = Path(os.environ.get("CARGO_TARGET_DIR") or TESTS.parents[2] / "target")
    built = target / "release/agent-host"
    return str(built) if built.exists() else None


@contextlib.contextmanager
def agent_hosts(count: int, redis_url: str, runners: str, folder: Path) -> Iterator[None]:
    """That many `agent-host` processes on this Redis."""
    binary = agent_host()
    if binary is None:
        pytest.skip("agent-host is not built: cargo build --release --workspace --bin agent-host")
    (folder / "runners.toml").write_text(runners)
    processes = []
    with open(folder / "hosts.log", "w") as log:
        for n in range(count):
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/"),
                "HOST_ID": f"host-{n + 1}",
                "REDIS_URL": redis_url,
                "RUNNERS": str(folder / "runners.toml"),
                "GRPC_PORT": "0",
            }
            processes.append(subprocess.Popen([binary], env=environment, stdout=log, stderr=log))
    try:
        asyncio.run(_know_of(count, redis_url))
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=60)


async def _know_of(hosts: int, redis_url: str) -> None:
    async with await guildhall.connect(redis_url) as engine:
        await engine.wait_for_hosts(hosts, within=PATIENCE)
