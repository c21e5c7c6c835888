"""Programs of the bench side by side: what each told in its last line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def told_at_once(
    commands: Sequence[list[str]], environment: Mapping[str, str] = MappingProxyType({})
) -> list[Any]:
    """Raises SystemExit where one of them failed; why, it has printed."""
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **environment}
        )
        for command in commands
    ]
    printed = [process.communicate()[0] for process in processes]
    failed = [command for command, process in zip(commands, processes, strict=True) if process.returncode]
    if failed:
        raise SystemExit(f"{' '.join(failed[0])} failed; see above")
    return [json.loads(output.splitlines()[-1]) for output in printed]
