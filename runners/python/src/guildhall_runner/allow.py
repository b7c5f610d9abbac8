"""Which classes a launch may name.

Rustic AI imports what a spec names. To import a module is to run its code, so only names
that match a pattern of the operator's are imported. These are all the places where Rustic
AI 1.4 turns text into an import, and how each is checked:

- `get_class_from_name`, by which it finds agents (the guild's others too), dependencies'
  resolvers, clients and the stores they track messages in, state managers, engines of
  guilds that an agent launches, plugins of a knowledge base, and models to extract from
  texts: replaced by one that checks first.
- `path_to_cls` of `ModelClass`, the parameters of a tool: its import checks first.
- `MessagingConfig.get_storage` and `validate_config`, the messaging backend: replaced by
  ones that check first.

What an allowed class imports by itself is its own affair: one whose work is to run code
that it is sent does so. Nothing is unpickled by this package.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

DEFAULT = ("rustic_ai.*",)


class NotAllowedError(ImportError):
    """A name that no pattern allows.

    An import error, for that is what it is to Rustic AI: it holds the properties of a peer
    whose class cannot be imported here without looking into them.
    """

    def __init__(self, name: str, patterns: Sequence[str]) -> None:
        super().__init__(f"{name} is not allowed; there are: {', '.join(patterns)}")


class AllowList:
    """Patterns of full class names, in which `*` stands for any run of characters."""

    def __init__(self, patterns: Sequence[str] = DEFAULT) -> None:
        self.patterns = tuple(patterns)
        either = "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in self.patterns)
        self._allowed = re.compile(either, re.DOTALL)

    def check(self, name: str) -> None:
        """Raises:
        NotAllowedError: when no pattern matches the whole name.
        """
        if self._allowed.fullmatch(name) is None:
            raise NotAllowedError(name, self.patterns)

    def guard(self) -> None:
        """Has Rustic AI import by name only what is allowed, from now on."""
        self._guard_classes()
        self._guard_models()
        self._guard_backends()

    def _guard_classes(self) -> None:
        from rustic_ai.core.utils import basic_class_utils

        original = _unguarded(basic_class_utils.get_class_from_name)

        def get_class_from_name(full_class_name: str) -> type:
            self.check(full_class_name)
            found: type = original(full_class_name)
            return found

        get_class_from_name.__wrapped__ = original  # type: ignore[attr-defined]
        unguarded = {id(original), id(basic_class_utils.get_class_from_name)}
        # Modules that are there have the function by its name; those to come will find it.
        for module in list(sys.modules.values()):
            names: dict[str, Any] = getattr(module, "__dict__", {})
            if id(names.get("get_class_from_name")) in unguarded:
                names["get_class_from_name"] = get_class_from_name

    def _guard_models(self) -> None:
        from rustic_ai.core.utils import model_class

        # Pydantic has the function itself already, so it is what the function calls that
        # is changed.
        model_class.importlib = SimpleNamespace(import_module=lambda name: _Unopened(name, self))

    def _guard_backends(self) -> None:
        from rustic_ai.core.messaging import MessagingConfig

        for name in ("get_storage", "validate_config"):
            setattr(MessagingConfig, name, self._checked_backend(_unguarded(getattr(MessagingConfig, name))))

    def _checked_backend(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def checked(config: Any) -> Any:
            self.check(f"{config.backend_module}.{config.backend_class}")
            return original(config)

        checked.__wrapped__ = original  # type: ignore[attr-defined]
        return checked


class _Unopened:
    """A module that is imported when something allowed is asked of it."""

    def __init__(self, name: str, allow: AllowList) -> None:
        self._name = name
        self._allow = allow

    def __getattr__(self, name: str) -> Any:
        self._allow.check(f"{self._name}.{name}")
        return getattr(importlib.import_module(self._name), name)


def _unguarded(function: Callable[..., Any]) -> Callable[..., Any]:
    original: Callable[..., Any] = getattr(function, "__wrapped__", function)
    return original
