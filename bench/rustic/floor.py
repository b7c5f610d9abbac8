"""The least that an agent's start can cost: fork an interpreter that has imported the
framework, build the agent, connect, subscribe, tell it that it is ready. No host, no policy,
no registry, nobody who watches. Where its time goes is said as well.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import struct
import sys
import time
from typing import Any

from rustic_ai.core.guild.agent import AgentSpec
from rustic_ai.core.guild.builders import GuildHelper
from rustic_ai.core.guild.dsl import GuildSpec
from rustic_ai.core.guild.execution.utils import build_agent_from_spec, subscribe_agent_with_messaging
from rustic_ai.core.messaging import MessagingConfig, MessagingInterface

SPANS = ("fork", "read document", "specs", "connect", "build agent", "subscribe", "say ready")


def main() -> None:
    """`floor.py`: reads documents as lines; for `go N`, forks for the last N of them at once,
    and says how many seconds it took until all were subscribed, and the spans of the last."""
    lines: list[bytes] = []
    # What Redis' client and Rustic AI import when they are first used.
    import encodings.idna  # noqa: F401

    import rustic_ai.core.agents.testutils.echo_agent  # noqa: F401
    import rustic_ai.redis.messaging.backend  # noqa: F401

    gc.collect()
    gc.freeze()
    print("prepared", flush=True)
    for line in sys.stdin.buffer:
        if line.startswith(b"go "):
            print(json.dumps(_start(lines[-int(line.split()[1]) :])), flush=True)
        else:
            lines.append(line)


def _start(lines: list[bytes]) -> dict[str, Any]:
    ready, says = os.pipe()
    children = []
    began = time.perf_counter()
    for line in lines:
        forked = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            _be(line, forked, says)
        children.append(pid)
    size = 8 * len(SPANS)
    said = b""
    while len(said) < size * len(lines):
        said += os.read(ready, 65536)
    seconds = time.perf_counter() - began
    for pid in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    os.close(ready)
    os.close(says)
    spans = struct.unpack(f"{len(SPANS)}d", said[-size:])
    return {"seconds": seconds, "spans": dict(zip(SPANS, spans, strict=True))}


def _be(line: bytes, forked: float, says: int) -> None:
    marks = [forked, time.perf_counter()]
    document = json.loads(line)
    marks.append(time.perf_counter())
    guild_spec = GuildSpec.model_validate(document["guild_spec"])
    agent_spec = AgentSpec.model_validate(document["agent_spec"])
    messaging = MessagingConfig.model_validate(document["messaging"])
    marks.append(time.perf_counter())
    interface = MessagingInterface(guild_spec.id, messaging)
    marks.append(time.perf_counter())
    agent = build_agent_from_spec(
        agent_spec=agent_spec,
        guild_spec=guild_spec,
        dependencies={},
        client_class=GuildHelper.get_default_messaging_client(),
        client_props={},
        machine_id=1,
        organization_id="bench",
    )
    marks.append(time.perf_counter())
    subscribe_agent_with_messaging(agent, interface, "bench")
    marks.append(time.perf_counter())
    # As Rustic AI's own wrapper does; the agent sends its first heartbeat then.
    agent._notify_ready()
    marks.append(time.perf_counter())
    spans = [later - earlier for earlier, later in itertools.pairwise(marks)]
    os.write(says, struct.pack(f"{len(SPANS)}d", *spans))
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
