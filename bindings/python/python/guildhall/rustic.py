"""The execution engine for Rustic AI: their guilds, unchanged, on Guildhall.

Choose it the way Rustic AI chooses engines: by its class name, in a guild's spec, with
``GuildBuilder.set_execution_engine`` or in ``RUSTIC_AI_EXECUTION_ENGINE``::

    RUSTIC_AI_EXECUTION_ENGINE=guildhall.rustic.GuildhallExecutionEngine

Where agents run is said by the environment (``GUILDHALL_URL`` and others, see
:class:`guildhall.Settings`), by :func:`configure`, or by a subclass's ``settings``. Unless
told, they run in processes of this machine, supervised by this one.
"""

from __future__ import annotations

import logging
import threading
from importlib.util import find_spec
from typing import Any

from pydantic_core import to_json
from rustic_ai.core.guild.agent import Agent
from rustic_ai.core.guild.dsl import AgentSpec, GuildSpec
from rustic_ai.core.guild.execution.execution_engine import ExecutionEngine
from rustic_ai.core.messaging import Client, MessagingConfig, SimpleClient
from rustic_ai.core.utils.basic_class_utils import get_qualified_class_name

from ._guildhall import AgentInfo, Call, Connection
from .errors import AgentNotFoundError, GuildhallError, InvalidLaunchError, SettingsError
from .settings import RUNNER_MODULE, LaunchOptions, Settings, stock_runners

logger = logging.getLogger(__name__)

_configured: Settings | None = None


def configure(settings: Settings | None) -> None:
    """Set where the engines that are made from now on run agents; ``None``: as the
    environment says.
    """
    global _configured
    _configured = settings


