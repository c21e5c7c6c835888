"""Runs mien in a folder of its own: through its functions, in this process, or in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mien.cluster.cli import cli
from mien.cluster.config import Settings, load
from mien.cluster.runner.catalog_additions import add
from mien.cluster.runner.run import RunResult, run

MIEN = [sys.executable, "-c", "from mien.cluster.cli import main; main()"]
SOURCE_FOLDER = Path(__file__).resolve().parents[1] / "src"


def settings_in(folder: Path, *flags: str) -> Settings:
    """The default settings, with everything stored in `folder`."""
    return load(flags=(f"store.root={folder}", *flags), environment={}).settings


def add_and_run(folder: Path, *paths: Path, flags: tuple[str, ...] = (), local: bool = True) -> RunResult:
    settings = settings_in(folder, *flags)
    add(settings, [str(path) for path in paths])
    return run(settings, local=local)


def mien(*arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own and waits for its end."""
    options = _options(folder, environment)
    return subprocess.run(
        [*MIEN, *map(str, arguments)], check=False, capture_output=True, timeout=900, **options
    )


def mien_in_process(*arguments: str | Path, folder: Path) -> Result:
    """Runs the command in this process, which is faster. It leaves no environment variable behind."""
    own: dict[str, str | None] = {"MIEN_STORE__ROOT": str(folder / "store")}
    own |= {name: os.environ.get(name) for name in ("MIEN_WEIGHTS_LICENCE", "MIEN_WEIGHTS_DIR")}
    return CliRunner().invoke(cli, [*map(str, arguments)], env=own)


def start_mien(*arguments: str | Path, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Starts the command in a process of its own and does not wait."""
    options = _options(folder, environment)
    return subprocess.Popen(
        [*MIEN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **options,
    )


def _options(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_STORE")}
    own |= {"PYTHONPATH": str(SOURCE_FOLDER), "MIEN_STORE__ROOT": str(folder / "store")}
    return {"cwd": folder, "env": {**own, **environment}, "text": True}
