"""Agents that misbehave, for the tests. Imported by runners, never by the tests."""

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from rustic_ai.core.guild.agent import Agent, ProcessContext, processor
from rustic_ai.core.guild.agent_ext.depends.dependency_resolver import DependencyResolver
from rustic_ai.core.guild.agent_ext.depends.llm.tools_manager import ToolSpec
from rustic_ai.core.guild.dsl import BaseAgentProps
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
    """Says a random number, and the variables that it has."""

    @processor(JsonDict)
    def answer(self, ctx: ProcessContext[JsonDict]) -> None:
        ctx.send_dict({"random": random.random(), "environ": dict(os.environ)})


class Quitter(Agent):
    """Ends the thread that its messages are handled in."""

    @processor(JsonDict)
    def quit(self, ctx: ProcessContext[JsonDict]) -> None:
        print("about to quit")
        sys.exit(ctx.payload["code"])


class Broken(Agent):
    """Fails as it is made."""

    def __init__(self) -> None:
        raise RuntimeError("no model")


class Patient(Agent):
    """Is made when somebody allows it."""

    def __init__(self) -> None:
        mark = Path(os.environ["MARK"])
        (mark / "making").touch()
        while not (mark / "made").exists():
            time.sleep(0.01)


class ToolProps(BaseAgentProps):
    """A class that properties name."""

    tool: ToolSpec


class Tooled(Agent[ToolProps]):
    """Has a tool."""


class Resolver(DependencyResolver[Any]):
    """Resolves to nothing."""

    def resolve(self, org_id: str, guild_id: str, agent_id: str) -> Any:
        return None
