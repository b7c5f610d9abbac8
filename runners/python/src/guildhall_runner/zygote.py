"""A process that has prepared itself and is forked for each agent.

The contract is that of `docs/runners.md`, "Zygotes". The child is made a sibling of this
process (`CLONE_PARENT`), so that it is the host's to wait for and to reap, and outlives
this one. Python has no such fork, so the system call is made here, between what
`os.fork` does before and after it. That is sound with one thread only, which is looked at
before each fork.
"""

from __future__ import annotations

import array
import ctypes
import dataclasses
import gc
import json
import os
import platform
import random
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from guildhall_runner import pages
from guildhall_runner.framework import threads

MAX_PACKET = 64 * 1024

_CLONE_PARENT = 0x00008000
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_PR_SET_PDEATHSIG = 1
_PR_GET_TID_ADDRESS = 40

# The number of `clone`, and where among its arguments the address of the child's id stands.
_CLONE = {"x86_64": (56, 3), "aarch64": (220, 4)}

# Holds the interpreter's lock through each call, as a fork must.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def serve() -> None:
    """Serves forks until the host ends. Returns in each child, which has become a process
    as if it had been executed."""
    if platform.machine() not in _CLONE:
        _refuse(f'zygotes are not known on {platform.machine()}; use start = "spawn"')
    try:
        host = socket.socket(fileno=0)
    except OSError:
        host = None
    if host is None or (host.family, host.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        _refuse("--zygote is for hosts: standard input must be a Unix socket for packets")
    # What is in a buffer now would be written by each child.
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    # What is here now is everybody's: no collection may write to it, which would copy it.
    gc.freeze()
    gc.disable()
    pages.collapse()
    _send(host, {"ready": True, "pid": os.getpid(), "rss_bytes": _rss_bytes()})
    while True:
        # One byte more than may come tells a packet that is cut off.
        packet, control, flags, _ = host.recvmsg(
            MAX_PACKET + 1, socket.CMSG_SPACE(3 * 4), socket.MSG_CMSG_CLOEXEC
        )
        if not packet:
            os._exit(0)
        descriptors = _descriptors(control)
        answer: dict[str, Any] = {"fork": None}
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(packet) > MAX_PACKET:
                raise ValueError(f"a packet has at most {MAX_PACKET} bytes and three descriptors")
            request = _request(packet, answer)
            pid = _fork(request, descriptors)
            if pid is None:
                # Its standard input has that number now.
                host.detach()
                return
            answer["pid"] = pid
        except (OSError, ValueError) as error:
            answer["error"] = str(error)
        for descriptor in descriptors:
            os.close(descriptor)
        _send(host, answer)


def _send(host: socket.socket, answer: dict[str, Any]) -> None:
    try:
        host.send(json.dumps(answer).encode())
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _rss_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True, slots=True)
class _Request:
    env: dict[str, str]
    host_pid: int
    """0 when the host does not say."""


def _request(packet: bytes, answer: dict[str, Any]) -> _Request:
    """Reads a request while a mistake in it is still the zygote's to answer, and puts its
    number into the answer."""
    match json.loads(packet):
        case {"fork": int(number), **fields}:
            answer["fork"] = number
        case _:
            raise ValueError("a request has a number, fork")
    env, host_pid = fields.get("env"), fields.get("host_pid", 0)
    if not isinstance(env, dict) or not isinstance(host_pid, int):
        raise ValueError("a request has variables, env, and may have a number, host_pid")
    for name, value in env.items():
        if not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise ValueError(f"{name!r} is no variable")
    return _Request(env, host_pid)


def _refuse(reason: str) -> NoReturn:
    print(f"guildhall-runner: {reason}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(78)


def _descriptors(control: list[tuple[int, int, bytes]]) -> list[int]:
    received = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    return list(received)


def _fork(request: _Request, descriptors: list[int]) -> int | None:
    """Answers with the child's pid, and in the child with `None`."""
    if len(descriptors) != 3:
        raise OSError(f"three descriptors are needed, there are {len(descriptors)}")
    others = threads()
    if others:
        raise OSError(
            f"a preloaded module has started threads, which no fork copies: {', '.join(others)}; "
            'use start = "spawn" with warm for its classes'
        )
    ack, child_ack = os.pipe2(os.O_CLOEXEC)
    pid = _clone()
    if pid == 0:
        # From here on this is another process, and must not go back to serve as the zygote.
        try:
            _become(request, descriptors, keep=child_ack)
            os.close(child_ack)
        except BaseException as error:
            _refuse(f"a forked child: {error}")
        return None
    os.close(child_ack)
    # Ends when the child leads its session, or is dead.
    os.read(ack, 1)
    os.close(ack)
    return pid


def _clone() -> int:
    number, place = _CLONE[platform.machine()]
    flags = _CLONE_PARENT | signal.SIGCHLD
    arguments = [ctypes.c_long(0)] * 5
    address = ctypes.c_void_p()
    # The C library remembers the id of a thread, and `fork` has the kernel renew it. So
    # does this, where the kernel tells the place.
    if _libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0) == 0 and address.value:
        flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
        arguments[place] = ctypes.c_long(address.value)
    arguments[0] = ctypes.c_long(flags)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return pid


def _become(request: _Request, descriptors: list[int], keep: int) -> None:
    """Makes the child what an execution would have made it."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    # One that died before that cannot kill.
    if request.host_pid and os.getppid() != request.host_pid:
        os._exit(0)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request.env)
    time.tzset()
    random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()
    # What it makes from now on is its own, and may be collected.
    gc.enable()
