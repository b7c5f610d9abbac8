"""Keeps what is nobody's business out of what is printed: passwords and messages.

A launch document has passwords, of the messaging and of dependencies. They reach errors
and logs by two ways: as themselves, and within the input that Pydantic shows of what it
could not validate, which may be a whole message.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from typing import Any

_INPUT = re.compile(r"input_value=.*?, input_type=", re.DOTALL)
_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_SECRET_NAME = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|(api|access|private|account)_?-?key", re.IGNORECASE
)
_SHORTEST = 4
"""Characters of a secret that is looked for in texts. A shorter one is found in words."""

_secrets: set[str] = set()


def learn(part: Any, is_secret: bool = False) -> None:
    """Remembers what has the name of a secret in a part of a launch document."""
    match part:
        case dict():
            for name, value in part.items():
                learn(value, is_secret or _SECRET_NAME.search(str(name)) is not None)
        case list():
            for value in part:
                learn(value, is_secret)
        case str() if is_secret and len(part) >= _SHORTEST:
            _secrets.add(part)


def redacted(text: str) -> str:
    """The text without what is nobody's business."""
    text = _INPUT.sub("input_type=", text)
    text = _IN_URL.sub(r"\1***@", text)
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def _is_fit(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    # Rustic AI logs the configuration of its messaging, and logs an error that it raises
    # as well.
    return "backend_config" not in message and not message.startswith("Error initializing storage backend")


def log_to(stream: Any, level: str) -> None:
    """Sets up logging, of this program, of what it runs, and of threads that fail."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_is_fit)
    logging.basicConfig(level=level, handlers=[handler])
    threading.excepthook = _thread_failed


def _thread_failed(args: Any) -> None:
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread else "?"
        error = (args.exc_type, args.exc_value, args.exc_traceback)
        logging.getLogger(__package__).error("thread %s has failed", name, exc_info=error)


def traceback_of(error: BaseException) -> str:
    """As Python prints it."""
    return redacted("".join(traceback.format_exception(error)))
