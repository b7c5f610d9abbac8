"""The asynchronous engine: the SDK's calls, one by one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from ._guildhall import AgentEvent, AgentInfo, Call, Connection, HostInfo
from .settings import LaunchOptions, Settings

type Json = str | Mapping[str, Any]
"""A JSON object, or its text."""


class AgentOutcome(NamedTuple):
    """What came of one agent of a guild."""

    agent_id: str
    """Which agent."""
    agent: AgentInfo | None
    """The agent as it was started or stopped."""
    error: Exception | None
    """Why it was not."""


class GuildOutcome(NamedTuple):
    """What came of a guild."""

    guild_id: str
    """Its id, as written or made up."""
    agents: list[AgentOutcome]
    """One outcome for each agent, in the order of the spec."""


async def finished[T](call: Call[T]) -> T:
    """Await a call; when the task is cancelled, the call is given up."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def settle() -> None:
        if not done.done():
            done.set_result(None)

    def wake() -> None:
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)

    call.on_done(wake)
    try:
        await done
    except asyncio.CancelledError:
        call.cancel()
        raise
    return call.result()


def outcomes(told: list[tuple[str, AgentInfo | Exception]]) -> list[AgentOutcome]:
    """Sort agents from errors."""
    return [
        AgentOutcome(agent_id, result, None)
        if isinstance(result, AgentInfo)
        else AgentOutcome(agent_id, None, result)
        for agent_id, result in told
    ]


class Engine:
    """Runs, finds, watches and stops agents on a fleet.

    ::

        async with await guildhall.connect() as engine:
            agent = await engine.run_agent("newsroom", spec)

    Agents outlive the engine that started them, except on an embedded fleet, which ends
    with the last engine that uses it.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._connection = Connection(self._settings)

    @property
    def settings(self) -> Settings:
        """Where agents run, and how they are placed."""
        return self._settings

    async def __aenter__(self) -> Self:
        await finished(self._connection.ready())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown()

    async def wait_for_hosts(self, count: int, within: float = 30.0) -> None:
        """Wait until the engine knows of at least ``count`` hosts, for ``within`` seconds."""
        await finished(self._connection.wait_for_hosts(count, within))

    async def hosts(self) -> list[HostInfo]:
        """The hosts that the engine knows of, sorted by id."""
        return await finished(self._connection.hosts())

    async def policy(self) -> str:
        """The policy that decides, by name and version."""
        return await finished(self._connection.policy())

    async def run_agent(
        self,
        guild_id: str,
        agent_spec: Json,
        *,
        guild_spec: Json | None = None,
        options: LaunchOptions | None = None,
    ) -> AgentInfo:
        """Start one agent on a host that the policy chooses; answers when it is ready.

        When the task is cancelled the launch is undone. After an error of this call no
        process of this launch is left running, except where
        :class:`~guildhall.errors.CallTimeoutError` says that it may be.
        """
        call = self._connection.run_agent(
            guild_id, _text(agent_spec), _text(guild_spec or {}), options or LaunchOptions()
        )
        return await finished(call)

    async def run_guild(
        self, guild_spec: Json | Path, *, options: LaunchOptions | None = None
    ) -> GuildOutcome:
        """Start all agents of a guild: its spec, YAML or JSON, or the path of a file.

        One agent's failure does not stop the others.
        """
        is_path = isinstance(guild_spec, Path)
        spec = str(guild_spec) if isinstance(guild_spec, Path) else _text(guild_spec)
        call = self._connection.run_guild(spec, is_path, options or LaunchOptions())
        guild_id, told = await finished(call)
        return GuildOutcome(guild_id, outcomes(told))

    async def stop_agent(self, guild_id: str, agent_id: str) -> AgentInfo:
        """Stop one agent and forget it; answers when its process is gone."""
        return await finished(self._connection.stop_agent(guild_id, agent_id))

    async def stop_guild(self, guild_id: str) -> list[AgentOutcome]:
        """Stop all agents of a guild at once."""
        return outcomes(await finished(self._connection.stop_guild(guild_id)))

    async def get_agent(self, guild_id: str, agent_id: str) -> AgentInfo | None:
        """One agent, also one that failed or finished; ``None`` when there is none."""
        return await finished(self._connection.get_agent(guild_id, agent_id))

    async def get_agents_in_guild(self, guild_id: str) -> list[AgentInfo]:
        """All agents of a guild, whatever their state, sorted by id."""
        return await finished(self._connection.get_agents_in_guild(guild_id))

    async def find_agents_by_name(self, guild_id: str, name: str) -> list[AgentInfo]:
        """The agents of a guild that have this name. Names need not be unique."""
        return await finished(self._connection.find_agents_by_name(guild_id, name))

    async def is_agent_running(self, guild_id: str, agent_id: str) -> bool:
        """Whether the agent's process is there and ready."""
        return await finished(self._connection.is_agent_running(guild_id, agent_id))

    async def watch(self, guild_id: str) -> AsyncIterator[AgentEvent]:
        """The agents of a guild: a snapshot, then changes, until the engine shuts down."""
        events = await finished(self._connection.watch(guild_id))
        while (event := await finished(events.next())) is not None:
            yield event

    async def shutdown(self) -> None:
        """Close the engine: calls under way end, agents of an embedded fleet too if no
        other engine uses it. Closing it again does nothing.
        """
        call = self._connection.close()
        if call is not None:
            await asyncio.shield(finished(call))
            self._connection.finish()


async def connect(url: str | None = None, **settings: Any) -> Engine:  # noqa: ANN401 (they differ)
    """Make an engine and connect it: ``settings`` are those of :class:`Settings`.

    Without a URL, here or in ``GUILDHALL_URL``, the fleet is embedded in this process.
    """
    if url is not None:
        settings["url"] = url
    engine = Engine(Settings(**settings))
    try:
        return await engine.__aenter__()
    except BaseException:
        await engine.shutdown()
        raise


def _text(json_object: Json) -> str:
    return json_object if isinstance(json_object, str) else json.dumps(json_object)
