"""Several driver processes share one budget."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from mien.ingest.catalog import Catalog
from tests.ingest.catalog.platforms import tubes

ROOT = Path(__file__).resolve().parents[3]
VIDEOS_PER_HOUR = 40
SECONDS = 3500
"""Less than an hour, so that the budget of one window applies."""
STEP = 13

DRIVER = f"""
import sys
from mien.ingest.catalog import Catalog
from mien.ingest.rate.identity import Identity
from tests.ingest.catalog.makers import Clock
from tests.ingest.catalog.platforms import HAD, ask

identities = [Identity("a", videos_per_hour={VIDEOS_PER_HOUR}), Identity("b", videos_per_hour=7)]
clock = Clock()
catalog = Catalog.open(sys.argv[1], clock=clock)
run_id = catalog.begin_run(fingerprint="f1", config_json="{{}}", host="h", lease_seconds=1e6)
for line in sys.stdin:
    clock.now = float(line)
    jobs = ask(catalog, run_id, identities, limit=3)
    for job in jobs:
        catalog.settle(run_id, job.key, HAD)
    print(*(f"{{job.identity}}={{job.key}}" for job in jobs), flush=True)
"""


@pytest.mark.slow
def test_processes_share_one_budget(url: str) -> None:
    with Catalog.open(url) as catalog:
        catalog.add(tubes(400))
    command = [sys.executable, "-c", DRIVER, url]
    drivers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        granted = _granted(drivers)
    finally:
        for driver in drivers:
            driver.communicate(timeout=300)
    assert [driver.returncode for driver in drivers] == [0, 0, 0]
    jobs = [job for own in granted for job in own]
    assert len(set(jobs)) == len(jobs)  # none was granted twice
    by_identity = Counter(job.partition("=")[0] for job in jobs)
    assert VIDEOS_PER_HOUR - 2 <= by_identity["a"] <= VIDEOS_PER_HOUR
    assert 6 <= by_identity["b"] <= 7
    assert all(granted)


def _granted(drivers: Sequence[subprocess.Popen[str]]) -> list[list[str]]:
    """Jobs by driver. The clock stands still while they claim, so each driver gets something regardless of
    scheduling."""
    granted: list[list[str]] = [[] for _ in drivers]
    order = random.Random(0)
    everybody = range(len(drivers))
    for now in range(1_000_000, 1_000_000 + SECONDS, STEP):
        first = order.choice(everybody)
        together = [everybody] if order.random() < 0.5 else [[first], [n for n in everybody if n != first]]
        for asking in together:
            for number in asking:
                stdin = drivers[number].stdin
                assert stdin is not None
                stdin.write(f"{now}\n")
                stdin.flush()
            for number in asking:
                stdout = drivers[number].stdout
                assert stdout is not None
                answer = stdout.readline()
                assert answer, f"driver {number} has died"
                granted[number] += answer.split()
    return granted
