"""Forks, as a host asks for them."""

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wait_until


class Zygote:
    """This process is the host: forks become its children."""

    def __init__(self, host, *args):
        self.host = host
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        command = [sys.executable, "-m", "guildhall_runner", *args, "--zygote"]
        self.process = subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, env=host.env)
        host.processes.append(self.process)
        theirs.close()
        self.asked = 0
        self.children = []

    def ready(self):
        answer = json.loads(self.socket.recv(4096))
        assert answer["ready"] is True and answer["pid"] == self.process.pid
        return self

    def ask(self, **more):
        """Asks for a fork. Answers with what the zygote says, and the host's end of its input."""
        self.asked += 1
        stdin, ours = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        env = self.host.env | {"WHOSE": str(self.asked)}
        packet = json.dumps({"fork": self.asked, "env": env, "host_pid": os.getpid()} | more).encode()
        rights = array.array("i", [stdin, null, null])
        self.socket.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        os.close(stdin)
        os.close(null)
        answer = json.loads(self.socket.recv(4096))
        assert answer["fork"] == self.asked
        return answer, ours

    def fork(self):
        answer, stdin = self.ask()
        self.children.append(answer["pid"])
        return answer["pid"], stdin


@pytest.fixture
def zygote(host):
    zygote = Zygote(host, "--allow", "*").ready()
    yield zygote
    for pid in zygote.children:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()


def test_a_fork_is_the_hosts_own_and_answers(host, zygote, messages):
    document = host.document("agents.Slow", guild_id="forked")
    pid, stdin = zygote.fork()
    _, parent, group, session = stat(pid)[:4]
    assert (int(parent), int(group), int(session)) == (os.getpid(), pid, pid)
    files = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert files[0].startswith("pipe:") and files[1] == files[2] == "/dev/null"
    os.write(stdin, json.dumps(document).encode() + b"\n")
    host.wait_ready()
    probe = messages(document)
    number = probe.send({})
    wait_until(lambda: probe.answers(number), "an answer")
    assert probe.answers(number)[0].payload["pid"] == pid
    assert os.readlink(f"/proc/{pid}/fd/0") == files[0]
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_zygotes_death_is_nothing_to_its_forks(host, zygote, messages):
    document = host.document("agents.Slow", guild_id="orphaned")
    pid, stdin = zygote.fork()
    zygote.process.kill()
    zygote.process.wait()
    os.write(stdin, json.dumps(document).encode() + b"\n")
    host.wait_ready()
    assert int(stat(pid)[1]) == os.getpid()
    # End-of-file is the host's death.
    os.close(stdin)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_forks_share_no_random_numbers_and_no_variables(host, zygote, messages):
    said = []
    for guild_id in ("r1", "r2"):
        document = host.document("agents.Random", guild_id=guild_id)
        _, stdin = zygote.fork()
        host.said.clear()
        os.write(stdin, json.dumps(document).encode() + b"\n")
        host.wait_ready()
        probe = messages(document)
        number = probe.send({})
        wait_until(lambda probe=probe, number=number: probe.answers(number), "an answer")
        said.append(probe.answers(number)[0].payload)
    assert said[0]["random"] != said[1]["random"]
    assert [one["whose"] for one in said] == ["1", "2"]


def test_a_zygote_with_threads_forks_nothing_and_names_them(host):
    zygote = Zygote(host, "--preload", "threaded").ready()
    answer, _ = zygote.ask()
    assert "pid" not in answer
    assert "has started threads, which no fork copies: " in answer["error"]
    assert 'use start = "spawn"' in answer["error"]


def test_a_host_that_is_another_is_left_alone(host, zygote):
    answer, stdin = zygote.ask(host_pid=1)
    pid = answer["pid"]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(stdin)


def test_a_zygote_ends_with_its_host_and_is_for_hosts_only(host):
    zygote = Zygote(host).ready()
    zygote.socket.close()
    assert zygote.process.wait(30) == 0
    by_hand = host.start("--zygote")
    _, stderr = by_hand.communicate(timeout=60)
    assert by_hand.returncode == 78
    assert b"--zygote is for hosts" in stderr
