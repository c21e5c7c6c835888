"""A folder for a session's files, and a process that ends what the session leaves behind, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

MARK = "MIEN_SESSION_FOLDER"
"""In the environment of what belongs to the session."""


class Guard:
    def __init__(self) -> None:
        self.folder = _short_folder()
        command = [sys.executable, "-I", str(Path(__file__).with_name("watchdog.py"))]
        self._watchdog = subprocess.Popen(  # noqa: S603
            [*command, str(os.getpid()), MARK, self.folder], stdin=subprocess.PIPE, start_new_session=True
        )

    def close(self) -> None:
        """Returns when all that bears the mark has ended, and the folder is gone."""
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._watchdog.wait(timeout=15)


def _short_folder() -> str:
    """Ray puts sockets under it, whose paths may have 107 characters; its own part takes some 65."""
    parent = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="mien-", dir=parent if len(parent) <= 24 else "/tmp")  # noqa: S108
