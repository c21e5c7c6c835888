"""Whether a name still means the file that is open."""

from __future__ import annotations

import os
from pathlib import Path


def is_at(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the file behind `descriptor`: it may have been replaced meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
