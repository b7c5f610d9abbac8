"""Forks, as a host asks for them."""

import array
import os
import signal
import socket
from pathlib import Path

import pytest
from conftest import Zygote, base_env, wait_until


@pytest.fixture
def own_zygote():
    """One that a test may do with as it likes."""
    made = []

    def make(*args):
        made.append(Zygote(base_env(), *args))
        return made[-1]

    yield make
    for zygote in made:
        zygote.end()


def stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()


def files(pid: int) -> dict[int, str]:
    return {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


def signals(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t") for line in lines if line.startswith("Sig"))


def test_a_fork_is_the_hosts_own_and_answers(host, messages):
    process = host.fork()
    _, parent, group, session = stat(process.pid)[:4]
    assert (int(parent), int(group), int(session)) == (os.getpid(), process.pid, process.pid)
    document = host.document("agents.Slow", guild_id="forked")
    host.launch(process, document)
    host.wait_ready(process)
    probe = messages(document)
    number = probe.send({})
    wait_until(lambda: probe.answers(number), "an answer")
    assert probe.answers(number)[0].payload["pid"] == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def test_a_fork_has_nothing_open_but_its_own(host, zygote):
    process = host.fork()
    wait_until(lambda: "X_WAITING=1" in host.hear(), "it waits")
    opened = files(process.pid)
    # Its three, and its way to its host.
    assert sorted(opened) == [0, 1, 2, 3]
    ours = [
        f"pipe:[{os.fstat(file.fileno()).st_ino}]" for file in (process.stdin, process.stdout, process.stderr)
    ]
    assert [opened[number] for number in range(3)] == ours
    assert opened[3].startswith("socket:") and opened[3] not in files(zygote.process.pid).values()
    # It has one thread, and no signal is blocked.
    assert len(os.listdir(f"/proc/{process.pid}/task")) == 1
    assert int(signals(process.pid)["SigBlk"], 16) == 0


def test_forks_share_no_random_numbers_and_have_their_own_variables(host, messages):
    said = []
    for guild_id in ("r1", "r2"):
        document = host.document("agents.Random", guild_id=guild_id)
        process = host.fork(WHOSE=guild_id)
        host.said.clear()
        host.launch(process, document)
        host.wait_ready(process)
        probe = messages(document)
        number = probe.send({})
        wait_until(lambda probe=probe, number=number: probe.answers(number), "an answer")
        said.append(probe.answers(number)[0].payload)
    assert said[0]["random"] != said[1]["random"]
    for one, guild_id in zip(said, ("r1", "r2"), strict=True):
        launch = {"GUILD_ID": guild_id, "AGENT_ID": "a", "EPOCH": "7", "HOST_ID": "h1"}
        names = {f"GUILDHALL_{name}": value for name, value in launch.items()}
        assert one["environ"] == host.env | {"WHOSE": guild_id} | names


def test_the_zygotes_death_is_nothing_to_its_forks(host, own_zygote, messages):
    zygote = own_zygote("--allow", "*").ready()
    waits, runs = zygote.fork(host.env), zygote.fork(host.env)
    host.processes += [waits, runs]
    document = host.document("agents.Slow", guild_id="orphaned")
    host.launch(runs, document)
    host.wait_ready(runs)
    zygote.process.kill()
    zygote.process.wait()
    host.said.clear()
    later = host.document("agents.Slow", guild_id="orphaned-later")
    host.launch(waits, later)
    host.wait_ready(waits)
    for process, told in ((runs, document), (waits, later)):
        assert int(stat(process.pid)[1]) == os.getpid()
        probe = messages(told)
        number = probe.send({})
        wait_until(lambda probe=probe, number=number: probe.answers(number), "an answer")
    # End-of-file is the host's death; and it is this process that reaps.
    for process in (runs, waits):
        process.stdin.close()
        assert process.wait() == 0


def test_a_zygote_with_threads_forks_nothing_and_names_them(host, own_zygote):
    zygote = own_zygote("--preload", "threaded").ready()
    answer, fork = zygote.ask(host.env)
    assert fork is None
    assert answer["error"] == (
        "a preloaded module has started threads, which no fork copies: of-a-library; "
        'use start = "spawn" with warm for its classes'
    )


@pytest.mark.parametrize(("host_pid", "lives"), [(1, False), (0, True), (None, True)])
def test_a_child_of_another_host_ends(host, zygote, host_pid, lives):
    process = zygote.fork(host.env, host_pid=host_pid)
    host.processes.append(process)
    if lives:
        wait_until(lambda: "X_WAITING=1" in host.hear(), "it waits")
    else:
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("packet", "descriptors", "answer"),
    [
        (b"{", 3, {"fork": None}),
        (b"[]", 3, {"fork": None, "error": "a request has a number, fork"}),
        (b'{"fork": 5}', 3, {"fork": 5}),
        (b'{"fork": 5, "env": {"A=B": "c"}}', 3, {"fork": 5, "error": "'A=B' is no variable"}),
        (b'{"fork": 5, "env": {"A": "\\u0000"}}', 3, {"fork": 5, "error": "'A' is no variable"}),
        (b'{"fork": 5, "env": {"A": 1}}', 3, {"fork": 5, "error": "'A' is no variable"}),
        (b'{"fork": 5, "env": {}}', 2, {"fork": 5, "error": "three descriptors are needed, there are 2"}),
        (
            b" " * 70_000,
            3,
            {"fork": None, "error": "a packet has at most 65536 bytes and three descriptors"},
        ),
        (
            b'{"fork": 5, "env": {}}',
            4,
            {"fork": 5, "error": "three descriptors are needed, there are 4"},
        ),
    ],
)
def test_a_request_that_is_wrong_is_answered_and_forks_nothing(host, zygote, packet, descriptors, answer):
    before = files(zygote.process.pid)
    null = os.open("/dev/null", os.O_RDWR)
    rights = array.array("i", [null] * descriptors)
    zygote.socket.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    os.close(null)
    heard = zygote.hear()
    assert "error" in heard and heard | answer == heard
    # It goes on, and has kept nothing.
    assert host.fork().poll() is None
    assert files(zygote.process.pid) == before


@pytest.mark.parametrize("how", ["end-of-file", "SIGTERM"])
def test_a_zygote_ends_when_it_is_told(own_zygote, how):
    zygote = own_zygote().ready()
    if how == "SIGTERM":
        zygote.process.terminate()
    else:
        zygote.socket.close()
    assert zygote.process.wait(30) == 0
    assert zygote.process.stderr.read() == b""


def test_a_zygote_is_for_hosts_only(host):
    code, said = host.refusal(host.start("--zygote"))
    assert code == 78
    assert said == (
        "guildhall-runner: --zygote is for hosts: standard input must be a Unix socket for packets\n"
    )
