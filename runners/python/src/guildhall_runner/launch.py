"""Which launch this process is of: for agents that fence their own writes."""

from __future__ import annotations

import os
from dataclasses import dataclass

_VARIABLES = ("GUILDHALL_GUILD_ID", "GUILDHALL_AGENT_ID", "GUILDHALL_EPOCH", "GUILDHALL_HOST_ID")


@dataclass(frozen=True, slots=True)
class Launch:
    """The identity of an agent's process."""

    guild_id: str
    agent_id: str
    epoch: int
    """Grows with every start of the agent anywhere in the fleet. A store that refuses a
    write with a lower epoch than it has seen is safe from a process that should be gone."""
    host_id: str


def current() -> Launch:
    """The launch that this process is of.

    Raises:
        LookupError: when it is of none, as outside of an agent's process.
    """
    try:
        guild_id, agent_id, epoch, host_id = (os.environ[name] for name in _VARIABLES)
    except KeyError as missing:
        raise LookupError(f"this process is no agent's: {missing} is not set") from None
    return Launch(guild_id, agent_id, int(epoch), host_id)


def set_current(launch: Launch) -> None:
    """Says whose this process is from now on, to it and to what it starts."""
    values = (launch.guild_id, launch.agent_id, str(launch.epoch), launch.host_id)
    os.environ.update(zip(_VARIABLES, values, strict=True))
