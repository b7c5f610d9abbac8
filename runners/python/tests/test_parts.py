"""What can be told without a process."""

import contextlib
import dataclasses
import logging
import socket
import threading

import pytest

from guildhall_runner import current, pages, redaction
from guildhall_runner.allow import AllowList, NotAllowedError
from guildhall_runner.launch import Launch, set_current
from guildhall_runner.notify import Notifier, watchdog_interval


@pytest.mark.parametrize(
    ("pattern", "allowed", "refused"),
    [
        ("rustic_ai.*", "rustic_ai.core.Agent", "rustic_ai_evil.Agent"),
        ("agents.Slow", "agents.Slow", "agents.Slower"),
        ("*.agents.*", "our.agents.Slow", "agents.Slow"),
        ("a*b*c", "axxbxxc", "axxcxxb"),
        ("*", "os.system", None),
        ("a.b", "a.b", "axb"),
    ],
)
def test_a_pattern_matches_whole_names(pattern, allowed, refused):
    AllowList([pattern]).check(allowed)
    if refused is not None:
        with pytest.raises(NotAllowedError, match="is not allowed; there are: "):
            AllowList([pattern]).check(refused)
    with pytest.raises(NotAllowedError):
        AllowList([]).check(allowed)


def test_the_launch_is_known_in_an_agents_process_only(monkeypatch):
    for name in ("GUILD_ID", "AGENT_ID", "EPOCH", "HOST_ID"):
        monkeypatch.delenv(f"GUILDHALL_{name}", raising=False)
    with pytest.raises(LookupError):
        current()
    for name in ("GUILD_ID", "AGENT_ID", "EPOCH", "HOST_ID"):
        monkeypatch.setenv(f"GUILDHALL_{name}", "")
    launch = Launch("g", "a", 7, "h")
    set_current(launch)
    assert current() == launch
    with pytest.raises(dataclasses.FrozenInstanceError):
        current().epoch = 8


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_host_is_told_what_it_must_hear_however_busy_it_is(monkeypatch, tmp_path, is_abstract):
    name = f"@guildhall-{tmp_path}" if is_abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind(name.replace("@", "\0") if is_abstract else name)
        host.settimeout(30)
        notifier = Notifier()
        notifier.send("STATUS=one", "X=2")
        assert host.recv(100) == b"STATUS=one\nX=2"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others,
            contextlib.suppress(BlockingIOError),
        ):
            others.setblocking(False)
            while True:
                others.sendto(b"full", name.replace("@", "\0") if is_abstract else name)
        notifier.send("STATUS=lost")
        telling = threading.Thread(target=notifier.send_surely, args=("READY=1",))
        telling.start()
        heard = [host.recv(100)]
        while heard[-1] != b"READY=1":
            heard.append(host.recv(100))
        telling.join()
    assert b"STATUS=lost" not in heard
    # A host that is gone is no reason to fail, and none to wait.
    notifier.send_surely("STOPPING=1")


def test_nobody_is_told_where_nobody_listens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().send_surely("READY=1")


@pytest.mark.parametrize(
    ("micros", "seconds"), [("", None), ("0", None), ("x", None), ("-1", None), ("30000000", 15.0)]
)
def test_signs_of_life_come_twice_as_often_as_asked_for(monkeypatch, micros, seconds):
    monkeypatch.setenv("WATCHDOG_USEC", micros)
    assert watchdog_interval() == seconds


def test_texts_are_redacted(monkeypatch):
    monkeypatch.setattr(redaction, "_secrets", set())
    redaction.learn({"redis": [{"password": "hunter2", "host": "redis-1"}], "api_keys": ["k-1234", "x"]})
    text = "redis-1 hunter2 k-1234 x redis://me:pw@redis-1/ input_value={'a': 'payload'}, input_type=dict"
    assert redaction.redacted(text) == "redis-1 *** *** x redis://me:***@redis-1/ input_type=dict"


def test_what_fails_in_a_thread_is_logged_without_secrets(monkeypatch, caplog):
    monkeypatch.setattr(redaction, "_secrets", set())
    monkeypatch.setattr(threading, "excepthook", redaction._thread_failed)

    def fail(error):
        raise error

    with caplog.at_level(logging.ERROR):
        for error in (ValueError("hunter2"), SystemExit()):
            thread = threading.Thread(target=fail, args=(error,), name="t")
            thread.start()
            thread.join()
    assert [record.getMessage() for record in caplog.records] == ["thread t has failed"]


def test_memory_can_be_asked_for_in_large_pages():
    # None where the kernel or its memory do not allow it; nothing is lost then.
    kept = [bytes([number % 251]) * 4096 for number in range(4096)]
    assert pages.collapse() >= 0
    assert all(page == bytes([number % 251]) * 4096 for number, page in enumerate(kept))
