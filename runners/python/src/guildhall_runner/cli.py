"""The life of a process: prepare, learn who to be, be that, end.

It follows the runner contract (`docs/runners.md`). Exit codes:

| code | when |
| --- | --- |
| 0 | it was told to end, its host ended, or it was not needed |
| 1 | the agent failed, or its messaging could not be reached |
| 2 | its arguments are wrong |
| 78 | the launch cannot succeed here, however often it is tried |

Standard error has one line that says why; a traceback only for what an agent's own code did.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import logging
import os
import select
import signal
import sys
import time
from typing import NoReturn

from guildhall_runner import framework, host, redaction, rehearsal
from guildhall_runner.allow import DEFAULT, AllowList
from guildhall_runner.document import MAX_BYTES, Document, DocumentError, parse
from guildhall_runner.launch import set_current
from guildhall_runner.notify import Notifier, watchdog_interval

EX_FAILED = 1
EX_CONFIG = 78

SOON = 0.003
"""Seconds within which the document comes when a launch waits for this very process."""

STATUS_INTERVAL = 1.0
"""Seconds between two words about what it does."""


def main() -> NoReturn:
    """The console script."""
    # Until there is an agent, there is nothing to finish.
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, lambda *_: os._exit(0))
    arguments = _arguments()
    # What an agent prints is in the host's log at once, whatever a pipe's buffer is.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    redaction.log_to(sys.stderr, arguments.log_level)
    allow = AllowList(arguments.allow or DEFAULT)
    if not arguments.zygote:
        # A zygote is told nothing and tells nothing: it is nobody's.
        Notifier().send("STATUS=importing")
    try:
        framework.prepare(arguments.preload, is_ahead=arguments.zygote or not _has_document_within(0))
    except framework.PreloadError as error:
        _leave(_refuse(str(error), error))
    allow.guard()
    if arguments.zygote:
        from guildhall_runner import zygote

        zygote.serve()
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


def _run(allow: AllowList) -> int:
    notifier = Notifier()
    if not _has_document_within(SOON):
        rehearsal.rehearse(until=lambda: _has_document_within(0))
    notifier.send_surely("X_WAITING=1", "STATUS=waiting for a launch document")
    line = _read_line()
    if not line:
        return 0
    try:
        document = parse(line)
    except DocumentError as error:
        return _refuse(str(error), error)
    for part in (document.messaging, document.client_properties):
        redaction.learn(part)
    for spec in (document.agent_spec, document.guild_spec):
        redaction.learn([spec.get("properties"), spec.get("dependency_map")])
    set_current(document.launch)
    return _be(document, allow, notifier)


def _has_document_within(seconds: float) -> bool:
    return bool(select.select([0], [], [], seconds)[0])


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


class _ToldToEndError(BaseException):
    """Ends a start, whatever it is at. No error to what is in between."""


def _be(document: Document, allow: AllowList, notifier: Notifier) -> int:
    from guildhall_runner.agent import RunningAgent, UnreachableError
    from guildhall_runner.failure import LaunchError
    from guildhall_runner.handling import Handling

    # Written to by the signals' handler and by the agent's threads, to wake this one.
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    is_starting, told_to_end = True, False

    def end(*_: object) -> None:
        nonlocal told_to_end
        told_to_end = True
        if is_starting:
            raise _ToldToEndError

    def changed() -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(waker, b"\0")

    handling = Handling(changed)
    try:
        agent = RunningAgent(document, allow, handling)
    except LaunchError as error:
        return _refuse(str(error), error)
    # Messages that wait are handled beside the start, by threads that would each have the
    # interpreter for 5 ms at a time.
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        try:
            signal.signal(signal.SIGTERM, end)
            signal.signal(signal.SIGINT, end)
            # From here on others may hear of the agent.
            host.end_with_it()
            notifier.send("STATUS=connecting")
            agent.start()
        finally:
            is_starting = False
    except _ToldToEndError:
        # Messages that waited may have been begun already.
        notifier.send_surely("STOPPING=1")
        agent.end()
        return 0
    except LaunchError as error:
        return _refuse(str(error), error)
    except UnreachableError as error:
        return _refuse(str(error), error, EX_FAILED)
    except Exception as error:
        # What the agent's own code did, not what this program does about it.
        sys.stderr.write(
            redaction.traceback_of(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        )
        return EX_FAILED
    notifier.send_surely("READY=1", "STATUS=idle")
    sys.setswitchinterval(switch_interval)

    watchdog = watchdog_interval()
    next_sign = time.monotonic() + watchdog if watchdog else None
    said, next_word = "idle", 0.0
    while not told_to_end:
        if handling.failure is not None:
            return _failed(handling.failure)
        now = time.monotonic()
        status = handling.status()
        moments = [next_sign] if next_sign is not None else []
        if status != said:
            if now >= next_word:
                notifier.send(f"STATUS={status}")
                said, next_word = status, now + STATUS_INTERVAL
            else:
                moments.append(next_word)
        # What a sign says: the interpreter runs other threads than the one that handles
        # messages, which has had none in hand for longer than the operator allows between
        # two signs. What it does not say: that messages come.
        if watchdog and next_sign is not None and now >= next_sign:
            if handling.in_hand_for() < 2 * watchdog:
                notifier.send("WATCHDOG=1")
            next_sign = now + watchdog
        timeout = max(0.0, min(moments) - now) if moments else None
        readable, _, _ = select.select([0, wake], [], [], timeout)
        if wake in readable:
            os.read(wake, 4096)
        if 0 in readable:
            host.look()
    notifier.send_surely("STOPPING=1", "STATUS=finishing")
    agent.end()
    # Telemetry and the like is sent then. An end that was not asked for has no time for it.
    atexit._run_exitfuncs()
    return 0


def _refuse(reason: str, error: BaseException, code: int = EX_CONFIG) -> int:
    print(f"guildhall-runner: {redaction.redacted(reason)}", file=sys.stderr)
    logging.getLogger(__package__).debug("because of this", exc_info=error)
    return code


def _failed(failure: BaseException) -> int:
    """The code of an agent that ended itself, or its messaging for good."""
    if isinstance(failure, SystemExit):
        said = failure.code
        code = said if isinstance(said, int) else EX_FAILED if said else 0
        print(f"guildhall-runner: the agent's own code has ended it, with {code}", file=sys.stderr)
        return code
    return _refuse(f"the agent handles no more messages: {failure!r}", failure, EX_FAILED)


def _leave(code: int) -> NoReturn:
    """Ends the process, whatever threads a framework has left."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
