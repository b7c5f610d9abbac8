"""Agents that misbehave, for the tests. Imported by runners, never by the tests."""

import os
import random
import time

from rustic_ai.core.guild.agent import Agent, ProcessContext, processor
from rustic_ai.core.utils import JsonDict

from guildhall_runner import current


class Slow(Agent):
    """Answers after a while, and says who it is."""

    @processor(JsonDict)
    def answer(self, ctx: ProcessContext[JsonDict]) -> None:
        if marker := ctx.payload.get("begun"):
            open(marker, "w").close()
        until = time.monotonic() + float(ctx.payload.get("seconds", 0))
        while time.monotonic() < until and not os.path.exists(ctx.payload.get("until", "/")):
            time.sleep(0.01)
        launch = current()
        ctx.send_dict({"guild": launch.guild_id, "epoch": launch.epoch, "pid": os.getpid()})


class Random(Agent):
    """Says a random number, and a variable that each fork was given another value of."""

    @processor(JsonDict)
    def answer(self, ctx: ProcessContext[JsonDict]) -> None:
        ctx.send_dict({"random": random.random(), "whose": os.environ["WHOSE"]})
