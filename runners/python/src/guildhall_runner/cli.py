"""The life of a process: prepare, learn who to be, be that, end.

It follows the runner contract (`docs/runners.md`). Exit codes: 0 when it ended as it was
told; 78 when the launch cannot succeed here; 1 when the agent failed.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import signal
import sys
import time
import traceback
from typing import NoReturn

from guildhall_runner import framework, rehearsal
from guildhall_runner.allow import DEFAULT, AllowList, NotAllowedError
from guildhall_runner.document import MAX_BYTES, Document, DocumentError, parse
from guildhall_runner.launch import set_current
from guildhall_runner.notify import Notifier, watchdog_interval

EX_CONFIG = 78

SOON = 0.003
"""Seconds within which the document comes when a launch waits for this very process."""

STATUS_INTERVAL = 1.0
"""Seconds between two words about what it does."""


def main() -> NoReturn:
    """The console script."""
    arguments = _arguments()
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger().handlers[0].addFilter(_without_secrets)
    allow = AllowList(arguments.allow or DEFAULT)
    # The zygote is told nothing: it is nobody's. Each child has a notifier of its own.
    if arguments.zygote:
        from guildhall_runner import zygote

        framework.prepare(arguments.preload)
        allow.guard()
        zygote.serve()
    else:
        Notifier().send("STATUS=importing")
        framework.prepare(arguments.preload)
        allow.guard()
    _leave(_run(allow))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="guildhall-runner",
        description="Runs one Rustic AI agent. Reads its launch document from standard input.",
    )
    parser.add_argument(
        "--allow",
        action="append",
        metavar="PATTERN",
        help="classes that a launch may name, as full names with * for any run of characters; "
        f"may be repeated (default: {' '.join(DEFAULT)})",
    )
    parser.add_argument(
        "--preload",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module to import before there is a launch; may be repeated",
    )
    parser.add_argument(
        "--zygote", action="store_true", help="be forked for each launch; added by hosts, not by people"
    )
    parser.add_argument(
        "--log-level",
        default="WARNING",
        choices=["DEBUG", "INFO", "WARNING", "ERROR"],
        help="what is logged to standard error (default: WARNING)",
    )
    arguments: argparse.Namespace = parser.parse_args()
    return arguments


def _without_secrets(record: logging.LogRecord) -> bool:
    # Rustic AI logs the configuration of its messaging, password included.
    return "backend_config" not in record.getMessage()


def _run(allow: AllowList) -> int:
    notifier = Notifier()
    if not select.select([0], [], [], SOON)[0]:
        rehearsal.rehearse()
    notifier.send("X_WAITING=1", "STATUS=waiting for a launch document")
    line = _read_line()
    if not line:
        return 0
    try:
        document = parse(line)
    except DocumentError as error:
        print(f"guildhall-runner: {error}", file=sys.stderr)
        return EX_CONFIG
    set_current(document.launch)
    return _be(document, allow, notifier)


def _read_line() -> bytes:
    """The first line of standard input; empty when it ends before."""
    line = bytearray()
    while b"\n" not in line and len(line) <= MAX_BYTES:
        chunk = os.read(0, 65536)
        if not chunk:
            # Half a document is nobody's.
            return b""
        line += chunk
    return bytes(line)


def _be(document: Document, allow: AllowList, notifier: Notifier) -> int:
    # Written to by the signals' handler and by the agent's threads, to wake this one.
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    told_to_end = False

    def end(*_: object) -> None:
        nonlocal told_to_end
        told_to_end = True

    def changed() -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(waker, b"\0")

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    notifier.send("STATUS=connecting")
    from guildhall_runner.agent import RunningAgent

    # Messages that wait are handled beside the start, by threads that would each have the
    # interpreter for 5 ms at a time.
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        agent = RunningAgent(document, allow, changed)
    except NotAllowedError as error:
        print(f"guildhall-runner: {error}", file=sys.stderr)
        return EX_CONFIG
    except Exception as error:
        # Its cause, not what this program does about it.
        traceback.print_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        return 1
    notifier.send("READY=1", "STATUS=idle")
    sys.setswitchinterval(switch_interval)

    watchdog = watchdog_interval()
    next_sign = time.monotonic() + watchdog if watchdog else None
    said, next_word = "idle", 0.0
    while not told_to_end:
        now = time.monotonic()
        status = agent.handling.status()
        moments = [next_sign] if next_sign is not None else []
        if status != said:
            if now >= next_word:
                notifier.send(f"STATUS={status}")
                said, next_word = status, now + STATUS_INTERVAL
            else:
                moments.append(next_word)
        # A message that is in hand for longer than the operator allows between two signs is
        # taken for a hang: then there are no more.
        if watchdog and next_sign is not None and now >= next_sign:
            if agent.handling.in_hand_for() < 2 * watchdog:
                notifier.send("WATCHDOG=1")
            next_sign = now + watchdog
        timeout = max(0.0, min(moments) - now) if moments else None
        readable, _, _ = select.select([0, wake], [], [], timeout)
        if wake in readable:
            os.read(wake, 4096)
        if 0 in readable and not os.read(0, 4096):
            # The host is dead, and another may be starting this agent.
            return 0
    notifier.send("STOPPING=1", "STATUS=finishing")
    agent.end()
    return 0


def _leave(code: int) -> NoReturn:
    """Ends the process, whatever threads a framework has left."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
