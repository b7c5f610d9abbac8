"""Rows of `target/bench.json`, in the form that `bench/src/report.rs` has for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Report:
    """All rows; a figure that is taken again replaces its row."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        self._taken: list[str] = []

    def row(
        self, figure: str, value: float, unit: str, goal: str | None = None, met: bool | None = None
    ) -> None:
        """Adds a figure, shows it, and keeps it at once: what comes later may fail."""
        row = {"figure": figure, "value": float(f"{value:.4g}"), "unit": unit, "goal": goal, "met": met}
        known = [number for number, old in enumerate(self._rows) if old["figure"] == figure]
        if known:
            self._rows[known[0]] = row
        else:
            self._rows.append(row)
        judged = "" if goal is None else f"   goal {goal}: {'met' if met else 'MISSED'}"
        print(f"{figure:<72} {row['value']:>9g} {unit}{judged}", flush=True)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._rows, indent=2) + "\n")

    def at_most(self, figure: str, value: float, unit: str, limit: float) -> None:
        self.row(figure, value, unit, f"≤ {limit:.4g}", value <= limit)

    def at_least(self, figure: str, value: float, unit: str, limit: float) -> None:
        self.row(figure, value, unit, f"≥ {limit:.4g}", value >= limit)
