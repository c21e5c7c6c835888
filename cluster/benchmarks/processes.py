"""Runs commands, and measures the CPU time and memory of their whole process trees.

Ray's raylet ignores SIGCHLD, so its workers are never waited for and `getrusage` does not count them. The
process tree is sampled every INTERVAL_SECONDS instead. The CPU time between a process's last sample and its
end is not counted. This is negligible for workers that are idle when they are stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

INTERVAL_SECONDS = 0.25
MEMORY_EVERY = 6
"""Memory is read with every sixth sample only: it costs more than CPU times."""
_PR_SET_CHILD_SUBREAPER = 36
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Usage:
    """The resources that a command used, in total and over time."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    by_role: dict[str, float] = field(default_factory=dict)
    """CPU seconds of `driver`, `workers`, and `ray` (everything else: Ray's daemons and the watchdog)."""
    peak_bytes: int = 0
    """Proportional set size (PSS): memory shared by several processes is counted once."""
    peak_shared_bytes: int = 0
    """The part of `peak_bytes` in shared memory: pages of the object store that have been touched."""
    timeline: list[tuple[float, float, float]] = field(default_factory=list)
    """(time.time(), CPU seconds of the tree so far, CPU seconds of the machine so far)"""
    memory: list[tuple[float, int]] = field(default_factory=list)
    """(time.time(), PSS of the tree in bytes)"""
    status: int = 0
    output: str = ""


def measure(command: list[str], *, environment: dict[str, str] | None = None) -> Usage:
    """Runs `command` to its end. Raises RuntimeError with the end of its error output if it fails."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    usage, spent, roles = Usage(), dict[int, float](), dict[int, str]()
    began = time.time()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        reader = _OutputReader(process)
        samples = 0
        while process.poll() is None:
            _sample(process.pid, spent, usage, memory=samples % MEMORY_EVERY == 0)
            roles.update({pid: "workers" for pid in spent if pid not in roles and _is_worker(pid)})
            samples += 1
            time.sleep(INTERVAL_SECONDS)
        usage.output, errors = reader.finish()
    usage.status, usage.wall_seconds = process.returncode, time.time() - began
    if usage.status not in (0, 3):
        raise RuntimeError(f"{' '.join(command)} ended with {usage.status}: {errors[-2000:]}")
    usage.cpu_seconds = sum(spent.values())
    for pid, seconds in spent.items():
        role = "driver" if pid == process.pid else roles.get(pid, "ray")
        usage.by_role[role] = usage.by_role.get(role, 0.0) + seconds
    _reap()
    return usage


class _OutputReader:
    """Drains both pipes, so that the child never blocks on a full pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(2)
        assert process.stdout is not None
        assert process.stderr is not None
        self._streams = [self._pool.submit(pipe.read) for pipe in (process.stdout, process.stderr)]

    def finish(self) -> tuple[str, str]:
        out, errors = (stream.result() for stream in self._streams)
        self._pool.shutdown()
        return out, errors


def _sample(root: int, spent: dict[int, float], usage: Usage, *, memory: bool) -> None:
    stats = _stats()
    # This process is the subreaper: orphans of the tree become its children.
    members = {root}
    while more := {pid for pid, (parent, _) in stats.items() if parent in members | {os.getpid()}} - members:
        members |= more
    spent.update((pid, stats[pid][1]) for pid in members if pid in stats)
    usage.timeline.append((time.time(), sum(spent.values()), _machine()))
    if memory:
        sizes = [_memory(pid) for pid in members]
        usage.memory.append((time.time(), sum(size[0] for size in sizes)))
        usage.peak_bytes = max(usage.peak_bytes, sum(size[0] for size in sizes))
        usage.peak_shared_bytes = max(usage.peak_shared_bytes, sum(size[1] for size in sizes))


def _stats() -> dict[int, tuple[int, float]]:
    """The parent and the CPU seconds of every process, by process id."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICK)
    return found


def _machine() -> float:
    """CPU seconds of all cores since boot, without idle time and I/O wait."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(int(value) for n, value in enumerate(fields) if n not in (3, 4)) / _TICK


def _memory(pid: int) -> tuple[int, int]:
    total = shared = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Pss":
                total = int(rest.split()[0]) * 1024
            elif name == "Pss_Shmem":
                shared = int(rest.split()[0]) * 1024
    return total, shared


def _is_worker(pid: int) -> bool:
    """Ray titles an actor's process `ray::Class.method`. Other workers run `fork_server.py`."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return command.startswith(b"ray::Actor") or b"fork_server.py" in command
    except OSError:
        return False


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def memory_between(usage: Usage, begin: float, end: float) -> float:
    """The median of the tree's memory between two fractions of its running time, in bytes."""
    first, last = usage.memory[0][0], usage.memory[-1][0]
    inside = [size for at, size in usage.memory if begin <= (at - first) / (last - first) <= end]
    return statistics.median(inside)


def measure_module(module: str, *arguments: str) -> tuple[Usage, dict[str, object]]:
    """Measures `python -m module arguments…`. Its last output line is JSON and is returned, too."""
    usage = measure([sys.executable, "-m", module, *arguments])
    last = usage.output.strip().splitlines()[-1] if usage.output.strip() else "{}"
    return usage, json.loads(last)


def run_parallel(
    commands: Sequence[list[str]], environment: Mapping[str, str] = MappingProxyType({})
) -> list[Any]:
    """Runs all commands at the same time and returns the JSON in the last output line of each.

    Raises SystemExit if one fails; its error output has already been printed.
    """
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
        for command in commands
    ]
    printed = [process.communicate()[0] for process in processes]
    failed = [command for command, process in zip(commands, processes, strict=True) if process.returncode]
    if failed:
        raise SystemExit(f"{' '.join(failed[0])} failed; see the error above")
    return [json.loads(output.splitlines()[-1]) for output in printed]