class GuildhallExecutionEngine(ExecutionEngine):
    """Runs the agents of Rustic AI guilds on Guildhall.

    It may be used from several threads. Many engines, one for each guild, share one
    embedded fleet or one connection.
    """

    settings: Settings | None = None
    """Where this engine's agents run; ``None``: as :func:`configure` or the environment says.
    For subclasses."""

    def __init__(self, guild_id: str, organization_id: str, settings: Settings | None = None) -> None:
        super().__init__(guild_id=guild_id, organization_id=organization_id)
        self.settings = settings or self.settings or _configured or Settings()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._is_shut_down = False
        self._owned: set[tuple[str, str]] = set()
        # Specs as they were launched; a launch never changes its spec.
        self._specs: dict[tuple[str, str], tuple[str, AgentSpec[Any]]] = {}

    def run_agent(
        self,
        guild_spec: GuildSpec,
        agent_spec: AgentSpec[Any],
        messaging_config: MessagingConfig,
        machine_id: int,
        client_type: type[Client] = SimpleClient,
        client_properties: dict[str, Any] = {},  # noqa: B006 (the interface's, and never changed)
        default_topic: str = "default_topic",
    ) -> Agent[Any] | None:
        """Start the agent in a process of its own; returns when it processes messages.

        Returns ``None``: the agent is in another process.

        Raises:
            InvalidLaunchError: its spec cannot be used, or its class is the script's own.
            AlreadyRunningError: an agent of this id is live in the guild.
            NoHostError: no host takes it.
            AgentStartError: it did not become ready; the message says why.
            CallTimeoutError: it was not known in time whether it did.
        """
        spec = agent_spec if isinstance(agent_spec, AgentSpec) else agent_spec.get_spec()
        _check_class(spec)
        options = LaunchOptions(
            messaging=messaging_config.model_dump_json(),
            client_type=get_qualified_class_name(client_type),
            client_properties=to_json(client_properties).decode(),
            organization_id=self.organization_id or "",
            machine_id=machine_id,
            default_topic=default_topic,
        )
        guild_id = guild_spec.id
        call = self._connect().run_agent(
            guild_id, spec.model_dump_json(), guild_spec.model_dump_json(), options
        )
        agent = call.wait()
        with self._lock:
            self._owned.add((guild_id, spec.id))
            self._specs[guild_id, spec.id] = (agent.request_id, spec)
        return None

    def get_agents_in_guild(self, guild_id: str) -> dict[str, AgentSpec[Any]]:
        """The specs of the guild's agents that are running, by id, whoever started them."""
        return {spec.id: spec for spec in self._running(guild_id, None)}

    def find_agents_by_name(self, guild_id: str, agent_name: str) -> list[AgentSpec[Any]]:
        """The specs of the guild's agents that are running and have this name."""
        return self._running(guild_id, agent_name)

    def is_agent_running(self, guild_id: str, agent_id: str) -> bool:
        """Whether the agent's process is there and ready.

        An agent that has crashed is not running until its host has started it again.
        """
        if self._is_shut_down:
            return False
        return self._connect().is_agent_running(guild_id, agent_id).wait()

    def stop_agent(self, guild_id: str, agent_id: str) -> None:
        """Stop the agent, whoever started it; returns when its process is gone.

        There need not be such an agent.
        """
        if self._is_shut_down:
            logger.warning("Agent %s of guild %s is not stopped: the engine is shut down", agent_id, guild_id)
            return
        try:
            self._connect().stop_agent(guild_id, agent_id).wait()
        except AgentNotFoundError:
            logger.warning("There is no agent %s in guild %s to stop", agent_id, guild_id)
        with self._lock:
            self._owned.discard((guild_id, agent_id))
            self._specs.pop((guild_id, agent_id), None)

    def shutdown(self) -> None:
        """Stop the agents that this engine started, and let go of the fleet.

        An embedded fleet ends with its last engine, and leaves no thread. May be called
        again. An engine that is shut down knows of no agents; running one opens it anew.
        """
        with self._lock:
            connection, self._connection = self._connection, None
            self._is_shut_down = True
            owned, self._owned = sorted(self._owned), set()
            self._specs.clear()
        if connection is None:
            return
        try:
            _stop_all(connection, owned)
        finally:
            closing = connection.close()
            if closing is not None:
                closing.wait()
            connection.finish()

    def _connect(self) -> Connection:
        """The connection, made when it is first needed."""
        with self._lock:
            if self._connection is None:
                assert self.settings is not None
                _check_runner(self.settings)
                self._connection = Connection(self.settings)
                self._is_shut_down = False
            return self._connection

    def _running(self, guild_id: str, name: str | None) -> list[AgentSpec[Any]]:
        if self._is_shut_down:
            return []
        connection = self._connect()
        asked = (
            connection.get_agents_in_guild(guild_id)
            if name is None
            else connection.find_agents_by_name(guild_id, name)
        )
        running = [agent for agent in asked.wait() if agent.state == "running"]
        specs = {agent.agent_id: self._known_spec(agent) for agent in running}
        unknown = [agent for agent in running if specs[agent.agent_id] is None]
        if unknown:
            # Started by another engine: what they were launched with is kept with them.
            told = connection.launched_specs(unknown).wait()
            for agent, text in zip(unknown, told, strict=True):
                specs[agent.agent_id] = self._learn_spec(agent, text)
        return [spec for spec in specs.values() if spec is not None]

    def _known_spec(self, agent: AgentInfo) -> AgentSpec[Any] | None:
        with self._lock:
            request_id, spec = self._specs.get((agent.guild_id, agent.agent_id), (None, None))
        return spec if request_id == agent.request_id else None

    def _learn_spec(self, agent: AgentInfo, text: str | None) -> AgentSpec[Any] | None:
        if text is None:
            # It was stopped or started again since it was listed: it is not running.
            return None
        spec: AgentSpec[Any] = AgentSpec.model_validate_json(text)
        with self._lock:
            self._specs[agent.guild_id, agent.agent_id] = (agent.request_id, spec)
        return spec


def _stop_all(connection: Connection, agents: list[tuple[str, str]]) -> None:
    """Stop them all at once; what fails is logged, as other engines do."""
    calls: list[tuple[str, str, Call[AgentInfo]]] = [
        (guild_id, agent_id, connection.stop_agent(guild_id, agent_id)) for guild_id, agent_id in agents
    ]
    for guild_id, agent_id, call in calls:
        try:
            call.wait()
        except AgentNotFoundError:
            pass
        except GuildhallError as error:
            logger.error("Agent %s of guild %s was not stopped: %s", agent_id, guild_id, error)


def _check_runner(settings: Settings) -> None:
    needs_it = settings.is_embedded and settings.runners == stock_runners()
    if needs_it and find_spec(RUNNER_MODULE) is None:
        raise SettingsError(
            f"an embedded fleet runs agents by {RUNNER_MODULE}, which is not installed: "
            "pip install 'guildhall[rustic]', or give a runner table"
        )


def _check_class(spec: AgentSpec[Any]) -> None:
    if spec.class_name.startswith("__main__."):
        raise InvalidLaunchError(
            f"agent {spec.id}: its class {spec.class_name} is in the script that was started, which the "
            "process of an agent cannot import: move it to a module"
        )


__all__ = ["GuildhallExecutionEngine", "configure"]
