"""Guilds of real agents, message in and message out, embedded and on three hosts.

They need the stock runner, `guildhall_runner`.
"""

import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_until
from rustic_ai.core.agents.testutils.probe_agent import ProbeAgent
from rustic_ai.core.guild.builders import AgentBuilder, GuildBuilder
from rustic_ai.core.guild.dsl import GuildSpec
from rustic_ai.core.guild.execution.sync.sync_exec_engine import SyncExecutionEngine
from rustic_ai.core.guild.guild import Guild

from guildhall.rustic import GuildhallExecutionEngine

pytest.importorskip("guildhall_runner", reason="the stock runner is not installed")

SPECS = Path(__file__).parents[3] / "examples" / "specs"
ENGINE = GuildhallExecutionEngine.get_qualified_class_name()
ECHO = "rustic_ai.core.agents.testutils.echo_agent.EchoAgent"


@pytest.fixture(params=["rustic_settings", "three_hosts"])
def anywhere(request):
    request.getfixturevalue(request.param)


Launch = Callable[..., tuple[Guild, ProbeAgent]]


@pytest.fixture
def launch(anywhere, redis_port):
    """Launches a guild by Rustic AI's own means, under an id of its own, with a probe in it."""
    guilds = []

    def launch(spec: GuildSpec, *topics: str) -> tuple[Guild, ProbeAgent]:
        spec.id = f"{spec.id}-{uuid.uuid4().hex[:8]}"
        backend = {"redis_client": {"host": "127.0.0.1", "port": redis_port}}
        builder = GuildBuilder.from_spec(spec).set_execution_engine(ENGINE)
        builder.set_messaging("rustic_ai.redis.messaging.backend", "RedisMessagingBackend", backend)
        guild = builder.launch("org")
        guilds.append(guild)
        probe = AgentBuilder(ProbeAgent).set_id("probe").set_name("Probe").set_description("A probe.")
        for topic in topics:
            probe.add_additional_topic(topic)
        local = SyncExecutionEngine(guild_id=guild.id, organization_id="org")
        return guild, guild._add_local_agent(probe.build_spec(), local)

    yield launch
    for guild in guilds:
        guild.shutdown()


def of_file(name: str) -> GuildSpec:
    path = str(SPECS / name)
    builder = (
        GuildBuilder.from_yaml_file(path) if name.endswith("yaml") else GuildBuilder.from_json_file(path)
    )
    return builder.build_spec()


def of(class_name: str, agents: int = 1, guild_id: str = "guild", **more: object) -> GuildSpec:
    common = {"description": "A test's agent.", "class_name": class_name, **more}
    specs = [{"id": f"a{n}", "name": f"A{n}", **common} for n in range(agents)]
    return GuildSpec.model_validate(
        {"id": guild_id, "name": "Guild", "description": "A test's guild.", "agents": specs}
    )


def ask(probe: ProbeAgent, payload: dict, topic: str = "default_topic", **more) -> int:
    return probe.publish_dict_with_guild_route(topic, payload, **more).to_int()


def payloads(probe: ProbeAgent) -> list[dict]:
    return [message.payload for message in probe.received_messages]


def test_point_to_point(launch: Launch):
    guild, probe = launch(of_file("001_point_to_point.yaml"), "topic_2")
    ask(probe, {"message": "Hello"})
    wait_until(lambda: payloads(probe), "the second agent has passed it on")
    assert [(m.sender.id, m.payload) for m in probe.received_messages] == [("agent2", {"message": "Hello"})]
    assert sorted(guild._get_execution_engine().get_agents_in_guild(guild.id)) == ["agent1", "agent2"]


def test_a_filter_lets_through_what_its_expression_says(launch: Launch):
    _, probe = launch(of_file("004_message_filter.yaml"), "accepted")
    for number, passes in enumerate([True, False, True]):
        ask(probe, {"filter": passes, "number": number})
    wait_until(lambda: len(payloads(probe)) >= 2, "two are let through")
    assert [payload["number"] for payload in payloads(probe)] == [0, 2]


@pytest.mark.parametrize("name", ["test_guild.yaml", "test_guild.json"])
def test_a_guild_of_their_tests_runs(launch: Launch, name: str):
    spec = of_file(name)
    guild, _ = launch(spec)
    running = guild._get_execution_engine().get_agents_in_guild(guild.id)
    assert sorted(running) == sorted(agent.id for agent in spec.agents)


def test_an_agent_that_is_killed_answers_the_next_message(launch: Launch):
    guild, probe = launch(of("guild_agents.WhoAgent"))
    ask(probe, {"n": 1})
    wait_until(lambda: len(payloads(probe)) == 1, "the first answer")
    first = payloads(probe)[0]
    os.kill(first["pid"], signal.SIGKILL)
    ask(probe, {"n": 2})
    wait_until(lambda: len(payloads(probe)) == 2, "the second answer")
    second = payloads(probe)[1]
    assert second["pid"] != first["pid"]
    assert second["epoch"] > first["epoch"]
    engine = guild._get_execution_engine()
    wait_until(lambda: engine.is_agent_running(guild.id, "a0"), "it is running again")


def test_two_guilds_have_the_same_agent_ids(launch: Launch):
    both = [launch(of("guild_agents.WhoAgent", guild_id=name)) for name in ("one", "two")]
    for guild, probe in both:
        ask(probe, {"n": 1})
        wait_until(lambda probe=probe: payloads(probe), "an answer")
        assert [payload["guild"] for payload in payloads(probe)] == [guild.id]
    assert len({payloads(probe)[0]["pid"] for _, probe in both}) == 2
    first, second = (guild for guild, _ in both)
    first.remove_agent("a0")
    assert second._get_execution_engine().is_agent_running(second.id, "a0")


def test_a_guild_of_a_hundred_agents_answers_and_ends(launch: Launch):
    # Each is asked by its inbox alone, or a hundred answers would be questions to all others.
    guild, probe = launch(of("guild_agents.WhoAgent", agents=100, listen_to_default_topic=False))
    for number in range(100):
        ask(probe, {"n": number}, topic=f"agent_inbox:a{number}")
    wait_until(lambda: len(payloads(probe)) >= 100, "all answer", within=120)
    assert sorted(payload["agent"] for payload in payloads(probe)) == sorted(f"a{n}" for n in range(100))
    pids = {payload["pid"] for payload in payloads(probe)}
    assert len(pids) == 100
    guild.shutdown()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "no process is left")
