"""Why a launch cannot succeed, in one line that says which field of it to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydantic import ValidationError

from guildhall_runner.allow import NotAllowedError


class LaunchError(Exception):
    """A launch that cannot succeed here, however often it is tried."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")


@contextlib.contextmanager
def concerns(field: str) -> Iterator[None]:
    """Whatever goes wrong within is wrong with this field.

    Raises:
        LaunchError: when something does.
    """
    try:
        yield
    except Exception as error:
        raise LaunchError(field, reason(error)) from error


def not_allowed(error: BaseException) -> NotAllowedError | None:
    """The refusal that is behind an error, if there is one."""
    return next((one for one in chain(error) if isinstance(one, NotAllowedError)), None)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised because of, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = _behind(cause)


def reason(error: BaseException) -> str:
    """What went wrong, and because of what. Shows no values of a validation."""
    refusal = not_allowed(error)
    if refusal is not None:
        return str(refusal)
    parts = [_one_line(error)]
    # What an error was raised in the handling of, but not because of, explains nothing.
    while (cause := _validators_cause(error) or error.__cause__) is not None:
        parts.append(_one_line(cause))
        error = cause
    # Rustic AI's errors often repeat their causes'.
    return ": ".join(
        part for number, part in enumerate(parts) if number == 0 or part not in parts[number - 1]
    )


def _one_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        said = []
        for problem in problems[:3]:
            where = ".".join(map(str, problem["loc"]))
            what = problem["msg"].removeprefix("Value error, ")
            said.append(f"{where}: {what}" if where else what)
        return "; ".join(said) + ("; …" if len(problems) > len(said) else "")
    text = str(error).strip().split("\n", 1)[0]
    if isinstance(error, ImportError | ValueError | TypeError | OSError) and text:
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def _behind(error: BaseException) -> BaseException | None:
    if isinstance(error, ValidationError):
        return _validators_cause(error)
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _validators_cause(error: BaseException) -> BaseException | None:
    """Why a validator raised what stands in the context of a problem."""
    if isinstance(error, ValidationError):
        for problem in error.errors(include_url=False, include_input=False):
            inner = problem.get("ctx", {}).get("error")
            if isinstance(inner, BaseException):
                return inner.__cause__
    return None
