"""A module that nobody may import, and that leaves a mark when somebody does."""

import os
from pathlib import Path

Path(os.environ["MARK"], "imported").touch()


class X:
    """What launches name."""
