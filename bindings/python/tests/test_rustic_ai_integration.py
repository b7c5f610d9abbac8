"""Rustic AI's own integration tests of execution engines, over its Redis backend."""

import uuid
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from conftest import wait_until
from rustic_ai.core.guild.builders import AgentBuilder, GuildBuilder, GuildHelper
from rustic_ai.core.guild.dsl import AgentSpec
from rustic_ai.core.guild.metastore.database import Metastore
from rustic_ai.core.messaging import MessagingConfig
from rustic_ai.testing.execution.base_test_integration import IntegrationTestABC
from rustic_ai.testing.execution.integration_agents import ResponderProbeAgent

from guildhall.rustic import GuildhallExecutionEngine

ENGINE = GuildhallExecutionEngine.get_qualified_class_name()


class OverRedis(IntegrationTestABC):
    @pytest.fixture
    def org_id(self) -> str:
        return f"org-{uuid.uuid4().hex}"

    @pytest.fixture
    def messaging(self, guild_id, redis_port) -> MessagingConfig:
        return MessagingConfig(
            backend_module="rustic_ai.redis.messaging.backend",
            backend_class="RedisMessagingBackend",
            backend_config={"redis_client": {"host": "127.0.0.1", "port": redis_port}},
        )

    @pytest.fixture
    def execution_engine(self) -> str:
        return ENGINE


@pytest.mark.usefixtures("rustic_settings")
class TestGuildhallEmbedded(OverRedis):
    """On a fleet within the test."""


@pytest.mark.usefixtures("three_hosts")
class TestGuildhallOnThreeHosts(OverRedis):
    """The same on `agent-host` processes, as a fleet has them."""


class TestMultiprocess(OverRedis):
    """Their own engine, in the same job: what fails here as well is not ours."""

    @pytest.fixture
    def execution_engine(self) -> str:
        return (
            "rustic_ai.core.guild.execution.multiprocess.multiprocess_exec_engine.MultiProcessExecutionEngine"
        )


@pytest.mark.skipif(find_spec("rustic_ai.ray") is None, reason="rusticai-ray is not installed")
class TestRay(OverRedis):
    """Ray, as above, where it is installed."""

    @pytest.fixture(autouse=True)
    def cluster(self) -> Iterator[None]:
        import ray

        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()

    @pytest.fixture
    def wait_time(self) -> float:
        """The test waits ten times this for agents to come up, which `run_agent` does not
        wait for with Ray."""
        return 0.6

    @pytest.fixture
    def execution_engine(self) -> str:
        return "rustic_ai.ray.execution.ray_exec_engine.RayExecutionEngine"


@pytest.mark.usefixtures("rustic_settings")
def test_the_guild_manager_starts_agents_beside_itself(redis_port, tmp_path):
    """Rustic AI's guild manager is an agent that starts a guild's agents: with the engine of
    the guild, and so on the fleet that it runs on itself.
    """
    guild_id = f"guild-{uuid.uuid4().hex}"
    builder = (
        GuildBuilder(guild_id, "Managed", "A guild with a manager.")
        .set_execution_engine(ENGINE)
        .set_messaging(
            "rustic_ai.redis.messaging.backend",
            "RedisMessagingBackend",
            {"redis_client": {"host": "127.0.0.1", "port": redis_port}},
        )
        .add_agent_spec(probe("responder"))
        .add_agent_spec(probe("second"))
    )
    database = f"sqlite:///{tmp_path}/metastore.db"
    Metastore.initialize_engine(database)
    Metastore.create_db()
    guild = builder.bootstrap(database, "org")
    try:
        manager = GuildHelper.get_manager_agent_id(guild_id)
        expected = sorted([manager, "responder", "second"])
        wait_until(
            lambda: sorted(spec.id for spec in guild.list_all_running_agents()) == expected,
            "the manager has started the agents",
        )
        engine = GuildhallExecutionEngine(guild_id, "org")
        assert engine.find_agents_by_name(guild_id, "Second") == [probe("second")]
        engine.shutdown()
    finally:
        guild.shutdown()


def probe(agent_id: str) -> AgentSpec:
    builder = AgentBuilder(ResponderProbeAgent).set_id(agent_id).set_name(agent_id.title())
    return builder.set_description("A test's agent.").build_spec()
