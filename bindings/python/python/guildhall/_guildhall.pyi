"""The native half of ``guildhall``. Use that, not this."""

from collections.abc import Callable
from typing import Any, Literal, final

from .settings import LaunchOptions, Settings

@final
class Call[T]:
    """A call under way. Ends also when nobody waits for it any more."""

    def wait(self) -> T:
        """Wait for the call and answer what came of it; Ctrl-C gives it up."""
    def result(self) -> T:
        """Answer what came of the call, once; it must be done."""
    def on_done(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` called from some thread when the call is done, or now when it is."""
    def cancel(self) -> None:
        """Give the call up."""

@final
class LastExit:
    """How the last process of an agent ended."""

    @property
    def code(self) -> int | None:
        """Its exit code, when it exited by itself."""
    @property
    def signal(self) -> int | None:
        """The signal that ended it, when one did."""
    @property
    def reason(self) -> str:
        """What happened, in words."""
    @property
    def stderr(self) -> str:
        """The last lines it wrote to standard error."""

@final
class AgentInfo:
    """One agent as its host last wrote it down."""

    @property
    def guild_id(self) -> str:
        """The guild it belongs to."""
    @property
    def agent_id(self) -> str:
        """Its id within the guild."""
    @property
    def name(self) -> str:
        """Its name in the guild spec."""
    @property
    def class_name(self) -> str:
        """The class that it is made from."""
    @property
    def host(self) -> str:
        """The host that it runs on."""
    @property
    def pid(self) -> int | None:
        """Its process, while it has one."""
    @property
    def state(self) -> str:
        """One of starting, running, restarting, stopping, waiting, finished, failed, lost."""
    @property
    def epoch(self) -> int:
        """Its incarnation: grows with every start."""
    @property
    def created_at_ms(self) -> int:
        """When it was accepted, milliseconds since 1970 by the host's clock."""
    @property
    def start_ms(self) -> int | None:
        """From spawn to ready of its latest process, in milliseconds."""
    @property
    def restarts(self) -> int:
        """How often it was restarted."""
    @property
    def last_exit(self) -> LastExit | None:
        """How its last process ended, if one did."""
    @property
    def request_id(self) -> str:
        """The id of the call that started it."""
    @property
    def placed_by(self) -> str | None:
        """The policy that chose the host; None when none did."""
    @property
    def failed_on(self) -> list[str]:
        """Hosts on which it was restarted in vain."""

@final
class AgentEvent:
    """What a watcher of a guild sees."""

    @property
    def kind(self) -> Literal["snapshot", "changed", "removed"]:
        """A snapshot comes first, and again whenever changes may have been missed."""
    @property
    def agents(self) -> list[AgentInfo]:
        """Of a snapshot all agents, of a change the one agent, of a removal none."""
    @property
    def agent_id(self) -> str | None:
        """The agent that changed or was removed; None of a snapshot."""
    @property
    def epoch(self) -> int | None:
        """Its incarnation; None of a snapshot."""

@final
class HostInfo:
    """A host as an engine knows it."""

    @property
    def id(self) -> str:
        """Its id."""
    @property
    def endpoint(self) -> str:
        """Where it listens."""
    @property
    def labels(self) -> dict[str, str]:
        """Labels that policies may look at."""
    @property
    def capacity(self) -> int:
        """Agents it takes at most."""
    @property
    def running(self) -> int:
        """Agents on it, those starting included."""
    @property
    def draining(self) -> bool:
        """Whether it takes no new agents because it is about to end."""

@final
class Events:
    """The changes of a guild's agents, one by one."""

    def next(self) -> Call[AgentEvent | None]:
        """Answer the next event, or None at the end."""

type Outcomes = list[tuple[str, AgentInfo | Exception]]

@final
class Connection:
    """A way to a fleet; equal settings share an engine. Each must be closed and finished."""

    def __new__(cls, settings: Settings) -> Connection: ...
    def ready(self) -> Call[None]: ...
    def wait_for_hosts(self, count: int, within: float) -> Call[None]: ...
    def hosts(self) -> Call[list[HostInfo]]: ...
    def policy(self) -> Call[str]: ...
    def run_agent(
        self, guild: str, agent_spec: str, guild_spec: str, options: LaunchOptions
    ) -> Call[AgentInfo]: ...
    def run_guild(self, spec: str, is_path: bool, options: LaunchOptions) -> Call[tuple[str, Outcomes]]: ...
    def stop_agent(self, guild: str, agent: str) -> Call[AgentInfo]: ...
    def stop_guild(self, guild: str) -> Call[Outcomes]: ...
    def get_agent(self, guild: str, agent: str) -> Call[AgentInfo | None]: ...
    def get_agents_in_guild(self, guild: str) -> Call[list[AgentInfo]]: ...
    def find_agents_by_name(self, guild: str, name: str) -> Call[list[AgentInfo]]: ...
    def is_agent_running(self, guild: str, agent: str) -> Call[bool]: ...
    def launched_specs(self, agents: list[AgentInfo]) -> Call[list[str | None]]: ...
    def watch(self, guild: str) -> Call[Events]: ...
    def close(self) -> Call[None] | None: ...
    def finish(self) -> None: ...

def open_connections() -> int: ...
def after_fork() -> None: ...
def end_all() -> None: ...

__all__: list[Any]
