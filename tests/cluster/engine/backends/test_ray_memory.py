"""Workers keep the memory that they will want again, unless the operator says otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DRIVER = """
import os
from cluster.engine.backends.ray_session import RaySession

with RaySession(object_store_bytes=1 << 28, num_cpus=1):
    import ray

    @ray.remote(num_cpus=0)
    def told():
        names = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
        return [os.environ.get(name) for name in names]

    print(*ray.get(told.remote()))
"""


@pytest.mark.parametrize(
    ("own", "wanted"), [({}, "1 268435456 1073741824"), ({"MALLOC_ARENA_MAX": "3"}, "3 268435456 1073741824")]
)
def test_workers_are_told_how_to_keep_memory(own: dict[str, str], wanted: str) -> None:
    others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=Path(__file__).resolve().parents[4],
        env=others | own,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split("\n")[-2] == wanted
