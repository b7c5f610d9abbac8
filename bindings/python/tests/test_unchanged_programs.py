"""A program that knows nothing of Guildhall runs agents: `rusticai-forge`'s own runner, by the
entry that the project's page has for it."""

import json
import re
import sys
import uuid
from pathlib import Path

import pytest
from conftest import wait_until
from rustic_ai.core.agents.testutils.echo_agent import EchoAgent
from rustic_ai.core.agents.testutils.probe_agent import ProbeAgent
from rustic_ai.core.guild.builders import AgentBuilder, GuildBuilder
from rustic_ai.core.guild.execution.sync.sync_exec_engine import SyncExecutionEngine

import guildhall
from guildhall import rustic
from guildhall.rustic import GuildhallExecutionEngine

pytest.importorskip("rustic_ai.forge", reason="rusticai-forge is not installed")

PAGE = Path(__file__).parents[3] / "docs" / "runners.md"


def documented_entry() -> str:
    tables = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [table] = [table for table in tables if "rustic_ai.forge" in table]
    entry = table[table.index("[runner.forge]") :]
    assert 'command = "python3"' in entry
    return entry.replace('"python3"', json.dumps(sys.executable))


def test_forges_runner_runs_an_agent_that_answers(redis_port: int):
    rustic.configure(guildhall.Settings(url=None, runners=documented_entry()))
    builder = GuildBuilder(f"forge-{uuid.uuid4().hex[:8]}", "Guild", "A guild of tests.")
    builder.set_execution_engine(GuildhallExecutionEngine.get_qualified_class_name())
    backend = {"redis_client": {"host": "127.0.0.1", "port": redis_port}}
    builder.set_messaging("rustic_ai.redis.messaging.backend", "RedisMessagingBackend", backend)
    echo = AgentBuilder(EchoAgent)
    builder.add_agent_spec(echo.set_id("echo").set_name("Echo").set_description("Echoes.").build_spec())
    guild = builder.launch("org")
    try:
        probe_spec = AgentBuilder(ProbeAgent).set_id("probe").set_name("Probe").set_description("A probe.")
        local = SyncExecutionEngine(guild_id=guild.id, organization_id="org")
        probe: ProbeAgent = guild._add_local_agent(probe_spec.build_spec(), local)
        # `launch` has returned, so it listens.
        probe.publish_dict_with_guild_route("default_topic", {"message": "Hello"})
        wait_until(lambda: probe.received_messages, "an answer")
        answer = probe.received_messages[0]
        assert (answer.sender.id, answer.payload) == ("echo", {"message": "Hello"})
    finally:
        guild.shutdown()
        rustic.configure(None)
