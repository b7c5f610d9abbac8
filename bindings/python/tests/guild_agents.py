"""Agents of the tests, imported by runners."""

import os

from rustic_ai.core.guild.agent import Agent, ProcessContext, processor
from rustic_ai.core.utils import JsonDict


class WhoAgent(Agent):
    """Says which process it is, on the default topic, wherever it is asked."""

    def __init__(self) -> None:
        self._route_to_default_topic = True

    @processor(JsonDict)
    def who(self, ctx: ProcessContext[JsonDict]) -> None:
        ctx.send_dict(
            {
                "agent": self.id,
                "guild": self.guild_id,
                "pid": os.getpid(),
                "epoch": int(os.environ["GUILDHALL_EPOCH"]),
            }
        )
