"""Rustic AI's simple agent, under the name that its own tests have for it."""

from rustic_ai.testing.agents.simple_agent import SimpleAgent

__all__ = ["SimpleAgent"]
