"""Which classes a launch may name.

Rustic AI imports what a spec names: the agent's class, its dependencies' resolvers, the
messaging backend, the client, tools in properties. To import a module is to run its code,
so only names that match a pattern of the operator's are imported.

The check stands before Rustic AI's own function that turns a name into a class, which it
uses for everything but the messaging backend, and before that one. What a class imports
by itself is its own affair. Nothing is unpickled by this package.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
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
        from rustic_ai.core.utils import basic_class_utils

        original = getattr(basic_class_utils.get_class_from_name, "__wrapped__", None)
        original = original or basic_class_utils.get_class_from_name

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
