"""What can go wrong. Messages are the SDK's; there is one class for each thing to do about it."""

from __future__ import annotations


class GuildhallError(Exception):
    """Anything that Guildhall cannot do."""


class SettingsError(GuildhallError, ValueError):
    """A setting cannot be used: a URL, a runner table, a certificate. Change it."""


class InvalidLaunchError(GuildhallError, ValueError):
    """A spec, an id or a launch cannot be used. Change it."""


class NoHostError(GuildhallError):
    """No host takes the agent: there is none, or those that were asked refused.

    Add hosts, or try again later.
    """

    tried: list[tuple[str, str, str]]
    """The hosts that were asked: id, reason for programs, message."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.tried = []


class AlreadyRunningError(GuildhallError):
    """The identity is taken: this agent of this guild is live already."""

    host: str
    """The host that it is on."""
    epoch: int
    """Its incarnation."""


class AgentStartError(GuildhallError):
    """The agent did not become ready. What it wrote last is shown below the traceback."""

    host: str
    """The host that tried."""
    reason: str
    """Why, for programs, such as ``START_FAILED`` or ``NO_RUNNER_FOR_CLASS``."""
    stderr: str
    """The last lines that it wrote to standard error."""


class AgentNotFoundError(GuildhallError, LookupError):
    """There is no such agent."""


class HostError(GuildhallError):
    """A host did not do what it was asked, or could not be asked. Try again later."""

    host: str
    """The host."""
    reason: str
    """Why, for programs, such as ``HOST_UNREACHABLE``."""


class CallTimeoutError(GuildhallError, TimeoutError):
    """The call took too long. What it asked for may yet happen: look before asking again."""


class RegistryError(GuildhallError):
    """The registry failed or cannot be reached. Try again later."""


class PolicyError(GuildhallError):
    """The placement policy cannot be loaded, refuses its settings, or failed."""


class EngineClosedError(GuildhallError, RuntimeError):
    """The engine is shut down."""


class ForkedError(GuildhallError, RuntimeError):
    """The engine is of the process that this one was forked from. Make another one."""


__all__ = [
    "AgentNotFoundError",
    "AgentStartError",
    "AlreadyRunningError",
    "CallTimeoutError",
    "EngineClosedError",
    "ForkedError",
    "GuildhallError",
    "HostError",
    "InvalidLaunchError",
    "NoHostError",
    "PolicyError",
    "RegistryError",
    "SettingsError",
]
