"""Rustic AI's own integration tests of execution engines, over its Redis backend."""

import uuid

import pytest
from rustic_ai.core.messaging import MessagingConfig
from rustic_ai.testing.execution.base_test_integration import IntegrationTestABC

from guildhall.rustic import GuildhallExecutionEngine


@pytest.mark.usefixtures("rustic_settings")
class TestGuildhallOverRedis(IntegrationTestABC):
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
        return GuildhallExecutionEngine.get_qualified_class_name()
