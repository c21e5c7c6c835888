"""CPU and memory of a command and of everything that it starts.

Ray's raylet ignores SIGCHLD, so nobody can wait for its workers and `getrusage` never hears of them. The tree
is looked at instead, every INTERVAL_SECONDS. Lost is what a process spends between the last look and its end:
next to nothing for workers that are ended when they are idle.
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
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL_SECONDS = 0.25
MEMORY_EVERY = 6
_SUBREAPER = 36
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Usage:
    """What a command took, and how that grew."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    by_role: dict[str, float] = field(default_factory=dict)
    """CPU seconds of the driver, of the workers, and of what else is there (Ray, the watchdog)."""
    peak_bytes: int = 0
    """Proportional (PSS): memory that processes share is counted once."""
    peak_shared_bytes: int = 0
    """Of that, shared memory: the object store's pages that were ever touched."""
    timeline: list[tuple[float, float, float]] = field(default_factory=list)
    """(time.time(), CPU seconds of the tree until then, CPU seconds of the machine)"""
    memory: list[tuple[float, int]] = field(default_factory=list)
    """(time.time(), bytes of the tree, as `peak_bytes`)"""
    status: int = 0
    output: str = ""


def measure(command: list[str], *, environment: dict[str, str] | None = None) -> Usage:
    """Runs `command` to its end; raises RuntimeError with the end of its errors where it fails."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    usage, spent, roles = Usage(), dict[int, float](), dict[int, str]()
    began = time.time()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        reader = _Reader(process)
        looks = 0
        while process.poll() is None:
            _look(process.pid, spent, usage, memory=looks % MEMORY_EVERY == 0)
            roles.update({pid: "workers" for pid in spent if pid not in roles and _is_worker(pid)})
            looks += 1
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


class _Reader:
    """Drains both pipes, so that a talkative child does not wait for us."""

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


def _look(root: int, spent: dict[int, float], usage: Usage, *, memory: bool) -> None:
    stats = _stats()
    # Orphans come to us: whoever has us as its parent belongs to the tree as well.
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
    """Of every process: its parent, and the CPU seconds of its own."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICK)
    return found


def _machine() -> float:
    """CPU seconds of all cores since the start, without idling and waiting for disks."""
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
    """Ray gives an actor's process the title `ray::Class.method`; ours, and what they are forked from, run
    the program `fork_server.py`."""
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
    """Median of the tree's bytes between two shares of its time."""
    first, last = usage.memory[0][0], usage.memory[-1][0]
    inside = [size for at, size in usage.memory if begin <= (at - first) / (last - first) <= end]
    return statistics.median(inside)


def measure_module(module: str, *arguments: str) -> tuple[Usage, dict[str, object]]:
    """`python -m module arguments…`, whose last line of output is JSON."""
    usage = measure([sys.executable, "-m", module, *arguments])
    last = usage.output.strip().splitlines()[-1] if usage.output.strip() else "{}"
    return usage, json.loads(last)
