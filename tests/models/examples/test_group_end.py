"""A process group stops its threads. A thread that survives the interpreter's exit aborts the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
pytestmark = pytest.mark.slow

PROGRAM = """
import time
from contextlib import suppress
from pathlib import Path
import torch
from mien.models.examples.exact import ExactSum, in_group

def names():
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            yield (task / "comm").read_text()

def gloo():
    return sum("gloo" in name for name in names())

with in_group():
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    torch.optim.Adam([weights])
    total = ExactSum(3, terms=1)
    total.add(torch.ones(3, dtype=torch.float64))
    total.over_ranks(1)
    print(gloo() > 0)
# A joined thread stays listed until the kernel has cleaned up; a running thread stays listed forever.
deadline = time.monotonic() + 60
while gloo() and time.monotonic() < deadline:
    time.sleep(0.01)
print(gloo())
"""


def test_process_group_leaves_no_threads() -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **alone, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n0\n"
