"""The stock runner, which also writes down when each step of a start was done: a line of JSON
for each start in the file `TRACE_FILE`, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from typing import Any

from guildhall_runner import agent, cli, notify

_marks: dict[str, float] = {}


def main() -> None:
    """The runner, traced."""
    cli.parse = _marked("delivered", cli.parse)
    agent.RunningAgent.__init__ = _marked("specs", agent.RunningAgent.__init__)  # type: ignore[method-assign]
    agent._connect = _marked("connect", agent._connect)
    agent.build_agent_from_spec = _marked("build agent", agent.build_agent_from_spec)
    agent.subscribe_agent_with_messaging = _marked("subscribe", agent.subscribe_agent_with_messaging)
    send = notify.Notifier.send_surely

    def send_surely(notifier: notify.Notifier, *lines: str) -> None:
        if "READY=1" in lines:
            _marks["say ready"] = time.monotonic()
        send(notifier, *lines)
        if "READY=1" in lines:
            _write()

    notify.Notifier.send_surely = send_surely  # type: ignore[method-assign]
    cli.main()


def _marked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def marked(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        _marks[name] = time.monotonic()
        return result

    return marked


def _write() -> None:
    line = json.dumps({"guild": os.environ["GUILDHALL_GUILD_ID"], "marks": _marks}) + "\n"
    trace = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(trace, line.encode())
    os.close(trace)


if __name__ == "__main__":
    main()
