"""The launch document: one line of JSON that says which agent to become."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from guildhall_runner.launch import Launch

VERSION = 1

MAX_BYTES = 4 * 1024 * 1024 + 64 * 1024
"""A launch has at most 4 MiB of JSON; the rest is what the host adds."""


class DocumentError(ValueError):
    """A launch document that cannot be used. Names the field, and never shows its value,
    which may hold a secret."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a launch says. Specs are as the user wrote them."""

    launch: Launch
    organization_id: str
    machine_id: int
    agent_spec: dict[str, Any]
    guild_spec: dict[str, Any]
    messaging: dict[str, Any]
    """Empty when the guild spec says it, or Rustic AI's default is meant."""
    client_type: str
    """Empty as `messaging`."""
    client_properties: dict[str, Any]
    default_topic: str
    """Rustic AI's engines take it and make nothing of it: an agent's topics are its spec's."""


def parse(line: bytes) -> Document:
    """Reads a document. Fields that it does not know are none of its business.

    Raises:
        DocumentError: says which field is missing or wrong.
    """
    if len(line) > MAX_BYTES:
        raise DocumentError(f"the launch document is longer than {MAX_BYTES} bytes")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        where = f" at byte {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise DocumentError(f"the launch document is not JSON{where}") from None
    if not isinstance(fields, dict):
        raise DocumentError("the launch document is not a JSON object")
    version = _field(fields, "version", int)
    if version != VERSION:
        raise DocumentError(f"version: {version} is not known, only {VERSION}")
    launch = Launch(
        guild_id=_field(fields, "guild_id", str),
        agent_id=_field(fields, "agent_id", str),
        epoch=_field(fields, "epoch", int),
        host_id=_field(fields, "host_id", str),
    )
    agent_spec = _field(fields, "agent_spec", dict)
    guild_spec = _field(fields, "guild_spec", dict)
    _field(agent_spec, "class_name", str, within="agent_spec.")
    # Rustic AI addresses an agent by what the specs say, and would make up what they do not.
    for name, spec, known in (
        ("agent_spec.id is not agent_id", agent_spec, launch.agent_id),
        ("guild_spec.id is not guild_id", guild_spec, launch.guild_id),
    ):
        if spec.setdefault("id", known) != known:
            raise DocumentError(name)
    return Document(
        launch=launch,
        organization_id=_field(fields, "organization_id", str),
        machine_id=_field(fields, "machine_id", int),
        agent_spec=agent_spec,
        guild_spec=guild_spec,
        messaging=_field(fields, "messaging", dict),
        client_type=_field(fields, "client_type", str),
        client_properties=_field(fields, "client_properties", dict),
        default_topic=_field(fields, "default_topic", str),
    )


def _field[T](fields: dict[str, Any], name: str, kind: type[T], within: str = "") -> T:
    if name not in fields:
        raise DocumentError(f"{within}{name} is missing")
    value = fields[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DocumentError(f"{within}{name} is not {_NAMES[kind]}")
    return value


_NAMES: dict[type, str] = {int: "a whole number", str: "a text", dict: "an object"}
