"""Starts training programs as processes, and kills them with all their children."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str | Path, cache: Path) -> subprocess.Popen[str]:
    """`python -m …`, its output and errors in one pipe. `cache`: folder of the reader's indexes."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(cache)},
        text=True,
    )


def finish(program: subprocess.Popen[str]) -> str:
    """Waits until the program succeeds and returns its output."""
    output, _ = program.communicate(timeout=400)
    assert program.returncode == 0, output
    return output


def kill_all(program: subprocess.Popen[str], *, spare: str = "\0") -> None:
    """Kills the program and all its descendants with -9 and waits until they are gone. Processes with `spare`
    in their command line are left alone, to clean up."""
    top = psutil.Process(program.pid)
    top.suspend()  # so that it starts no more processes and does not see the others die
    family = [top, *(one for one in top.children(recursive=True) if spare not in command_of(one))]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    program.communicate(timeout=300)
    psutil.wait_procs(family[1:], timeout=300)


def command_of(process: psutil.Process) -> str:
    """Empty if the process is gone or a zombie."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def same_parameters(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Compares bit for bit, including the optimizer's moments."""
    import torch

    mine, theirs = _tensors(one), _tensors(other)
    return (
        len(mine) > 10
        and mine.keys() == theirs.keys()
        and all(torch.equal(value, theirs[name]) for name, value in mine.items())
    )


def _tensors(state: dict[str, Any]) -> dict[str, Any]:
    found = {f"model.{name}": value for name, value in state["model"].items()}
    for number, moments in state["optimizer"]["state"].items():
        found |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    return found
