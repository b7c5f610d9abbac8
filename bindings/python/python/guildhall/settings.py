"""Where agents run, and how they are placed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import SettingsError

RUNNER_MODULE = "guildhall_runner"
"""The package that makes Rustic AI agents of launch documents."""


def stock_runners(*, allow: str = "*", start: str = "fork", warm: int = 2, warm_max: int | None = 8) -> str:
    """The runner table of an embedded fleet, unless another is given.

    Every class is run by the stock runner, in this interpreter and with this program's
    import paths. ``allow`` is the pattern of the classes that it may import: all of them,
    since it is the program itself that names them. ``start`` is ``fork``, by which agents are
    forks of one process that has imported the framework, or ``spawn``, for classes whose
    libraries start threads when they are imported. ``warm`` to ``warm_max`` processes wait
    ahead of need.
    """
    # JSON's strings are TOML's; a path may hold anything, but for a template's braces.
    paths = [path or os.getcwd() for path in sys.path]
    environment = {"PYTHONPATH": os.pathsep.join(path for path in paths if "{{" not in path)}
    entry: dict[str, object] = {
        "command": sys.executable,
        "args": ["-m", RUNNER_MODULE, "--allow", allow],
        "class_name": "*",
    }
    if start != "spawn":
        entry["start"] = start
    if warm:
        entry["warm"] = warm
    if warm_max is not None:
        entry["warm_max"] = max(warm, warm_max)
    lines = [f"{key} = {_toml(value)}" for key, value in entry.items()]
    variables = ", ".join(f"{name} = {_toml(value)}" for name, value in environment.items())
    return "\n".join(["[runner.rustic]", *lines, f"env = {{ {variables} }}", ""])


def _toml(value: object) -> str:
    """A value in TOML, whose texts, numbers and lists are JSON's."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _from_environment(name: str) -> str | None:
    return os.environ.get(name) or None


def _number(name: str, default: int) -> int:
    text = _from_environment(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}, which is not a whole number") from None


def _runners() -> str | None:
    path = _from_environment("GUILDHALL_RUNNERS")
    return None if path is None else _read(Path(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"the runner table {path} cannot be read: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where agents run, and how they are placed.

    What is not given is taken from the environment, where it says so, and else has the
    default. Engines with equal settings share connections and, when it is embedded, the
    fleet.
    """

    url: str | None = field(default_factory=lambda: _from_environment("GUILDHALL_URL"))
    """Where the fleet is (``GUILDHALL_URL``).

    ``None``: in this process. ``redis://…`` and its kin: registered in that Redis.
    ``kubernetes://NAMESPACE/SERVICE``: the pods behind that Service.
    ``http://HOST:PORT,…``: at these addresses, without a registry.
    """
    hosts: int = field(default_factory=lambda: _number("GUILDHALL_HOSTS", 1))
    """Hosts of an embedded fleet (``GUILDHALL_HOSTS``): 1."""
    capacity: int = field(default_factory=lambda: _number("GUILDHALL_CAPACITY", 1000))
    """Agents that each of them takes at most (``GUILDHALL_CAPACITY``): 1000."""
    runners: str | Path | None = field(default_factory=_runners)
    """The runner table of an embedded fleet: TOML, or the path of a file
    (``GUILDHALL_RUNNERS``, a path). ``None``: :func:`stock_runners`."""
    policy: str | Path | None = field(default_factory=lambda: _from_environment("GUILDHALL_POLICY"))
    """The policy that places agents (``GUILDHALL_POLICY``): the name of one that comes with
    Guildhall, or the path of a component. ``None``: the fleet's, or ``round-robin``."""
    policy_settings: dict[str, Any] | str | None = None
    """The settings of the policy: an object, or its JSON."""
    redis_prefix: str | None = None
    """What the names of keys in Redis begin with: ``guildhall``."""
    tls: tuple[str | Path, str | Path, str | Path] | None = None
    """Files in PEM to speak to hosts with: certificate, key, authorities. ``None``: in
    plain text."""
    connect_within: float = 30.0
    """How long to try to reach the registry, or hosts, at first: seconds."""

    def __post_init__(self) -> None:
        # Frozen, and made of what can be compared and hashed.
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        if isinstance(self.runners, Path):
            put("runners", _read(self.runners))
        elif self.runners is None:
            put("runners", stock_runners())
        if isinstance(self.policy, Path):
            put("policy", str(self.policy))
        if isinstance(self.policy_settings, dict):
            put("policy_settings", json.dumps(self.policy_settings, sort_keys=True))
        if not 0 <= self.connect_within < 1e9:
            raise SettingsError(f"connect_within is {self.connect_within}, which is no time to wait")

    @property
    def is_embedded(self) -> bool:
        """Whether the fleet is in this process."""
        return not self.url or self.url.startswith("embedded:")

    @property
    def _connect_within_ms(self) -> int:
        return int(self.connect_within * 1000)


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """What an app says about a launch, beside the specs."""

    messaging: str | None = None
    """How agents reach their guild's messages, in JSON. ``None``: as the guild spec says."""
    client_type: str | None = None
    """The class of the messaging client. ``None``: as the guild spec says."""
    client_properties: str | None = None
    """Settings of the messaging client, in JSON. ``None``: as the guild spec says."""
    organization_id: str = ""
    """The organization that the guild belongs to."""
    machine_id: int = 0
    """The machine id that message ids are made with."""
    default_topic: str = ""
    """The topic that agents listen to by default."""
    runner: str | None = None
    """A runner of the host's table by name. ``None``: the class name decides."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels that the policy may look at."""
    all_or_nothing: bool = False
    """Of a guild, whether no agent runs unless the policy finds hosts for all."""
