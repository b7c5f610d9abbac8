"""The front page's program, as a user has it: a script, a guild's file, and a Redis."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("guildhall_runner", reason="the stock runner is not installed")

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["README.md", "docs/rustic-ai.md"])
def test_the_program_of_the_page_runs_a_guild(page: str, redis_port: int, tmp_path: Path):
    [program] = re.findall(r"```python\n(.*?GuildBuilder.*?)```", (PROJECT / page).read_text(), re.DOTALL)
    assert len(program.strip().splitlines()) <= 10
    assert "6379" in program
    (tmp_path / "app.py").write_text(program.replace("6379", str(redis_port)))
    shutil.copy(PROJECT / "examples/specs/001_point_to_point.yaml", tmp_path / "guild.yaml")
    app = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert app.returncode == 0, app.stderr
    assert app.stdout.strip() == "['Agent1', 'Agent2']", app.stderr
