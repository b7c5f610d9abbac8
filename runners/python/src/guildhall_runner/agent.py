"""The agent: built, connected and ended by Rustic AI's own means.

It does what Rustic AI's `AgentWrapper.initialize_agent` does, by the same functions and in
the same order. What differs: each step's failure names the field that it is about, nothing
of the messaging's configuration is logged, and each message's handling is looked at.
"""

from __future__ import annotations

from pydantic import ValidationError
from rustic_ai.core.guild.agent import Agent, AgentSpec
from rustic_ai.core.guild.builders import GuildHelper
from rustic_ai.core.guild.dsl import GuildSpec
from rustic_ai.core.guild.execution.utils import build_agent_from_spec, subscribe_agent_with_messaging
from rustic_ai.core.messaging import MessagingConfig, MessagingInterface
from rustic_ai.core.utils.class_utils import get_agent_class, get_client_class

from guildhall_runner.allow import AllowList
from guildhall_runner.document import Document
from guildhall_runner.failure import LaunchError, chain, concerns, not_allowed, reason
from guildhall_runner.handling import Handling

_WRAPPED = "Error initializing storage backend"

_LOOKS_EVERY = 0.25
"""Seconds for which Rustic AI's Redis backend waits for messages at a time. It wakes when one
comes; at its own 0.01 a quarter of a thousand agents keep two CPUs busy with nothing."""


class UnreachableError(Exception):
    """A messaging that cannot be connected to. It may be there the next time."""


class RunningAgent:
    """An agent, which is connected and would handle a message once it is started."""

    def __init__(self, document: Document, allow: AllowList, handling: Handling) -> None:
        """Reads the specs and imports what they name. Nothing is connected yet.

        Raises:
            LaunchError: when the document cannot be launched here.
        """
        self._document = document
        self._handling = handling
        self._messaging: MessagingInterface | None = None
        with concerns("agent_spec.class_name"):
            allow.check(document.agent_spec["class_name"])
        with concerns("guild_spec"):
            self._guild_spec = GuildSpec.model_validate(document.guild_spec)
        with concerns("agent_spec"):
            self._agent_spec = AgentSpec.model_validate(
                document.agent_spec, context={"require_agent_class": True}
            )
        with concerns("messaging"):
            self._config = (
                MessagingConfig.model_validate(document.messaging)
                if document.messaging
                else GuildHelper.get_messaging_config(self._guild_spec)
            )
            allow.check(f"{self._config.backend_module}.{self._config.backend_class}")
            _let_rest(self._config)
        with concerns("client_type"):
            if document.client_type:
                self._client_class = get_client_class(document.client_type)
            else:
                self._client_class = GuildHelper.get_messaging_client(self._guild_spec)
        self._client_properties = document.client_properties
        if not document.client_type and not document.client_properties:
            with concerns("client_properties"):
                self._client_properties = GuildHelper.get_messaging_client_properties(self._guild_spec)
        self._dependencies = self._guild_spec.dependency_map | self._agent_spec.dependency_map
        with concerns("dependency_map"):
            agent_class = get_agent_class(self._agent_spec.class_name)
            needed = {dependency.dependency_key for dependency in agent_class.list_all_dependencies()}
            for name in needed.union(self._agent_spec.additional_dependencies):
                if name not in self._dependencies:
                    raise ValueError(f"there is no {name}, which the agent needs")
                allow.check(self._dependencies[name].class_name)

    def start(self) -> None:
        """Builds and connects it.

        Raises:
            LaunchError: when what the document says proves to be wrong.
            UnreachableError: when there is no messaging.
            Exception: the agent's own.
        """
        document = self._document
        messaging = self._messaging = _connect(self._guild_spec, self._config)
        # Rustic AI's Redis backend, when it gives up, sends its own process SIGTERM for
        # somebody to start it again. Ended by a SIGTERM is ended as told, and stays so.
        set_failure_callback = getattr(messaging.backend, "set_failure_callback", None)
        if set_failure_callback is not None:
            set_failure_callback(self._handling.fail)
        try:
            agent: Agent = build_agent_from_spec(
                agent_spec=self._agent_spec,
                guild_spec=self._guild_spec,
                dependencies=self._dependencies,
                client_class=self._client_class,
                client_props=dict(self._client_properties),
                machine_id=document.machine_id,
                organization_id=document.organization_id,
            )
        except Exception as error:
            if refusal := not_allowed(error):
                raise LaunchError("agent_spec or client_properties", str(refusal)) from error
            raise
        client = agent._get_client()
        client._message_handler = self._handling.watch(client._message_handler)
        # The Redis backend asks for what came before right after it subscribed, and has its
        # answer when this returns: so Redis has the subscription as well.
        try:
            subscribe_agent_with_messaging(agent, messaging, document.organization_id)
        except Exception as error:
            raise UnreachableError(f"messaging: {reason(error)}") from error
        agent._notify_ready()

    def end(self) -> None:
        """Finishes the message in hand, if there is one."""
        if self._handling.end() and self._messaging is not None:
            # Waits for the backend's threads, which note what was handled. One that has been
            # idle has nothing to note, and its connections end with the process.
            self._messaging.shutdown()


def _let_rest(config: MessagingConfig) -> None:
    redis = config.backend_config.get("redis_client")
    if config.backend_class == "RedisMessagingBackend" and isinstance(redis, dict):
        redis.setdefault("pubsub_poll_sleep_time", _LOOKS_EVERY)


def _connect(guild_spec: GuildSpec, config: MessagingConfig) -> MessagingInterface:
    try:
        return MessagingInterface(guild_spec.id, config)
    except Exception as error:
        # Rustic AI makes a ValueError of any, twice.
        first = next(one for one in chain(error) if not str(one).startswith(_WRAPPED))
        if isinstance(first, ValidationError | ImportError | AttributeError | TypeError | LookupError):
            raise LaunchError("messaging", reason(first)) from error
        raise UnreachableError(f"messaging: {reason(first)}") from error
